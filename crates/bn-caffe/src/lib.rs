//! Caffe's batch normalisation: its files read, checked, matched and rewritten, its layers run.
//!
//! Caffe realises batch normalisation as two layers, BatchNorm and Scale, and stores it in its own
//! way: running *sums* of mean and variance, and a factor that divides them. This crate reads the
//! files that hold them, exactly as Caffe does, and writes them back with everything else in them
//! unchanged.
//!
//! | module | what it is for |
//! |---|---|
//! | [`text`] | `.prototxt`: lossless parser, reading into messages, edits |
//! | [`proto`] | the messages: encoding, schema, raw fields |
//! | [`blob`] | shapes and values, by Caffe's rules for old and new files |
//! | [`weights`] | `.caffemodel` (and `.caffemodel.h5`): read, changed, written |
//! | [`net`] | the net: upgrades, phases, checks, connections, BatchNorm and its Scale |
//! | [`bind`] | weights matched to a net by name |
//! | [`inspect`] | what the normalisation layers hold, and what looks wrong |
//! | [`mod@fold`] | BatchNorm and Scale merged into the layers beside them |
//! | [`mod@run`] | nets of these layers, forward and backward |
//! | [`exchange`] | statistics and parameters to PyTorch's names and back |
//! | [`oracle`] | runs of real Caffe replayed, with the errors as data |
//! | [`layer`] | BatchNorm, Scale and Bias, forward and backward, to the bit or on a backend |
//!
//! # Contract
//!
//! - What Caffe refuses is an [`Error`] that names the place, what was found and what is expected.
//!   What Caffe accepts is accepted; [`inspect`] warns of what nobody can have meant.
//! - Reading never panics and takes memory of a small multiple of the file, whatever the file
//!   claims; see [`limits`].
//! - What is not changed is written back byte for byte, unknown fields of forks included.
//!
//! ```
//! use bn_caffe::blob::{Blob, Shape};
//! use bn_caffe::inspect::{Detail, inspect};
//! use bn_caffe::net::Net;
//! use bn_caffe::proto::schema::Phase;
//! use bn_caffe::weights::{Caffemodel, WeightLayer};
//!
//! let net = Net::parse("layer { name: 'bn' type: 'BatchNorm' bottom: 'x' top: 'y' }")?;
//! let one = |v| Blob::from_f32(Shape::new([1])?, &[v]);
//! let mut weights = Caffemodel::default();
//! weights.push(WeightLayer::new("bn", "BatchNorm", &[one(10.0)?, one(4.0)?, one(2.0)?]));
//!
//! let found = inspect(Some(&net), Some(&weights), Phase::Test)?;
//! let Detail::BatchNorm(bn) = &found.layers[0].detail else { unreachable!() };
//! let statistics = bn.statistics.unwrap();
//! assert_eq!(statistics.mean.unwrap().max, 5.0);
//! assert_eq!(statistics.variance.unwrap().max, 2.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod bind;
pub mod blob;
pub mod error;
pub mod exchange;
mod file;
pub mod fold;
pub mod inspect;
pub mod layer;
pub mod limits;
pub mod net;
pub mod oracle;
pub mod proto;
pub mod run;
pub mod text;
pub mod weights;

pub use error::{BlobProblem, Error, Result};
