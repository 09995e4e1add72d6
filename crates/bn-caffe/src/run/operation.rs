//! What each layer of a net does.

use super::state::State;
use crate::error::{Error, Result};
use crate::inspect::Warning;
use crate::layer::{BatchNorm, Numerics, Pair, Real, Scale};
use crate::net::Net;
use crate::net::graph::Graph;
use crate::proto::schema::Phase;

/// A layer, ready to run. Its blobs are in the [`State`].
#[derive(Debug)]
pub(super) enum Operation<'b, T: Real> {
    /// Its tops are given.
    Input,
    BatchNorm(BatchNorm<'b, T>),
    /// Scale or Bias.
    Scale(Box<Scale<'b, T>>),
    /// A BatchNorm that runs in one pass with the Scale behind it, of index `scale`.
    Pair {
        pair: Box<Pair<'b, T>>,
        scale: usize,
    },
    /// A Scale that has run with the BatchNorm before it.
    Done,
    /// max(x, 0) + slope·min(x, 0).
    Relu {
        slope: T,
    },
    /// Σ factor·bottom.
    Sum {
        factors: Vec<T>,
    },
}

impl<T: Real> Operation<'_, T> {
    /// Whether the layer has the blobs of a BatchNorm.
    pub(super) fn has_statistics(&self) -> bool {
        matches!(self, Self::BatchNorm(_) | Self::Pair { .. })
    }

    /// Whether the layer is a Scale or Bias.
    pub(super) fn has_learned(&self) -> bool {
        matches!(self, Self::Scale(_) | Self::Done)
    }

    /// What looks wrong in a BatchNorm whose blobs are those of a slot.
    pub(super) fn warnings(&self, state: &State<T>, slot: usize) -> Vec<Warning> {
        match self {
            Self::BatchNorm(layer) => layer.warnings(&state.statistics[slot]),
            Self::Pair { pair, .. } => pair.batch_norm().warnings(&state.statistics[slot]),
            _ => Vec::new(),
        }
    }
}

/// Sets up every layer.
pub(super) fn all<'b, T: Real>(
    net: &Net,
    graph: &Graph,
    phase: Phase,
    shapes: &[Vec<usize>],
    numerics: Numerics<'b, T>,
    keeps: bool,
) -> Result<Vec<Operation<'b, T>>> {
    let mut operations = Vec::with_capacity(net.layers.len());
    for (index, layer) in net.layers.iter().enumerate() {
        let p = &layer.parameter;
        let shape_of = |n: usize| graph.bottoms[index].get(n).map(|&value| &shapes[value][..]);
        let input = shape_of(0).unwrap_or(&[]);
        operations.push(match layer.type_name() {
            "Input" => Operation::Input,
            "BatchNorm" => {
                let layer = BatchNorm::new(p, phase, input, numerics)?;
                Operation::BatchNorm(if keeps { layer } else { layer.for_inference() })
            }
            "Scale" | "Bias" => {
                let layer = Scale::new(p, input, shape_of(1), numerics)?;
                Operation::Scale(Box::new(if keeps { layer } else { layer.for_inference() }))
            }
            "ReLU" => Operation::Relu { slope: T::from_f64(layer.relu().negative_slope().into()) },
            _ => {
                let (coeff, bottoms) = (layer.eltwise().coeff, graph.bottoms[index].len());
                if !coeff.is_empty() && coeff.len() != bottoms {
                    return Err(Error::layer(
                        layer.name(),
                        "Eltwise",
                        "number of coeff",
                        coeff.len().to_string(),
                        format!("0 or {bottoms}, the number of bottoms"),
                    ));
                }
                let factor = |n: usize| coeff.get(n).map_or(T::ONE, |&c| T::from_f64(c.into()));
                Operation::Sum { factors: (0..bottoms).map(factor).collect() }
            }
        });
    }
    if let Numerics::Fast(_) = numerics {
        operations = joined(operations, net, graph, keeps)?;
    }
    Ok(operations)
}

/// Joins each BatchNorm with the Scale behind it where nobody sees what lies between: the Scale works
/// in place on it, and where gradients are asked for the BatchNorm works in place as well.
fn joined<'b, T: Real>(
    operations: Vec<Operation<'b, T>>,
    net: &Net,
    graph: &Graph,
    keeps: bool,
) -> Result<Vec<Operation<'b, T>>> {
    let mut slots: Vec<Option<Operation<'b, T>>> = operations.into_iter().map(Some).collect();
    for index in 0..slots.len() {
        let [(next, 0)] = graph.readers(index)[..] else { continue };
        // Gradients that are not wanted are the business of single layers.
        let p = &net.layers[next].parameter;
        let learns = p.propagate_down.is_empty() && p.param.iter().all(|p| p.lr_mult() != 0.0);
        let hidden = graph.is_in_place(next) && (!keeps || (graph.is_in_place(index) && learns));
        let (batch_norm, scale) = (slots[index].take(), slots[next].take());
        (slots[index], slots[next]) = match (batch_norm, scale) {
            (Some(Operation::BatchNorm(batch_norm)), Some(Operation::Scale(scale)))
                if hidden && Pair::fits(&batch_norm, &scale) =>
            {
                let pair = Box::new(Pair::new(batch_norm, *scale)?);
                (Some(Operation::Pair { pair, scale: next }), Some(Operation::Done))
            }
            others => others,
        };
    }
    Ok(slots.into_iter().flatten().collect())
}
