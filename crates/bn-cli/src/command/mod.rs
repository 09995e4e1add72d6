//! The commands.

mod backends;
mod caffe;
mod compare;
mod run;

pub(crate) use backends::backends;
pub(crate) use caffe::caffe;
pub(crate) use compare::compare;
pub(crate) use run::run;
