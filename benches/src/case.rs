//! One thing to measure, and its name in criterion's output.

use bn_conformance::shapes::Shape;
use bn_core::{DType, Layout, Problem};

use crate::Operation;

/// An operation in a layout, an element type, a number of threads and a shape: all but the backend.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What is timed.
    pub operation: Operation,
    /// Where the channels lie.
    pub layout: Layout,
    /// What the tensors are made of.
    pub dtype: DType,
    /// How many threads the backend and the limit may use.
    pub threads: usize,
    /// The shape of x.
    pub shape: &'static Shape,
}

impl Case {
    /// The shape in its layout.
    #[must_use]
    pub fn problem(&self) -> Problem {
        self.shape.problem(self.layout)
    }

    /// The bytes of one tensor.
    #[must_use]
    pub fn tensor_bytes(&self) -> usize {
        self.shape.elements() * self.dtype.size()
    }

    /// The least bytes that the operation moves: what GB/s are computed from.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (self.tensor_bytes() * self.operation.traffic().tensors()) as u64
    }

    /// The first part of the id, criterion's group: `rayon/training`.
    #[must_use]
    pub fn group(&self, backend: &str) -> String {
        format!("{backend}/{}", self.operation.name())
    }

    /// The second part, criterion's function: `channels-first/f32/2`, with the threads.
    #[must_use]
    pub fn function(&self) -> String {
        format!("{}/{}/{}", self.layout, self.dtype, self.threads)
    }

    /// The whole id: `rayon/training/channels-first/f32/2/resnet50/32x64x112x112`. Criterion's
    /// parameter, the last part, is the shape with its file.
    #[must_use]
    pub fn id(&self, backend: &str) -> String {
        format!("{}/{}/{}", self.group(backend), self.function(), self.shape)
    }
}
