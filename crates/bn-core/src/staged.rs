//! A device backend on host data: every call copies its inputs there and its outputs back.

use core::borrow::{Borrow, BorrowMut};

use crate::request::{
    Backward, BackwardApply, BackwardReduce, Checked, Correction, FixedStatistics,
    ForwardInference, ForwardTraining, InOut, Moments, Normalize, Request, RunningMut,
    SavedStatistics, SavedTensor,
};
use crate::{
    Backend, BatchNormBackend, Capabilities, Device, Element, Epilogue, Error, Feature, Gate,
    HostMemory, Memory, Scalar, ValidPositions,
};

/// Runs backend `B` on slices, whatever memory it computes in.
///
/// Made for choice at run time ([`HostBackend`](crate::HostBackend)) and for tests. The copies are the
/// price: who calls a device backend again and again keeps the data on the device and calls it
/// directly. Memory on the device is taken before the first output is written.
#[derive(Clone, Debug)]
pub struct Staged<B>(B);

impl<B: Backend> Staged<B> {
    /// The backend on host data.
    pub const fn new(backend: B) -> Self {
        Self(backend)
    }

    /// The backend itself, on its own memory.
    pub const fn inner(&self) -> &B {
        &self.0
    }

    fn up<E: Scalar>(&self, host: &[E]) -> Result<Owned<B, E>, Error> {
        self.0.memory().upload(host)
    }

    fn up_option<E: Scalar>(&self, host: Option<&[E]>) -> Result<Option<Owned<B, E>>, Error> {
        host.map(|host| self.up(host)).transpose()
    }

    /// Device memory for an output.
    fn blank<E: Scalar>(&self, host: &[E]) -> Result<Owned<B, E>, Error> {
        self.0.memory().alloc(host.len())
    }

    fn blank_option<E: Scalar>(&self, host: Option<&[E]>) -> Result<Option<Owned<B, E>>, Error> {
        host.map(|host| self.blank(host)).transpose()
    }

    fn down<E: Scalar>(&self, device: &Owned<B, E>, host: &mut [E]) -> Result<(), Error> {
        self.0.memory().read(device.borrow(), host)
    }

    fn down_option<E: Scalar>(
        &self,
        device: Option<&Owned<B, E>>,
        host: Option<&mut [E]>,
    ) -> Result<(), Error> {
        match (device, host) {
            (Some(device), Some(host)) => self.down(device, host),
            _ => Ok(()),
        }
    }

    fn up_io<T: Element>(&self, io: &InOut<'_, [T]>) -> Result<DeviceIo<B, T>, Error> {
        let input = self.up(io.input())?;
        let output = match io {
            InOut::Separate { output, .. } => Some(self.blank(output)?),
            // In place is the host's affair: a device that cannot do it has two buffers.
            InOut::InPlace(_) if self.0.capabilities().supports(Feature::InPlace) => None,
            InOut::InPlace(buffer) => Some(self.blank(buffer)?),
        };
        Ok(DeviceIo { input, output })
    }

    fn down_io<T: Element>(&self, io: &DeviceIo<B, T>, host: InOut<'_, [T]>) -> Result<(), Error> {
        let device = io.output.as_ref().unwrap_or(&io.input);
        match host {
            InOut::Separate { output, .. } | InOut::InPlace(output) => self.down(device, output),
        }
    }

    fn up_epilogue<T: Element>(
        &self,
        epilogue: &Epilogue<'_, T, HostMemory>,
    ) -> Result<DeviceEpilogue<B, T>, Error> {
        Ok(match epilogue {
            Epilogue::None => DeviceEpilogue { relu: false, residual: None, bits: None },
            Epilogue::Relu { bits } => DeviceEpilogue {
                relu: true,
                residual: None,
                bits: self.blank_option(bits.as_deref())?,
            },
            Epilogue::AddRelu { residual, bits } => DeviceEpilogue {
                relu: true,
                residual: Some(self.up(residual)?),
                bits: self.blank_option(bits.as_deref())?,
            },
        })
    }

    fn down_bits<T: Element>(
        &self,
        device: &DeviceEpilogue<B, T>,
        host: Epilogue<'_, T, HostMemory>,
    ) -> Result<(), Error> {
        match host {
            Epilogue::None => Ok(()),
            Epilogue::Relu { bits } | Epilogue::AddRelu { bits, .. } => {
                self.down_option(device.bits.as_ref(), bits)
            }
        }
    }

    fn up_mask(
        &self,
        valid: Option<&ValidPositions<'_, HostMemory>>,
    ) -> Result<Option<Owned<B, u8>>, Error> {
        self.up_option(valid.map(ValidPositions::mask))
    }

