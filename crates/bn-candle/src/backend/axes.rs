//! Flat tensors seen with axes, and their way into `f64` and back.

use bn_core::{Counts, DType, Element, Layout, Problem, Scalar, ValidPositions};
use candle_core::{Device, Result, Tensor};

use super::{CandleBuffer, CandleMemory, memory};

/// The axes that a problem gives to its tensors: `(G, N/G, C, S)` or `(G, N/G, S, C)`.
///
/// Statistics, parameters and masks have the same axes with 1 where they do not vary, so that candle's
/// broadcasting lines them up.
#[derive(Clone, Copy)]
pub(super) struct Axes {
    groups: usize,
    samples: usize,
    channels: usize,
    spatial: usize,
    layout: Layout,
}

impl Axes {
    pub(super) const fn of(problem: &Problem) -> Self {
        Self {
            groups: problem.groups(),
            samples: problem.group_batch(),
            channels: problem.channels(),
            spatial: problem.spatial(),
            layout: problem.layout(),
        }
    }

    const fn order(&self, channels: usize, spatial: usize) -> (usize, usize) {
        match self.layout {
            Layout::ChannelsFirst => (channels, spatial),
            Layout::ChannelsLast => (spatial, channels),
        }
    }

    const fn spatial_axis(&self) -> usize {
        match self.layout {
            Layout::ChannelsFirst => 3,
            Layout::ChannelsLast => 2,
        }
    }

    /// Values of N·C·S elements in their own type.
    pub(super) fn elements<E: Scalar>(&self, buffer: &CandleBuffer<E>) -> Result<Tensor> {
        let (third, fourth) = self.order(self.channels, self.spatial);
        buffer.tensor().reshape((self.groups, self.samples, third, fourth))
    }

    /// N·C·S elements as `f64`.
    pub(super) fn tensor<T: Element>(&self, buffer: &CandleBuffer<T>) -> Result<Tensor> {
        self.elements(buffer)?.to_dtype(candle_core::DType::F64)
    }

    /// G·C statistics.
    pub(super) fn statistics(&self, buffer: &CandleBuffer<f64>) -> Result<Tensor> {
        let (third, fourth) = self.order(self.channels, 1);
        buffer.tensor().reshape((self.groups, 1, third, fourth))
    }

    /// C parameters as `f64`, the same for all groups.
    pub(super) fn parameters<P: Element>(&self, buffer: &CandleBuffer<P>) -> Result<Tensor> {
        let (third, fourth) = self.order(self.channels, 1);
        buffer.tensor().to_dtype(candle_core::DType::F64)?.reshape((1, 1, third, fourth))
    }

    /// The N·S bytes of a mask, repeated for all channels.
    pub(super) fn mask(&self, valid: &ValidPositions<'_, CandleMemory>) -> Result<Tensor> {
        let (third, fourth) = self.order(1, self.spatial);
        let mask = valid.mask().tensor().reshape((self.groups, self.samples, third, fourth))?;
        let (third, fourth) = self.order(self.channels, self.spatial);
        mask.broadcast_as((self.groups, self.samples, third, fourth))
    }

    /// How many values each group has.
    pub(super) fn counts(&self, counts: &Counts, device: &Device) -> Result<Tensor> {
        let counts: Vec<f64> = (0..self.groups).map(|group| counts.of(group) as f64).collect();
        Tensor::from_vec(counts, (self.groups, 1, 1, 1), device)
    }

    /// The sum over the values of each group and channel.
    pub(super) fn sum(&self, tensor: &Tensor) -> Result<Tensor> {
        tensor.sum_keepdim((1, self.spatial_axis()))
    }

    /// The first valid value of each group and channel.
    pub(super) fn first_values(
        &self,
        x: &Tensor,
        valid: Option<&ValidPositions<'_, CandleMemory>>,
    ) -> Result<Tensor> {
        let mask = valid.map(|valid| valid.mask().tensor().to_vec1::<u8>()).transpose()?;
        let per_group = self.samples * self.spatial;
        let values = (0..self.groups).map(|group| {
            let first = mask.as_ref().map_or(0, |mask| {
                let of_group = &mask[group * per_group..(group + 1) * per_group];
                of_group.iter().position(|&valid| valid != 0).unwrap_or_default()
            });
            x.narrow(0, group, 1)?.narrow(1, first / self.spatial, 1)?.narrow(
                self.spatial_axis(),
                first % self.spatial,
                1,
            )
        });
        Tensor::cat(&values.collect::<Result<Vec<_>>>()?, 0)
    }
}

/// `f64` values rounded to `T`: the 16-bit types by way of `f32`, as the contract has it.
pub(super) fn round<T: Scalar>(tensor: &Tensor) -> Result<Tensor> {
    match T::DTYPE {
        DType::F16 | DType::BF16 => {
            tensor.to_dtype(candle_core::DType::F32)?.to_dtype(memory::dtype(T::DTYPE))
        }
        other => tensor.to_dtype(memory::dtype(other)),
    }
}

/// 0 where `closed`, the tensor elsewhere.
pub(super) fn zero_where(closed: &Tensor, tensor: &Tensor) -> Result<Tensor> {
    closed.where_cond(&tensor.zeros_like()?, tensor)
}
