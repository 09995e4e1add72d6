//! Merges BatchNorm, with the Scale and Bias behind it, into the layers beside it.
//!
//! With stored statistics the three layers are one affine map for each channel,
//!
//! ```text
//! y = a·x + b,   a = g/sqrt(b1·s + eps),   b = beta − b0·s·a,   s = 1/b2, or 0 where b2 = 0
//! ```
//!
//! with each layer's own eps. The map goes, in this order of preference,
//!
//! 1. into the Convolution, Deconvolution or InnerProduct *before*: W′ = a·W, c′ = a·c + b, where
//!    nothing else reads that layer's output;
//! 2. into the one *after*: W′ = W·a, c′ = c + Σ W·b, where nothing else reads the map's output and
//!    the result is the same at every position: no padding, unless b is 0 throughout;
//! 3. into one Scale layer in the place of the BatchNorm.
//!
//! Arithmetic is `f64`; results are rounded once to the precision of the file. A blob that other
//! layers read is not changed, nor are weights that other layers share, and each [`Decision`] says
//! why. What belongs to no merged layer stays byte for byte as it was, in both files.
//!
//! ```
//! use bn_caffe::blob::{Blob, Shape};
//! use bn_caffe::fold::{Outcome, fold};
//! use bn_caffe::text::Document;
//! use bn_caffe::weights::{Caffemodel, WeightLayer};
//!
//! let net = Document::parse(
//!     "layer { name: 'in' type: 'Input' top: 'x' }
//!      layer { name: 'fc' type: 'InnerProduct' bottom: 'x' top: 'y'
//!              inner_product_param { num_output: 1 bias_term: false } }
//!      layer { name: 'bn' type: 'BatchNorm' bottom: 'y' top: 'y' batch_norm_param { eps: 0 } }",
//! )?;
//! let blob = |dims: &[usize], v: &[f32]| Blob::from_f32(Shape::new(dims)?, v);
//! let mut weights = Caffemodel::default();
//! weights.push(WeightLayer::new("fc", "InnerProduct", &[blob(&[1, 2], &[3.0, 1.0])?]));
//! // Mean 6/2, variance 8/2.
//! let statistics = [blob(&[1], &[6.0])?, blob(&[1], &[8.0])?, blob(&[1], &[2.0])?];
//! weights.push(WeightLayer::new("bn", "BatchNorm", &statistics));
//!
//! let folded = fold(&net, &weights)?;
//! assert!(matches!(folded.decisions[0].outcome, Outcome::Before { bias_added: true, .. }));
//! let fc = folded.weights.layer("fc").unwrap().blobs()?;
//! assert_eq!((fc[0].to_f32(), fc[1].to_f32()), (vec![1.5, 0.5], vec![-1.5]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod affine;
mod chain;
mod kernel;
mod place;
mod report;
mod rewrite;
mod store;

pub use report::{Decision, Outcome, Reason};

use affine::Affine;
use chain::Chain;
use place::{Sites, after, before};
use rewrite::Rewrite;
use store::Store;

use crate::bind::Binding;
use crate::error::Result;
use crate::net::graph::Graph;
use crate::net::{Net, check};
use crate::proto::schema::Phase;
use crate::text::Document;
use crate::weights::Caffemodel;

/// The files after folding, and what was done.
#[derive(Clone, Debug)]
pub struct Folded {
    /// The text of the net.
    pub prototxt: Vec<u8>,
    /// The weights.
    pub weights: Caffemodel,
    /// For each BatchNorm of phase TEST, in the order of the net, where it went and why.
    pub decisions: Vec<Decision>,
}

/// Folds every BatchNorm of a net's phase TEST.
///
/// Layers of other phases stay; a blob that one of them reads keeps the layers that make it.
///
/// # Errors
/// Those of [`Net::from_document`], [`Binding::new`] and of broken blobs. That a BatchNorm cannot be
/// folded is no error but a [`Decision`].
pub fn fold(document: &Document, weights: &Caffemodel) -> Result<Folded> {
    let whole = Net::from_document(document)?;
    let net = whole.for_phase(Phase::Test)?;
    Binding::new(&net, weights)?;
    let graph = Graph::of(&net);
    let store = Store::new(&net, weights);
    let sites = Sites::new(&whole, &net, &graph, &store);
    let mut rewrite = Rewrite::new(document, &net, weights.clone());
    let mut decisions = Vec::new();
    for chain in chain::all(&net, &graph) {
        let outcome = decide(&sites, &chain, &mut rewrite)?;
        let name = |&layer: &usize| net.layers[layer].name().to_owned();
        decisions.push(Decision { layers: chain.layers.iter().map(name).collect(), outcome });
    }
    let (prototxt, weights) = rewrite.finish()?;
    // What Caffe took before it takes afterwards.
    if check::net(&net).is_ok() {
        let folded = Net::parse(prototxt.clone())?.for_phase(Phase::Test)?;
        check::net(&folded)?;
        Binding::new(&folded, &weights)?;
    }
    Ok(Folded { prototxt, weights, decisions })
}

/// Finds the place for one chain and puts it there.
fn decide(sites: &Sites<'_>, chain: &Chain, rewrite: &mut Rewrite<'_>) -> Result<Outcome> {
    if let Some(reason) = sites.obstacle(chain)? {
        return Ok(Outcome::Left { reason });
    }
    let affine = match Affine::of(sites, chain)? {
        Ok(affine) => affine,
        Err(reason) => return Ok(Outcome::Left { reason }),
    };
    let name = |layer: usize| {
        let layer = &sites.net.layers[layer];
        (layer.name().to_owned(), layer.type_name().to_owned())
    };
    let not_before = match before(sites, chain, &affine, rewrite)? {
        Ok(merge) => {
            rewrite.merge(merge.layer, &merge.blobs, merge.bias_added)?;
            rewrite.rename_top(merge.layer, &sites.graph.values[chain.output].name)?;
            rewrite.remove(&chain.layers);
            let (layer, kind) = name(merge.layer);
            return Ok(Outcome::Before { layer, kind, bias_added: merge.bias_added });
        }
        Err(reason) => reason,
    };
    let not_after = match after(sites, chain, &affine, rewrite)? {
        Ok(merge) => {
            rewrite.merge(merge.layer, &merge.blobs, merge.bias_added)?;
            rewrite.rename_bottom(merge.layer, &sites.graph.values[chain.input].name)?;
            rewrite.remove(&chain.layers);
            let (layer, kind) = name(merge.layer);
            return Ok(Outcome::After { layer, kind, bias_added: merge.bias_added, not_before });
        }
        Err(reason) => reason,
    };
    let batch_norm = chain.layers[0];
    let blobs = match affine.to_blobs(&sites.store.blobs(batch_norm)?) {
        Some(blobs) => blobs,
        None => return Ok(Outcome::Left { reason: Reason::NotFinite { channel: None } }),
    };
    rewrite.become_scale(batch_norm, &blobs)?;
    rewrite.rename_top(batch_norm, &sites.graph.values[chain.output].name)?;
    rewrite.remove(&chain.layers[1..]);
    Ok(Outcome::Scale { layer: name(batch_norm).0, not_before, not_after })
}
