//! The BatchNorm layer.

use bn_core::{Dependence, InOut};

use super::caffe_order::{self, Dims};
use super::on_backend::{self, Affine, Kept};
use super::{Numerics, Real, Statistics};
use crate::blob::Blob;
use crate::error::{Error, Result};
use crate::inspect::Warning;
use crate::net::check;
use crate::net::geometry::batch_norm_channels;
use crate::proto::schema::{LayerParameter, Phase};

/// Caffe's BatchNorm layer: normalisation without gamma and beta.
///
/// Axis 1 of the input are the channels; statistics are taken over all other axes. Whether those
/// of the batch or the stored ones normalise is settled when the layer is made, in every phase by
/// `use_global_stats` where it is given. Batch statistics always enter the blobs.
#[derive(Debug)]
pub struct BatchNorm<'b, T: Real> {
    name: String,
    phase: Phase,
    channels: usize,
    /// Both are floats of the file, in double nets too.
    pub(super) eps: f32,
    pub(super) fraction: f32,
    global: bool,
    pub(super) numerics: Numerics<'b, T>,
    keeps: bool,
    left: Option<Left<T>>,
}

/// What forward left for backward.
#[derive(Debug)]
enum Left<T> {
    /// Caffe's `x_norm_` and the roots.
    Exact { dims: Dims, normalised: Vec<T>, roots: Vec<T> },
    /// What a backend needs.
    Fast(Kept<T>),
}

impl<'b, T: Real> BatchNorm<'b, T> {
    /// Sets up a layer for inputs of this shape.
    ///
    /// `phase` is the net's; a `phase` in the message counts only in weight files of training.
    ///
    /// # Errors
    /// [`Error::Layer`] where Caffe aborts: another type, a number of bottoms or tops other than 1,
    /// a learning rate for the statistics, an input of fewer than two axes or an empty one;
    /// [`Error::Blob`] for a broken blob in the message.
    pub fn new(
        parameter: &LayerParameter,
        phase: Phase,
        input: &[usize],
        numerics: Numerics<'b, T>,
    ) -> Result<Self> {
        of_type(parameter, &["BatchNorm"])?;
        check::parameters(parameter)?;
        check::connections(parameter)?;
        let settings = parameter.batch_norm_param.unwrap_or_default();
        Ok(Self {
            name: parameter.name().to_owned(),
            phase,
            channels: batch_norm_channels(parameter, input)?,
            eps: settings.eps(),
            fraction: settings.moving_average_fraction(),
            global: settings.use_global_stats.unwrap_or(phase == Phase::Test),
            numerics,
            keeps: true,
            left: None,
        })
    }

    /// The blobs that the layer starts with: those written in its message, else zeros.
    ///
    /// Blobs of the message are taken as they are, whatever their number and sizes, as Caffe does;
    /// [`Self::forward`] refuses those that do not fit, where Caffe reads beyond their end.
    ///
    /// # Errors
    /// [`Error::Blob`].
    pub fn initial(&self, parameter: &LayerParameter) -> Result<Statistics<T>> {
        if parameter.blobs.is_empty() {
            return Ok(Statistics::zeros(self.channels));
        }
        Ok(Statistics::from_blobs(&blobs_of(parameter)?))
    }

    /// The same layer for inference: it keeps no copy of its values, and backward is an error.
    #[must_use]
    pub fn for_inference(self) -> Self {
        Self { keeps: false, ..self }
    }

    /// The number of channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Whether the stored statistics normalise.
    #[must_use]
    pub fn uses_global_stats(&self) -> bool {
        self.global
    }

