//! The Scale and Bias layers.

use bn_core::InOut;

use super::batch_norm::{blobs_of, check_io, check_len, into_output, no_forward, of_type};
use super::caffe_order::Dims;
use super::on_backend::{self, Affine};
use super::{Gradients, Learned, Numerics, Param, Real, sums};
use crate::error::{Error, Result};
use crate::net::check;
use crate::net::geometry::ScaleGeometry;
use crate::proto::schema::LayerParameter;

/// Caffe's Scale layer, y = x·g (+ b), and its Bias layer, y = x + b.
///
/// Factor and bias cover some axes of the input: it is seen as outer × covered × inner. With two
/// bottoms the second is the factor (of a Bias: the bias), and its shape says what is covered.
#[derive(Debug)]
pub struct Scale<'b, T: Real> {
    parameter: LayerParameter,
    geometry: ScaleGeometry,
    bias_term: bool,
    numerics: Numerics<'b, T>,
    gradients: Gradients,
    keeps: bool,
    /// The input of the last forward and whether that was in place.
    left: Option<(Vec<T>, bool)>,
}

/// The second bottom, where there are two, as backward takes it.
#[derive(Debug)]
pub struct Second<'a, T> {
    /// Its values.
    pub value: &'a [T],
    /// Its gradient, which is assigned, never added to.
    pub diff: &'a mut [T],
}

/// Which gradients backward computes: Caffe's `propagate_down`, and 0 as `lr_mult`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The first bottom's.
    pub input: bool,
    /// The factor's, learned or second bottom.
    pub factor: bool,
    /// The bias's.
    pub bias: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { input: true, factor: true, bias: true }
    }
}

impl<'b, T: Real> Scale<'b, T> {
    /// Sets up a layer for a first bottom of shape `input` and, with two, a second of shape `second`.
    ///
    /// # Errors
    /// [`Error::Layer`] where Caffe aborts: another type, wrong numbers of bottoms and tops,
    /// `num_axes` below -1, axes out of range, dimensions that differ, unknown fillers, an empty
    /// input; [`Error::Blob`] for a broken blob in the message.
    pub fn new(
        parameter: &LayerParameter,
        input: &[usize],
        second: Option<&[usize]>,
        numerics: Numerics<'b, T>,
    ) -> Result<Self> {
        of_type(parameter, &["Scale", "Bias"])?;
        check::parameters(parameter)?;
        check::connections(parameter)?;
        let bottoms = 1 + usize::from(second.is_some());
        if parameter.bottom.len() != bottoms {
            return Err(Error::layer(
                parameter.name(),
                parameter.type_name(),
                "number of bottoms",
                parameter.bottom.len().to_string(),
                format!("{bottoms}, the number of shapes given"),
            ));
        }
        let scale = parameter.scale_param.as_ref().filter(|_| parameter.type_name() == "Scale");
        let written = match second {
            None => blobs_of(parameter)?.first().map(|blob| blob.shape().dims().to_vec()),
            Some(_) => None,
        };
        Ok(Self {
            geometry: geometry(parameter, input, second, written.as_deref())?,
            bias_term: scale.is_some_and(|p| p.bias_term()),
            parameter: parameter.clone(),
            numerics,
            gradients: Gradients::Right,
            keeps: true,
            left: None,
        })
    }

    /// The same layer with Caffe's own gradients, or the right ones again.
    #[must_use]
    pub fn with_gradients(self, gradients: Gradients) -> Self {
        Self { gradients, ..self }
    }

    /// The same layer for inference: it keeps no copy of its input, and backward is an error.
    #[must_use]
    pub fn for_inference(self) -> Self {
        Self { keeps: false, ..self }
    }

