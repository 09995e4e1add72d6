//! The commands.

mod backends;
mod compare;
mod run;

pub(crate) use backends::backends;
pub(crate) use compare::compare;
pub(crate) use run::run;
