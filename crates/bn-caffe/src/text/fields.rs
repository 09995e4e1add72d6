//! Which text field fills which field of a message.

use prost::Message as _;
use prost::bytes::Bytes;

use super::document::{Field, Message, Value, ValueKind};
use super::read::Unknown;
use crate::error::Result;
use crate::limits::{MAX_BLOBS, MAX_LAYERS};
use crate::proto::layer_type::V1LayerType;
use crate::proto::schema::*;

/// At most so many unknown fields are remembered; a text can hold millions.
const MAX_UNKNOWN: usize = 1000;

/// A message that can be read from text.
pub(super) trait TextMessage: Default {
    /// Name in `caffe.proto`.
    const NAME: &'static str;

    /// Fields that Caffe knows and the struct has not.
    const SKIPPED: &'static [&'static str] = &[];

    /// Fills the field of this name; false where there is none.
    fn put(&mut self, field: Field<'_>, unknown: &mut Vec<Unknown>) -> Result<bool>;

    /// Reads all fields of a message.
    fn read(message: Message<'_>, unknown: &mut Vec<Unknown>) -> Result<Self> {
        let mut new = Self::default();
        for field in message.fields() {
            let known = new.put(field, unknown)? || Self::SKIPPED.contains(&field.name());
            if !known {
                note(Self::NAME, field, unknown);
            }
        }
        Ok(new)
    }
}

/// Remembers a field that Caffe would refuse.
pub(super) fn note(message: &'static str, field: Field<'_>, unknown: &mut Vec<Unknown>) {
    if unknown.len() < MAX_UNKNOWN {
        unknown.push(Unknown { message, field: field.name().to_owned(), id: field.id() });
    }
}

