//! Errors in the normalisation and in the running statistics.

use bn_core::{
    BatchNormBackend as _, Element, Epilogue, Error, FixedStatistics, ForwardInference,
    ForwardTraining, HostMemory, InOut, Momentum, Normalize, Request as _, RunningVariance,
};
use bn_naive::NaiveBackend;

use crate::backend::Wrong;
use crate::caught;

/// The biased variance in the running one, where the unbiased was asked for.
struct BiasedRunningVariance;

impl Wrong for BiasedRunningVariance {
    fn training<T: Element>(&self, request: &mut ForwardTraining<'_, T, HostMemory>) {
        if let Some(running) = &mut request.running {
            running.variance = RunningVariance::Biased;
        }
    }
}

#[test]
fn biased_running_variance() {
    caught(BiasedRunningVariance, &["running-update/new-0.1/unbiased", "golden/", "reference/"]);
}

/// Running statistics that stay as they were.
struct RunningUpdateSkipped;

impl Wrong for RunningUpdateSkipped {
    fn training<T: Element>(&self, request: &mut ForwardTraining<'_, T, HostMemory>) {
        request.running = None;
    }
}

#[test]
fn running_update_skipped() {
    caught(RunningUpdateSkipped, &["exact/", "running-update/", "golden/"]);
}

/// PyTorch's momentum taken for Keras'.
struct MomentumOfTheOtherConvention;

impl Wrong for MomentumOfTheOtherConvention {
    fn training<T: Element>(&self, request: &mut ForwardTraining<'_, T, HostMemory>) {
        if let Some(running) = &mut request.running
            && let Momentum::New(weight) = running.momentum
        {
            running.momentum = Momentum::Old(weight);
        }
    }
}

#[test]
fn momentum_of_the_other_convention() {
    caught(MomentumOfTheOtherConvention, &["running-update/new-0.1/", "golden/"]);
}

/// Caffe's sums taken for the statistics.
struct FactorForgotten;

impl Wrong for FactorForgotten {
    fn inference<T: Element>(&self, request: &mut ForwardInference<'_, T, HostMemory>) {
        if let FixedStatistics::Running { scale, .. } = &mut request.statistics {
            *scale = 1.0;
        }
    }
}

#[test]
fn factor_forgotten() {
    caught(FactorForgotten, &["caffe-sum-and-factor"]);
}

/// The last element left as it was, as by a loop without a tail.
struct TailUnwritten;

impl Wrong for TailUnwritten {
    fn normalize<T: Element>(&self, request: Normalize<'_, T, HostMemory>) -> Result<(), Error> {
        let Normalize { problem, io, mean, inv_std, gamma, beta, epilogue } = request;
        let InOut::Separate { input, output } = io else {
            let request = Normalize { problem, io, mean, inv_std, gamma, beta, epilogue };
            return NaiveBackend.normalize(request.check()?);
        };
        let mut whole = output.to_vec();
        let io = InOut::new(input, &mut whole[..]);
        let request = Normalize { problem, io, mean, inv_std, gamma, beta, epilogue };
        NaiveBackend.normalize(request.check()?)?;
        let written = whole.len() - 1;
        output[..written].copy_from_slice(&whole[..written]);
        Ok(())
    }
}

#[test]
fn tail_unwritten() {
    caught(TailUnwritten, &["operation/", "reference/", "network/", "shape/", "odd-rows"]);
}

/// y = x·alpha + shift, which is one operation less and cancels where the mean is large.
struct AlphaAndShift;

