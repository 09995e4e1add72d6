//! The map of each channel.

use super::chain::Chain;
use super::place::Sites;
use super::report::Reason;
use crate::blob::{Blob, Element, Shape};
use crate::error::Result;

/// y = a·x + b for each channel.
#[derive(Clone, Debug)]
pub(super) struct Affine {
    pub a: Vec<f64>,
    pub b: Vec<f64>,
}

impl Affine {
    /// The map of a chain, from each layer's own eps and blobs.
    pub(super) fn of(sites: &Sites<'_>, chain: &Chain) -> Result<Result<Self, Reason>> {
        let mut map = Self { a: Vec::new(), b: Vec::new() };
        for &index in &chain.layers {
            let layer = &sites.net.layers[index];
            let blobs: Vec<Vec<f64>> = sites.store.blobs(index)?.iter().map(Blob::to_f64).collect();
            if blobs.is_empty() {
                return Ok(Err(Reason::NoWeights { layer: layer.name().to_owned() }));
            }
            if map.a.is_empty() {
                map = Self { a: vec![1.0; blobs[0].len()], b: vec![0.0; blobs[0].len()] };
            }
            let channels = map.a.len();
            let is_batch_norm = layer.type_name() == "BatchNorm";
            let values = if is_batch_norm { &blobs[..2] } else { &blobs[..] };
            if let Some(other) = values.iter().find(|values| values.len() != channels) {
                let (layer, found) = (layer.name().to_owned(), other.len());
                return Ok(Err(Reason::Channels { layer, found, expected: channels }));
            }
            match (layer.type_name(), &blobs[..]) {
                ("BatchNorm", [mean, variance, factor]) => {
                    let scale = match factor.first() {
                        Some(&factor) if factor != 0.0 => 1.0 / factor,
                        _ => 0.0,
                    };
                    let eps = f64::from(layer.batch_norm().eps());
                    map.each(|c, a, b| {
                        let inverse = 1.0 / (variance[c] * scale + eps).sqrt();
                        (a * inverse, (b - mean[c] * scale) * inverse)
                    });
                }
                ("Bias", [bias]) => map.each(|c, a, b| (a, b + bias[c])),
                (_, [factor]) => map.each(|c, a, b| (a * factor[c], b * factor[c])),
                (_, [factor, bias]) => {
                    map.each(|c, a, b| (a * factor[c], b * factor[c] + bias[c]));
                }
                _ => return Ok(Err(Reason::Shape { layer: layer.name().to_owned() })),
            }
        }
        let finite = |c: &usize| map.a[*c].is_finite() && map.b[*c].is_finite();
        Ok(match (0..map.a.len()).find(|c| !finite(c)) {
            Some(channel) => Err(Reason::NotFinite { channel: Some(channel) }),
            None => Ok(map),
        })
    }

    fn each(&mut self, f: impl Fn(usize, f64, f64) -> (f64, f64)) {
        for (c, (a, b)) in self.a.iter_mut().zip(&mut self.b).enumerate() {
            (*a, *b) = f(c, *a, *b);
        }
    }

    /// Whether nothing is added.
    pub(super) fn has_no_shift(&self) -> bool {
        self.b.iter().all(|&b| b == 0.0)
    }

    /// Factor and bias of a Scale, in the precision of the statistics; none where it is too narrow.
    pub(super) fn to_blobs(&self, statistics: &[Blob]) -> Option<[Blob; 2]> {
        let element = statistics.first().map_or(Element::F32, Blob::element);
        let blob = |values: &[f64]| {
            Blob::rounded(Shape::new([values.len()]).ok()?, element, values).ok().flatten()
        };
        Some([blob(&self.a)?, blob(&self.b)?])
    }
}