    /// The device's copy of a mask, counted as the host's is.
    fn valid_on<'a>(
        valid: Option<&ValidPositions<'_, HostMemory>>,
        mask: Option<&'a Owned<B, u8>>,
    ) -> Option<ValidPositions<'a, B::Memory>> {
        valid.zip(mask).map(|(valid, mask)| valid.with_copy(mask.borrow()))
    }

    fn up_gate<T: Element>(
        &self,
        gate: &Gate<'_, T, HostMemory>,
    ) -> Result<DeviceGate<B, T>, Error> {
        Ok(match gate {
            Gate::Open => DeviceGate::Open,
            Gate::Output(y) => DeviceGate::Output(self.up(y)?),
            Gate::Bits(bits) => DeviceGate::Bits(self.up(bits)?),
        })
    }
}

type Owned<B, E> = <<B as Backend>::Memory as Memory>::Owned<E>;

struct DeviceIo<B: Backend, T: Element> {
    input: Owned<B, T>,
    output: Option<Owned<B, T>>,
}

impl<B: Backend, T: Element> DeviceIo<B, T> {
    fn view(&mut self) -> InOut<'_, <B::Memory as Memory>::Buffer<T>> {
        match &mut self.output {
            Some(output) => InOut::new(self.input.borrow(), output.borrow_mut()),
            None => InOut::InPlace(self.input.borrow_mut()),
        }
    }
}

struct DeviceEpilogue<B: Backend, T: Element> {
    relu: bool,
    residual: Option<Owned<B, T>>,
    bits: Option<Owned<B, u8>>,
}

impl<B: Backend, T: Element> DeviceEpilogue<B, T> {
    fn view(&mut self) -> Epilogue<'_, T, B::Memory> {
        let bits = self.bits.as_mut().map(BorrowMut::borrow_mut);
        match &self.residual {
            Some(residual) => Epilogue::AddRelu { residual: residual.borrow(), bits },
            None if self.relu => Epilogue::Relu { bits },
            None => Epilogue::None,
        }
    }
}

enum DeviceGate<B: Backend, T: Element> {
    Open,
    Output(Owned<B, T>),
    Bits(Owned<B, u8>),
}

impl<B: Backend, T: Element> DeviceGate<B, T> {
    fn view(&self) -> Gate<'_, T, B::Memory> {
        match self {
            Self::Open => Gate::Open,
            Self::Output(y) => Gate::Output(y.borrow()),
            Self::Bits(bits) => Gate::Bits(bits.borrow()),
        }
    }
}

/// The device's copy of what backward finds x̂ from, of the same kind as the host's.
fn saved_on<'a, T: Element, M: Memory>(
    host: SavedTensor<'_, [T]>,
    device: &'a M::Owned<T>,
) -> SavedTensor<'a, M::Buffer<T>> {
    match host {
        SavedTensor::Input(_) => SavedTensor::Input(device.borrow()),
        SavedTensor::Normalized(_) => SavedTensor::Normalized(device.borrow()),
    }
}

impl<B: Backend> Backend for Staged<B> {
    type Memory = HostMemory;

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn device(&self) -> Device {
        self.0.device()
    }

    fn memory(&self) -> &HostMemory {
        &HostMemory
    }

    /// Those of the backend, and in place, which is a matter of where the result is copied to.
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities().with(Feature::InPlace)
    }
}

impl<T: Element, B: BatchNormBackend<T>> BatchNormBackend<T> for Staged<B> {
    fn moments(&self, request: Checked<Moments<'_, T, HostMemory>>) -> Result<(), Error> {
        let Moments { problem, x, valid, mean, m2 } = request.admit(self)?;
        let x = self.up(x)?;
        let mask = self.up_mask(valid)?;
        let valid = Self::valid_on(valid, mask.as_ref());
        let (mut device_mean, mut device_m2) = (self.blank(mean)?, self.blank(m2)?);
        self.0.moments(
            Moments {
                problem,
                x: x.borrow(),
                valid: valid.as_ref(),
                mean: device_mean.borrow_mut(),
                m2: device_m2.borrow_mut(),
            }
            .check()?,
        )?;
        self.down(&device_mean, mean)?;
        self.down(&device_m2, m2)
    }

    fn normalize(&self, request: Checked<Normalize<'_, T, HostMemory>>) -> Result<(), Error> {
        let host = request.admit(self)?;
        let mut io = self.up_io(&host.io)?;
        let (mean, inv_std) = (self.up(host.mean)?, self.up(host.inv_std)?);
        let (gamma, beta) = (self.up_option(host.gamma)?, self.up_option(host.beta)?);
        let mut epilogue = self.up_epilogue(&host.epilogue)?;
        self.0.normalize(
            Normalize {
                problem: host.problem,
                io: io.view(),
                mean: mean.borrow(),
                inv_std: inv_std.borrow(),
                gamma: gamma.as_ref().map(Borrow::borrow),
                beta: beta.as_ref().map(Borrow::borrow),
                epilogue: epilogue.view(),
            }
            .check()?,
        )?;
        self.down_bits(&epilogue, host.epilogue)?;
        self.down_io(&io, host.io)
    }

