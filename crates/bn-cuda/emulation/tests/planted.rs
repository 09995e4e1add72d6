//! Errors planted in the kernels are found, and the kernels' arguments are what the host takes them for.
//!
//! Where the build found no C++ compiler these tests are not there; `conformance` says why.
#![cfg(emulated)]

use std::panic::catch_unwind;

use bn_conformance::Suite;
use bn_cuda::ARGUMENT_SIZES;
use bn_cuda_emulation::{Emulator, Order, Planted, size_of_arguments};

const ORDERS: [Order; 3] = [Order::Forward, Order::Reverse, Order::Seeded(1)];

/// Whether a trial fails, or a guard is hit, on kernels with this error.
fn is_found(order: Order, planted: Planted, filter: &'static str) -> bool {
    let report = catch_unwind(|| {
        Suite::on_device("cuda-emulation", || Emulator::with_planted(order, planted))
            .element::<f32>()
            .report(filter)
    });
    report.map_or(true, |report| {
        assert!(report.passed().chain(report.failed().map(|(name, _)| name)).next().is_some());
        report.failed().next().is_some()
    })
}

#[test]
fn the_kernels_as_they_are_pass_what_finds_the_errors() {
    for order in ORDERS {
        assert!(!is_found(order, Planted::Nothing, "exact/f32/channels-first"), "{order:?}");
        assert!(!is_found(order, Planted::Nothing, "shape/f32/channels-first"), "{order:?}");
    }
}

#[test]
fn a_missing_barrier_is_found_in_some_order_of_threads() {
    let found = ORDERS.map(|order| is_found(order, Planted::NoBarrier, "exact/f32"));
    assert!(found.contains(&true), "{found:?}");
}

#[test]
fn a_tail_that_is_too_long_is_found() {
    assert!(is_found(Order::Forward, Planted::LongTail, "shape/f32/channels-first"));
}

#[test]
fn arguments_have_the_size_that_the_kernels_expect() {
    for &(name, size) in ARGUMENT_SIZES {
        assert_eq!(size_of_arguments(name), size, "{name}");
    }
}
