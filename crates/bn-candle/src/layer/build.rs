//! How a layer is made: candle_nn's constructors under their names, and what can be set besides.

use std::sync::{Arc, Mutex};

use bn_core::{Layout, Mode, Momentum, RunningVariance, Seen, SingleValue};
use candle_core::{DType, Error, Result, Tensor, Var};
use candle_nn::{BatchNormConfig, Init, VarBuilder};

use super::{BatchNorm, BatchNormAddRelu};

/// A layer with parameters and running statistics from `vb`: `weight`, `bias`, `running_mean`,
/// `running_var`, and `num_batches_tracked` where it is there, as in files of PyTorch.
///
/// The names, the initial values and the meaning of `config` are those of `candle_nn::batch_norm`.
/// With a `vb` of a 16-bit type all four are made `f32`.
///
/// # Errors
///
/// An eps that is not above 0, a momentum outside [0, 1], or what `vb` answers.
pub fn batch_norm<C: Into<BatchNormConfig>>(
    num_features: usize,
    config: C,
    vb: VarBuilder<'_>,
) -> Result<BatchNorm> {
    let config = config.into();
    let dtype = parameter_type(vb.dtype());
    let get = |name, value| vb.get_with_hints_dtype(num_features, name, Init::Const(value), dtype);
    let (mean, var) = (get("running_mean", 0.0)?, get("running_var", 1.0)?);
    let affine = if config.affine { Some((get("weight", 1.0)?, get("bias", 0.0)?)) } else { None };
    let layer = BatchNorm::build(num_features, (mean, var), affine, config)?;
    if vb.contains_tensor("num_batches_tracked") {
        let name = "num_batches_tracked";
        let batches = vb.get_with_hints_dtype((), name, Init::Const(0.0), DType::I64)?;
        let batches = batches.to_dtype(DType::I64)?.to_scalar::<i64>()?;
        layer.lock_seen().batches = u64::try_from(batches).map_err(Error::wrap)?;
    }
    Ok(layer)
}

/// A layer with a fused ReLU, y = relu(gamma·x̂ + beta), otherwise as [`batch_norm`].
///
/// # Errors
///
/// As [`batch_norm`].
pub fn batch_norm_relu<C: Into<BatchNormConfig>>(
    num_features: usize,
    config: C,
    vb: VarBuilder<'_>,
) -> Result<BatchNorm> {
    Ok(batch_norm(num_features, config, vb)?.with_relu())
}

/// A layer that adds a residual and takes the ReLU of the sum, otherwise as [`batch_norm`].
///
/// # Errors
///
/// As [`batch_norm`].
pub fn batch_norm_add_relu<C: Into<BatchNormConfig>>(
    num_features: usize,
    config: C,
    vb: VarBuilder<'_>,
) -> Result<BatchNormAddRelu> {
    Ok(batch_norm(num_features, config, vb)?.with_add_relu())
}

impl BatchNorm {
    /// A layer from its tensors, C values each, with momentum 0.1.
    ///
    /// # Errors
    ///
    /// An eps that is not above 0, or tensors that have not `num_features` values.
    pub fn new(
        num_features: usize,
        running_mean: Tensor,
        running_var: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: f64,
    ) -> Result<Self> {
        let affine = Some((weight, bias));
        Self::build(num_features, (running_mean, running_var), affine, eps.into())
    }

    /// A layer without gamma and beta, with momentum 0.1.
    ///
    /// # Errors
    ///
    /// As [`BatchNorm::new`].
    pub fn new_no_bias(
        num_features: usize,
        running_mean: Tensor,
        running_var: Tensor,
        eps: f64,
    ) -> Result<Self> {
        Self::build(num_features, (running_mean, running_var), None, eps.into())
    }

    /// A layer from its tensors; `momentum` is the weight of the new value.
    ///
    /// # Errors
    ///
    /// As [`BatchNorm::new`], and a momentum outside [0, 1].
    pub fn new_with_momentum(
        num_features: usize,
        running_mean: Tensor,
        running_var: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: f64,
        momentum: f64,
    ) -> Result<Self> {
        let config = BatchNormConfig { eps, momentum, ..BatchNormConfig::default() };
        Self::build(num_features, (running_mean, running_var), Some((weight, bias)), config)
    }

