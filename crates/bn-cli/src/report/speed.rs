//! How long an operation takes, and how fast that moves the bytes it cannot do without.

use std::time::{Duration, Instant};

use super::number::time;

/// Time spent on repetitions of one operation, if it is short enough to be repeated.
const BUDGET: Duration = Duration::from_millis(200);

/// Most repetitions.
const REPETITIONS: usize = 21;

/// Which way a pass goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Backward,
}

/// A measured time.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Speed {
    /// Median of the repetitions.
    pub(crate) seconds: f64,
    /// How many there were.
    pub(crate) runs: usize,
    /// The least bytes that must be moved.
    pub(crate) bytes: usize,
    /// Those bytes in the median time, in units of 1e9 bytes.
    pub(crate) gb_per_s: f64,
}

impl Speed {
    /// The time, as tables show it.
    pub(crate) fn time(&self) -> String {
        time(self.seconds)
    }

    /// The rate, as tables show it.
    pub(crate) fn rate(&self) -> String {
        format!("{:.2}", self.gb_per_s)
    }
}

/// The bytes of one pass over `elements` values of `size` bytes that nothing can save: forward reads
/// x and writes y, backward reads x and dy and writes dx; a residual is one more to read, and its
/// gradient one more to write.
pub(crate) fn least_bytes(
    direction: Direction,
    elements: usize,
    size: usize,
    residual: bool,
) -> usize {
    let tensors = match direction {
        Direction::Forward => 2,
        Direction::Backward => 3,
    };
    (tensors + usize::from(residual)).saturating_mul(elements).saturating_mul(size)
}

/// Runs the operation at least once, and again while that costs little; gives the median time.
pub(crate) fn median<E>(
    bytes: usize,
    mut operation: impl FnMut() -> Result<(), E>,
) -> Result<Speed, E> {
    let begin = Instant::now();
    let mut times = Vec::with_capacity(REPETITIONS);
    loop {
        let start = Instant::now();
        operation()?;
        times.push(start.elapsed());
        if times.len() == REPETITIONS || begin.elapsed() >= BUDGET {
            break;
        }
    }
    times.sort_unstable();
    // A clock that has not moved has measured less than its own step.
    let seconds = times[times.len() / 2].as_secs_f64().max(1e-9);
    Ok(Speed { seconds, runs: times.len(), bytes, gb_per_s: bytes as f64 / seconds / 1e9 })
}
