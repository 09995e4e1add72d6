//! The tensors of a command, read but not yet checked against each other.

use crate::args::OtherTensors;
use crate::failure::Failure;
use crate::tensor::{Format, Role, Source, Tensor};

/// A tensor and where it came from.
#[derive(Debug)]
pub(crate) struct LoadedTensor {
    /// What messages and reports call it.
    pub(crate) label: String,
    /// The tensor.
    pub(crate) tensor: Tensor,
}

/// All tensors of a command.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The input.
    pub(crate) x: LoadedTensor,
    /// The others, at most one for each role.
    pub(crate) others: Vec<(Role, LoadedTensor)>,
    /// The format that x came in.
    pub(crate) format: Format,
}

impl Loaded {
    /// Reads every tensor; `starting` is told each file before it is read.
    pub(crate) fn read(
        x: &Source,
        others: &OtherTensors,
        starting: impl Fn(&str),
    ) -> Result<Self, Failure> {
        let read = |source: &Source, role: Role| {
            let label = source.to_string();
            starting(&label);
            match source.read(role) {
                Ok((tensor, format)) => Ok((LoadedTensor { label, tensor }, format)),
                Err(error) => Err(Failure::BadInput(format!("{} {label}: {error}", role.option()))),
            }
        };
        let (x, format) = read(x, Role::X)?;
        let others = others.given().map(|(role, source)| Ok((role, read(source, role)?.0)));
        Ok(Self { x, others: others.collect::<Result<_, Failure>>()?, format })
    }
}