impl Wrong for AlphaAndShift {
    fn normalize<T: Element>(&self, request: Normalize<'_, T, HostMemory>) -> Result<(), Error> {
        let Normalize { problem, mut io, mean, inv_std, gamma, beta, epilogue } = request;
        if matches!(epilogue, Epilogue::None) && gamma.is_none() && beta.is_none() {
            let x = io.input().to_vec();
            let (InOut::Separate { output: y, .. } | InOut::InPlace(y)) = io.reborrow();
            for n in 0..problem.batch() {
                for c in 0..problem.channels() {
                    for s in 0..problem.spatial() {
                        let of = problem.statistic(n, c);
                        let alpha = inv_std[of] as f32;
                        let shift = (-mean[of] * inv_std[of]) as f32;
                        let at = problem.offset(n, c, s);
                        y[at] = T::from_f64(f64::from(x[at].to_f64() as f32 * alpha + shift));
                    }
                }
            }
            return Ok(());
        }
        let request = Normalize { problem, io, mean, inv_std, gamma, beta, epilogue };
        NaiveBackend.normalize(request.check()?)
    }
}

#[test]
fn alpha_and_shift() {
    caught(AlphaAndShift, &["channels-first/large-mean", "channels-last/large-mean", "/constant"]);
}

/// In place, what has been normalised already is normalised once more.
struct InPlaceTwice;

impl Wrong for InPlaceTwice {
    fn normalize<T: Element>(&self, request: Normalize<'_, T, HostMemory>) -> Result<(), Error> {
        let Normalize { problem, mut io, mean, inv_std, gamma, beta, epilogue } = request;
        if let InOut::InPlace(buffer) = &mut io
            && matches!(epilogue, Epilogue::None)
        {
            let io = InOut::InPlace(&mut **buffer);
            let (mean, epilogue) = (mean, Epilogue::None);
            let once = Normalize { problem, io, mean, inv_std, gamma, beta, epilogue };
            NaiveBackend.normalize(once.check()?)?;
        }
        let request = Normalize { problem, io, mean, inv_std, gamma, beta, epilogue };
        NaiveBackend.normalize(request.check()?)
    }
}

#[test]
fn in_place_twice() {
    caught(InPlaceTwice, &["in-place"]);
}

/// Activation bits without the padding of rows.
struct BitsWithoutPadding;

impl Wrong for BitsWithoutPadding {
    fn normalize<T: Element>(&self, request: Normalize<'_, T, HostMemory>) -> Result<(), Error> {
        let Normalize { problem, mut io, mean, inv_std, gamma, beta, mut epilogue } = request;
        let right = Normalize {
            problem,
            io: io.reborrow(),
            mean,
            inv_std,
            gamma,
            beta,
            epilogue: epilogue.reborrow(),
        };
        NaiveBackend.normalize(right.check()?)?;
        if let Epilogue::Relu { bits: Some(bits) } | Epilogue::AddRelu { bits: Some(bits), .. } =
            epilogue
        {
            let (InOut::Separate { output: y, .. } | InOut::InPlace(y)) = io;
            bits.fill(0);
            for (index, y) in y.iter().enumerate() {
                bits[index / 8] |= u8::from(y.to_f64() > 0.0) << (index % 8);
            }
        }
        Ok(())
    }
}

#[test]
fn bits_without_padding() {
    caught(BitsWithoutPadding, &["operation/", "bits"]);
}

/// A residual that is added behind the ReLU.
struct ResidualBehindTheRelu;

impl Wrong for ResidualBehindTheRelu {
    fn normalize<T: Element>(&self, request: Normalize<'_, T, HostMemory>) -> Result<(), Error> {
        let Normalize { problem, mut io, mean, inv_std, gamma, beta, epilogue } = request;
        let (epilogue, residual) = match epilogue {
            Epilogue::AddRelu { residual, bits } => (Epilogue::Relu { bits }, Some(residual)),
            epilogue => (epilogue, None),
        };
        let reborrowed = io.reborrow();
        let request = Normalize { problem, io: reborrowed, mean, inv_std, gamma, beta, epilogue };
        NaiveBackend.normalize(request.check()?)?;
        let (InOut::Separate { output: y, .. } | InOut::InPlace(y)) = io;
        for (y, residual) in y.iter_mut().zip(residual.into_iter().flatten()) {
            *y = T::from_f64(y.to_f64() + residual.to_f64());
        }
        Ok(())
    }
}

#[test]
fn residual_behind_the_relu() {
    caught(ResidualBehindTheRelu, &["add-relu", "operation/"]);
}