    fn backward_reduce(
        &self,
        request: Checked<BackwardReduce<'_, T, HostMemory>>,
    ) -> Result<(), Error> {
        let host = request.admit(self)?;
        let (dy, saved) = (self.up(host.dy)?, self.up(host.saved.buffer())?);
        let gate = self.up_gate(&host.gate)?;
        let (mean, inv_std) = (self.up(host.mean)?, self.up(host.inv_std)?);
        let mut sum_dy = self.blank(host.sum_dy)?;
        let mut sum_dy_xhat = self.blank(host.sum_dy_xhat)?;
        self.0.backward_reduce(
            BackwardReduce {
                problem: host.problem,
                dy: dy.borrow(),
                gate: gate.view(),
                saved: saved_on::<T, B::Memory>(host.saved, &saved),
                mean: mean.borrow(),
                inv_std: inv_std.borrow(),
                sum_dy: sum_dy.borrow_mut(),
                sum_dy_xhat: sum_dy_xhat.borrow_mut(),
            }
            .check()?,
        )?;
        self.down(&sum_dy, host.sum_dy)?;
        self.down(&sum_dy_xhat, host.sum_dy_xhat)
    }

    fn backward_apply(
        &self,
        request: Checked<BackwardApply<'_, T, HostMemory>>,
    ) -> Result<(), Error> {
        let host = request.admit(self)?;
        let mut io = self.up_io(&host.io)?;
        let gate = self.up_gate(&host.gate)?;
        let mut dresidual = self.blank_option(host.dresidual.as_deref())?;
        let (inv_std, gamma) = (self.up(host.inv_std)?, self.up_option(host.gamma)?);
        let batch = match &host.correction {
            Correction::Fixed => None,
            Correction::Batch { saved, mean, sum_dy, sum_dy_xhat, counts, valid } => Some((
                (*saved, self.up(saved.buffer())?),
                [self.up(mean)?, self.up(sum_dy)?, self.up(sum_dy_xhat)?],
                *counts,
                (*valid, self.up_mask(*valid)?),
            )),
        };
        let valid = batch
            .as_ref()
            .and_then(|(_, _, _, (valid, mask))| Self::valid_on(*valid, mask.as_ref()));
        let correction = match &batch {
            None => Correction::Fixed,
            Some(((kind, saved), [mean, sum_dy, sum_dy_xhat], counts, _)) => Correction::Batch {
                saved: saved_on::<T, B::Memory>(*kind, saved),
                mean: mean.borrow(),
                sum_dy: sum_dy.borrow(),
                sum_dy_xhat: sum_dy_xhat.borrow(),
                counts,
                valid: valid.as_ref(),
            },
        };
        self.0.backward_apply(
            BackwardApply {
                problem: host.problem,
                io: io.view(),
                gate: gate.view(),
                dresidual: dresidual.as_mut().map(BorrowMut::borrow_mut),
                inv_std: inv_std.borrow(),
                gamma: gamma.as_ref().map(Borrow::borrow),
                correction,
            }
            .check()?,
        )?;
        self.down_option(dresidual.as_ref(), host.dresidual)?;
        self.down_io(&io, host.io)
    }

    fn forward_training(
        &self,
        request: Checked<ForwardTraining<'_, T, HostMemory>>,
    ) -> Result<(), Error> {
        let host = request.admit(self)?;
        let mut io = self.up_io(&host.io)?;
        let mask = self.up_mask(host.valid)?;
        let valid = Self::valid_on(host.valid, mask.as_ref());
        let (gamma, beta) = (self.up_option(host.gamma)?, self.up_option(host.beta)?);
        let mut epilogue = self.up_epilogue(&host.epilogue)?;
        let mut running = match &host.running {
            None => None,
            Some(running) => Some((self.up(running.mean)?, self.up(running.var)?)),
        };
        let mut seen = host.running.as_ref().map(|running| *running.seen).unwrap_or_default();
        let mut mean = self.blank(host.saved.mean)?;
        let mut inv_std = self.blank(host.saved.inv_std)?;
        self.0.forward_training(
            ForwardTraining {
                problem: host.problem,
                io: io.view(),
                valid: valid.as_ref(),
                gamma: gamma.as_ref().map(Borrow::borrow),
                beta: beta.as_ref().map(Borrow::borrow),
                eps: host.eps,
                epilogue: epilogue.view(),
                running: running.as_mut().zip(host.running.as_ref()).map(
                    |((mean, var), settings)| RunningMut {
                        mean: mean.borrow_mut(),
                        var: var.borrow_mut(),
                        seen: &mut seen,
                        momentum: settings.momentum,
                        variance: settings.variance,
                    },
                ),
                single_value: host.single_value,
                saved: SavedStatistics { mean: mean.borrow_mut(), inv_std: inv_std.borrow_mut() },
            }
            .check()?,
        )?;
        self.down_bits(&epilogue, host.epilogue)?;
        self.down(&mean, host.saved.mean)?;
        self.down(&inv_std, host.saved.inv_std)?;
        self.down_io(&io, host.io)?;
        if let (Some((mean, var)), Some(running)) = (&running, host.running) {
            self.down(mean, running.mean)?;
            self.down(var, running.var)?;
            *running.seen = seen;
        }
        Ok(())
    }

