//! Every element type, in every layout, with every epilogue, trained and frozen, against the same
//! layer in `f64`, whose gradients are held to central differences elsewhere.

mod tensors;

use bn_candle::{BatchNorm, Layout, Mode};
use candle_core::{DType, Result, Tensor, Var};
use tensors::{difference, uniform, variable};

#[derive(Clone, Copy, Debug)]
struct Case {
    dtype: DType,
    layout: Layout,
    /// Whether x lies in the other layout than the one that it is seen in.
    transposed: bool,
    relu: bool,
    residual: bool,
    mode: Mode,
}

/// What a step reads: x as it lies, the residual, gamma, beta, and the gradient of y.
struct Operands {
    x: Var,
    residual: Var,
    gamma: Var,
    beta: Var,
    dy: Tensor,
}

impl Operands {
    /// Values that `dtype` and `f32` parameters hold exactly.
    fn new(case: &Case) -> Result<Self> {
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

    fn in_double(&self) -> Result<Self> {
        let double = |of: &Var| Var::from_tensor(&of.to_dtype(DType::F64)?);
        Ok(Self {
            x: double(&self.x)?,
            residual: double(&self.residual)?,
            gamma: double(&self.gamma)?,
            beta: double(&self.beta)?,
            dy: self.dy.to_dtype(DType::F64)?,
        })
    }

    /// y, the gradients of x, gamma, beta and, where there is one, residual, and the running statistics.
    fn step(&self, case: &Case) -> Result<Vec<(&'static str, Tensor)>> {
        let dtype = self.gamma.dtype();
        let mean = uniform(&[3], 0.25, 0.5, 6)?.to_dtype(DType::F32)?.to_dtype(dtype)?;
        let var = uniform(&[3], 1.0, 0.5, 7)?.to_dtype(DType::F32)?.to_dtype(dtype)?;
        let (gamma, beta) = (self.gamma.as_tensor().clone(), self.beta.as_tensor().clone());
        let layer = BatchNorm::new(3, mean, var, gamma, beta, 1e-3)?.with_layout(case.layout);
        // The operands have their channels last. Seen channels-first they are permuted, and they lie as
        // they are seen, or as they were.
        let seen = |tensor: &Tensor| {
            let view = match case.layout {
                Layout::ChannelsFirst => tensor.permute((0, 3, 1, 2))?,
                Layout::ChannelsLast => tensor.clone(),
            };
            match (case.layout, case.transposed) {
                (Layout::ChannelsFirst, true) | (Layout::ChannelsLast, false) => Ok(view),
                (Layout::ChannelsFirst, false) => view.contiguous(),
                (Layout::ChannelsLast, true) => {
                    view.permute((0, 3, 1, 2))?.contiguous()?.permute((0, 2, 3, 1))
                }
            }
        };
        let (x, dy) = (seen(&self.x)?, seen(&self.dy)?);
        let y = if case.residual {
            layer.clone().with_add_relu().forward_mode(&x, &seen(&self.residual)?, case.mode)?
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

fn compare(case: &Case, tolerance: f64) -> Result<()> {
    let operands = Operands::new(case)?;
    let found = operands.step(case)?;
    let expected = operands.in_double()?.step(&Case { transposed: false, ..*case })?;
    for ((name, found), (_, expected)) in found.iter().zip(&expected) {
        // What is f32 whatever x is has no reason to be less exact.
        let tolerance = if *name == "y" || *name == "dx" { tolerance } else { tolerance.min(1e-5) };
        let difference = difference(found, expected)?;
        assert!(difference <= tolerance, "{name} of {case:?}: {difference:e}");
    }
    Ok(())
}

#[test]
fn each_type_in_each_layout_with_each_epilogue() -> Result<()> {
    let types = [(DType::F64, 1e-12), (DType::F32, 1e-5), (DType::F16, 1e-3), (DType::BF16, 8e-3)];
    for (dtype, tolerance) in types {
        for layout in Layout::ALL {
            for transposed in [false, true] {
                for (relu, residual) in [(false, false), (true, false), (true, true)] {
                    for mode in [Mode::TRAIN, Mode::EVAL, Mode::BATCH_ONLY, Mode::RECALIBRATE] {
                        let case = Case { dtype, layout, transposed, relu, residual, mode };
                        compare(&case, tolerance)?;
                    }
                }
            }
        }
    }
    Ok(())
}
