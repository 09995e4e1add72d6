//! The inputs of a layer, of one element type, checked against each other.

use bn_core::{Element, Error, HostMemory, Layout, Memory as _, Problem, Scalar};

use super::{Loaded, LoadedTensor, Settings};
use crate::args::EpilogueKind;
use crate::failure::Failure;
use crate::tensor::{Role, Stored, Tensor};

/// Everything that forward and backward read.
#[derive(Debug)]
pub(crate) struct Inputs<T: Element> {
    /// The dimensions of x, y, dy and dx.
    pub(crate) dims: Vec<usize>,
    /// What they come to.
    pub(crate) problem: Problem,
    pub(crate) x: Vec<T>,
    pub(crate) dy: Option<Vec<T>>,
    pub(crate) gamma: Option<Vec<T::Param>>,
    pub(crate) beta: Option<Vec<T::Param>>,
    /// Running mean and variance.
    pub(crate) running: Option<[Vec<T::Param>; 2]>,
    pub(crate) residual: Option<Vec<T>>,
}

impl<T: Stored> Inputs<T> {
    /// Checks shapes, element types and what the settings need.
    ///
    /// # Panics
    ///
    /// Where x is not of type `T`: the caller has looked.
    pub(crate) fn new(
        mut loaded: Loaded,
        layout: Layout,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        let Loaded { x: LoadedTensor { label, tensor }, ref mut others, .. } = loaded;
        let (label, Tensor { dims, values }) = (&label[..], tensor);
        let problem = Problem::new(&dims, layout)
            .map_err(|error| Failure::BadInput(format!("--x {label}: {error}")))?;
        let x = T::from_values(values).expect("x has the element type that was asked for");

        let mut tensor = |role| take(others, role).map(|found| like_x(role, found, &dims, label));
        let dy = tensor(Role::Dy).transpose()?;
        let residual = tensor(Role::Residual).transpose()?;
        let mut parameter =
            |role| take(others, role).map(|found| per_channel::<T>(role, found, &problem, label));
        let gamma = parameter(Role::Gamma).transpose()?;
        let beta = parameter(Role::Beta).transpose()?;
        let mean = parameter(Role::RunningMean).transpose()?;
        let var = parameter(Role::RunningVar).transpose()?;
        let running = mean.zip(var).map(|(mean, var)| [mean, var]);
        if let Some([_, var]) = &running
            && let Some(channel) = var.iter().position(|var| var.to_f64() < 0.0)
        {
            return Err(Failure::BadInput(format!(
                "--running-var: channel {channel} is {}; expected no negative variance",
                var[channel].to_f64()
            )));
        }

        if !settings.trains() && running.is_none() {
            return bad(
                "--mode eval normalises with running statistics; expected --running-mean and \
                        --running-var",
            );
        }
        match (settings.epilogue, &residual) {
            (Some(EpilogueKind::AddRelu), None) => {
                bad("--epilogue add-relu adds a residual; expected --residual")
            }
            (None | Some(EpilogueKind::Relu), Some(_)) => {
                bad("--residual is only read with --epilogue add-relu")
            }
            _ => Ok(Self { dims, problem, x, dy, gamma, beta, running, residual }),
        }
    }

    /// The same values in f64.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub(crate) fn widen(&self) -> Result<Inputs<f64>, Error> {
        let running = match &self.running {
            Some([mean, var]) => Some([widen(mean)?, widen(var)?]),
            None => None,
        };
        Ok(Inputs {
            dims: self.dims.clone(),
            problem: self.problem,
            x: widen(&self.x)?,
            dy: self.dy.as_deref().map(widen).transpose()?,
            gamma: self.gamma.as_deref().map(widen).transpose()?,
            beta: self.beta.as_deref().map(widen).transpose()?,
            running,
            residual: self.residual.as_deref().map(widen).transpose()?,
        })
    }

    /// Which inputs hold NaN, and how many.
    pub(crate) fn nans(&self) -> Vec<(&'static str, usize)> {
        let [running_mean, running_var] = match &self.running {
            Some([mean, var]) => [Some(&mean[..]), Some(&var[..])],
            None => [None, None],
        };
        [
            ("x", nans(Some(&self.x))),
            ("dy", nans(self.dy.as_deref())),
            ("residual", nans(self.residual.as_deref())),
            ("gamma", nans(self.gamma.as_deref())),
            ("beta", nans(self.beta.as_deref())),
            ("running_mean", nans(running_mean)),
            ("running_var", nans(running_var)),
        ]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .collect()
    }
}

/// Takes the tensor of a role out.
fn take(others: &mut Vec<(Role, LoadedTensor)>, role: Role) -> Option<LoadedTensor> {
    let index = others.iter().position(|(found, _)| *found == role)?;
    Some(others.swap_remove(index).1)
}

fn bad<T>(message: &str) -> Result<T, Failure> {
    Err(Failure::BadInput(message.into()))
}

fn widen<E: Element>(values: &[E]) -> Result<Vec<f64>, Error> {
    let mut wide = HostMemory.alloc::<f64>(values.len())?;
    wide.iter_mut().zip(values).for_each(|(wide, value)| *wide = value.to_f64());
    Ok(wide)
}

fn nans<E: Element>(values: Option<&[E]>) -> usize {
    values.unwrap_or(&[]).iter().filter(|value| value.to_f64().is_nan()).count()
}

/// A tensor that must have the shape and element type of x.
fn like_x<T: Stored>(
    role: Role,
    found: LoadedTensor,
    dims: &[usize],
    x: &str,
) -> Result<Vec<T>, Failure> {
    let LoadedTensor { label, tensor } = found;
    let option = role.option();
    if tensor.dims != dims {
        let shape = &tensor.dims;
        return Err(Failure::BadInput(format!(
            "{option} {label}: shape {shape:?}; expected {dims:?}, that of {x}"
        )));
    }
    let dtype = tensor.values.dtype();
    T::from_values(tensor.values).ok_or_else(|| {
        let expected = T::DTYPE;
        Failure::BadInput(format!(
            "{option} {label}: element type {dtype}; expected {expected}, that of {x}"
        ))
    })
}

/// A tensor of one value per channel, of any element type.
fn per_channel<T: Stored>(
    role: Role,
    found: LoadedTensor,
    problem: &Problem,
    x: &str,
) -> Result<Vec<T::Param>, Failure> {
    let LoadedTensor { label, tensor } = found;
    let (option, expected) = (role.option(), problem.channels());
    if tensor.dims != [expected] {
        let shape = &tensor.dims;
        return Err(Failure::BadInput(format!(
            "{option} {label}: shape {shape:?}; expected [{expected}], one value per channel of {x}"
        )));
    }
    tensor.values.to_parameters().map_err(|(index, value)| {
        let dtype = T::Param::DTYPE;
        Failure::BadInput(format!(
            "{option} {label}: value {value:e} at {index} does not fit the parameter type {dtype}"
        ))
    })
}
