//! The calls, made on a backend in its own memory.

use std::sync::Arc;

use bn_core::{
    Backward, BackwardApply, BackwardReduce, BatchNormBackend, Capabilities, ChannelMoments,
    Correction, Counts, Element, Epilogue, Error, FixedStatistics, ForwardInference,
    ForwardTraining, Gate, Memory, Moments, Normalize, Problem, Request, RunningMut,
    SavedStatistics, SavedTensor, Seen, ValidPositions,
};

use super::buffers::{Buffers, Collector, Operand, Output, attempt, view, view_mut};
use super::{
    ApplyCall, ApplyOut, BackwardCall, BackwardOut, Called, Fixed, ForwardOut, From, How,
    InferenceCall, MaskOf, MomentsCall, MomentsOut, NormalizeCall, NormalizeOut, Operations,
    Passed, ReduceCall, ReduceOut, Reply, Running, Tail, TrainingCall, Update,
};
use crate::place::Place;

/// A backend and the place of its buffers.
pub(crate) struct Rig<B, P> {
    backend: Arc<B>,
    place: P,
}

impl<B, P> Rig<B, P> {
    pub(crate) fn new(backend: Arc<B>, place: P) -> Self {
        Self { backend, place }
    }
}

/// The operands of an epilogue.
struct HeldTail<M: Memory, P: Place<M>, T: Element> {
    relu: bool,
    residual: Option<Operand<M, P, T>>,
    bits: Option<Output<M, P, u8>>,
}

impl<M: Memory, P: Place<M>, T: Element> HeldTail<M, P, T> {
    fn view(&mut self) -> Epilogue<'_, T, M> {
        let bits = view_mut(&mut self.bits);
        match &self.residual {
            Some(residual) => Epilogue::AddRelu { residual: residual.view(), bits },
            None if self.relu => Epilogue::Relu { bits },
            None => Epilogue::None,
        }
    }
}

/// The operand of a gate.
enum HeldGate<M: Memory, P: Place<M>, T: Element> {
    Open,
    Output(Operand<M, P, T>),
    Bits(Operand<M, P, u8>),
}

impl<M: Memory, P: Place<M>, T: Element> HeldGate<M, P, T> {
    fn view(&self) -> Gate<'_, T, M> {
        match self {
            Self::Open => Gate::Open,
            Self::Output(y) => Gate::Output(y.view()),
            Self::Bits(bits) => Gate::Bits(bits.view()),
        }
    }
}

/// The operand that x̂ comes from.
struct HeldFrom<M: Memory, P: Place<M>, T: Element> {
    normalized: bool,
    values: Operand<M, P, T>,
}

impl<M: Memory, P: Place<M>, T: Element> HeldFrom<M, P, T> {
    fn view(&self) -> SavedTensor<'_, M::Buffer<T>> {
        let values = self.values.view();
        if self.normalized { SavedTensor::Normalized(values) } else { SavedTensor::Input(values) }
    }
}

impl<M: Memory, P: Place<M>> Buffers<'_, M, P> {
    fn tail<T: Element>(
        &self,
        problem: &Problem,
        tail: Tail<'_, T>,
    ) -> Result<HeldTail<M, P, T>, String> {
        let (relu, residual, bits) = match tail {
            Tail::None => (false, None, false),
            Tail::Relu { bits } => (true, None, bits),
            Tail::AddRelu { residual, bits } => (true, Some(residual), bits),
        };
        let residual = self.option("residual", residual)?;
        Ok(HeldTail { relu, residual, bits: self.output_if(bits, "bits", problem.bits_len())? })
    }

    fn gate<T: Element>(&self, passed: Passed<'_, T>) -> Result<HeldGate<M, P, T>, String> {
        Ok(match passed {
            Passed::All => HeldGate::Open,
            Passed::Output(y) => HeldGate::Output(self.input("y", y)?),
            Passed::Bits(bits) => HeldGate::Bits(self.input("bits", bits)?),
        })
    }

    fn saved<T: Element>(&self, from: From<'_, T>) -> Result<HeldFrom<M, P, T>, String> {
        let (normalized, name, values) = match from {
            From::Input(x) => (false, "x", x),
            From::Normalized(x_hat) => (true, "x̂", x_hat),
        };
        Ok(HeldFrom { normalized, values: self.input(name, values)? })
    }

    fn mask(&self, mask: Option<MaskOf<'_>>) -> Result<Option<Operand<M, P, u8>>, String> {
        self.option("mask", mask.map(|mask| mask.bytes))
    }

    fn collector(&self) -> Collector<'_, M, P> {
        Collector { buffers: self, touched: None }
    }
}