    /// The layer's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.parameter.name()
    }

    /// How the input of the last shape is covered.
    #[must_use]
    pub fn geometry(&self) -> &ScaleGeometry {
        &self.geometry
    }

    /// The blobs that the layer starts with: those written in its message, else filled.
    ///
    /// A factor starts at 1 without a filler and at 0 with an empty one, a bias at 0.
    ///
    /// # Errors
    /// [`Error::Blob`]; [`Error::Layer`] for a filler that Caffe refuses.
    pub fn initial(&self) -> Result<Learned<T>> {
        let p = &self.parameter;
        let dims = &self.geometry.dims;
        let one_bottom = p.bottom.len() == 1;
        let written: Vec<Param<T>> = blobs_of(p)?.iter().map(Param::from_blob).collect();
        let mut learned = Learned::default();
        if self.is_bias() {
            let filler = p.bias_param.as_ref().and_then(|p| p.filler.as_ref());
            if one_bottom {
                learned.bias = Some(match written.into_iter().next() {
                    Some(bias) => bias,
                    None => Param::filled(p, "bias_param.filler", filler, 0.0, dims)?,
                });
            }
            return Ok(learned);
        }
        let settings = p.scale_param.clone().unwrap_or_default();
        if one_bottom {
            learned.factor = Some(match written.first() {
                Some(factor) => factor.clone(),
                None => {
                    Param::filled(p, "scale_param.filler", settings.filler.as_ref(), 1.0, dims)?
                }
            });
        }
        if self.bias_term {
            // The bias is the last blob, where the message has one for it.
            let has_bias = written.len() + p.bottom.len() >= 3;
            let copies_factor = self.gradients == Gradients::Caffe && one_bottom;
            let from_message = has_bias || copies_factor;
            learned.bias = Some(match written.last().filter(|_| from_message) {
                Some(bias) => bias.clone(),
                None => {
                    let filler = settings.bias_filler.as_ref();
                    Param::filled(p, "scale_param.bias_filler", filler, 0.0, dims)?
                }
            });
        }
        Ok(learned)
    }

    /// y = x·g (+ b).
    ///
    /// `shape` may differ from call to call in the axes that are not covered.
    ///
    /// # Errors
    /// [`Error::Layer`] for a shape that factor or bias do not fit, or buffers of other lengths;
    /// [`Error::Backend`] where the backend refuses. Nothing is written then.
    pub fn forward(
        &mut self,
        learned: &Learned<T>,
        second: Option<&[T]>,
        shape: &[usize],
        io: InOut<'_, [T]>,
    ) -> Result<()> {
        self.reshape(shape)?;
        let (name, kind) = (self.parameter.name(), self.parameter.type_name());
        check_io(name, kind, shape, ["x", "y"], &io)?;
        let affine = self.affine(learned, second)?;
        let left = self.keeps.then(|| (io.input().to_vec(), io.is_in_place()));
        let dims @ (_, covered, inner) = self.dims();
        match self.numerics {
            Numerics::Fast(backend) => on_backend::scale(backend, dims, affine, io)
                .map_err(|source| self.backend_error(source))?,
            Numerics::Exact => {
                for (row, values) in into_output(io).chunks_exact_mut(inner).enumerate() {
                    let of = row % covered;
                    let (factor, bias) = (affine.gamma.map(|g| g[of]), affine.beta.map(|b| b[of]));
                    for value in values {
                        // Rust never contracts this to one fused operation: the product is rounded.
                        let product = factor.map_or(*value, |factor| *value * factor);
                        *value = bias.map_or(product, |bias| product + bias);
                    }
                }
            }
        }
        self.left = left;
        Ok(())
    }

    /// dx = dy·g, dg += Σdy·x, db += Σdy, after a forward of the same shape.
    ///
    /// Gradients of learned blobs are added to `learned`, that of a second bottom is assigned.
    ///
    /// # Errors
    /// As for [`Self::forward`], and [`Error::Layer`] without a forward before.
    pub fn backward(
        &mut self,
        learned: &mut Learned<T>,
        mut second: Option<Second<'_, T>>,
        wanted: Wanted,
        io: InOut<'_, [T]>,
    ) -> Result<()> {
        let (name, kind) = (self.parameter.name(), self.parameter.type_name());
        let Some((x, in_place)) = self.left.take() else {
            return Err(no_forward(name, kind));
        };
        check_io(name, kind, &[x.len()], ["dy", "dx"], &io)?;
        self.affine(learned, second.as_ref().map(|second| second.value))?;
        let dims = self.dims();
        if let Some(second) = &second {
            check_len(name, kind, "the second bottom's gradient", second.diff.len(), dims.1)?;
        }

        let is_bias = self.is_bias();
        let wants_sum = (wanted.factor && !is_bias) || wanted.bias;
        let [factor_sum, bias_sum] = if wants_sum {
            self.parameter_sums(dims, io.input(), &x)?
        } else {
            [Vec::new(), Vec::new()]
        };
        let eltwise = dims.0 == 1 && dims.2 == 1;
        let overwrites = self.gradients == Gradients::Caffe
            && (eltwise || (dims.0 == 1 && dims.1 > 1 && dims.2 > 1));
        if wanted.bias {
            match (&mut learned.bias, &mut second) {
                (Some(bias), _) => add(&mut bias.diff, &bias_sum),
                (None, Some(second)) if is_bias => second.diff.copy_from_slice(&bias_sum),
                _ => {}
            }
        }
        if wanted.factor && !is_bias {
            match (&mut learned.factor, &mut second) {
                (_, Some(second)) => second.diff.copy_from_slice(&factor_sum),
                (Some(factor), None) if overwrites => factor.diff.copy_from_slice(&factor_sum),
                (Some(factor), None) => add(&mut factor.diff, &factor_sum),
                (None, None) => unreachable!("affine() has found a factor"),
            }
        }

        let spoils = self.gradients == Gradients::Caffe && wanted.factor && !is_bias && !eltwise;
        let mut x = x;
        if spoils && in_place {
            for (x, &dy) in x.iter_mut().zip(io.input()) {
                *x = dy * *x;
            }
        }
        let affine = self.affine(learned, second.as_ref().map(|second| second.value))?;
        let done = if wanted.input {
            self.input_gradient(dims, affine.gamma, io)
        } else {
            if let InOut::Separate { input: dy, output: dx } = io
                && spoils
                && !in_place
            {
                for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(&x) {
                    *dx = dy * x;
                }
            }
            Ok(())
        };
        self.left = Some((x, in_place));
        done
    }

    /// dx = dy·g.
    fn input_gradient(&self, dims: Dims, gamma: Option<&[T]>, io: InOut<'_, [T]>) -> Result<()> {
        match self.numerics {
            Numerics::Fast(backend) => on_backend::scale_input(backend, dims, gamma, io)
                .map_err(|source| self.backend_error(source)),
            Numerics::Exact => {
                let rows = into_output(io).chunks_exact_mut(dims.2).enumerate();
                for (row, values) in rows {
                    if let Some(gamma) = gamma {
                        values.iter_mut().for_each(|dy| *dy = *dy * gamma[row % dims.1]);
                    }
                }
                Ok(())
            }
        }
    }

    /// Σdy·x and Σdy of each covered value.
    fn parameter_sums(&self, dims: Dims, dy: &[T], x: &[T]) -> Result<[Vec<T>; 2]> {
        match self.numerics {
            Numerics::Exact => Ok([
                sums::channels(dims, T::ONE, |i| dy[i] * x[i]),
                sums::channels(dims, T::ONE, |i| dy[i]),
            ]),
            Numerics::Fast(backend) => {
                let (factor, bias) = on_backend::scale_sums(backend, dims, dy, x)
                    .map_err(|source| self.backend_error(source))?;
                Ok([factor, bias].map(|sums| sums.into_iter().map(T::from_f64).collect()))
            }
        }
    }

    /// Factor and bias, with lengths checked.
    pub(super) fn affine<'a>(
        &self,
        learned: &'a Learned<T>,
        second: Option<&'a [T]>,
    ) -> Result<Affine<'a, T>> {
        let (name, kind) = (self.parameter.name(), self.parameter.type_name());
        let values = |param: &'a Option<Param<T>>| param.as_ref().map(|param| &param.value[..]);
        let (wants_factor, wants_bias) = (!self.is_bias(), self.is_bias() || self.bias_term);
        let (mut gamma, mut beta) = (values(&learned.factor), values(&learned.bias));
        if self.parameter.bottom.len() == 2 {
            let slot = if wants_factor { &mut gamma } else { &mut beta };
            *slot = second;
        }
        let covered = self.geometry.dims.iter().product();
        for (what, slot, wanted) in
            [("factor", &mut gamma, wants_factor), ("bias", &mut beta, wants_bias)]
        {
            if wanted {
                check_len(name, kind, what, slot.map_or(0, <[T]>::len), covered)?;
            } else {
                *slot = None;
            }
        }
        for (what, param) in [("factor", &learned.factor), ("bias", &learned.bias)] {
            if let Some(param) = param {
                let what = format!("the {what}'s gradient");
                check_len(name, kind, &what, param.diff.len(), param.value.len())?;
            }
        }
        Ok(Affine { gamma, beta })
    }

    /// Takes another shape of the first bottom; the covered axes stay what they were.
    pub(super) fn reshape(&mut self, input: &[usize]) -> Result<()> {
        let covered = self.geometry.dims.clone();
        self.geometry = geometry(&self.parameter, input, None, Some(&covered))?;
        Ok(())
    }

    /// outer, covered, inner.
    pub(super) fn dims(&self) -> Dims {
        let g = &self.geometry;
        (g.outer, g.dims.iter().product(), g.inner)
    }

    pub(super) fn has_two_bottoms(&self) -> bool {
        self.parameter.bottom.len() == 2
    }

    pub(super) fn is_bias(&self) -> bool {
        self.parameter.type_name() == "Bias"
    }

    fn backend_error(&self, source: bn_core::Error) -> Error {
        Error::Backend { layer: self.parameter.name().to_owned(), source }
    }
}

/// Adds sums to a gradient.
pub(super) fn add<T: Real>(diff: &mut [T], sums: &[T]) {
    for (diff, &sum) in diff.iter_mut().zip(sums) {
        *diff += sum;
    }
}

/// The covered axes: of the second bottom, of a blob that is there already, or by the settings.
fn geometry(
    parameter: &LayerParameter,
    input: &[usize],
    second: Option<&[usize]>,
    blob: Option<&[usize]>,
) -> Result<ScaleGeometry> {
    if input.contains(&0) {
        return Err(Error::layer(
            parameter.name(),
            parameter.type_name(),
            "shape of bottom 0",
            format!("{input:?}"),
            "no empty axis",
        ));
    }
    ScaleGeometry::new(parameter, input, second.or(blob)).map_err(|error| match error {
        // A blob of the layer against the input, in the words of two bottoms.
        Error::Layer { layer, kind, parameter, found, expected }
            if second.is_none() && parameter == "shape of bottom 1" =>
        {
            let parameter = "shape of blob 0, from its axis of bottom 0".to_owned();
            Error::Layer { layer, kind, parameter, found, expected }
        }
        other => other,
    })
}
