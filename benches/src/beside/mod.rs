//! Our backends, the limit of the memory and other systems side by side.
//!
//! Each contender is a process of its own behind the [protocol](crate::protocol), pinned to as many
//! cores as it may use threads. What is to run comes as a [`Plan`]; a case begins with the same input
//! files for everyone, what comes back is judged by the reference, and only then are times taken, in turns.

mod accuracy;
mod inputs;
mod judge;
mod memory;
mod pinning;
mod plan;
mod progress;
mod record;
mod runner;
mod session;
mod turns;

use progress::Progress;

pub use plan::{Contender, Plan, Role};
pub use record::{Accuracy, Errors, Hello, Line, Measured, Record};
pub use session::run;
