//! Runs of BatchNorm, Scale or both over several steps.

use std::path::{Path, PathBuf};

use bn_core::InOut;

use super::manifest::{CaseEntry, DType, Step};
use super::{Array, Bound, Case, Engines, Output, Precision};
use crate::error::{Error, Result};
use crate::layer::{BatchNorm, Gradients, Learned, Pair, Scale, Statistics, Wanted};
use crate::proto::schema::{LayerParameter, Phase};
use crate::text::{Document, read};

/// Replays a case.
pub(super) fn replay(directory: &Path, case: &CaseEntry, engines: &Engines<'_>) -> Case {
    let outputs = match case.dtype {
        DType::Float => Run::<f32>::all(directory, case, engines),
        DType::Double => Run::<f64>::all(directory, case, engines),
    };
    Case { name: case.name.clone(), outputs }
}

/// A layer's message from its text, wired as the oracle's driver wired it.
pub(super) fn parameter(text: &str, bottoms: usize) -> Result<LayerParameter> {
    let (mut parameter, _) = read::layer(Document::parse(text)?.root())?;
    parameter.bottom = ["x", "s"][..bottoms].iter().map(|&name| name.to_owned()).collect();
    parameter.top = vec!["y".into()];
    Ok(parameter)
}

/// The layers of a case, and what they have computed so far.
struct Run<'a, T: Precision> {
    folder: PathBuf,
    case: &'a CaseEntry,
    engines: &'a Engines<'a>,
    blobs: Statistics<T>,
    learned: Learned<T>,
    /// Whether the driver cleared the gradients before each backward; where it did not, that they
    /// accumulate is the point of the case.
    clears: bool,
    outputs: Vec<Output>,
}

impl<'a, T: Precision> Run<'a, T> {
    fn all(directory: &Path, case: &'a CaseEntry, engines: &'a Engines<'a>) -> Result<Vec<Output>> {
        let folder = directory.join(&case.name);
        let clears = match std::fs::read_to_string(folder.join("script.txt")) {
            Ok(script) => script.lines().any(|line| line.starts_with("zerodiff")),
            Err(_) => !case.note.contains("NOT cleared"),
        };
        let mut run = Self {
            folder,
            clears,
            case,
            engines,
            blobs: Statistics::default(),
            learned: Learned::default(),
            outputs: Vec::new(),
        };
        for (n, step) in case.steps.iter().enumerate() {
            run.step(n, step)?;
        }
        Ok(run.outputs)
    }

    fn step(&mut self, n: usize, step: &Step) -> Result<()> {
        let phase = if step.phase == "TEST" { Phase::Test } else { Phase::Train };
        let x = self.input(step, "x")?;
        let dy = self.input(step, "dy")?;
        let numerics = T::engine(self.engines);
        let (mut batch_norm, mut scale) = (None, None);
        for entry in &self.case.layers {
            let text = if phase == Phase::Test { &entry.test } else { &entry.train };
            let parameter = parameter(text, 1)?;
            match parameter.type_name() {
                "BatchNorm" => {
                    let layer = BatchNorm::new(&parameter, phase, &x.shape, numerics)?;
                    if n == 0 {
                        self.blobs = layer.initial(&parameter)?;
                        self.load_initial()?;
                    }
                    batch_norm = Some(layer);
                }
                _ => {
                    let layer = Scale::new(&parameter, &x.shape, None, numerics)?
                        .with_gradients(Gradients::Caffe);
                    if n == 0 {
                        self.learned = layer.initial()?;
                        self.load_learned()?;
                    }
                    scale = Some(layer);
                }
            }
        }
        if self.clears {
            self.learned.clear_diffs();
        }
        let identical = batch_norm.as_ref().is_none_or(BatchNorm::uses_global_stats);
        let (y, dx) = match (batch_norm, scale) {
            (Some(batch_norm), Some(scale)) => {
                self.between(n, step, &x, batch_norm.uses_global_stats())?;
                let mut pair = Pair::new(batch_norm, scale)?;
                let y = self.forward(&x, |run, io| {
                    pair.forward(&mut run.blobs, &run.learned, &x.shape, io)
                })?;
                let dx = self.forward(&dy, |run, io| pair.backward(&mut run.learned, io))?;
                (y, dx)
            }
            (Some(mut layer), None) => {
                let y = self.forward(&x, |run, io| layer.forward(&mut run.blobs, &x.shape, io))?;
                (y, self.forward(&dy, |_, io| layer.backward(io))?)
            }
            (None, Some(mut layer)) => {
                let y =
                    self.forward(&x, |run, io| layer.forward(&run.learned, None, &x.shape, io))?;
                let dx = self.forward(&dy, |run, io| {
                    layer.backward(&mut run.learned, None, Wanted::default(), io)
                })?;
                (y, dx)
            }
            (None, None) => {
                let problem = "the case has no layers".to_owned();
                return Err(Error::Oracle { place: self.folder.clone(), problem });
            }
        };
        self.compare(n, step, "y", &y, identical)?;
        self.compare(n, step, "dx", &dx, identical)?;
        let blobs = std::mem::take(&mut self.blobs);
        for (name, values) in [
            ("blob0_after", &blobs.mean),
            ("blob1_after", &blobs.variance),
            ("blob2_after", &blobs.factor),
        ] {
            self.compare(n, step, name, values, true)?;
        }
        self.blobs = blobs;
        let learned = std::mem::take(&mut self.learned);
        for (name, param) in [("dgamma", &learned.factor), ("dbeta", &learned.bias)] {
            if let Some(param) = param {
                self.compare(n, step, name, &param.diff, false)?;
            }
        }
        self.learned = learned;
        self.continue_from_recorded(step)
    }

