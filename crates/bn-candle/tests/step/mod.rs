//! One step of a layer in each type, layout, epilogue and mode: the cases and their outputs.
#![allow(dead_code, reason = "each test program takes what it needs")]

use std::fmt::Debug;

use bn_candle::{BatchNorm, Layout, Mode};
use candle_core::{DType, Device, Result, Tensor, Var};

use crate::tensors::{difference, uniform, variable};

#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub dtype: DType,
    pub layout: Layout,
    /// Whether x lies in the other layout than the one that it is seen in.
    pub transposed: bool,
    pub relu: bool,
    pub residual: bool,
    pub mode: Mode,
}

impl Case {
    /// Every case of a type.
    pub fn all(dtype: DType) -> Vec<Self> {
        let mut cases = Vec::new();
        for layout in Layout::ALL {
            for transposed in [false, true] {
                for (relu, residual) in [(false, false), (true, false), (true, true)] {
                    for mode in [Mode::TRAIN, Mode::EVAL, Mode::BATCH_ONLY, Mode::RECALIBRATE] {
                        cases.push(Self { dtype, layout, transposed, relu, residual, mode });
                    }
                }
            }
        }
        cases
    }

    /// A tensor whose channels are last as the layer sees it: permuted for channels-first, and lying as it is
    /// seen or as it was.
    pub fn seen(&self, tensor: &Tensor) -> Result<Tensor> {
        let view = match self.layout {
            Layout::ChannelsFirst => tensor.permute((0, 3, 1, 2))?,
            Layout::ChannelsLast => tensor.clone(),
        };
        match (self.layout, self.transposed) {
            (Layout::ChannelsFirst, true) | (Layout::ChannelsLast, false) => Ok(view),
            (Layout::ChannelsFirst, false) => view.contiguous(),
            (Layout::ChannelsLast, true) => {
                view.permute((0, 3, 1, 2))?.contiguous()?.permute((0, 2, 3, 1))
            }
        }
    }
}

/// What is allowed between a type and `f64`: of y and dx, and of what is `f32` whatever x is, which has no reason to
/// be less exact.
pub fn tolerance(dtype: DType) -> [f64; 2] {
    match dtype {
        DType::F64 => [1e-12; 2],
        DType::F32 => [1e-5; 2],
        DType::F16 => [1e-3, 1e-5],
        _ => [8e-3, 1e-5],
    }
}

/// Fails where outputs are further apart than allowed.
pub fn agree(
    found: &Outputs,
    expected: &Outputs,
    [of_tensors, of_others]: [f64; 2],
    what: &dyn Debug,
) -> Result<()> {
    for ((name, found), (_, expected)) in found.iter().zip(expected) {
        let tolerance = if *name == "y" || *name == "dx" { of_tensors } else { of_others };
        let difference = difference(found, expected)?;
        if difference > tolerance {
            candle_core::bail!("{name} of {what:?}: {difference:e}, of {tolerance:e} allowed")
        }
    }
    Ok(())
}

/// Tensors by name.
pub type Outputs = Vec<(&'static str, Tensor)>;

/// What a step reads: x as it lies, the residual, gamma, beta, and the gradient of y.
pub struct Operands {
    pub x: Var,
    pub residual: Var,
    pub gamma: Var,
    pub beta: Var,
    pub dy: Tensor,
}

impl Operands {
    /// Values that `dtype` and `f32` parameters hold exactly.
    pub fn new(case: &Case) -> Result<Self> {
        let parameter = if case.dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let dims = [4, 6, 5, 3];
        Ok(Self {
            x: variable(&dims, 0.3, 3.0, 1, case.dtype)?,
            residual: variable(&dims, 0.1, 2.0, 2, case.dtype)?,
            gamma: variable(&[3], 1.0, 1.0, 3, parameter)?,
            beta: variable(&[3], 0.0, 1.0, 4, parameter)?,
            dy: uniform(&dims, 0.0, 2.0, 5)?.to_dtype(case.dtype)?,
        })
    }

    pub fn in_double(&self) -> Result<Self> {
        let double = |of: &Var| Var::from_tensor(&of.to_dtype(DType::F64)?);
        Ok(Self {
            x: double(&self.x)?,
            residual: double(&self.residual)?,
            gamma: double(&self.gamma)?,
            beta: double(&self.beta)?,
            dy: self.dy.to_dtype(DType::F64)?,
        })
    }

    /// The same on another device.
    pub fn on(&self, device: &Device) -> Result<Self> {
        let there = |of: &Var| Var::from_tensor(&of.to_device(device)?);
        Ok(Self {
            x: there(&self.x)?,
            residual: there(&self.residual)?,
            gamma: there(&self.gamma)?,
            beta: there(&self.beta)?,
            dy: self.dy.to_device(device)?,
        })
    }

    /// The running mean and variance that a layer starts with.
    pub fn running(&self) -> Result<[Tensor; 2]> {
        let (dtype, device) = (self.gamma.dtype(), self.gamma.device());
        let exact =
            |tensor: Tensor| tensor.to_dtype(DType::F32)?.to_dtype(dtype)?.to_device(device);
        Ok([exact(uniform(&[3], 0.25, 0.5, 6)?)?, exact(uniform(&[3], 1.0, 0.5, 7)?)?])
    }

    /// y, the gradients of x, gamma, beta and, where there is one, residual, and the running statistics.
    pub fn step(&self, case: &Case) -> Result<Outputs> {
        let dtype = self.gamma.dtype();
        let [mean, var] = self.running()?;
        let (gamma, beta) = (self.gamma.as_tensor().clone(), self.beta.as_tensor().clone());
        let layer = BatchNorm::new(3, mean, var, gamma, beta, 1e-3)?.with_layout(case.layout);
        let (x, dy) = (case.seen(&self.x)?, case.seen(&self.dy)?);
        let y = if case.residual {
            layer.clone().with_add_relu().forward_mode(
                &x,
                &case.seen(&self.residual)?,
                case.mode,
            )?
        } else if case.relu {
            layer.clone().with_relu().forward_mode(&x, case.mode)?
        } else {
            layer.forward_mode(&x, case.mode)?
        };
        assert_eq!((y.dtype(), y.dims()), (x.dtype(), x.dims()));
        let gradients = (&y * dy)?.sum_all()?.backward()?;
        let of = |variable: &Var| gradients.get(variable).expect("a gradient").clone();
        let mut outputs = vec![
            ("y", y),
            ("dx", of(&self.x)),
            ("dgamma", of(&self.gamma)),
            ("dbeta", of(&self.beta)),
            ("running_mean", layer.running_mean().copy()?),
            ("running_var", layer.running_var().copy()?),
        ];
        if case.residual {
            outputs.push(("dresidual", of(&self.residual)));
        }
        for (name, gradient) in &outputs {
            let wide = name.starts_with("dg") || name.starts_with("db") || name.starts_with('r');
            assert_eq!(gradient.dtype(), if wide { dtype } else { self.x.dtype() }, "{name}");
        }
        Ok(outputs)
    }
}
