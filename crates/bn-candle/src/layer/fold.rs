//! Folding into the layer in front, for inference.
//!
//! With its statistics fixed, a layer multiplies each channel by gamma·inv_std and adds a constant, and
//! a convolution or linear layer in front of it can do both by other weights. What comes of it is
//! rounded once more than the two layers apart, so it agrees to rounding, not to the bit.

use bn_core::inv_std;
use candle_core::{DType, Result, Tensor};
use candle_nn::{Conv1d, Conv2d, ConvTranspose2d, Linear};

use super::BatchNorm;

impl BatchNorm {
    /// The convolution that does what `conv` followed by this layer does in evaluation.
    ///
    /// Its weights are weight·gamma·inv_std, output by output, and its bias is
    /// (bias − mean)·gamma·inv_std + beta, both computed in `f64` and rounded once.
    ///
    /// ```
    /// use candle_core::{DType, Device, Result, Tensor};
    /// use candle_nn::{Conv2dConfig, Module, VarBuilder, VarMap, conv2d_no_bias};
    ///
    /// # fn main() -> Result<()> {
    /// let map = VarMap::new();
    /// let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    /// let conv = conv2d_no_bias(3, 8, 3, Conv2dConfig::default(), vb.pp("conv"))?;
    /// let bn = bn_candle::batch_norm(8, 1e-5, vb.pp("bn"))?;
    /// let x = Tensor::randn(0f32, 1.0, (2, 3, 6, 6), &Device::Cpu)?;
    /// bn.forward_train(&conv.forward(&x)?)?;
    ///
    /// let apart = bn.frozen().forward(&conv.forward(&x)?)?;
    /// let folded = bn.absorb_into_conv2d(&conv)?.forward(&x)?;
    /// let difference = (apart - folded)?.abs()?.max_all()?.to_scalar::<f32>()?;
    /// assert!(difference < 1e-4);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// A convolution with another number of outputs than this layer has channels, a layer with a fused
    /// ReLU (which no weights can express: fold `layer.clone().without_relu()` and keep the ReLU), or
    /// one whose channels come last.
    pub fn absorb_into_conv2d(&self, conv: &Conv2d) -> Result<Conv2d> {
        let (weight, bias) = self.fold("conv2d", conv.weight(), conv.bias(), 0)?;
        Ok(Conv2d::new(weight, Some(bias), *conv.config()))
    }

    /// As [`BatchNorm::absorb_into_conv2d`], for one spatial dimension.
    ///
    /// # Errors
    ///
    /// As [`BatchNorm::absorb_into_conv2d`].
    pub fn absorb_into_conv1d(&self, conv: &Conv1d) -> Result<Conv1d> {
        let (weight, bias) = self.fold("conv1d", conv.weight(), conv.bias(), 0)?;
        Ok(Conv1d::new(weight, Some(bias), *conv.config()))
    }

    /// As [`BatchNorm::absorb_into_conv2d`], for a transposed convolution, whose outputs are the second
    /// axis of its weights.
    ///
    /// # Errors
    ///
    /// As [`BatchNorm::absorb_into_conv2d`].
    pub fn absorb_into_conv_transpose2d(&self, conv: &ConvTranspose2d) -> Result<ConvTranspose2d> {
        let (weight, bias) = self.fold("conv_transpose2d", conv.weight(), conv.bias(), 1)?;
        Ok(ConvTranspose2d::new(weight, Some(bias), *conv.config()))
    }

    /// The linear layer that does what `linear` followed by this layer does in evaluation.
    ///
    /// # Errors
    ///
    /// As [`BatchNorm::absorb_into_conv2d`]; where the channels lie does not matter here.
    pub fn absorb_into_linear(&self, linear: &Linear) -> Result<Linear> {
        let (weight, bias) = self.fold("linear", linear.weight(), linear.bias(), 0)?;
        Ok(Linear::new(weight, Some(bias)))
    }

    /// weight·gamma·inv_std and (bias − mean)·gamma·inv_std + beta, in `f64` and rounded once.
    fn fold(
        &self,
        into: &str,
        weight: &Tensor,
        bias: Option<&Tensor>,
        outputs: usize,
    ) -> Result<(Tensor, Tensor)> {
        if self.relu {
            candle_core::bail!(
                "a fused ReLU cannot be folded into {into}; fold the layer without_relu() and keep \
                 the ReLU behind it"
            )
        }
        if into != "linear" && self.layout == bn_core::Layout::ChannelsLast {
            candle_core::bail!(
                "the layer's channels come last and those of {into} second; expected the same place"
            )
        }
        let channels = self.num_features();
        if weight.dims().get(outputs) != Some(&channels) {
            candle_core::bail!(
                "{into} has weights of shape {:?}; expected {channels} on axis {outputs}, the \
                 channels of the layer",
                weight.dims()
            )
        }
        if let Some(bias) = bias
            && bias.dims() != [channels]
        {
            candle_core::bail!(
                "{into} has a bias of shape {:?}; expected [{channels}]",
                bias.dims()
            )
        }
        let host = |values: &Tensor| values.to_dtype(DType::F64)?.to_vec1::<f64>();
        let (mean, var) = (host(&self.running_mean)?, host(&self.running_var)?);
        let (gamma, beta) = match &self.weight_and_bias {
            Some((gamma, beta)) => (host(gamma)?, host(beta)?),
            None => (vec![1.0; channels], vec![0.0; channels]),
        };
        let bias = bias.map_or_else(|| Ok(vec![0.0; channels]), host)?;
        let scale: Vec<f64> =
            gamma.iter().zip(&var).map(|(gamma, &var)| gamma * inv_std(var, self.eps)).collect();
        let shift: Vec<f64> =
            (0..channels).map(|c| (bias[c] - mean[c]) * scale[c] + beta[c]).collect();

        let (dtype, device) = (weight.dtype(), weight.device());
        let mut along_outputs = vec![1; weight.rank()];
        along_outputs[outputs] = channels;
        let scale = Tensor::from_vec(scale, along_outputs, device)?;
        let weight = weight.to_dtype(DType::F64)?.broadcast_mul(&scale)?.to_dtype(dtype)?;
        let bias = Tensor::from_vec(shift, channels, device)?.to_dtype(dtype)?;
        Ok((weight, bias))
    }
}
