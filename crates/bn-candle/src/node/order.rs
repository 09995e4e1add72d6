//! In which order a tensor's axes lie in memory, and what the kernels make of it.

use bn_core::{Layout, Problem};
use candle_core::{Result, Tensor};

/// The order of a tensor's axes in memory, outermost first, where they fill it without gaps.
///
/// Statistics are taken over all axes but that of the channels, so the kernels need not know which axis
/// is the batch: whatever lies outside the channels in memory is their batch, whatever lies inside is
/// their space. So a channels-last view of a channels-first tensor, the reverse, and any other
/// transposition run as they lie; only views with gaps or repeated values do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryOrder {
    axes: Vec<usize>,
    dims: Vec<usize>,
    problem: Problem,
}

impl MemoryOrder {
    /// The order of a tensor's axes; `None` where its values do not lie side by side.
    ///
    /// `logical` is the problem as the shape has it, already checked; `channels` is the channels' axis.
    pub(crate) fn of(x: &Tensor, channels: usize, logical: &Problem) -> Result<Option<Self>> {
        let (dims, strides) = (x.dims(), x.stride());
        let mut axes: Vec<usize> = (0..dims.len()).collect();
        if !x.is_contiguous() {
            // An axis of length 1 has no place of its own; it stays where its stride puts it.
            axes.sort_by_key(|&axis| core::cmp::Reverse(strides[axis]));
        }
        let mut expected = 1;
        for &axis in axes.iter().rev().filter(|&&axis| dims[axis] != 1) {
            if strides[axis] != expected {
                return Ok(None);
            }
            expected *= dims[axis];
        }
        let dims: Vec<usize> = axes.iter().map(|&axis| dims[axis]).collect();
        let place = axes.iter().position(|&axis| axis == channels).unwrap_or_default();
        let (outer, inner) = (dims[..place].iter().product(), dims[place + 1..].iter().product());
        let problem = Problem::new(&[outer, logical.channels(), inner], Layout::ChannelsFirst)
            .map_err(candle_core::Error::wrap)?;
        Ok(Some(Self { axes, dims, problem }))
    }

    /// The problem as the kernels see it.
    pub(crate) const fn problem(&self) -> &Problem {
        &self.problem
    }

    /// The dimensions in the order of memory: the shape of the node's output.
    pub(crate) fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// A tensor of the logical shape with the same values lying in this order: itself, or one copy.
    pub(crate) fn arrange(&self, tensor: &Tensor) -> Result<Tensor> {
        self.to_logical(&self.to_memory(tensor)?.contiguous()?)
    }

    /// A view with the axes in the order of memory.
    pub(crate) fn to_memory(&self, tensor: &Tensor) -> Result<Tensor> {
        if self.is_identity() { Ok(tensor.clone()) } else { tensor.permute(self.axes.as_slice()) }
    }

    /// A view with the axes in their logical order.
    pub(crate) fn to_logical(&self, tensor: &Tensor) -> Result<Tensor> {
        if self.is_identity() {
            return Ok(tensor.clone());
        }
        let mut inverse = vec![0; self.axes.len()];
        for (place, &axis) in self.axes.iter().enumerate() {
            inverse[axis] = place;
        }
        tensor.permute(inverse)
    }

    fn is_identity(&self) -> bool {
        self.axes.is_sorted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn order(x: &Tensor, channels: usize) -> Option<(Vec<usize>, usize, usize, Layout)> {
        let logical = Problem::new(&[2, x.dims()[channels], 3], Layout::ChannelsFirst).unwrap();
        let order = MemoryOrder::of(x, channels, &logical).unwrap()?;
        let problem = order.problem();
        Some((order.axes.clone(), problem.batch(), problem.spatial(), problem.layout()))
    }

    #[test]
    fn every_dense_view_runs_as_it_lies() {
        let x = Tensor::zeros((2, 3, 4, 5), DType::F32, &Device::Cpu).unwrap();
        let (first, last) = (Layout::ChannelsFirst, Layout::ChannelsLast);
        assert_eq!(order(&x, 1), Some((vec![0, 1, 2, 3], 2, 20, first)));
        assert_eq!(order(&x, 3), Some((vec![0, 1, 2, 3], 24, 1, last)));
        // A channels-last tensor seen channels-first, and the reverse.
        let seen_first = x.permute((0, 3, 1, 2)).unwrap();
        assert_eq!(order(&seen_first, 1), Some((vec![0, 2, 3, 1], 24, 1, last)));
        let seen_last = x.permute((0, 2, 3, 1)).unwrap();
        assert_eq!(order(&seen_last, 3), Some((vec![0, 3, 1, 2], 2, 20, first)));
        let transposed = x.transpose(0, 1).unwrap();
        assert_eq!(order(&transposed, 0), Some((vec![1, 0, 2, 3], 2, 20, first)));
    }

    #[test]
    fn gaps_and_repetitions_are_no_order() {
        let x = Tensor::zeros((2, 3, 4, 5), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(order(&x.narrow(3, 0, 4).unwrap(), 1), None);
        assert_eq!(order(&x.narrow(1, 0, 2).unwrap(), 1), None);
        let repeated = Tensor::zeros((1, 3, 1), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(order(&repeated.broadcast_as((2, 3, 4)).unwrap(), 1), None);
        // A run of samples is still dense, it only starts later.
        assert!(order(&x.narrow(0, 1, 1).unwrap(), 1).is_some());
    }

    #[test]
    fn memory_and_logical_order_are_inverse() {
        let x = Tensor::arange(0u32, 24, &Device::Cpu).unwrap().reshape((2, 3, 4)).unwrap();
        let view = x.permute((2, 0, 1)).unwrap();
        let logical = Problem::new(&[4, 2, 3], Layout::ChannelsFirst).unwrap();
        let order = MemoryOrder::of(&view, 1, &logical).unwrap().unwrap();
        let memory = order.to_memory(&view).unwrap();
        assert!(memory.is_contiguous());
        assert_eq!(memory.dims(), order.dims());
        let back = order.to_logical(&memory).unwrap().contiguous().unwrap();
        let expected = view.contiguous().unwrap();
        assert_eq!(back.to_vec3::<u32>().unwrap(), expected.to_vec3::<u32>().unwrap());
    }
}