/// A scalar that one value of the text fills.
trait Scalar: Sized {
    fn scalar(value: Value<'_>) -> Result<Self>;
}

macro_rules! scalars {
    ($($type:ty: $reader:ident),*) => {
        $(impl Scalar for $type {
            fn scalar(value: Value<'_>) -> Result<Self> {
                value.$reader()
            }
        })*
    };
}
scalars!(bool: as_bool, i32: as_i32, i64: as_i64, u32: as_u32, f32: as_f32, f64: as_f64, String: as_str);

impl Scalar for Bytes {
    fn scalar(value: Value<'_>) -> Result<Self> {
        value.as_bytes().map(Bytes::from)
    }
}

/// Takes the one value of a field that is not repeated.
fn once<T>(slot: &Option<T>, field: Field<'_>) -> Result<()> {
    if slot.is_some() {
        return Err(field.value().expected(format!("\"{}\" only once", field.name())));
    }
    if field.value().kind() == ValueKind::List {
        return Err(field.value().expected("one value instead of a list"));
    }
    Ok(())
}

fn one<T: Scalar>(slot: &mut Option<T>, field: Field<'_>) -> Result<()> {
    once(slot, field)?;
    *slot = Some(T::scalar(field.value())?);
    Ok(())
}

fn many<T: Scalar>(slot: &mut Vec<T>, field: Field<'_>) -> Result<()> {
    for value in field.items() {
        slot.push(T::scalar(value)?);
    }
    Ok(())
}

fn message<M: TextMessage>(
    slot: &mut Option<M>,
    field: Field<'_>,
    unknown: &mut Vec<Unknown>,
) -> Result<()> {
    once(slot, field)?;
    *slot = Some(M::read(field.value().as_message()?, unknown)?);
    Ok(())
}

fn messages<M: TextMessage>(
    slot: &mut Vec<M>,
    field: Field<'_>,
    unknown: &mut Vec<Unknown>,
) -> Result<()> {
    for value in field.items() {
        slot.push(M::read(value.as_message()?, unknown)?);
    }
    Ok(())
}

/// Blobs written out in the text become encoded messages, as in a binary file.
fn blobs(slot: &mut Vec<Bytes>, field: Field<'_>, unknown: &mut Vec<Unknown>) -> Result<()> {
    for value in field.items() {
        if slot.len() >= MAX_BLOBS {
            return Err(value.expected("at most 1024 blobs in a layer"));
        }
        let blob = BlobProto::read(value.as_message()?, unknown)?;
        slot.push(blob.encode_to_vec().into());
    }
    Ok(())
}

/// An enumeration by its words; numbers are accepted as well.
fn word(value: Value<'_>, names: &[(&str, i32)]) -> Result<i32> {
    let found = match value.as_word() {
        Some(word) => names.iter().find(|(name, _)| *name == word).map(|n| n.1),
        None => value.as_i32().ok().filter(|v| names.iter().any(|(_, n)| n == v)),
    };
    found.ok_or_else(|| {
        let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        value.expected(format!("one of {}", names.join(", ")))
    })
}

fn enumeration(slot: &mut Option<i32>, field: Field<'_>, names: &[(&str, i32)]) -> Result<()> {
    once(slot, field)?;
    *slot = Some(word(field.value(), names)?);
    Ok(())
}

const PHASES: &[(&str, i32)] = &[("TRAIN", Phase::Train as i32), ("TEST", Phase::Test as i32)];
const SHARE_MODES: &[(&str, i32)] =
    &[("STRICT", ShareMode::Strict as i32), ("PERMISSIVE", ShareMode::Permissive as i32)];
const ELTWISE_OPS: &[(&str, i32)] = &[
    ("PROD", EltwiseOp::Prod as i32),
    ("SUM", EltwiseOp::Sum as i32),
    ("MAX", EltwiseOp::Max as i32),
];
const VARIANCE_NORMS: &[(&str, i32)] = &[
    ("FAN_IN", VarianceNorm::FanIn as i32),
    ("FAN_OUT", VarianceNorm::FanOut as i32),
    ("AVERAGE", VarianceNorm::Average as i32),
];
const RAW_TYPES: &[(&str, i32)] = &[("DOUBLE", 0), ("FLOAT", 1), ("FLOAT16", 2)];

/// Declares the text fields of a message: `"name" => field: how it is read`.
macro_rules! text_message {
    ($type:ident { $($name:literal => $field:ident: $kind:ident $(($names:expr))?),* $(,)? }
     $(skips [$($skip:literal),* $(,)?])?) => {
        impl TextMessage for $type {
            const NAME: &'static str = stringify!($type);
            $(const SKIPPED: &'static [&'static str] = &[$($skip),*];)?

            fn put(&mut self, field: Field<'_>, unknown: &mut Vec<Unknown>) -> Result<bool> {
                let _ = &unknown;
                match field.name() {
                    $($name => text_message!(@ $kind, self.$field, field, unknown $(, $names)?)?,)*
                    _ => return Ok(false),
                }
                Ok(true)
            }
        }
    };
    (@ one, $slot:expr, $f:ident, $u:ident) => { one(&mut $slot, $f) };
    (@ many, $slot:expr, $f:ident, $u:ident) => { many(&mut $slot, $f) };
    (@ message, $slot:expr, $f:ident, $u:ident) => { message(&mut $slot, $f, $u) };
    (@ messages, $slot:expr, $f:ident, $u:ident) => { messages(&mut $slot, $f, $u) };
    (@ blobs, $slot:expr, $f:ident, $u:ident) => { blobs(&mut $slot, $f, $u) };
    (@ word, $slot:expr, $f:ident, $u:ident, $n:expr) => { enumeration(&mut $slot, $f, $n) };
}

