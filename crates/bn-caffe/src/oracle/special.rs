//! Runs with a procedure of their own.

use std::path::{Path, PathBuf};

use bn_core::InOut;

use super::cases::parameter;
use super::manifest::{DType, SpecialEntry};
use super::{Array, Bound, Case, Engines, Output, Precision};
use crate::error::{Error, Result};
use crate::layer::{BatchNorm, Gradients, Learned, Numerics, Scale, Second, Wanted};
use crate::proto::schema::Phase;

/// Replays a case.
pub(super) fn replay(directory: &Path, case: &SpecialEntry, engines: &Engines<'_>) -> Case {
    let outputs = match case.dtype() {
        DType::Float => run::<f32>(directory, case, engines),
        DType::Double => run::<f64>(directory, case, engines),
    };
    Case { name: case.name.clone(), outputs }
}

fn run<T: Precision>(
    directory: &Path,
    case: &SpecialEntry,
    engines: &Engines<'_>,
) -> Result<Vec<Output>> {
    let mut run = Special::<T> {
        folder: directory.join(&case.name),
        numerics: T::engine(engines),
        outputs: Vec::new(),
    };
    let done = match case.name.as_str() {
        "scale_inplace_double_backward_f64" => run.double_backward(),
        "bn_nan_f32" => run.not_a_number(),
        "propagate_down_false_f64" => run.propagate_flags(),
        _ if case.kind == "two-bottom Scale" => run.two_bottoms(case),
        _ => Err(Error::Oracle {
            place: run.folder.clone(),
            problem: format!("a special case of unknown kind \"{}\"", case.kind),
        }),
    };
    done.map(|()| run.outputs)
}

struct Special<'b, T: Precision> {
    folder: PathBuf,
    numerics: Numerics<'b, T>,
    outputs: Vec<Output>,
}

