//! What the layer allocates, counted by the allocator: the output, and no hidden copy beside it.

mod tensors;

use std::sync::{Mutex, MutexGuard, PoisonError};

use bn_candle::{BatchNorm, Layout};
use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{ModuleT, VarBuilder, VarMap};
use peak_alloc::PeakAlloc;
use tensors::{uniform, variable};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The tests take turns: the allocator counts for the whole process.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

const DIMS: [usize; 4] = [8, 32, 28, 28];
const ELEMENTS: usize = 8 * 32 * 28 * 28;
/// What may come on top of whole tensors: statistics, scratch memory of the kernels, nodes of the graph.
const SMALL: f64 = 0.1;

fn layer() -> Result<BatchNorm> {
    let zeros = Tensor::zeros(DIMS[1], DType::F32, &Device::Cpu)?;
    let ones = zeros.ones_like()?;
    let layer = BatchNorm::new(DIMS[1], zeros.copy()?, ones.copy()?, ones, zeros, 1e-5)?;
    // Pools and tables that are made once are not what is counted here.
    layer.forward_train(&uniform(&DIMS, 0.5, 3.0, 1)?.to_dtype(DType::F32)?)?;
    Ok(layer)
}

/// The peak of the heap while something runs and what stays of it, above what was there, in tensors of
/// the size of x.
fn tensors_taken<R>(bytes_of_x: usize, run: impl FnOnce() -> Result<R>) -> Result<[f64; 2]> {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let result = run()?;
    let in_tensors = |bytes: usize| bytes.saturating_sub(before) as f64 / bytes_of_x as f64;
    let taken = [in_tensors(HEAP.peak_usage()), in_tensors(HEAP.current_usage())];
    drop(result);
    Ok(taken)
}

#[test]
fn forward_takes_its_output_and_no_more() -> Result<()> {
    let _turn = turn();
    let layer = layer()?;
    let last = layer.clone().with_layout(Layout::ChannelsLast);
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let bytes = ELEMENTS * dtype.size_in_bytes();
        let x = variable(&DIMS, 0.5, 3.0, 1, dtype)?;
        let [n, c, h, w] = DIMS;
        let lies_last = variable(&[n, h, w, c], 0.5, 3.0, 1, dtype)?;
        let swapped = variable(&[c, n, h, w], 0.5, 3.0, 1, dtype)?;
        let views = [
            ("channels-first", &layer, x.as_tensor().clone()),
            ("channels-last", &last, lies_last.as_tensor().clone()),
            ("channels-last, seen channels-first", &layer, lies_last.permute((0, 3, 1, 2))?),
            ("channels-first, seen channels-last", &last, x.permute((0, 2, 3, 1))?),
            ("batch and channels swapped", &layer, swapped.transpose(0, 1)?),
        ];
        for (name, layer, x) in views {
            for train in [true, false] {
                let [peak, kept] = tensors_taken(bytes, || layer.forward_t(&x, train))?;
                assert!((1.0..1.0 + SMALL).contains(&peak), "{name} {dtype:?} {train}: {peak}");
                assert!((1.0..1.0 + SMALL).contains(&kept), "{name} {dtype:?} {train}: {kept}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_view_with_gaps_costs_one_copy() -> Result<()> {
    let _turn = turn();
    let layer = layer()?;
    let [n, c, h, w] = DIMS;
    let x = variable(&[n, c, h, w + 2], 0.5, 3.0, 1, DType::F32)?;
    let view = x.narrow(3, 1, w)?;
    let [peak, _] = tensors_taken(ELEMENTS * 4, || layer.forward_train(&view))?;
    assert!((2.0..2.0 + SMALL).contains(&peak), "{peak}");
    Ok(())
}

#[test]
fn a_fused_relu_keeps_one_bit_for_each_element() -> Result<()> {
    let _turn = turn();
    let layer = layer()?;
    let x = variable(&DIMS, 0.5, 3.0, 1, DType::F32)?;
    let residual = variable(&DIMS, 0.5, 3.0, 2, DType::F32)?;
    let bits = 1.0 / 32.0;
    let relu = layer.clone().with_relu();
    let [_, kept] = tensors_taken(ELEMENTS * 4, || relu.forward_train(&x))?;
    assert!((1.0 + bits..1.0 + bits + SMALL).contains(&kept), "{kept}");
    let add = layer.with_add_relu();
    let [_, kept] = tensors_taken(ELEMENTS * 4, || add.forward_t(&x, &residual, true))?;
    assert!((1.0 + bits..1.0 + bits + SMALL).contains(&kept), "{kept}");
    Ok(())
}

#[test]
fn a_step_takes_at_most_a_third_of_candle_nns() -> Result<()> {
    let _turn = turn();
    layer()?;
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let ours = bn_candle::batch_norm(DIMS[1], 1e-5, vb.pp("ours"))?;
    let theirs = candle_nn::batch_norm(DIMS[1], 1e-5, vb.pp("theirs"))?;
    let x = variable(&DIMS, 0.5, 3.0, 1, DType::F32)?;
    let step = |layer: &dyn ModuleT, x: &Var| layer.forward_t(x, true)?.backward();
    let [ours, _] = tensors_taken(ELEMENTS * 4, || step(&ours, &x))?;
    let [theirs, _] = tensors_taken(ELEMENTS * 4, || step(&theirs, &x))?;
    assert!(3.0 * ours <= theirs, "{ours} and {theirs} tensors");
    Ok(())
}