text_message!(BlobShape { "dim" => dim: many });
text_message!(BlobProto {
    "num" => num: one,
    "channels" => channels: one,
    "height" => height: one,
    "width" => width: one,
    "data" => data: many,
    "diff" => diff: many,
    "shape" => shape: message,
    "double_data" => double_data: many,
    "double_diff" => double_diff: many,
    "raw_data_type" => raw_data_type: word(RAW_TYPES),
    "raw_data" => raw_data: one,
});
text_message!(FillerParameter {
    "type" => kind: one,
    "value" => value: one,
    "min" => min: one,
    "max" => max: one,
    "mean" => mean: one,
    "std" => std: one,
    "sparse" => sparse: one,
    "variance_norm" => variance_norm: word(VARIANCE_NORMS),
});
text_message!(NetState { "phase" => phase: word(PHASES), "level" => level: one, "stage" => stage: many });
text_message!(NetStateRule {
    "phase" => phase: word(PHASES),
    "min_level" => min_level: one,
    "max_level" => max_level: one,
    "stage" => stage: many,
    "not_stage" => not_stage: many,
});
text_message!(ParamSpec {
    "name" => name: one,
    "share_mode" => share_mode: word(SHARE_MODES),
    "lr_mult" => lr_mult: one,
    "decay_mult" => decay_mult: one,
});
text_message!(BatchNormParameter {
    "use_global_stats" => use_global_stats: one,
    "moving_average_fraction" => moving_average_fraction: one,
    "eps" => eps: one,
});
text_message!(ScaleParameter {
    "axis" => axis: one,
    "num_axes" => num_axes: one,
    "filler" => filler: message,
    "bias_term" => bias_term: one,
    "bias_filler" => bias_filler: message,
});
text_message!(BiasParameter { "axis" => axis: one, "num_axes" => num_axes: one, "filler" => filler: message });
text_message!(ConvolutionParameter {
    "num_output" => num_output: one,
    "bias_term" => bias_term: one,
    "pad" => pad: many,
    "kernel_size" => kernel_size: many,
    "group" => group: one,
    "stride" => stride: many,
    "weight_filler" => weight_filler: message,
    "bias_filler" => bias_filler: message,
    "pad_h" => pad_h: one,
    "pad_w" => pad_w: one,
    "kernel_h" => kernel_h: one,
    "kernel_w" => kernel_w: one,
    "stride_h" => stride_h: one,
    "stride_w" => stride_w: one,
    "axis" => axis: one,
    "dilation" => dilation: many,
} skips ["engine", "force_nd_im2col"]);
text_message!(InnerProductParameter {
    "num_output" => num_output: one,
    "bias_term" => bias_term: one,
    "weight_filler" => weight_filler: message,
    "bias_filler" => bias_filler: message,
    "axis" => axis: one,
    "transpose" => transpose: one,
});
text_message!(EltwiseParameter {
    "operation" => operation: word(ELTWISE_OPS),
    "coeff" => coeff: many,
    "stable_prod_grad" => stable_prod_grad: one,
});
text_message!(ReluParameter { "negative_slope" => negative_slope: one } skips ["engine"]);
text_message!(InputParameter { "shape" => shape: messages });
text_message!(NetParameter {
    "name" => name: one,
    "input" => input: many,
    "input_dim" => input_dim: many,
    "force_backward" => force_backward: one,
    "state" => state: message,
    "debug_info" => debug_info: one,
    "input_shape" => input_shape: messages,
} skips ["layer", "layers"]);
text_message!(LayerParameter {
    "name" => name: one,
    "type" => type_name: one,
    "bottom" => bottom: many,
    "top" => top: many,
    "loss_weight" => loss_weight: many,
    "param" => param: messages,
    "blobs" => blobs: blobs,
    "include" => include: messages,
    "exclude" => exclude: messages,
    "phase" => phase: word(PHASES),
    "propagate_down" => propagate_down: many,
    "convolution_param" => convolution_param: message,
    "eltwise_param" => eltwise_param: message,
    "inner_product_param" => inner_product_param: message,
    "relu_param" => relu_param: message,
    "batch_norm_param" => batch_norm_param: message,
    "bias_param" => bias_param: message,
    "scale_param" => scale_param: message,
    "input_param" => input_param: message,
} skips [
    "transform_param", "loss_param", "accuracy_param", "argmax_param", "concat_param",
    "contrastive_loss_param", "data_param", "dropout_param", "dummy_data_param", "exp_param",
    "hdf5_data_param", "hdf5_output_param", "hinge_loss_param", "image_data_param",
    "infogain_loss_param", "lrn_param", "memory_data_param", "mvn_param", "pooling_param",
    "power_param", "sigmoid_param", "softmax_param", "slice_param", "tanh_param",
    "threshold_param", "window_data_param", "python_param", "prelu_param", "spp_param",
    "reshape_param", "log_param", "flatten_param", "reduction_param", "embed_param", "tile_param",
    "elu_param", "crop_param", "parameter_param", "recurrent_param", "swish_param", "clip_param",
]);

