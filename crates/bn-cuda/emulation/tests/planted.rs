//! Errors planted in the kernels are found, and the kernels' arguments are what the host takes them for.
#![cfg_attr(not(test), allow(unused, reason = "tests alone"))]

use std::panic::{AssertUnwindSafe, catch_unwind};

use bn_conformance::{Report, Suite};
use bn_cuda::ARGUMENT_SIZES;
use bn_cuda_emulation::{Emulator, Order, Planted};

/// Trials of one operation that reduces, writes, and has rows with tails.
const TRIALS: &str = "operation/f32/channels-first/moments";

fn report(order: Order, planted: Planted, filter: &str) -> Report {
    Suite::on_device("cuda-emulation", || Emulator::with_planted(order, planted))
        .element::<f32>()
        .report(filter)
}