/// The mask of a call as the request takes it, checked against the problem that the call names.
fn valid<'a, M: Memory, P: Place<M>>(
    memory: &M,
    mask: Option<MaskOf<'_>>,
    held: &'a Option<Operand<M, P, u8>>,
) -> Result<Option<ValidPositions<'a, M>>, Error> {
    let pair = mask.zip(view(held));
    pair.map(|(mask, held)| ValidPositions::new(memory, &mask.problem, held)).transpose()
}

impl<B, P> Rig<B, P> {
    fn buffers<T: Element>(&self, how: How) -> Buffers<'_, B::Memory, P>
    where
        B: BatchNormBackend<T>,
    {
        Buffers { memory: self.backend.memory(), place: &self.place, how }
    }
}

impl<T: Element, B: BatchNormBackend<T>, P: Place<B::Memory>> Operations<T> for Rig<B, P> {
    fn name(&self) -> &'static str {
        self.backend.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    fn has_slices(&self) -> bool {
        P::SHIFTS
    }

    fn moments(&self, call: &MomentsCall<'_, T>, how: How) -> Called<MomentsOut> {
        let MomentsCall { problem, x, mask } = *call;
        let buffers = self.buffers::<T>(how);
        let (x, held_mask) = (buffers.input("x", x)?, buffers.mask(mask)?);
        let mut mean = buffers.output("mean", problem.statistics())?;
        let mut m2 = buffers.output("m2", problem.statistics())?;
        let outcome = attempt(|| {
            let valid = valid(buffers.memory, mask, &held_mask)?;
            let (mean, m2) = (mean.view_mut(), m2.view_mut());
            let request = Moments { problem, x: x.view(), valid: valid.as_ref(), mean, m2 };
            self.backend.moments(request.check()?)
        });
        let mut collector = buffers.collector();
        let outputs = MomentsOut { mean: collector.take(mean)?, m2: collector.take(m2)? };
        Ok(Reply { outcome, outputs, touched: collector.touched })
    }

    fn normalize(&self, call: &NormalizeCall<'_, T>, how: How) -> Called<NormalizeOut<T>> {
        let NormalizeCall { problem, x, .. } = *call;
        let buffers = self.buffers::<T>(how);
        let mut io = buffers.io(["x", "y"], x, problem.elements())?;
        let mean = buffers.input("mean", call.mean)?;
        let inv_std = buffers.input("inv_std", call.inv_std)?;
        let gamma = buffers.option("gamma", call.gamma)?;
        let beta = buffers.option("beta", call.beta)?;
        let mut tail = buffers.tail(&problem, call.tail)?;
        let outcome = attempt(|| {
            let request = Normalize {
                problem,
                io: io.view(),
                mean: mean.view(),
                inv_std: inv_std.view(),
                gamma: view(&gamma),
                beta: view(&beta),
                epilogue: tail.view(),
            };
            self.backend.normalize(request.check()?)
        });
        let mut collector = buffers.collector();
        let outputs =
            NormalizeOut { y: collector.take_io(io)?, bits: collector.take_option(tail.bits)? };
        Ok(Reply { outcome, outputs, touched: collector.touched })
    }