impl<T: Precision> Special<'_, T> {
    fn array(&self, name: &str) -> Result<Array<T>> {
        Array::read(&self.folder.join(format!("{name}.npy")))
    }

    fn text(&self, name: &str) -> Result<String> {
        let path = self.folder.join(name);
        std::fs::read_to_string(&path).map_err(|source| Error::Io { path, source })
    }

    /// Compares with a file; sums have no bits of their own, forward's products have.
    fn compare(&mut self, step: usize, file: &str, found: &[T], identical: bool) -> Result<()> {
        let expected = self.array(file)?;
        let relative = if T::LANES == 8 { 1e-6 } else { 1e-12 };
        let exact = matches!(self.numerics, Numerics::Exact);
        self.outputs.push(Output::new(
            step,
            file,
            found,
            &expected.values,
            |largest| match identical && exact {
                true => Bound::Identical,
                false => Bound::Within(relative * largest),
            },
        ));
        Ok(())
    }

    /// Scale with its factor as second bottom.
    fn two_bottoms(&mut self, case: &SpecialEntry) -> Result<()> {
        let (x, factor, dy) = (self.array("x_0")?, self.array("s_0")?, self.array("dy_0")?);
        let settings = case.scale_param.as_deref().unwrap_or_default();
        let text = format!("name: 'scale' type: 'Scale' scale_param {{ {settings} }}");
        let parameter = parameter(&text, 2)?;
        let mut layer = Scale::new(&parameter, &x.shape, Some(&factor.shape), self.numerics)?;
        let mut learned = layer.initial()?;
        let mut y = x.values.clone();
        let mut dx = dy.values.clone();
        let mut ds = vec![T::ONE; factor.values.len()];
        let second = Second { value: &factor.values, diff: &mut ds };
        let values = Some(&factor.values[..]);
        if case.in_place {
            layer.forward(&learned, values, &x.shape, InOut::InPlace(&mut y))?;
            let io = InOut::InPlace(&mut dx[..]);
            layer.backward(&mut learned, Some(second), Wanted::default(), io)?;
        } else {
            layer.forward(&learned, values, &x.shape, InOut::new(&x.values[..], &mut y[..]))?;
            let io = InOut::new(&dy.values[..], &mut dx[..]);
            layer.backward(&mut learned, Some(second), Wanted::default(), io)?;
        }
        self.compare(0, "y_0", &y, true)?;
        self.compare(0, "dx_0", &dx, true)?;
        self.compare(0, "ds_0", &ds, false)
    }

    /// Backward twice after one forward in place, with Caffe's gradients.
    fn double_backward(&mut self) -> Result<()> {
        let (x, dy) = (self.array("x_0")?, self.array("dy_0")?);
        let parameter = parameter(&self.text("scale.prototxt")?, 1)?;
        let mut layer =
            Scale::new(&parameter, &x.shape, None, self.numerics)?.with_gradients(Gradients::Caffe);
        let mut learned: Learned<T> = layer.initial()?;
        if let Some(factor) = &mut learned.factor {
            factor.value = self.array("gamma")?.values;
        }
        let mut y = x.values.clone();
        layer.forward(&learned, None, &x.shape, InOut::InPlace(&mut y))?;
        for step in 0..2 {
            learned.clear_diffs();
            let mut dx = dy.values.clone();
            let io = InOut::InPlace(&mut dx[..]);
            layer.backward(&mut learned, None, Wanted::default(), io)?;
            self.compare(step, &format!("dx_{step}"), &dx, true)?;
            let dgamma = learned.factor.as_ref().map(|factor| factor.diff.clone());
            self.compare(step, &format!("dgamma_{step}"), &dgamma.unwrap_or_default(), false)?;
        }
        Ok(())
    }

    /// NaN in one channel, an infinity in another, then an ordinary batch.
    fn not_a_number(&mut self) -> Result<()> {
        let x = self.array("x_0")?;
        let parameter = parameter(&self.text("bn.prototxt")?, 1)?;
        let mut layer = BatchNorm::new(&parameter, Phase::Train, &x.shape, self.numerics)?;
        let mut blobs = layer.initial(&parameter)?;
        for step in 0..2 {
            let x = self.array(&format!("x_{step}"))?;
            let mut y = vec![T::default(); x.values.len()];
            layer.forward(&mut blobs, &x.shape, InOut::new(&x.values[..], &mut y[..]))?;
            self.compare(step, &format!("y_{step}"), &y, false)?;
            for (blob, values) in
                [&blobs.mean, &blobs.variance, &blobs.factor].into_iter().enumerate()
            {
                self.compare(step, &format!("blob{blob}_{step}"), values, true)?;
            }
        }
        Ok(())
    }

    /// Gradients that are not wanted: of the input, of the learned blobs.
    fn propagate_flags(&mut self) -> Result<()> {
        let (x, dy) = (self.array("x_0")?, self.array("dy_0")?);
        let mut dx = vec![T::default(); x.values.len()];
        let mut y = dx.clone();

        // BatchNorm's input gradient is written whether wanted or not; so it is always asked for.
        let text = self.text("bn.prototxt")?;
        let bn = parameter(&text, 1)?;
        let mut layer = BatchNorm::new(&bn, Phase::Train, &x.shape, self.numerics)?;
        let mut blobs = layer.initial(&bn)?;
        layer.forward(&mut blobs, &x.shape, InOut::new(&x.values[..], &mut y[..]))?;
        layer.backward(InOut::new(&dy.values[..], &mut dx[..]))?;
        self.compare(0, "bn_dx", &dx, false)?;

        let scale = parameter(&self.text("scale.prototxt")?, 1)?;
        let mut layer =
            Scale::new(&scale, &x.shape, None, self.numerics)?.with_gradients(Gradients::Caffe);
        let mut learned = layer.initial()?;
        layer.forward(&learned, None, &x.shape, InOut::new(&x.values[..], &mut y[..]))?;
        let wanted = Wanted { input: false, ..Wanted::default() };
        layer.backward(&mut learned, None, wanted, InOut::new(&dy.values[..], &mut dx[..]))?;
        self.compare(0, "scale_dx", &dx, true)?;
        let diff = |param: &Option<crate::layer::Param<T>>| {
            param.as_ref().map(|param| param.diff.clone()).unwrap_or_default()
        };
        self.compare(0, "dgamma", &diff(&learned.factor), false)?;

        learned.clear_diffs();
        let wanted = Wanted { factor: false, bias: false, input: true };
        layer.backward(&mut learned, None, wanted, InOut::new(&dy.values[..], &mut dx[..]))?;
        self.compare(1, "scale_dx_frozen", &dx, true)?;
        self.compare(1, "dgamma_frozen", &diff(&learned.factor), true)?;
        self.compare(1, "dbeta_frozen", &diff(&learned.bias), true)
    }
}