    /// A layer without gamma and beta; `momentum` is the weight of the new value.
    ///
    /// # Errors
    ///
    /// As [`BatchNorm::new_with_momentum`].
    pub fn new_no_bias_with_momentum(
        num_features: usize,
        running_mean: Tensor,
        running_var: Tensor,
        eps: f64,
        momentum: f64,
    ) -> Result<Self> {
        let config = BatchNormConfig { eps, momentum, ..BatchNormConfig::default() };
        Self::build(num_features, (running_mean, running_var), None, config)
    }

    /// A fused ReLU behind the normalisation.
    #[must_use]
    pub fn with_relu(self) -> Self {
        Self { relu: true, ..self }
    }

    /// A residual to be added, and the ReLU of the sum.
    #[must_use]
    pub fn with_add_relu(self) -> BatchNormAddRelu {
        BatchNormAddRelu::new(self)
    }

    /// No fused ReLU.
    #[must_use]
    pub fn without_relu(self) -> Self {
        Self { relu: false, ..self }
    }

    /// Where the channels lie in the shape of x: axis 1, unless said otherwise here, or the last.
    #[must_use]
    pub fn with_layout(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// How a batch enters the running statistics.
    ///
    /// # Errors
    ///
    /// A weight outside [0, 1], and Caffe's sums, which need a factor beside them that candle's layers
    /// have no place for.
    pub fn with_momentum(self, momentum: Momentum) -> Result<Self> {
        momentum.check().map_err(Error::wrap)?;
        if let Momentum::CaffeSum(_) = momentum {
            candle_core::bail!(
                "momentum ({}) keeps a factor beside the statistics; expected a weight of the new \
                 or of the old value, or the cumulative average",
                momentum.convention()
            )
        }
        Ok(Self { momentum, ..self })
    }

    /// Which variance enters the running statistics: the unbiased one, unless said otherwise here.
    #[must_use]
    pub fn with_running_variance(self, variance: RunningVariance) -> Self {
        Self { variance, ..self }
    }

    /// What training does where each channel has one value: an error, unless said otherwise here.
    #[must_use]
    pub fn with_single_value(self, single_value: SingleValue) -> Self {
        Self { single_value, ..self }
    }

    /// What `train = true` stands for: [`Mode::TRAIN`], unless said otherwise here.
    ///
    /// [`Mode::BATCH_ONLY`] leaves the running statistics alone, [`Mode::EVAL`] freezes them and
    /// normalises with them while everything else trains.
    #[must_use]
    pub fn with_training_mode(self, training: Mode) -> Self {
        Self { training, ..self }
    }

    /// How many batches the running statistics have seen, for a cumulative average that goes on.
    #[must_use]
    pub fn with_num_batches_tracked(self, batches: u64) -> Self {
        self.lock_seen().batches = batches;
        self
    }

    fn build(
        num_features: usize,
        (mean, var): (Tensor, Tensor),
        weight_and_bias: Option<(Tensor, Tensor)>,
        config: BatchNormConfig,
    ) -> Result<Self> {
        let BatchNormConfig { eps, remove_mean, momentum, .. } = config;
        if !(eps.is_finite() && eps > 0.0) {
            return Err(Error::wrap(bn_core::Error::Eps { found: eps }));
        }
        let momentum = Momentum::New(momentum);
        momentum.check().map_err(Error::wrap)?;
        let check = |name, tensor: &Tensor| {
            if tensor.dims() != [num_features] {
                candle_core::bail!(
                    "batch-norm {name} has shape {:?}; expected [{num_features}]",
                    tensor.dims()
                )
            }
            if !tensor.dtype().is_float() {
                candle_core::bail!("batch-norm {name} is {:?}; expected f32 or f64", tensor.dtype())
            }
            Ok(())
        };
        check("running_mean", &mean)?;
        check("running_var", &var)?;
        if let Some((weight, bias)) = &weight_and_bias {
            check("weight", weight)?;
            check("bias", bias)?;
        }
        let running =
            |tensor: &Tensor| Var::from_tensor(&tensor.to_dtype(parameter_type(tensor.dtype()))?);
        Ok(Self {
            running_mean: running(&mean)?,
            running_var: running(&var)?,
            weight_and_bias,
            eps,
            remove_mean,
            momentum,
            variance: RunningVariance::Unbiased,
            single_value: SingleValue::Refuse,
            layout: Layout::ChannelsFirst,
            relu: false,
            training: Mode::TRAIN,
            seen: Arc::new(Mutex::new(Seen::default())),
        })
    }
}

/// The type of parameters and statistics for tensors of this type.
pub(super) const fn parameter_type(dtype: DType) -> DType {
    match dtype {
        DType::F64 => DType::F64,
        _ => DType::F32,
    }
}