    fn reduce(&self, call: &ReduceCall<'_, T>, how: How) -> Called<ReduceOut> {
        let ReduceCall { problem, .. } = *call;
        let buffers = self.buffers::<T>(how);
        let dy = buffers.input("dy", call.dy)?;
        let (gate, from) = (buffers.gate(call.passed)?, buffers.saved(call.from)?);
        let mean = buffers.input("mean", call.mean)?;
        let inv_std = buffers.input("inv_std", call.inv_std)?;
        let mut sum_dy = buffers.output("sum_dy", problem.statistics())?;
        let mut sum_dy_xhat = buffers.output("sum_dy_xhat", problem.statistics())?;
        let outcome = attempt(|| {
            let request = BackwardReduce {
                problem,
                dy: dy.view(),
                gate: gate.view(),
                saved: from.view(),
                mean: mean.view(),
                inv_std: inv_std.view(),
                sum_dy: sum_dy.view_mut(),
                sum_dy_xhat: sum_dy_xhat.view_mut(),
            };
            self.backend.backward_reduce(request.check()?)
        });
        let mut collector = buffers.collector();
        let outputs = ReduceOut {
            sum_dy: collector.take(sum_dy)?,
            sum_dy_xhat: collector.take(sum_dy_xhat)?,
        };
        Ok(Reply { outcome, outputs, touched: collector.touched })
    }

    fn apply(&self, call: &ApplyCall<'_, T>, how: How) -> Called<ApplyOut<T>> {
        let ApplyCall { problem, .. } = *call;
        let buffers = self.buffers::<T>(how);
        let mut io = buffers.io(["dy", "dx"], call.dy, problem.elements())?;
        let gate = buffers.gate(call.passed)?;
        let mut dresidual = buffers.output_if(call.dresidual, "dresidual", problem.elements())?;
        let inv_std = buffers.input("inv_std", call.inv_std)?;
        let gamma = buffers.option("gamma", call.gamma)?;
        let sums = match &call.sums {
            None => None,
            Some(sums) => Some((
                buffers.saved(sums.from)?,
                buffers.input("mean", sums.mean)?,
                buffers.input("sum_dy", sums.sum_dy)?,
                buffers.input("sum_dy_xhat", sums.sum_dy_xhat)?,
                buffers.mask(sums.mask)?,
            )),
        };
        let outcome = attempt(|| {
            let (counts, positions);
            let correction = match call.sums.as_ref().zip(sums.as_ref()) {
                None => Correction::Fixed,
                Some((sums, (saved, mean, sum_dy, sum_dy_xhat, mask))) => {
                    counts = Counts::per_group(sums.counts)?;
                    positions = valid(buffers.memory, sums.mask, mask)?;
                    Correction::Batch {
                        saved: saved.view(),
                        mean: mean.view(),
                        sum_dy: sum_dy.view(),
                        sum_dy_xhat: sum_dy_xhat.view(),
                        counts: &counts,
                        valid: positions.as_ref(),
                    }
                }
            };
            let request = BackwardApply {
                problem,
                io: io.view(),
                gate: gate.view(),
                dresidual: view_mut(&mut dresidual),
                inv_std: inv_std.view(),
                gamma: view(&gamma),
                correction,
            };
            self.backend.backward_apply(request.check()?)
        });
        let mut collector = buffers.collector();
        let outputs =
            ApplyOut { dx: collector.take_io(io)?, dresidual: collector.take_option(dresidual)? };
        Ok(Reply { outcome, outputs, touched: collector.touched })
    }

