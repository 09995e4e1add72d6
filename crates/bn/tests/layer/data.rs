//! Data for the tests: the same on every run, and no pattern that an operation could hide behind.

use std::sync::Arc;

use bn::naive::NaiveBackend;
use bn::{BatchNorm, Builder, Element};
use ndarray::{Array, Dimension, ShapeBuilder};

/// A layer on the naive backend.
pub(crate) fn naive<T: Element>(builder: Builder<T>) -> BatchNorm<T, NaiveBackend> {
    builder.build_with(Arc::new(NaiveBackend)).unwrap()
}

/// Values between −2 and 3 from a congruential generator.
pub(crate) fn noise<T: Element, D: Dimension, Sh: ShapeBuilder<Dim = D>>(
    shape: Sh,
    seed: u64,
) -> Array<T, D> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    Array::from_shape_simple_fn(shape, || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        T::from_f64((state >> 40) as f64 / (1u64 << 24) as f64 * 5.0 - 2.0)
    })
}

/// Gives gamma and beta values that are neither 1 nor 0.
pub(crate) fn disturb<T: Element, B: ?Sized>(layer: &mut BatchNorm<T, B>) {
    let value = |c: usize, first: f64| T::Param::from_f64(first + 0.25 * c as f64);
    if let Some(mut gamma) = layer.gamma_mut() {
        gamma.indexed_iter_mut().for_each(|(c, gamma)| *gamma = value(c, -0.5));
    }
    if let Some(mut beta) = layer.beta_mut() {
        beta.indexed_iter_mut().for_each(|(c, beta)| *beta = value(c, 0.125));
    }
}
