//! Parts that do not fit in shared memory, which only large problems have: one launch of clusters and three launches
//! give the same bits. The suite compares them on small problems. And errors planted in what only clusters do are found.
//!
//! Where the build found no C++ compiler these tests are not there; `conformance` says why.
#![cfg(emulated)]

use bn_core::{
    Backend as _, Backward, BatchNormBackend, Element, Epilogue, Error, ForwardTraining, Gate,
    InOut, Layout, Memory as _, Momentum, Problem, Request as _, RunningMut, RunningVariance,
    SavedStatistics, SavedTensor, Seen, bf16,
};
use bn_cuda::CudaBackend;
use bn_cuda_emulation::{Emulator, Order, Planted};

/// The bits of all that a training step and its backward write.
fn step<T: Element>(
    backend: &CudaBackend<Emulator>,
    problem: Problem,
) -> Result<Vec<Vec<u8>>, Error> {
    let memory = backend.memory();
    let len = problem.elements();
    let values = |seed: usize| -> Vec<T> {
        let noise = |index: usize| (index * 2_654_435_761 + seed * 40_503) >> 7;
        (0..len).map(|index| T::from_f64((noise(index) % 4096) as f64 / 512.0 - 3.0)).collect()
    };
    let parameters =
        |value: f64| memory.upload(&vec![T::Param::from_f64(value); problem.channels()]);
    let (x, residual, dy) =
        (memory.upload(&values(1))?, memory.upload(&values(2))?, memory.upload(&values(3))?);
    let (mut y, mut dx, mut dresidual) =
        (memory.alloc::<T>(len)?, memory.alloc::<T>(len)?, memory.alloc::<T>(len)?);
    let mut bits = memory.alloc::<u8>(problem.bits_len())?;
    let (gamma, beta) = (parameters(1.25)?, parameters(-0.5)?);
    let (mut running_mean, mut running_var) = (parameters(0.5)?, parameters(2.0)?);
    let (mut dgamma, mut dbeta) = (parameters(0.0)?, parameters(0.0)?);
    let (mut mean, mut inv_std) =
        (memory.alloc::<f64>(problem.statistics())?, memory.alloc::<f64>(problem.statistics())?);
    let mut seen = Seen::default();
    let request = ForwardTraining {
        gamma: Some(&gamma),
        beta: Some(&beta),
        running: Some(RunningMut {
            mean: &mut running_mean,
            var: &mut running_var,
            seen: &mut seen,
            momentum: Momentum::New(0.1),
            variance: RunningVariance::Unbiased,
        }),
        epilogue: Epilogue::AddRelu { residual: &residual, bits: Some(&mut bits) },
        ..ForwardTraining::new(
            problem,
            InOut::new(&x, &mut y),
            SavedStatistics { mean: &mut mean, inv_std: &mut inv_std },
        )
    };
    backend.forward_training(request.check()?)?;
    let request = Backward {
        gamma: Some(&gamma),
        gate: Gate::Bits(&bits),
        dgamma: Some(&mut dgamma),
        dbeta: Some(&mut dbeta),
        dresidual: Some(&mut dresidual),
        ..Backward::new(problem, InOut::new(&dy, &mut dx), SavedTensor::Input(&x), &mean, &inv_std)
    };
    backend.backward(request.check()?)?;
    let bytes = |tensors: [&bn_cuda::Buffer<T, Emulator>; 3]| -> Result<Vec<Vec<u8>>, Error> {
        tensors
            .into_iter()
            .map(|tensor| Ok(bytemuck::cast_slice(&memory.download(tensor)?).to_vec()))
            .collect()
    };
    let mut all = bytes([&y, &dx, &dresidual])?;
    for parameter in [&running_mean, &running_var, &dgamma, &dbeta] {
        all.push(bytemuck::cast_slice(&memory.download(parameter)?).to_vec());
    }
    for statistic in [&mean, &inv_std] {
        all.push(bytemuck::cast_slice(&memory.download(statistic)?).to_vec());
    }
    all.push(memory.download(&bits)?);
    Ok(all)
}

fn one_launch_or_three<T: Element>(dims: &[usize], layout: Layout) {
    let problem = Problem::new(dims, layout).unwrap();
    let backend = Emulator::backend(Order::Seeded(3)).unwrap();
    let at_once = step::<T>(&backend, problem).unwrap();
    let in_three = step::<T>(&backend.without_clusters(), problem).unwrap();
    for (number, (one, three)) in at_once.iter().zip(&in_three).enumerate() {
        assert!(one == three, "output {number} of {dims:?} {layout} {}", T::DTYPE);
    }
}

#[test]
fn parts_that_fit_half_in_channels_first() {
    one_launch_or_three::<f32>(&[40, 1, 88, 88], Layout::ChannelsFirst);
    // Rows that are no whole units.
    one_launch_or_three::<f32>(&[100, 2, 5, 157], Layout::ChannelsFirst);
    one_launch_or_three::<bf16>(&[130, 1, 56, 56], Layout::ChannelsFirst);
}

#[test]
fn parts_that_fit_half_in_channels_last() {
    one_launch_or_three::<f32>(&[32, 14, 14, 36], Layout::ChannelsLast);
    one_launch_or_three::<f64>(&[6000, 16], Layout::ChannelsLast);
}

#[test]
fn a_block_that_does_not_wait_for_its_cluster_and_units_that_have_not_arrived_are_found() {
    let problem = Problem::new(&[40, 2, 44, 44], Layout::ChannelsFirst).unwrap();
    let right = step::<f32>(&Emulator::backend(Order::Forward).unwrap(), problem).unwrap();
    for planted in [Planted::Alone, Planted::Early] {
        let orders = [Order::Forward, Order::Reverse, Order::Seeded(1)];
        let is_found = orders.map(|order| {
            let backend = Emulator::with_planted(order, planted).unwrap();
            step::<f32>(&backend, problem).unwrap() != right
        });
        assert!(is_found.contains(&true), "{planted:?}");
    }
}
