//! Which Scale and Bias complete which BatchNorm.

use super::Net;
use super::graph::Graph;

/// A BatchNorm layer and the layers that apply its gamma and beta.
///
/// The members are indices into the net's layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairing {
    /// The BatchNorm.
    pub batch_norm: usize,
    /// The Scale of one bottom that reads the BatchNorm's output; the first where several do.
    pub scale: Option<usize>,
    /// The Bias of one bottom that reads the Scale's output, or the BatchNorm's where there is no
    /// Scale.
    pub bias: Option<usize>,
    /// Other layers that read the normalised values before the Scale (or Bias): they stand in the
    /// way of merging the two.
    pub other_readers: Vec<usize>,
}

impl Pairing {
    /// Finds the partners of every BatchNorm of a net.
    ///
    /// A Scale counts wherever it stands, in place or not, also when other layers read the same
    /// blob. A Scale with two bottoms multiplies by another blob instead of a learned factor and is
    /// no partner.
    #[must_use]
    pub fn all(net: &Net, graph: &Graph) -> Vec<Self> {
        let is = |layer: usize, type_name: &str| {
            net.layers[layer].type_name() == type_name && graph.bottoms[layer].len() == 1
        };
        let first = |layer: usize, type_name: &str| {
            graph.readers(layer).iter().map(|r| r.0).find(|&reader| is(reader, type_name))
        };
        let batch_norms =
            (0..net.layers.len()).filter(|&n| net.layers[n].type_name() == "BatchNorm");
        batch_norms
            .map(|batch_norm| {
                let scale = first(batch_norm, "Scale");
                let bias = first(scale.unwrap_or(batch_norm), "Bias");
                let partner = scale.or(bias);
                let mut other_readers: Vec<usize> =
                    graph.readers(batch_norm).iter().map(|r| r.0).collect();
                match partner {
                    Some(partner) => other_readers.retain(|&reader| reader != partner),
                    None => other_readers.clear(),
                }
                Self { batch_norm, scale, bias, other_readers }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairings(text: &str) -> Vec<Pairing> {
        let net = Net::parse(text).expect("a net");
        Pairing::all(&net, &Graph::of(&net))
    }

    #[test]
    fn partners_are_found_in_place_and_across_branches() {
        let pairs = pairings(
            r#"layer { name: "0" type: "BatchNorm" bottom: "x" top: "x" }
               layer { name: "1" type: "Scale" bottom: "x" top: "x" }
               layer { name: "2" type: "Bias" bottom: "x" top: "x" }
               layer { name: "3" type: "BatchNorm" bottom: "x" top: "a" }
               layer { name: "4" type: "ReLU" bottom: "a" top: "r" }
               layer { name: "5" type: "Scale" bottom: "a" top: "s" }
               layer { name: "6" type: "BatchNorm" bottom: "s" top: "n" }
               layer { name: "7" type: "ReLU" bottom: "n" top: "n" }
               layer { name: "8" type: "Scale" bottom: "n" top: "n" }
               layer { name: "9" type: "BatchNorm" bottom: "n" top: "m" }
               layer { name: "10" type: "Scale" bottom: "m" bottom: "r" top: "o" }"#,
        );
        let expected = [
            (0, Some(1), Some(2), vec![]),
            (3, Some(5), None, vec![4]),
            // The Scale after the ReLU does not belong to the BatchNorm before it.
            (6, None, None, vec![]),
            (9, None, None, vec![]),
        ];
        for (pair, (batch_norm, scale, bias, other_readers)) in pairs.into_iter().zip(expected) {
            assert_eq!(pair, Pairing { batch_norm, scale, bias, other_readers });
        }
    }
}
