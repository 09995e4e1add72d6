//! Shapes, and Caffe's rule for those of old files.

use crate::error::BlobProblem;
use crate::limits::{MAX_AXES, MAX_COUNT};

/// Dimensions of a blob, outermost first; no axes mean a scalar of one value.
///
/// The product is at most 2³¹ − 1, Caffe's bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: Vec<usize>,
    count: usize,
    legacy: bool,
}

impl Shape {
    /// Makes a shape.
    ///
    /// # Errors
    /// [`BlobProblem::TooManyAxes`], [`BlobProblem::TooManyElements`].
    pub fn new(dims: impl Into<Vec<usize>>) -> Result<Self, BlobProblem> {
        let dims = dims.into();
        if dims.len() > MAX_AXES {
            return Err(BlobProblem::TooManyAxes { axes: dims.len() });
        }
        // A zero anywhere makes the product zero, yet Caffe checks the others in order, too.
        let product = dims.iter().try_fold(1u64, |product, &dim| {
            product.checked_mul(dim as u64).filter(|&p| p <= MAX_COUNT)
        });
        match product {
            Some(count) => Ok(Self { dims, count: count as usize, legacy: false }),
            None => Err(BlobProblem::TooManyElements { shape: dims }),
        }
    }

    /// Makes a shape from the numbers of a file.
    pub(super) fn from_file(dims: &[i64], legacy: bool) -> Result<Self, BlobProblem> {
        let dims: Result<Vec<usize>, _> = dims
            .iter()
            .enumerate()
            .map(|(axis, &dim)| {
                usize::try_from(dim).map_err(|_| BlobProblem::NegativeDim { axis, dim })
            })
            .collect();
        Ok(Self { legacy, ..Self::new(dims?)? })
    }

    /// The dimensions; four of them in a legacy shape.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Product of the dimensions.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether the file gives `num`, `channels`, `height` and `width` instead of a shape.
    #[must_use]
    pub fn is_legacy(&self) -> bool {
        self.legacy
    }

    /// Whether values of this shape load into a blob of shape `target`.
    ///
    /// Equal dimensions; a legacy shape also where `target` has at most four axes and equals it
    /// once ones are put before: 1×1×1×C loads into (C).
    ///
    /// ```
    /// use bn_caffe::blob::Shape;
    /// assert!(Shape::new([8]).unwrap().loads_into(&[8]));
    /// assert!(!Shape::new([1, 1, 1, 8]).unwrap().loads_into(&[8]));
    /// ```
    #[must_use]
    pub fn loads_into(&self, target: &[usize]) -> bool {
        if !self.legacy {
            return self.dims == target;
        }
        let Some(ones) = 4usize.checked_sub(target.len()) else {
            return false;
        };
        self.dims[..ones].iter().all(|&d| d == 1) && self.dims[ones..] == *target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_shapes_align_to_the_right() {
        let bias = Shape::from_file(&[1, 1, 1, 8], true).expect("small");
        assert!(
            bias.loads_into(&[8]) && bias.loads_into(&[1, 8]) && bias.loads_into(&[1, 1, 1, 8])
        );
        assert!(!bias.loads_into(&[8, 1]) && !bias.loads_into(&[1, 1, 1, 1, 8]));
        assert!(!bias.loads_into(&[]));
        assert!(Shape::from_file(&[1, 1, 1, 1], true).expect("small").loads_into(&[]));
    }

    #[test]
    fn impossible_shapes_are_refused() {
        assert!(matches!(
            Shape::from_file(&[2, -1], false),
            Err(BlobProblem::NegativeDim { axis: 1, dim: -1 })
        ));
        let huge = [1usize << 31];
        assert!(matches!(Shape::new(huge), Err(BlobProblem::TooManyElements { .. })));
        let wraps = [1usize << 32, 1 << 32];
        assert!(matches!(Shape::new(wraps), Err(BlobProblem::TooManyElements { .. })));
        assert!(matches!(Shape::new(vec![1; 33]), Err(BlobProblem::TooManyAxes { axes: 33 })));
        assert_eq!(Shape::new([0, 5]).map(|s| s.count()), Ok(0));
        assert_eq!(Shape::new([]).map(|s| s.count()), Ok(1));
    }
}
