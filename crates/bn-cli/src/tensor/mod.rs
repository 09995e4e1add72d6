//! Tensors in files: shape, values of one of four element types, and the formats they travel in.

mod error;
mod format;
mod npy;
mod raw;
mod role;
mod safetensors;
mod source;
mod view;

pub(crate) use error::TensorError;
pub(crate) use format::Format;
pub(crate) use role::Role;
pub(crate) use source::{Source, read_bytes};
pub(crate) use view::{View, with_view};

use bn_core::{DType, Element, bf16, f16};

/// A tensor as a file holds it, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    /// The dimensions.
    pub(crate) dims: Vec<usize>,
    /// As many values as the dimensions' product.
    pub(crate) values: Values,
}

/// Values of one element type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
}

/// Evaluates an expression with `$type` standing for the element type of the values.
macro_rules! with_element {
    ($values:expr, $type:ident => $body:expr) => {{
        macro_rules! arm {
            ($element:ty) => {{
                type $type = $element;
                $body
            }};
        }
        match $values {
            $crate::tensor::Values::F32(_) => arm!(f32),
            $crate::tensor::Values::F64(_) => arm!(f64),
            $crate::tensor::Values::F16(_) => arm!(bn_core::f16),
            $crate::tensor::Values::BF16(_) => arm!(bn_core::bf16),
        }
    }};
}
pub(crate) use with_element;

impl Values {
    /// The element type.
    pub(crate) fn dtype(&self) -> DType {
        self.view().dtype()
    }

    /// The values, borrowed.
    pub(crate) fn view(&self) -> View<'_> {
        match self {
            Self::F32(values) => View::F32(values),
            Self::F64(values) => View::F64(values),
            Self::F16(values) => View::F16(values),
            Self::BF16(values) => View::BF16(values),
        }
    }

    /// The values rounded to `P`; or the index of the first finite one that would become infinite.
    pub(crate) fn to_parameters<P: Element>(&self) -> Result<Vec<P>, (usize, f64)> {
        with_view!(self.view(), values => {
            let rounded = values.iter().enumerate().map(|(index, value)| {
                let value = value.to_f64();
                let rounded = P::from_f64(value);
                let fits = rounded.to_f64().is_finite() || !value.is_finite();
                if fits { Ok(rounded) } else { Err((index, value)) }
            });
            rounded.collect()
        })
    }
}

/// An element type that files can hold: the way from [`Values`] to typed vectors and back.
pub(crate) trait Stored: Element {
    /// The vector, if the values have this type.
    fn from_values(values: Values) -> Option<Vec<Self>>;

    /// The vector as values.
    fn into_values(values: Vec<Self>) -> Values;

    /// The slice as a view.
    fn view(values: &[Self]) -> View<'_>;

    /// A slice of parameters as a view.
    fn param_view(values: &[Self::Param]) -> View<'_>;
}

macro_rules! stored {
    ($type:ty, $variant:ident) => {
        impl Stored for $type {
            fn from_values(values: Values) -> Option<Vec<Self>> {
                if let Values::$variant(values) = values { Some(values) } else { None }
            }

            fn into_values(values: Vec<Self>) -> Values {
                Values::$variant(values)
            }

            fn view(values: &[Self]) -> View<'_> {
                View::$variant(values)
            }

            fn param_view(values: &[Self::Param]) -> View<'_> {
                Stored::view(values)
            }
        }
    };
}

stored!(f32, F32);
stored!(f64, F64);
stored!(f16, F16);
stored!(bf16, BF16);