    /// What Caffe accepts although nobody can have meant it, in the settings and in these blobs.
    #[must_use]
    pub fn warnings(&self, blobs: &Statistics<T>) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if self.eps < 0.0 {
            warnings.push(Warning::NegativeEps { eps: self.eps });
        }
        if !(0.0..=1.0).contains(&self.fraction) {
            warnings.push(Warning::FractionOutOfRange { fraction: self.fraction });
        }
        if !self.global && self.phase == Phase::Test {
            warnings.push(Warning::BatchStatisticsInTest);
        }
        warnings.extend(blobs.warnings());
        warnings
    }

    /// Normalises x into y and, unless stored statistics normalise, takes the batch into the blobs.
    ///
    /// Batch and spatial axes may differ from call to call.
    ///
    /// # Errors
    /// [`Error::Layer`] for another number of channels, an empty input, blobs or buffers of other
    /// lengths; [`Error::Backend`] where the backend refuses. Nothing is written then.
    pub fn forward(
        &mut self,
        blobs: &mut Statistics<T>,
        shape: &[usize],
        io: InOut<'_, [T]>,
    ) -> Result<()> {
        let dims = self.dims(shape)?;
        check_io(&self.name, "BatchNorm", shape, ["x", "y"], &io)?;
        blobs.check(&self.name, self.channels)?;
        match self.numerics {
            Numerics::Exact => self.forward_exact(blobs, dims, io),
            Numerics::Fast(_) => {
                let kept = self.forward_fast(blobs, dims, Affine::default(), io)?;
                self.left = kept.map(Left::Fast);
            }
        }
        Ok(())
    }

    fn forward_exact(&mut self, blobs: &mut Statistics<T>, dims: Dims, io: InOut<'_, [T]>) {
        let y = into_output(io);
        let (mean, variance) = if self.global {
            let scale = blobs.scale();
            let scaled = |sums: &[T]| sums.iter().map(|&sum| sum * scale).collect();
            (scaled(&blobs.mean), scaled(&blobs.variance))
        } else {
            (caffe_order::mean(dims, y), Vec::new())
        };
        caffe_order::centre(dims, y, &mean);
        let variance: Vec<T> = if self.global { variance } else { caffe_order::variance(dims, y) };
        if !self.global {
            let fraction = T::from_f64(self.fraction.into());
            blobs.absorb(fraction, dims.0 * dims.2, &mean, &variance);
        }
        let roots = caffe_order::roots(&variance, T::from_f64(self.eps.into()));
        caffe_order::divide(dims, y, &roots);
        self.left = self.keeps.then(|| Left::Exact { dims, normalised: y.to_vec(), roots });
    }

    /// Forward on the backend, with the factor and bias of a Scale behind this layer.
    pub(super) fn forward_fast(
        &self,
        blobs: &mut Statistics<T>,
        dims: Dims,
        affine: Affine<'_, T>,
        io: InOut<'_, [T]>,
    ) -> Result<Option<Kept<T>>> {
        let Numerics::Fast(backend) = self.numerics else {
            unreachable!("called in Fast alone");
        };
        let mut kept = Kept::new(dims, self.keeps.then(|| io.input()));
        let eps = f64::from(self.eps);
        let done = if self.global {
            on_backend::with_stored(backend, &mut kept, eps, blobs, affine, io)
        } else {
            let update = (self.fraction.into(), blobs);
            on_backend::with_batch(backend, &mut kept, eps, update, affine, io)
        };
        done.map_err(|source| self.backend_error(source))?;
        Ok(self.keeps.then_some(kept))
    }

    /// dx from dy, after a forward of the same shape.
    ///
    /// # Errors
    /// [`Error::Layer`] without a forward before, or for buffers of other lengths than its shape;
    /// [`Error::Backend`] where the backend refuses.
    pub fn backward(&self, io: InOut<'_, [T]>) -> Result<()> {
        let Some(left) = &self.left else {
            return Err(no_forward(&self.name, "BatchNorm"));
        };
        let (n, c, s) = match left {
            Left::Exact { dims, .. } => *dims,
            Left::Fast(kept) => kept.dims,
        };
        check_io(&self.name, "BatchNorm", &[n, c, s], ["dy", "dx"], &io)?;
        match (left, self.numerics) {
            (Left::Exact { dims, normalised, roots }, _) => {
                let dy = into_output(io);
                if self.global {
                    caffe_order::divide(*dims, dy, roots);
                } else {
                    caffe_order::through_batch(*dims, dy, normalised, roots);
                }
                Ok(())
            }
            (Left::Fast(kept), Numerics::Fast(backend)) => {
                on_backend::backward(backend, kept, self.dependence(), None, None, io)
                    .map_err(|source| self.backend_error(source))
            }
            (Left::Fast(_), Numerics::Exact) => unreachable!("numerics of a layer never change"),
        }
    }

    pub(super) fn dependence(&self) -> Dependence {
        if self.global { Dependence::Fixed } else { Dependence::Batch }
    }

    pub(super) fn backend_error(&self, source: bn_core::Error) -> Error {
        Error::Backend { layer: self.name.clone(), source }
    }

    /// The shape as N × C × S, with the channels that the layer was set up for.
    pub(super) fn dims(&self, shape: &[usize]) -> Result<Dims> {
        // The geometry's errors name the layer; its message is rebuilt from the name alone.
        let named = LayerParameter {
            name: Some(self.name.clone()),
            type_name: Some("BatchNorm".into()),
            ..LayerParameter::default()
        };
        let channels = batch_norm_channels(&named, shape)?;
        if channels != self.channels {
            return Err(Error::layer(
                &self.name,
                "BatchNorm",
                "axis 1 of bottom 0",
                channels.to_string(),
                format!("{}, as at set-up", self.channels),
            ));
        }
        Ok((shape[0], channels, shape[2..].iter().product()))
    }

    /// The layer's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Refuses a message of another type.
pub(super) fn of_type(parameter: &LayerParameter, types: &[&str]) -> Result<()> {
    if types.contains(&parameter.type_name()) {
        return Ok(());
    }
    // A type that Caffe does not know has a better message.
    check::parameters(parameter)?;
    let found = format!("\"{}\"", parameter.type_name());
    Err(Error::layer(parameter.name(), parameter.type_name(), "type", found, types.join(" or ")))
}

/// The blobs written in a message.
pub(super) fn blobs_of(parameter: &LayerParameter) -> Result<Vec<Blob>> {
    let named = |(blob, bytes)| {
        Blob::parse(bytes).map_err(|problem| Error::Blob {
            layer: parameter.name().to_owned(),
            blob,
            problem,
        })
    };
    parameter.blobs.iter().enumerate().map(named).collect()
}

/// Compares the lengths of two buffers with a shape.
pub(super) fn check_io<T>(
    layer: &str,
    kind: &str,
    shape: &[usize],
    [input, output]: [&str; 2],
    io: &InOut<'_, [T]>,
) -> Result<()> {
    let expected = shape.iter().product();
    check_len(layer, kind, input, io.input().len(), expected)?;
    match io {
        InOut::Separate { output: buffer, .. } => {
            check_len(layer, kind, output, buffer.len(), expected)
        }
        InOut::InPlace(_) => Ok(()),
    }
}

pub(super) fn check_len(
    layer: &str,
    kind: &str,
    what: &str,
    found: usize,
    expected: usize,
) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (found.to_string(), expected.to_string());
    Err(Error::layer(layer, kind, format!("values of {what}"), found, expected))
}

pub(super) fn no_forward(layer: &str, kind: &str) -> Error {
    Error::layer(layer, kind, "backward", "no forward before it", "a forward of the same shape")
}

/// The output, holding the input's values.
pub(super) fn into_output<T: Copy>(io: InOut<'_, [T]>) -> &mut [T] {
    match io {
        InOut::InPlace(buffer) => buffer,
        InOut::Separate { input, output } => {
            output.copy_from_slice(input);
            output
        }
    }
}
