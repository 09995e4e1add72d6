//! Forward, layer by layer.

use bn_core::InOut;

use super::Runner;
use super::operation::Operation;
use crate::error::Result;
use crate::layer::Real;

impl<T: Real> Runner<'_, T> {
    /// Runs every layer; BatchNorm layers of batch statistics update their blobs.
    ///
    /// # Errors
    /// Those of the layers, [`Error::Backend`](crate::Error::Backend) among them. Layers before the
    /// one that failed have run then.
    pub fn forward(&mut self) -> Result<()> {
        self.values.iter_mut().for_each(|value| *value = None);
        self.diffs.iter_mut().for_each(|diff| *diff = None);
        for index in 0..self.operations.len() {
            self.forward_one(index)?;
        }
        Ok(())
    }

    fn forward_one(&mut self, index: usize) -> Result<()> {
        let bottoms = self.graph.bottoms[index].clone();
        if let Operation::Input = self.operations[index] {
            for (&top, name) in self.graph.tops[index].iter().zip(self.net.layers[index].tops()) {
                self.values[top] = self.inputs.get(name).map(|x| x.values.clone());
            }
            return Ok(());
        }
        let (bottom, top) = (bottoms[0], self.graph.tops[index][0]);
        // In place where nobody else reads the values, and no name shows them later.
        let consumes = self.graph.is_in_place(index)
            && self.graph.values[bottom].readers.len() == 1
            && !(self.keeps && matches!(self.operations[index], Operation::Relu { .. }));
        let mut y = match consumes {
            true => self.values[bottom].take().unwrap_or_default(),
            false => self.values[bottom].clone().unwrap_or_default(),
        };
        let shape = &self.shapes[bottom];
        let slots = self.state_slots(index);
        let state = &mut self.state;
        let io = InOut::InPlace(&mut y[..]);
        match &mut self.operations[index] {
            Operation::Input | Operation::Done => {}
            Operation::BatchNorm(layer) => {
                layer.forward(&mut state.statistics[slots.0], shape, io)?;
            }
            Operation::Scale(layer) => {
                let second = bottoms.get(1).and_then(|&second| self.values[second].as_deref());
                layer.forward(&state.learned[slots.0], second, shape, io)?;
            }
            Operation::Pair { pair, .. } => {
                let (statistics, learned) =
                    (&mut state.statistics[slots.0], &state.learned[slots.1]);
                pair.forward(statistics, learned, shape, io)?;
            }
            Operation::Relu { slope } => {
                let zero = T::default();
                for y in &mut y {
                    // The sum makes of −0 a 0, as Caffe's does; a NaN stays one.
                    if *y <= zero {
                        *y = *y * *slope + zero;
                    }
                }
            }
            Operation::Sum { factors } => {
                // BLAS's axpy is one fused multiply and add, on a top that starts at 0.
                y.iter_mut().for_each(|y| *y = factors[0].fused(*y, T::default()));
                for (&factor, &bottom) in factors.iter().zip(&bottoms).skip(1) {
                    let x = self.values[bottom].as_deref().unwrap_or(&[]);
                    y.iter_mut().zip(x).for_each(|(y, &x)| *y = factor.fused(x, *y));
                }
            }
        }
        self.values[top] = Some(y);
        Ok(())
    }
}
