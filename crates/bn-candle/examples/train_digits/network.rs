//! A residual network of convolution, batch norm and ReLU, with the batch norm to choose.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{
    Conv2d, Conv2dConfig, Linear, Module, ModuleT, VarBuilder, VarMap, conv2d_no_bias, linear,
};
use fastrand::Rng;

/// Which batch norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// candle_nn's.
    CandleNn,
    /// This crate's in its place, and nothing else changed.
    Swapped,
    /// This crate's, with ReLU and residual fused into it.
    Fused,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::CandleNn, Self::Swapped, Self::Fused];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CandleNn => "candle_nn",
            Self::Swapped => "bn_candle",
            Self::Fused => "bn_candle-fused",
        }
    }
}

/// Stem, three residual blocks, average over the image, one linear layer.
pub(crate) struct Network {
    stem: ConvNormRelu,
    blocks: Vec<Block>,
    head: Linear,
}

impl Network {
    pub(crate) fn new(kind: Kind, vb: &VarBuilder<'_>) -> Result<Self> {
        let block = |name, inputs, outputs, stride| {
            Block::new(kind, [inputs, outputs], stride, &vb.pp(name))
        };
        Ok(Self {
            stem: ConvNormRelu::new(kind, [1, 16], 1, &vb.pp("stem"))?,
            blocks: vec![
                block("block1", 16, 16, 1)?,
                block("block2", 16, 32, 2)?,
                block("block3", 32, 32, 1)?,
            ],
            head: linear(32, 10, vb.pp("head"))?,
        })
    }
}

impl ModuleT for Network {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let mut x = self.stem.forward_t(x, train)?;
        for block in &self.blocks {
            x = block.forward_t(&x, train)?;
        }
        self.head.forward(&x.mean((2, 3))?)
    }
}

struct ConvNormRelu {
    conv: Conv2d,
    norm_relu: NormRelu,
}

impl ConvNormRelu {
    fn new(
        kind: Kind,
        [inputs, outputs]: [usize; 2],
        stride: usize,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let norm_relu = NormRelu::new(kind, outputs, vb.pp("bn"))?;
        Ok(Self { conv: conv3x3(inputs, outputs, stride, vb.pp("conv"))?, norm_relu })
    }
}

impl ModuleT for ConvNormRelu {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.norm_relu.forward_t(&self.conv.forward(x)?, train)
    }
}

/// relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)).
struct Block {
    first: ConvNormRelu,
    conv: Conv2d,
    norm_add_relu: NormAddRelu,
    shortcut: Option<(Conv2d, Box<dyn ModuleT>)>,
}

impl Block {
    fn new(
        kind: Kind,
        [inputs, outputs]: [usize; 2],
        stride: usize,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let shortcut = if inputs == outputs && stride == 1 {
            None
        } else {
            let config = Conv2dConfig { stride, ..Default::default() };
            let conv = conv2d_no_bias(inputs, outputs, 1, config, vb.pp("shortcut.conv"))?;
            Some((conv, norm(kind, outputs, vb.pp("shortcut.bn"))?))
        };
        Ok(Self {
            first: ConvNormRelu::new(kind, [inputs, outputs], stride, &vb.pp("first"))?,
            conv: conv3x3(outputs, outputs, 1, vb.pp("second.conv"))?,
            norm_add_relu: NormAddRelu::new(kind, outputs, vb.pp("second.bn"))?,
            shortcut,
        })
    }
}

impl ModuleT for Block {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let residual = match &self.shortcut {
            None => x.clone(),
            Some((conv, norm)) => norm.forward_t(&conv.forward(x)?, train)?,
        };
        let x = self.conv.forward(&self.first.forward_t(x, train)?)?;
        self.norm_add_relu.forward_t(&x, &residual, train)
    }
}

/// The layer alone: here the import is what differs.
fn norm(kind: Kind, channels: usize, vb: VarBuilder<'_>) -> Result<Box<dyn ModuleT>> {
    Ok(match kind {
        Kind::CandleNn => Box::new(candle_nn::batch_norm(channels, 1e-5, vb)?),
        Kind::Swapped | Kind::Fused => Box::new(bn_candle::batch_norm(channels, 1e-5, vb)?),
    })
}

/// The layer and a ReLU.
enum NormRelu {
    Chain(Box<dyn ModuleT>),
    Fused(bn_candle::BatchNorm),
}

impl NormRelu {
    fn new(kind: Kind, channels: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(match kind {
            Kind::Fused => Self::Fused(bn_candle::batch_norm_relu(channels, 1e-5, vb)?),
            _ => Self::Chain(norm(kind, channels, vb)?),
        })
    }

    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        match self {
            Self::Chain(norm) => norm.forward_t(x, train)?.relu(),
            Self::Fused(norm) => norm.forward_t(x, train),
        }
    }
}

/// The layer, a residual and a ReLU.
enum NormAddRelu {
    Chain(Box<dyn ModuleT>),
    Fused(bn_candle::BatchNormAddRelu),
}

impl NormAddRelu {
    fn new(kind: Kind, channels: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(match kind {
            Kind::Fused => Self::Fused(bn_candle::batch_norm_add_relu(channels, 1e-5, vb)?),
            _ => Self::Chain(norm(kind, channels, vb)?),
        })
    }

    fn forward_t(&self, x: &Tensor, residual: &Tensor, train: bool) -> Result<Tensor> {
        match self {
            Self::Chain(norm) => (norm.forward_t(x, train)? + residual)?.relu(),
            Self::Fused(norm) => norm.forward_t(x, residual, train),
        }
    }
}

fn conv3x3(inputs: usize, outputs: usize, stride: usize, vb: VarBuilder<'_>) -> Result<Conv2d> {
    let config = Conv2dConfig { padding: 1, stride, ..Default::default() };
    conv2d_no_bias(inputs, outputs, 3, config, vb)
}

/// Gives all weights of convolutions and linear layers values from the seed (He et al. 2015): candle's
/// own generator on the CPU takes no seed.
pub(crate) fn initialise(map: &VarMap, rng: &mut Rng) -> Result<()> {
    let variables =
        map.data().lock().map_err(|_| candle_core::Error::msg("the map is poisoned"))?;
    let mut names: Vec<&String> = variables.keys().collect();
    names.sort();
    for name in names {
        let variable: &Var = &variables[name];
        if variable.rank() >= 2 {
            let fan_in = variable.elem_count() / variable.dim(0)?;
            let bound = (6.0 / fan_in as f64).sqrt();
            let values: Vec<f64> =
                (0..variable.elem_count()).map(|_| bound * (2.0 * rng.f64() - 1.0)).collect();
            let values = Tensor::from_vec(values, variable.shape(), &Device::Cpu)?;
            variable.set(&values.to_dtype(DType::F32)?)?;
        } else if name.starts_with("head") {
            variable.set(&variable.zeros_like()?)?;
        }
    }
    Ok(())
}