    fn training(&self, call: &TrainingCall<'_, T>, how: How) -> Called<ForwardOut<T>> {
        let TrainingCall { problem, x, mask, .. } = *call;
        let buffers = self.buffers::<T>(how);
        let mut io = buffers.io(["x", "y"], x, problem.elements())?;
        let held_mask = buffers.mask(mask)?;
        let gamma = buffers.option("gamma", call.gamma)?;
        let beta = buffers.option("beta", call.beta)?;
        let mut tail = buffers.tail(&problem, call.tail)?;
        let mut running = held_running(&buffers, call.update.as_ref())?;
        let seen_before = call.update.map(|update| update.before.seen).unwrap_or_default();
        let mut seen = seen_before;
        let mut mean = buffers.output("save_mean", problem.statistics())?;
        let mut inv_std = buffers.output("save_inv_std", problem.statistics())?;
        let outcome = attempt(|| {
            let valid = valid(buffers.memory, mask, &held_mask)?;
            let running = running.as_mut().zip(call.update);
            let request = ForwardTraining {
                problem,
                io: io.view(),
                valid: valid.as_ref(),
                gamma: view(&gamma),
                beta: view(&beta),
                eps: call.eps,
                epilogue: tail.view(),
                running: running.map(|(held, update)| running_mut(held, update, &mut seen)),
                single_value: call.single_value,
                saved: SavedStatistics { mean: mean.view_mut(), inv_std: inv_std.view_mut() },
            };
            self.backend.forward_training(request.check()?)
        });
        let mut collector = buffers.collector();
        let (y, bits) = (collector.take_io(io)?, collector.take_option(tail.bits)?);
        let (mean, inv_std) = (collector.take(mean)?, collector.take(inv_std)?);
        let running = match running {
            None => None,
            Some((mean, var)) => {
                let (mean, var) = (collector.take(mean)?, collector.take(var)?);
                Some(Running { mean, var, seen })
            }
        };
        let touched = collector.touched.or((seen != seen_before).then_some("seen"));
        let outputs = ForwardOut { y, bits, mean, inv_std, running };
        Ok(Reply { outcome, outputs, touched })
    }

    fn inference(&self, call: &InferenceCall<'_, T>, how: How) -> Called<ForwardOut<T>> {
        let InferenceCall { problem, x, .. } = *call;
        let buffers = self.buffers::<T>(how);
        let mut io = buffers.io(["x", "y"], x, problem.elements())?;
        let (running, given) = match call.fixed {
            Fixed::Running { mean, var, .. } => {
                let mean = buffers.input("running_mean", mean)?;
                (Some((mean, buffers.input("running_var", var)?)), None)
            }
            Fixed::Given { mean, inv_std } => {
                let mean = buffers.input("mean", mean)?;
                (None, Some((mean, buffers.input("inv_std", inv_std)?)))
            }
        };
        let gamma = buffers.option("gamma", call.gamma)?;
        let beta = buffers.option("beta", call.beta)?;
        let mut tail = buffers.tail(&problem, call.tail)?;
        let groups = if running.is_some() { 1 } else { problem.groups() };
        let mut mean = buffers.output("save_mean", groups * problem.channels())?;
        let mut inv_std = buffers.output("save_inv_std", groups * problem.channels())?;
        let outcome = attempt(|| {
            let statistics = match (call.fixed, &running, &given) {
                (Fixed::Running { scale, eps, .. }, Some((mean, var)), _) => {
                    FixedStatistics::Running { mean: mean.view(), var: var.view(), scale, eps }
                }
                (_, _, Some((mean, inv_std))) => {
                    FixedStatistics::Given { mean: mean.view(), inv_std: inv_std.view() }
                }
                _ => unreachable!("either kind of statistics was placed"),
            };
            let request = ForwardInference {
                problem,
                io: io.view(),
                statistics,
                gamma: view(&gamma),
                beta: view(&beta),
                epilogue: tail.view(),
                saved: Some(SavedStatistics { mean: mean.view_mut(), inv_std: inv_std.view_mut() }),
            };
            self.backend.forward_inference(request.check()?)
        });
        let mut collector = buffers.collector();
        let (y, bits) = (collector.take_io(io)?, collector.take_option(tail.bits)?);
        let (mean, inv_std) = (collector.take(mean)?, collector.take(inv_std)?);
        let outputs = ForwardOut { y, bits, mean, inv_std, running: None };
        Ok(Reply { outcome, outputs, touched: collector.touched })
    }

