//! Which axes of an input BatchNorm, Scale and Bias work on.

use crate::error::{Error, Result};
use crate::proto::schema::LayerParameter;

/// An input seen by Scale or Bias: `outer` × `dims` × `inner`, of which the parameter has shape
/// `dims`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScaleGeometry {
    /// First covered axis.
    pub axis: usize,
    /// Product of the axes before.
    pub outer: usize,
    /// The covered axes: the shape of factor and bias.
    pub dims: Vec<usize>,
    /// Product of the axes after.
    pub inner: usize,
}

impl ScaleGeometry {
    /// Finds the covered axes of a Scale or Bias layer.
    ///
    /// `input` is the shape of the first bottom, `factor` that of the second where there are two; it
    /// then decides the number of axes, and `num_axes` is ignored.
    ///
    /// ```
    /// use bn_caffe::{net::geometry::ScaleGeometry, proto::schema::LayerParameter};
    /// let layer = LayerParameter { type_name: Some("Scale".into()), ..Default::default() };
    /// let g = ScaleGeometry::new(&layer, &[2, 3, 4, 5], None)?;
    /// assert_eq!((g.outer, g.dims, g.inner), (2, vec![3], 20));
    /// # Ok::<(), bn_caffe::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Layer`] where Caffe aborts: `num_axes` below -1, an axis out of range, a factor that
    /// extends past the input or differs from it in a dimension.
    pub fn new(layer: &LayerParameter, input: &[usize], factor: Option<&[usize]>) -> Result<Self> {
        let (axis, num_axes) = match (&layer.scale_param, &layer.bias_param) {
            (Some(p), _) if layer.type_name() != "Bias" => (p.axis(), p.num_axes()),
            (_, Some(p)) if layer.type_name() == "Bias" => (p.axis(), p.num_axes()),
            _ => (1, 1),
        };
        let wrong = |parameter: &str, found: String, expected: String| {
            Err(Error::layer(layer.name(), layer.type_name(), parameter, found, expected))
        };
        let rank = input.len();
        let covered = match factor {
            Some(factor) => factor.len(),
            None if num_axes < -1 => {
                return wrong("num_axes", num_axes.to_string(), "-1 or more".into());
            }
            None => usize::try_from(num_axes).unwrap_or(usize::MAX),
        };
        // A scalar covers no axis, whatever `axis` says.
        let axis = if covered == 0 {
            0
        } else {
            let signed = if axis < 0 { i64::from(axis) + rank as i64 } else { i64::from(axis) };
            match usize::try_from(signed) {
                Ok(a) if a < rank => a,
                _ => {
                    let expected = format!("an axis of the input, which has shape {input:?}");
                    return wrong("axis", axis.to_string(), expected);
                }
            }
        };
        let covered = if covered == usize::MAX { rank - axis } else { covered };
        if axis.saturating_add(covered) > rank {
            let found = format!("axes {axis} to {}", axis.saturating_add(covered));
            let expected = format!("axes within the input, which has shape {input:?}");
            return wrong("num_axes", found, expected);
        }
        let dims = input[axis..axis + covered].to_vec();
        if let Some(factor) = factor
            && factor != dims
        {
            return wrong("shape of bottom 1", format!("{factor:?}"), format!("{dims:?}"));
        }
        Ok(Self {
            axis,
            outer: input[..axis].iter().product(),
            inner: input[axis + covered..].iter().product(),
            dims,
        })
    }
}

/// Number of channels of a BatchNorm layer's input: its axis 1.
///
/// # Errors
/// [`Error::Layer`] for an input of fewer than two axes, or an empty one; Caffe aborts for both.
pub fn batch_norm_channels(layer: &LayerParameter, input: &[usize]) -> Result<usize> {
    let wrong = |expected| {
        let found = format!("{input:?}");
        Err(Error::layer(layer.name(), layer.type_name(), "shape of bottom 0", found, expected))
    };
    match input {
        [] | [_] => wrong("two axes or more: axis 1 are the channels"),
        _ if input.contains(&0) => wrong("no empty axis"),
        _ => Ok(input[1]),
    }
}