impl TextMessage for V1LayerParameter {
    const NAME: &'static str = "V1LayerParameter";
    const SKIPPED: &'static [&'static str] = &[
        "accuracy_param",
        "argmax_param",
        "concat_param",
        "contrastive_loss_param",
        "data_param",
        "dropout_param",
        "dummy_data_param",
        "exp_param",
        "hdf5_data_param",
        "hdf5_output_param",
        "hinge_loss_param",
        "image_data_param",
        "infogain_loss_param",
        "lrn_param",
        "memory_data_param",
        "mvn_param",
        "pooling_param",
        "power_param",
        "sigmoid_param",
        "softmax_param",
        "slice_param",
        "tanh_param",
        "threshold_param",
        "window_data_param",
        "transform_param",
        "loss_param",
    ];

    fn put(&mut self, field: Field<'_>, unknown: &mut Vec<Unknown>) -> Result<bool> {
        match field.name() {
            "layer" => self.layer = Some(Bytes::new()),
            "bottom" => many(&mut self.bottom, field)?,
            "top" => many(&mut self.top, field)?,
            "name" => one(&mut self.name, field)?,
            "type" => {
                once(&self.type_number, field)?;
                self.type_number = Some(v1_type(field.value())?);
            }
            "blobs" => blobs(&mut self.blobs, field, unknown)?,
            "blobs_lr" => many(&mut self.blobs_lr, field)?,
            "weight_decay" => many(&mut self.weight_decay, field)?,
            "convolution_param" => message(&mut self.convolution_param, field, unknown)?,
            "inner_product_param" => message(&mut self.inner_product_param, field, unknown)?,
            "eltwise_param" => message(&mut self.eltwise_param, field, unknown)?,
            "relu_param" => message(&mut self.relu_param, field, unknown)?,
            "include" => messages(&mut self.include, field, unknown)?,
            "exclude" => messages(&mut self.exclude, field, unknown)?,
            "loss_weight" => many(&mut self.loss_weight, field)?,
            "param" => many(&mut self.param, field)?,
            "blob_share_mode" => {
                for value in field.items() {
                    self.blob_share_mode.push(word(value, SHARE_MODES)?);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn v1_type(value: Value<'_>) -> Result<i32> {
    let found = match value.as_word() {
        Some(word) => V1LayerType::from_word(&word),
        None => value.as_i32().ok().and_then(|n| V1LayerType::try_from(n).ok()),
    };
    found.map(|t| t as i32).ok_or_else(|| value.expected("a layer type of the old form"))
}

/// The layers of either form, with the field each came from.
pub(super) fn layers<M: TextMessage>(
    root: Message<'_>,
    name: &str,
    unknown: &mut Vec<Unknown>,
) -> Result<Vec<(M, u32)>> {
    let mut layers = Vec::new();
    for field in root.fields().filter(|f| f.name() == name) {
        for value in field.items() {
            if layers.len() >= MAX_LAYERS {
                return Err(value.expected("at most 16384 layers"));
            }
            layers.push((M::read(value.as_message()?, unknown)?, field.id()));
        }
    }
    Ok(layers)
}