    fn backward(&self, call: &BackwardCall<'_, T>, how: How) -> Called<BackwardOut<T>> {
        let BackwardCall {
            problem, mask, wanted: [wants_gamma, wants_beta, wants_residual], ..
        } = *call;
        let buffers = self.buffers::<T>(how);
        let mut io = buffers.io(["dy", "dx"], call.dy, problem.elements())?;
        let (from, gate) = (buffers.saved(call.from)?, buffers.gate(call.passed)?);
        let mean = buffers.input("mean", call.mean)?;
        let inv_std = buffers.input("inv_std", call.inv_std)?;
        let (held_mask, gamma) = (buffers.mask(mask)?, buffers.option("gamma", call.gamma)?);
        let mut dgamma = buffers.output_if(wants_gamma, "dgamma", problem.channels())?;
        let mut dbeta = buffers.output_if(wants_beta, "dbeta", problem.channels())?;
        let mut dresidual = buffers.output_if(wants_residual, "dresidual", problem.elements())?;
        let outcome = attempt(|| {
            let valid = valid(buffers.memory, mask, &held_mask)?;
            let request = Backward {
                problem,
                io: io.view(),
                saved: from.view(),
                mean: mean.view(),
                inv_std: inv_std.view(),
                dependence: call.dependence,
                valid: valid.as_ref(),
                gamma: view(&gamma),
                gate: gate.view(),
                dgamma: view_mut(&mut dgamma),
                dbeta: view_mut(&mut dbeta),
                dresidual: view_mut(&mut dresidual),
            };
            self.backend.backward(request.check()?)
        });
        let mut collector = buffers.collector();
        let outputs = BackwardOut {
            dx: collector.take_io(io)?,
            dgamma: collector.take_option(dgamma)?,
            dbeta: collector.take_option(dbeta)?,
            dresidual: collector.take_option(dresidual)?,
        };
        Ok(Reply { outcome, outputs, touched: collector.touched })
    }

    fn absorb(
        &self,
        moments: &[ChannelMoments],
        update: Update<'_, T::Param>,
        how: How,
    ) -> Called<Running<T::Param>> {
        let buffers = self.buffers::<T>(how);
        let mut held = held_running(&buffers, Some(&update))?.expect("there is an update");
        let mut seen = update.before.seen;
        let request: RunningMut<'_, T, B::Memory> = running_mut(&mut held, update, &mut seen);
        let outcome = request.absorb(buffers.memory, moments);
        let mut collector = buffers.collector();
        let (mean, var) = (collector.take(held.0)?, collector.take(held.1)?);
        let touched = collector.touched.or((seen != update.before.seen).then_some("seen"));
        Ok(Reply { outcome, outputs: Running { mean, var, seen }, touched })
    }
}

type HeldRunning<M, P, E> = (Output<M, P, E>, Output<M, P, E>);

fn held_running<M: Memory, P: Place<M>, E: Element>(
    buffers: &Buffers<'_, M, P>,
    update: Option<&Update<'_, E>>,
) -> Result<Option<HeldRunning<M, P, E>>, String> {
    let Some(update) = update else { return Ok(None) };
    let mean = buffers.update("running_mean", &update.before.mean)?;
    Ok(Some((mean, buffers.update("running_var", &update.before.var)?)))
}

fn running_mut<'a, T: Element, M: Memory, P: Place<M>>(
    held: &'a mut HeldRunning<M, P, T::Param>,
    update: Update<'_, T::Param>,
    seen: &'a mut Seen,
) -> RunningMut<'a, T, M> {
    let (mean, var) = (held.0.view_mut(), held.1.view_mut());
    RunningMut { mean, var, seen, momentum: update.momentum, variance: update.variance }
}
