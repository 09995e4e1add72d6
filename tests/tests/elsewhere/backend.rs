//! The required operations on that memory, by `bn-naive`; the fused ones are the contract's.

use bn_core::{
    Backend, BackwardApply, BackwardReduce, BatchNormBackend, Checked, Correction, Device, Element,
    Epilogue, Error, Gate, HostMemory, InOut, Moments, Normalize, Request as _, SavedTensor,
    Scalar, ValidPositions,
};
use bn_naive::NaiveBackend;

use crate::memory::{Buffer, Far};

pub(crate) struct Elsewhere(Far);

impl Elsewhere {
    /// With memory for so many allocations.
    pub(crate) const fn with(allocations: usize) -> Self {
        Self(Far::with(allocations))
    }
}

impl Default for Elsewhere {
    fn default() -> Self {
        Self::with(usize::MAX)
    }
}

impl Backend for Elsewhere {
    type Memory = Far;

    fn name(&self) -> &'static str {
        "elsewhere"
    }

    fn device(&self) -> Device {
        NaiveBackend.device()
    }

    fn memory(&self) -> &Far {
        &self.0
    }
}

fn io<'a, E: Scalar>(io: InOut<'a, Buffer<E>>) -> InOut<'a, [E]> {
    match io {
        InOut::Separate { input, output } => InOut::new(&input.0[..], &mut output.0[..]),
        InOut::InPlace(buffer) => InOut::InPlace(&mut buffer.0[..]),
    }
}

fn epilogue<T: Element>(epilogue: Epilogue<'_, T, Far>) -> Epilogue<'_, T, HostMemory> {
    fn slice(bits: Option<&mut Buffer<u8>>) -> Option<&mut [u8]> {
        bits.map(|bits| &mut bits.0[..])
    }
    match epilogue {
        Epilogue::None => Epilogue::None,
        Epilogue::Relu { bits } => Epilogue::Relu { bits: slice(bits) },
        Epilogue::AddRelu { residual, bits } => {
            Epilogue::AddRelu { residual: &residual.0[..], bits: slice(bits) }
        }
    }
}

fn gate<T: Element>(gate: Gate<'_, T, Far>) -> Gate<'_, T, HostMemory> {
    match gate {
        Gate::Open => Gate::Open,
        Gate::Output(y) => Gate::Output(&y.0[..]),
        Gate::Bits(bits) => Gate::Bits(&bits.0[..]),
    }
}

fn saved<'a, E>(saved: SavedTensor<'a, Buffer<E>>) -> SavedTensor<'a, [E]> {
    match saved {
        SavedTensor::Input(x) => SavedTensor::Input(&x.0[..]),
        SavedTensor::Normalized(x_hat) => SavedTensor::Normalized(&x_hat.0[..]),
    }
}

impl<T: Element> BatchNormBackend<T> for Elsewhere {
    fn moments(&self, request: Checked<Moments<'_, T, Far>>) -> Result<(), Error> {
        let Moments { problem, x, valid, mean, m2 } = request.into_inner();
        let valid = valid
            .map(|valid| ValidPositions::on_host(&problem, &valid.mask().0[..]))
            .transpose()?;
        let (x, valid) = (&x.0[..], valid.as_ref());
        let (mean, m2) = (&mut mean.0[..], &mut m2.0[..]);
        NaiveBackend.moments(Moments { problem, x, valid, mean, m2 }.check()?)
    }

    fn normalize(&self, request: Checked<Normalize<'_, T, Far>>) -> Result<(), Error> {
        let request = request.into_inner();
        NaiveBackend.normalize(
            Normalize {
                problem: request.problem,
                io: io(request.io),
                mean: &request.mean.0[..],
                inv_std: &request.inv_std.0[..],
                gamma: request.gamma.map(|gamma| &gamma.0[..]),
                beta: request.beta.map(|beta| &beta.0[..]),
                epilogue: epilogue(request.epilogue),
            }
            .check()?,
        )
    }

    fn backward_reduce(&self, request: Checked<BackwardReduce<'_, T, Far>>) -> Result<(), Error> {
        let request = request.into_inner();
        NaiveBackend.backward_reduce(
            BackwardReduce {
                problem: request.problem,
                dy: &request.dy.0[..],
                gate: gate(request.gate),
                saved: saved(request.saved),
                mean: &request.mean.0[..],
                inv_std: &request.inv_std.0[..],
                sum_dy: &mut request.sum_dy.0[..],
                sum_dy_xhat: &mut request.sum_dy_xhat.0[..],
            }
            .check()?,
        )
    }

    fn backward_apply(&self, request: Checked<BackwardApply<'_, T, Far>>) -> Result<(), Error> {
        let request = request.into_inner();
        let mask = match &request.correction {
            Correction::Batch { valid: Some(valid), .. } => {
                Some(ValidPositions::on_host(&request.problem, &valid.mask().0[..])?)
            }
            _ => None,
        };
        let correction = match request.correction {
            Correction::Fixed => Correction::Fixed,
            Correction::Batch { saved: tensor, mean, sum_dy, sum_dy_xhat, counts, .. } => {
                Correction::Batch {
                    saved: saved(tensor),
                    mean: &mean.0[..],
                    sum_dy: &sum_dy.0[..],
                    sum_dy_xhat: &sum_dy_xhat.0[..],
                    counts,
                    valid: mask.as_ref(),
                }
            }
        };
        NaiveBackend.backward_apply(
            BackwardApply {
                problem: request.problem,
                io: io(request.io),
                gate: gate(request.gate),
                dresidual: request.dresidual.map(|dresidual| &mut dresidual.0[..]),
                inv_std: &request.inv_std.0[..],
                gamma: request.gamma.map(|gamma| &gamma.0[..]),
                correction,
            }
            .check()?,
        )
    }
}
