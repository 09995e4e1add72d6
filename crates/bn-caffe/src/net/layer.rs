//! One layer of a net.

use crate::proto::schema::{
    BatchNormParameter, BiasParameter, ConvolutionParameter, EltwiseParameter,
    InnerProductParameter, LayerParameter, Phase, ReluParameter, ScaleParameter,
};

/// A layer: its message after Caffe's upgrades, and where it stands in its document.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Connections, settings and blobs.
    pub parameter: LayerParameter,
    /// The field of the document that holds the layer, see
    /// [`Document::field`](crate::text::Document::field); none for an Input layer made by the
    /// upgrade, or a layer read from weights.
    pub field: Option<u32>,
}

impl Layer {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.parameter.name()
    }

    /// The type string, case-sensitive.
    #[must_use]
    pub fn type_name(&self) -> &str {
        self.parameter.type_name()
    }

    /// Names of the inputs.
    #[must_use]
    pub fn bottoms(&self) -> &[String] {
        &self.parameter.bottom
    }

    /// Names of the outputs.
    #[must_use]
    pub fn tops(&self) -> &[String] {
        &self.parameter.top
    }

    /// Settings of a BatchNorm layer, defaults where the message is absent.
    #[must_use]
    pub fn batch_norm(&self) -> BatchNormParameter {
        self.parameter.batch_norm_param.unwrap_or_default()
    }

    /// Whether a BatchNorm layer normalises by the stored statistics in a net of this phase: as it
    /// says, or, where it does not say, in TEST.
    ///
    /// The phase is the net's. That of a weight file is the phase of the net that wrote it, and
    /// snapshots of training say TRAIN.
    #[must_use]
    pub fn uses_global_stats(&self, phase: Phase) -> bool {
        self.batch_norm().use_global_stats.unwrap_or(phase == Phase::Test)
    }

    /// Settings of a Scale layer.
    #[must_use]
    pub fn scale(&self) -> ScaleParameter {
        self.parameter.scale_param.clone().unwrap_or_default()
    }

    /// Settings of a Bias layer.
    #[must_use]
    pub fn bias(&self) -> BiasParameter {
        self.parameter.bias_param.clone().unwrap_or_default()
    }

    /// Settings of a Convolution or Deconvolution layer.
    #[must_use]
    pub fn convolution(&self) -> ConvolutionParameter {
        self.parameter.convolution_param.clone().unwrap_or_default()
    }

    /// Settings of an InnerProduct layer.
    #[must_use]
    pub fn inner_product(&self) -> InnerProductParameter {
        self.parameter.inner_product_param.clone().unwrap_or_default()
    }

    /// Settings of an Eltwise layer.
    #[must_use]
    pub fn eltwise(&self) -> EltwiseParameter {
        self.parameter.eltwise_param.clone().unwrap_or_default()
    }

    /// Settings of a ReLU layer.
    #[must_use]
    pub fn relu(&self) -> ReluParameter {
        self.parameter.relu_param.unwrap_or_default()
    }

    /// Number of blobs that a layer of this type and these settings has; none where the type is not
    /// one of those that this crate knows.
    #[must_use]
    pub fn blob_count(&self) -> Option<usize> {
        let learned = |bias: bool| usize::from(self.bottoms().len() < 2) + usize::from(bias);
        Some(match self.type_name() {
            "BatchNorm" => 3,
            "Scale" => learned(self.scale().bias_term()),
            "Bias" => learned(false),
            "Convolution" | "Deconvolution" => 1 + usize::from(self.convolution().bias_term()),
            "InnerProduct" => 1 + usize::from(self.inner_product().bias_term()),
            "PReLU" => 1,
            "Input" | "ReLU" | "Eltwise" | "Split" | "Concat" | "Pooling" | "Softmax"
            | "Sigmoid" | "TanH" | "Dropout" | "Flatten" | "Reshape" | "Slice" => 0,
            _ => return None,
        })
    }
}
