//! The activations that are part of the program.

use bn_core::Layout;
use ndarray::ArrayView;

use super::{Loaded, LoadedTensor};
use crate::tensor::{Format, Role, Tensor, TensorError, Values, read_bytes};

/// What one training step of a network gave to its second batch normalisation; `data/README.md`
/// says how the file was made.
const DIGITS: &[u8] = include_bytes!("../../data/digits.safetensors");

const ROLES: [Role; 5] = [Role::Dy, Role::Gamma, Role::Beta, Role::RunningMean, Role::RunningVar];

impl Loaded {
    /// The activations of the digits network, which lie channels-first in the file.
    pub(crate) fn digits(layout: Layout) -> Result<Self, TensorError> {
        let load = |role: Role| -> Result<LoadedTensor, TensorError> {
            let mut tensor = read_bytes(DIGITS, Format::Safetensors, role)?;
            if layout == Layout::ChannelsLast {
                tensor = channels_last(tensor);
            }
            Ok(LoadedTensor { label: format!("digits:{}", role.names()[0]), tensor })
        };
        let others = ROLES.into_iter().map(|role| Ok((role, load(role)?)));
        Ok(Self {
            x: load(Role::X)?,
            others: others.collect::<Result<_, TensorError>>()?,
            format: Format::Safetensors,
        })
    }
}

/// The tensor (N, C, …) as (N, …, C); parameters, which have one dimension, as they are.
fn channels_last(tensor: Tensor) -> Tensor {
    let Tensor { dims, values: Values::F32(values) } = tensor else { return tensor };
    if dims.len() < 2 {
        return Tensor { dims, values: Values::F32(values) };
    }
    let mut order: Vec<usize> = (0..dims.len()).collect();
    order[1..].rotate_left(1);
    let array =
        ArrayView::from_shape(&dims[..], &values).map(|view| view.permuted_axes(&order[..]));
    let array = array.expect("as many values as the shape takes");
    Tensor { dims: array.shape().to_vec(), values: Values::F32(array.iter().copied().collect()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_hold_the_same_values() {
        let first = Loaded::digits(Layout::ChannelsFirst).unwrap().x.tensor;
        let last = Loaded::digits(Layout::ChannelsLast).unwrap().x.tensor;
        assert_eq!((&first.dims[..], &last.dims[..]), (&[64, 24, 8, 8][..], &[64, 8, 8, 24][..]));
        let (Values::F32(first), Values::F32(last)) = (first.values, last.values) else {
            panic!("the digits are f32")
        };
        let (n, c, h, w) = (3, 7, 5, 2);
        assert_eq!(first[((n * 24 + c) * 8 + h) * 8 + w], last[((n * 8 + h) * 8 + w) * 24 + c]);
    }
}
