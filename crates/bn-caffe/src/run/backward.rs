//! Backward, from the last layer to the first.

use std::collections::BTreeMap;

use bn_core::InOut;

use super::Runner;
use super::operation::Operation;
use crate::error::{Error, Result};
use crate::layer::{Real, Second, Wanted};
use crate::net::graph::ValueId;

impl<T: Real> Runner<'_, T> {
    /// From the gradients of the net's outputs those of every blob before them, and of the learned
    /// blobs, which add up. Outputs without a gradient count as 0.
    ///
    /// A bottom with `propagate_down: false` gets nothing from its layer; blobs with `lr_mult: 0` get
    /// no gradient.
    ///
    /// # Errors
    /// [`Error::Net`] without a forward before, for a blob that is no output of the net, and for
    /// gradients of another size; and those of the layers.
    pub fn backward(&mut self, tops: &BTreeMap<String, Vec<T>>) -> Result<()> {
        let wrong = |problem: String, expected: String| {
            Err(Error::Net { net: self.net.name.clone(), problem, expected })
        };
        let outputs: BTreeMap<&str, ValueId> = (0..self.graph.values.len())
            .filter(|&id| self.graph.values[id].readers.is_empty())
            .map(|id| (self.graph.values[id].name.as_str(), id))
            .collect();
        let mut diffs: Vec<Option<Vec<T>>> = vec![None; self.graph.values.len()];
        for (name, diff) in tops {
            let Some(&id) = outputs.get(name.as_str()) else {
                let names: Vec<_> = outputs.keys().copied().collect();
                return wrong(
                    format!("a gradient of \"{name}\""),
                    format!("one of an output: {}", names.join(", ")),
                );
            };
            let count = self.shapes[id].iter().product::<usize>();
            if diff.len() != count {
                return wrong(
                    format!("{} values as gradient of \"{name}\"", diff.len()),
                    format!("{count}, its shape is {:?}", self.shapes[id]),
                );
            }
            if !self.keeps || self.values[id].is_none() {
                return wrong("backward".into(), "a forward before it that keeps values".into());
            }
            diffs[id] = Some(diff.clone());
        }
        self.diffs = diffs;
        for index in (0..self.operations.len()).rev() {
            self.backward_one(index)?;
        }
        Ok(())
    }

    fn backward_one(&mut self, index: usize) -> Result<()> {
        let Some(&top) = self.graph.tops[index].first() else { return Ok(()) };
        let Some(dy) = self.diffs[top].clone() else { return Ok(()) };
        let bottoms = self.graph.bottoms[index].clone();
        let parameter = self.net.layers[index].parameter.clone();
        let propagates = |n: usize| parameter.propagate_down.get(n).copied().unwrap_or(true);
        let learns = |n: usize| parameter.param.get(n).is_none_or(|spec| spec.lr_mult() != 0.0);
        let slots = self.state_slots(index);
        let state = &mut self.state;
        // What each bottom gets, beside the first one's dx.
        let mut parts = Vec::new();
        let mut dx = dy;
        let io = InOut::InPlace(&mut dx[..]);
        match &mut self.operations[index] {
            Operation::Input => return Ok(()),
            // It has run with the BatchNorm before it, which takes the gradient as it is.
            Operation::Done => {}
            Operation::BatchNorm(layer) => layer.backward(io)?,
            Operation::Pair { pair, .. } => pair.backward(&mut state.learned[slots.1], io)?,
            Operation::Scale(layer) => {
                let learned = &mut state.learned[slots.0];
                // The factor is blob 0 unless it is the second bottom; the bias is the last blob.
                let (factor, bias) = match (bottoms.len(), learned.factor.is_some()) {
                    (2, _) => (true, learned.bias.is_none() || learns(0)),
                    (_, true) => (learns(0), learns(1)),
                    (_, false) => (false, learns(0)),
                };
                let wanted = Wanted { input: propagates(0), factor, bias };
                let value = bottoms.get(1).and_then(|&second| self.values[second].as_deref());
                let mut diff = vec![T::default(); value.map_or(0, <[T]>::len)];
                let second = value.map(|value| Second { value, diff: &mut diff });
                layer.backward(learned, second, wanted, io)?;
                if let Some(&second) = bottoms.get(1)
                    && propagates(1)
                {
                    parts.push((second, diff));
                }
            }
            Operation::Relu { slope } => {
                let x = self.values[bottoms[0]].as_deref().unwrap_or(&[]);
                for (dx, &x) in dx.iter_mut().zip(x) {
                    if x <= T::default() {
                        *dx = *dx * *slope;
                    }
                }
            }
            Operation::Sum { factors } => {
                for (n, (&bottom, &factor)) in bottoms.iter().zip(&*factors).enumerate().skip(1) {
                    if propagates(n) {
                        parts.push((bottom, dx.iter().map(|&dy| dy * factor).collect()));
                    }
                }
                dx.iter_mut().for_each(|dx| *dx = *dx * factors[0]);
            }
        }
        if propagates(0) {
            parts.push((bottoms[0], dx));
        }
        for (value, part) in parts {
            self.add(value, part);
        }
        Ok(())
    }

    /// Adds to the gradient of a value: each of its readers gives a part.
    fn add(&mut self, value: ValueId, part: Vec<T>) {
        match &mut self.diffs[value] {
            Some(sum) => sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part),
            empty => *empty = Some(part),
        }
    }

    /// The slots of a layer's blobs, and of those of the Scale that runs with it.
    pub(super) fn state_slots(&self, index: usize) -> (usize, usize) {
        let scale = match &self.operations[index] {
            Operation::Pair { scale, .. } => *scale,
            _ => index,
        };
        (self.state.slots[index], self.state.slots[scale])
    }
}
