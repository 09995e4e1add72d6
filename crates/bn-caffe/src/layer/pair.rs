//! BatchNorm and the Scale behind it, as one.

use bn_core::InOut;

use super::batch_norm::{check_io, no_forward};
use super::on_backend::{self, Kept};
use super::scale::add;
use super::{BatchNorm, Learned, Numerics, Real, Scale, Statistics, Wanted};
use crate::error::{Error, Result};

/// A BatchNorm layer with the Scale that completes it: y = (x − mean)/sqrt(var + eps)·g (+ b).
///
/// In [`Numerics::Exact`] the two layers run one after the other, as in Caffe; in
/// [`Numerics::Fast`] they are one pass of the backend.
///
/// ```
/// use bn_caffe::layer::{BatchNorm, Numerics, Pair, Scale};
/// use bn_caffe::{net::Net, proto::schema::Phase};
/// use bn_core::InOut;
///
/// let net = Net::parse(
///     "layer { name: 'bn' type: 'BatchNorm' bottom: 'x' top: 'x' }
///      layer { name: 'scale' type: 'Scale' bottom: 'x' top: 'x' scale_param { bias_term: true } }",
/// )?;
/// let [bn, scale] = [0, 1].map(|n| &net.layers[n].parameter);
/// let (shape, numerics) = ([2, 3, 4], Numerics::Fast(&bn_naive::NaiveBackend));
/// let mut pair = Pair::new(
///     BatchNorm::<f64>::new(bn, Phase::Train, &shape, numerics)?,
///     Scale::new(scale, &shape, None, numerics)?,
/// )?;
/// let (mut blobs, mut learned) = (pair.batch_norm().initial(bn)?, pair.scale().initial()?);
/// let mut x: Vec<f64> = (0..24).map(f64::from).collect();
/// pair.forward(&mut blobs, &learned, &shape, InOut::InPlace(&mut x))?;
/// let mut dy = vec![1.0; 24];
/// pair.backward(&mut learned, InOut::InPlace(&mut dy))?;
/// assert_eq!(learned.bias.unwrap().diff, [8.0; 3]);
/// # Ok::<(), bn_caffe::Error>(())
/// ```
#[derive(Debug)]
pub struct Pair<'b, T: Real> {
    batch_norm: BatchNorm<'b, T>,
    scale: Scale<'b, T>,
    left: Option<Kept<T>>,
}

impl<'b, T: Real> Pair<'b, T> {
    /// Joins two layers that were set up for the same input.
    ///
    /// # Errors
    /// [`Error::Layer`] where the Scale does not hold one learned value for each channel.
    pub fn new(batch_norm: BatchNorm<'b, T>, scale: Scale<'b, T>) -> Result<Self> {
        let pair = Self { batch_norm, scale, left: None };
        pair.check()?;
        Ok(pair)
    }

    /// Whether two layers can be joined.
    #[must_use]
    pub fn fits(batch_norm: &BatchNorm<'b, T>, scale: &Scale<'b, T>) -> bool {
        let geometry = scale.geometry();
        let per_channel = geometry.axis == 1 && geometry.dims == [batch_norm.channels()];
        per_channel && !scale.has_two_bottoms() && !scale.is_bias()
    }

    fn check(&self) -> Result<()> {
        if Self::fits(&self.batch_norm, &self.scale) {
            return Ok(());
        }
        let (geometry, channels) = (self.scale.geometry(), self.batch_norm.channels());
        Err(Error::layer(
            self.scale.name(),
            "Scale",
            "axes of the factor",
            format!("shape {:?} from axis {}", geometry.dims, geometry.axis),
            format!("one learned value for each of {channels} channels, from axis 1"),
        ))
    }

    /// The BatchNorm layer.
    #[must_use]
    pub fn batch_norm(&self) -> &BatchNorm<'b, T> {
        &self.batch_norm
    }

    /// The Scale layer.
    #[must_use]
    pub fn scale(&self) -> &Scale<'b, T> {
        &self.scale
    }

    /// Both layers, each to be run by itself.
    #[must_use]
    pub fn into_layers(self) -> (BatchNorm<'b, T>, Scale<'b, T>) {
        (self.batch_norm, self.scale)
    }

    /// x to y; updates the blobs as [`BatchNorm::forward`] does.
    ///
    /// # Errors
    /// As for the two layers.
    pub fn forward(
        &mut self,
        blobs: &mut Statistics<T>,
        learned: &Learned<T>,
        shape: &[usize],
        mut io: InOut<'_, [T]>,
    ) -> Result<()> {
        let dims = self.batch_norm.dims(shape)?;
        self.scale.reshape(shape)?;
        self.check()?;
        check_io(self.batch_norm.name(), "BatchNorm", shape, ["x", "y"], &io)?;
        blobs.check(self.batch_norm.name(), dims.1)?;
        let affine = self.scale.affine(learned, None)?;
        if let Numerics::Fast(_) = self.batch_norm.numerics {
            self.left = self.batch_norm.forward_fast(blobs, dims, affine, io)?;
            return Ok(());
        }
        self.batch_norm.forward(blobs, shape, io.reborrow())?;
        let y = match io {
            InOut::Separate { output, .. } => output,
            InOut::InPlace(buffer) => buffer,
        };
        self.scale.forward(learned, None, shape, InOut::InPlace(y))
    }

    /// dx from dy; adds the gradients of factor and bias to `learned`.
    ///
    /// # Errors
    /// As for the two layers.
    pub fn backward(&mut self, learned: &mut Learned<T>, mut io: InOut<'_, [T]>) -> Result<()> {
        if let Numerics::Fast(backend) = self.batch_norm.numerics {
            let name = self.batch_norm.name();
            let kept = self.left.as_ref().ok_or_else(|| no_forward(name, "BatchNorm"))?;
            let (n, c, s) = kept.dims;
            check_io(name, "BatchNorm", &[n, c, s], ["dy", "dx"], &io)?;
            let gamma = self.scale.affine(learned, None)?.gamma;
            let mut sums = [vec![T::default(); c], vec![T::default(); c]];
            let [dgamma, dbeta] = &mut sums;
            let dependence = self.batch_norm.dependence();
            on_backend::backward(backend, kept, dependence, gamma, Some([dgamma, dbeta]), io)
                .map_err(|source| self.batch_norm.backend_error(source))?;
            for (param, sums) in [&mut learned.factor, &mut learned.bias].into_iter().zip(&sums) {
                if let Some(param) = param {
                    add(&mut param.diff, sums);
                }
            }
            return Ok(());
        }
        self.scale.backward(learned, None, Wanted::default(), io.reborrow())?;
        let dx = match io {
            InOut::Separate { output, .. } => output,
            InOut::InPlace(buffer) => buffer,
        };
        self.batch_norm.backward(InOut::InPlace(dx))
    }
}