    fn forward_inference(
        &self,
        request: Checked<ForwardInference<'_, T, HostMemory>>,
    ) -> Result<(), Error> {
        let host = request.admit(self)?;
        let mut io = self.up_io(&host.io)?;
        let (gamma, beta) = (self.up_option(host.gamma)?, self.up_option(host.beta)?);
        let mut epilogue = self.up_epilogue(&host.epilogue)?;
        let (running, given);
        let statistics = match host.statistics {
            FixedStatistics::Running { mean, var, scale, eps } => {
                running = (self.up(mean)?, self.up(var)?);
                let (mean, var) = (running.0.borrow(), running.1.borrow());
                FixedStatistics::Running { mean, var, scale, eps }
            }
            FixedStatistics::Given { mean, inv_std } => {
                given = (self.up(mean)?, self.up(inv_std)?);
                FixedStatistics::Given { mean: given.0.borrow(), inv_std: given.1.borrow() }
            }
        };
        let mut saved = match &host.saved {
            None => None,
            Some(saved) => Some((self.blank(saved.mean)?, self.blank(saved.inv_std)?)),
        };
        self.0.forward_inference(
            ForwardInference {
                problem: host.problem,
                io: io.view(),
                statistics,
                gamma: gamma.as_ref().map(Borrow::borrow),
                beta: beta.as_ref().map(Borrow::borrow),
                epilogue: epilogue.view(),
                saved: saved.as_mut().map(|(mean, inv_std)| SavedStatistics {
                    mean: mean.borrow_mut(),
                    inv_std: inv_std.borrow_mut(),
                }),
            }
            .check()?,
        )?;
        self.down_bits(&epilogue, host.epilogue)?;
        if let (Some((mean, inv_std)), Some(host)) = (&saved, host.saved) {
            self.down(mean, host.mean)?;
            self.down(inv_std, host.inv_std)?;
        }
        self.down_io(&io, host.io)
    }

    fn backward(&self, request: Checked<Backward<'_, T, HostMemory>>) -> Result<(), Error> {
        let host = request.admit(self)?;
        let mut io = self.up_io(&host.io)?;
        let saved = self.up(host.saved.buffer())?;
        let (mean, inv_std) = (self.up(host.mean)?, self.up(host.inv_std)?);
        let mask = self.up_mask(host.valid)?;
        let valid = Self::valid_on(host.valid, mask.as_ref());
        let (gamma, gate) = (self.up_option(host.gamma)?, self.up_gate(&host.gate)?);
        let mut dgamma = self.blank_option(host.dgamma.as_deref())?;
        let mut dbeta = self.blank_option(host.dbeta.as_deref())?;
        let mut dresidual = self.blank_option(host.dresidual.as_deref())?;
        self.0.backward(
            Backward {
                problem: host.problem,
                io: io.view(),
                saved: saved_on::<T, B::Memory>(host.saved, &saved),
                mean: mean.borrow(),
                inv_std: inv_std.borrow(),
                dependence: host.dependence,
                valid: valid.as_ref(),
                gamma: gamma.as_ref().map(Borrow::borrow),
                gate: gate.view(),
                dgamma: dgamma.as_mut().map(BorrowMut::borrow_mut),
                dbeta: dbeta.as_mut().map(BorrowMut::borrow_mut),
                dresidual: dresidual.as_mut().map(BorrowMut::borrow_mut),
            }
            .check()?,
        )?;
        self.down_option(dgamma.as_ref(), host.dgamma)?;
        self.down_option(dbeta.as_ref(), host.dbeta)?;
        self.down_option(dresidual.as_ref(), host.dresidual)?;
        self.down_io(&io, host.io)
    }
}
