//! Borrowed values of any of the four element types.

use std::borrow::Cow;

use bn_core::{DType, bf16, f16};

/// A slice of one element type.
#[derive(Clone, Copy, Debug)]
pub(crate) enum View<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    F16(&'a [f16]),
    BF16(&'a [bf16]),
}

/// Evaluates an expression with the slice that a view holds, once for each element type.
macro_rules! with_view {
    ($view:expr, $values:ident => $body:expr) => {
        match $view {
            $crate::tensor::View::F32($values) => $body,
            $crate::tensor::View::F64($values) => $body,
            $crate::tensor::View::F16($values) => $body,
            $crate::tensor::View::BF16($values) => $body,
        }
    };
}
pub(crate) use with_view;

impl<'a> View<'a> {
    /// The element type.
    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::F64(_) => DType::F64,
            Self::F16(_) => DType::F16,
            Self::BF16(_) => DType::BF16,
        }
    }

    /// The values' bytes as they lie in files: little-endian, on any machine.
    pub(crate) fn little_endian_bytes(self) -> Cow<'a, [u8]> {
        let bytes: &[u8] = with_view!(self, values => bytemuck::cast_slice(values));
        if cfg!(target_endian = "little") {
            return Cow::Borrowed(bytes);
        }
        let mut swapped = bytes.to_vec();
        swapped.chunks_exact_mut(self.dtype().size()).for_each(<[u8]>::reverse);
        Cow::Owned(swapped)
    }
}