    /// What lies between the two layers of a pair, from the layers run apart.
    fn between(&mut self, n: usize, step: &Step, x: &Array<T>, identical: bool) -> Result<()> {
        if !step.files.contains_key("bn_y") && !step.files.contains_key("bn_dy") {
            return Ok(());
        }
        let numerics = T::engine(self.engines);
        let phase = if step.phase == "TEST" { Phase::Test } else { Phase::Train };
        let text = |entry: &super::manifest::LayerEntry| {
            if phase == Phase::Test { entry.test.clone() } else { entry.train.clone() }
        };
        let [bn, scale] = [0, 1].map(|n| parameter(&text(&self.case.layers[n]), 1));
        let mut bn = BatchNorm::new(&bn?, phase, &x.shape, numerics)?;
        let mut scale = Scale::new(&scale?, &x.shape, None, numerics)?;
        let mut blobs = self.blobs.clone();
        let mut learned = self.learned.clone();
        let y = self.forward(x, |_, io| bn.forward(&mut blobs, &x.shape, io))?;
        self.compare(n, step, "bn_y", &y, identical)?;
        let normalised = Array { shape: x.shape.clone(), values: y };
        self.forward(&normalised, |run, io| scale.forward(&run.learned, None, &x.shape, io))?;
        let dy = self.input(step, "dy")?;
        let between =
            self.forward(&dy, |_, io| scale.backward(&mut learned, None, Wanted::default(), io))?;
        self.compare(n, step, "bn_dy", &between, true)
    }

    /// Runs one direction, in place where the case is.
    fn forward(
        &mut self,
        input: &Array<T>,
        operation: impl FnOnce(&mut Self, InOut<'_, [T]>) -> Result<()>,
    ) -> Result<Vec<T>> {
        let mut output = input.values.clone();
        if self.case.in_place {
            operation(self, InOut::InPlace(&mut output))?;
        } else {
            output.fill(T::default());
            operation(self, InOut::new(&input.values[..], &mut output[..]))?;
        }
        Ok(output)
    }

    /// Compares an output that the step records.
    fn compare(
        &mut self,
        n: usize,
        step: &Step,
        name: &str,
        found: &[T],
        identical: bool,
    ) -> Result<()> {
        let Some(file) = step.files.get(name) else { return Ok(()) };
        let expected = Array::<T>::read(&self.folder.join(file))?;
        let exact = matches!(T::engine(self.engines), crate::layer::Numerics::Exact);
        // The manifest records y and dx of the pair; what lies between them has the same bounds.
        let key =
            name.strip_prefix("bn_").map_or(name, |outer| if outer == "y" { "y" } else { "dx" });
        let distance =
            self.case.caffe_vs_float64_reference.get(key).copied().unwrap_or_default().max_abs;
        let relative = if T::LANES == 8 { 1e-6 } else { 1e-12 };
        self.outputs.push(Output::new(n, name, found, &expected.values, |largest| {
            match identical && exact {
                true => Bound::Identical,
                false => Bound::Within(4.0 * distance + relative * largest),
            }
        }));
        Ok(())
    }

    fn input(&self, step: &Step, name: &str) -> Result<Array<T>> {
        match step.files.get(name) {
            Some(file) => Array::read(&self.folder.join(file)),
            None => Err(Error::Oracle {
                place: self.folder.clone(),
                problem: format!("a step without \"{name}\""),
            }),
        }
    }

    /// A file of the case that it may or may not have.
    fn optional(&self, file: &str) -> Result<Option<Vec<T>>> {
        let path = self.folder.join(file);
        path.exists().then(|| Array::read(&path).map(|array| array.values)).transpose()
    }

    fn load_initial(&mut self) -> Result<()> {
        let files = ["init_blob0.npy", "init_blob1.npy", "init_blob2.npy"];
        let [mean, variance, factor] = files.map(|file| self.optional(file));
        let blobs = &mut self.blobs;
        let slots = [&mut blobs.mean, &mut blobs.variance, &mut blobs.factor];
        for (slot, values) in slots.into_iter().zip([mean?, variance?, factor?]) {
            if let Some(values) = values {
                *slot = values;
            }
        }
        Ok(())
    }

    fn load_learned(&mut self) -> Result<()> {
        let [factor, bias] = ["gamma.npy", "beta.npy"].map(|file| self.optional(file));
        let slots = [&mut self.learned.factor, &mut self.learned.bias];
        for (slot, values) in slots.into_iter().zip([factor?, bias?]) {
            if let (Some(param), Some(values)) = (slot, values) {
                param.value = values;
            }
        }
        Ok(())
    }

    fn continue_from_recorded(&mut self, step: &Step) -> Result<()> {
        for (name, which) in [("blob0_after", 0), ("blob1_after", 1), ("blob2_after", 2)] {
            let Some(file) = step.files.get(name) else { continue };
            let values = Array::<T>::read(&self.folder.join(file))?.values;
            match which {
                0 => self.blobs.mean = values,
                1 => self.blobs.variance = values,
                _ => self.blobs.factor = values,
            }
        }
        Ok(())
    }
}
