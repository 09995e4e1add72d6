//! Caffe's BatchNorm, Scale and Bias layers, run.
//!
//! ```text
//! BatchNorm, statistics of the batch:  y = (x − mean)/sqrt(var + eps), and the blobs take them in
//! BatchNorm, stored statistics:        y = (x − b0·s)/sqrt(b1·s + eps),  s = 1/b2, or 0 where b2 = 0
//! Scale:                               y = x·g (+ b)
//! Bias:                                y = x + b
//! ```
//!
//! A layer is its settings and what its last forward left for backward; the blobs ([`Statistics`],
//! [`Learned`]) belong to the caller, who hands them in. So layers that share blobs by
//! `param { name }` are layers that get the same ones: one update for each forward, and gradients
//! that accumulate over `iter_size` or over sharers until [`Learned::clear_diffs`].
//!
//! | type | Caffe's layers | blobs |
//! |---|---|---|
//! | [`BatchNorm`] | BatchNorm | [`Statistics`] |
//! | [`Scale`] | Scale with one or two bottoms, and Bias | [`Learned`] |
//! | [`Pair`] | BatchNorm and the Scale behind it | both |
//!
//! # Numerics
//!
//! [`Numerics::Exact`] computes in the layer's own precision and in the order of Caffe's CPU code, one
//! rounding for each of its steps: the reciprocal of the factor, then products with it; a division
//! by the root; Scale's product rounded before the bias is added. With stored statistics its outputs
//! are Caffe's to the bit. [`Numerics::Fast`] hands the work to a backend of the workspace, whose
//! statistics are `f64`; a [`Pair`] is then one pass over the data.
//!
//! # Gradients
//!
//! Caffe's Scale overwrites the factor's gradient in two cases where it should accumulate. The
//! default is the right sum; [`Gradients::Caffe`] gives Caffe's.
//!
//! ```
//! use bn_caffe::layer::{BatchNorm, Numerics};
//! use bn_caffe::proto::schema::Phase;
//! use bn_caffe::text::{Document, read};
//! use bn_core::InOut;
//!
//! let text = "name: 'bn' type: 'BatchNorm' bottom: 'x' top: 'y'
//!             batch_norm_param { moving_average_fraction: 0.5 }";
//! let (parameter, _) = read::layer(Document::parse(text)?.root())?;
//! let shape = [4, 1];
//! let mut layer = BatchNorm::<f32>::new(&parameter, Phase::Train, &shape, Numerics::Exact)?;
//! let mut blobs = layer.initial(&parameter)?;
//! let (x, mut y) = ([1.0, 2.0, 3.0, 4.0], [0.0; 4]);
//! layer.forward(&mut blobs, &shape, InOut::new(&x[..], &mut y[..]))?;
//! assert_eq!((blobs.mean[0], blobs.factor[0]), (2.5, 1.0));
//! assert_eq!(y[0], -y[3]);
//! # Ok::<(), bn_caffe::Error>(())
//! ```

mod batch_norm;
mod caffe_order;
mod filler;
mod learned;
mod on_backend;
mod pair;
mod real;
mod scale;
mod statistics;
mod sums;

pub use batch_norm::BatchNorm;
pub use learned::{Learned, Param};
pub use pair::Pair;
pub use real::Real;
pub use scale::{Scale, Second, Wanted};
pub use statistics::Statistics;

use bn_core::HostBackend;

/// In which arithmetic a layer computes.
pub enum Numerics<'b, T: Real> {
    /// Caffe CPU's own order of roundings, in the precision `T`.
    Exact,
    /// A backend of the workspace, with statistics in `f64`.
    Fast(&'b HostBackend<T>),
}

impl<T: Real> Clone for Numerics<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Real> Copy for Numerics<'_, T> {}

impl<T: Real> std::fmt::Debug for Numerics<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact => f.write_str("Exact"),
            Self::Fast(backend) => write!(f, "Fast({})", backend.name()),
        }
    }
}

/// What Scale's backward does where Caffe's has a bug.
///
/// 1. Caffe *overwrites* the factor's gradient instead of adding to it where the axes before the
///    covered ones hold one value, the covered ones several and those after several (a batch of
///    one, for example), and where the factor has as many values as the input. The bias's
///    gradient always accumulates.
/// 2. In place, Caffe's backward destroys the input that it kept: a second backward gives
///    Σdy·dy·x for the factor.
/// 3. Where the input's gradient is not wanted, Caffe leaves x·dy in it.
/// 4. A layer with `bias_term` whose prototxt holds the factor's blob alone starts with the factor's
///    values as its bias too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gradients {
    /// Sums accumulate, backward can be repeated, unwanted gradients are not touched, and a bias
    /// starts with its own filler.
    #[default]
    Right,
    /// As Caffe's CPU code does.
    Caffe,
}
