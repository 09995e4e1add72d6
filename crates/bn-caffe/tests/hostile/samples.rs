//! A small weight file and a small prototxt in which everything occurs.

use bn_caffe::blob::{Blob, Shape};
use bn_caffe::proto::raw::{RawField, RawMessage};
use bn_caffe::proto::schema::{
    BatchNormParameter, BlobProto, BlobShape, ConvolutionParameter, FillerParameter,
    LayerParameter, NetParameter, NetState, ParamSpec, ScaleParameter, V1LayerParameter,
};
use prost::Message as _;

/// Both forms of layers; data single, double, half, packed, unpacked, with diffs and legacy
/// dimensions; unknown fields and a group.
pub fn weights() -> Vec<u8> {
    let net = NetParameter {
        name: Some("sample".into()),
        input: vec!["data".into()],
        input_dim: vec![1, 2, 4, 4],
        state: Some(NetState { stage: vec!["deploy".into()], ..NetState::default() }),
        ..NetParameter::default()
    };
    let mut out = net.encode_to_vec();
    let shape = || Some(BlobShape { dim: vec![2] });
    let single = BlobProto { shape: shape(), data: vec![1.0, 2.0], ..BlobProto::default() };
    let double = BlobProto {
        shape: shape(),
        double_data: vec![0.5, 1e-310],
        double_diff: vec![0.0; 2],
        ..BlobProto::default()
    };
    let legacy = BlobProto {
        num: Some(1),
        channels: Some(1),
        height: Some(1),
        width: Some(1),
        data: vec![3.0],
        diff: vec![0.0],
        ..BlobProto::default()
    };
    let half = BlobProto {
        shape: Some(BlobShape { dim: vec![2, 1, 1, 1] }),
        raw_data_type: Some(2),
        raw_data: Some(vec![0, 0x3c, 0, 0x40].into()),
        ..BlobProto::default()
    };
    let unpacked = b"\x3a\x02\x08\x02\x2d\0\0\x80\x3f\x2d\0\0\0\x40";
    let filler = FillerParameter {
        kind: Some("constant".into()),
        value: Some(1.0),
        ..FillerParameter::default()
    };
    let layers = [
        LayerParameter {
            name: Some("bn".into()),
            type_name: Some("BatchNorm".into()),
            bottom: vec!["data".into()],
            top: vec!["bn".into()],
            param: vec![ParamSpec { lr_mult: Some(0.0), ..ParamSpec::default() }; 3],
            phase: Some(0),
            blobs: [&single, &double, &legacy].map(|b| b.encode_to_vec().into()).to_vec(),
            batch_norm_param: Some(BatchNormParameter {
                eps: Some(1e-3),
                ..BatchNormParameter::default()
            }),
            ..LayerParameter::default()
        },
        LayerParameter {
            name: Some("scale".into()),
            type_name: Some("Scale".into()),
            bottom: vec!["bn".into()],
            top: vec!["bn".into()],
            blobs: vec![unpacked.to_vec().into(), single.encode_to_vec().into()],
            scale_param: Some(ScaleParameter {
                bias_term: Some(true),
                filler: Some(filler.clone()),
                ..ScaleParameter::default()
            }),
            ..LayerParameter::default()
        },
    ];
    for layer in &layers {
        let mut raw = RawMessage::parse(&layer.encode_to_vec().into()).expect("encoded by prost");
        raw.set(RawField::bytes(200, "a fork's settings"));
        out.extend(tag_and_len(100, raw.encoded_len()));
        out.extend_from_slice(&raw.to_bytes());
    }
    let old = V1LayerParameter {
        name: Some("conv".into()),
        type_number: Some(4),
        bottom: vec!["bn".into()],
        top: vec!["conv".into()],
        blobs: vec![half.encode_to_vec().into()],
        blobs_lr: vec![1.0, 2.0],
        convolution_param: Some(ConvolutionParameter {
            num_output: Some(2),
            kernel_size: vec![1],
            weight_filler: Some(filler),
            ..ConvolutionParameter::default()
        }),
        ..V1LayerParameter::default()
    };
    let old = old.encode_to_vec();
    out.extend(tag_and_len(2, old.len()));
    out.extend(old);
    // An unknown group {1: 7, {2: "x"}}, number 30.
    out.extend(b"\xf3\x01\x08\x07\x13\x12\x01x\x14\xf4\x01");
    out
}

fn tag_and_len(number: u32, len: usize) -> Vec<u8> {
    let mut head = Vec::new();
    prost::encoding::encode_varint(u64::from(number) << 3 | 2, &mut head);
    prost::encoding::encode_varint(len as u64, &mut head);
    head
}

/// Net-level fields, both kinds of brackets, lists, escapes, comments, rules, blobs.
pub const TEXT: &str = r#"name: "sample" # a comment
input: 'data' input_dim: [1, 2, 4, 4]
state { phase: TRAIN level: 1 stage: "a" }
layer {
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  param { lr_mult: 1 decay_mult: 0x1 name: "w\101" }
  convolution_param < num_output: 2, kernel_size: [3, 3]; weight_filler { type: 'msra' } >
  include { phase: TRAIN min_level: 0 not_stage: "b" }
}
layer {
  name: "bn" type: "BatchNorm" bottom: "conv" top: "conv"
  batch_norm_param { use_global_stats: false moving_average_fraction: .99f eps: 1e-3 }
  blobs { shape { dim: 2 } data: 1 data: -inf } blobs: { num: 1 double_data: [] }
}
layer {
  name: "sc" "ale" type: "Scale" bottom: "conv" top: "conv"
  scale_param { axis: -3 bias_term: t filler { value: 2 } }
  propagate_down: true exclude { stage: 'x' }
}
layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "data" top: "y"
        eltwise_param { operation: SUM coeff: 1 coeff: -1 } unknown_param { [a.b/c]: nan } }
"#;

/// Two layers, one of them double.
#[cfg(feature = "hdf5")]
pub fn hdf5() -> Vec<u8> {
    let mut file = hdf5_pure::FileBuilder::new();
    let mut data = file.create_group("data");
    let mut bn = data.create_group("bn");
    bn.create_dataset("0").with_f32_data(&[1.0, 2.0]);
    bn.create_dataset("1").with_f64_data(&[0.5, 0.25]);
    bn.create_dataset("2").with_f32_data(&[3.0]);
    data.add_group(bn.finish());
    let mut scale = data.create_group("scale");
    scale.create_dataset("0").with_f32_data(&[1.0, 2.0]);
    data.add_group(scale.finish());
    file.add_group(data.finish());
    file.finish().expect("a small file")
}

/// A blob for files built in tests.
pub fn blob(values: &[f32]) -> Blob {
    Blob::from_f32(Shape::new([values.len()]).expect("small"), values).expect("fits")
}
