//! Contenders in turns: in each round everyone runs for some milliseconds.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::runner::Runner;

/// How long a contender runs in one round, at least, in milliseconds.
const TURN: f64 = 2.0;

/// How long a contender may run in all rounds together, in milliseconds: who takes a second for what
/// takes others five milliseconds is measured in fewer rounds, which are enough to see that.
const BUDGET: f64 = 1500.0;

/// The fewest rounds for a median.
const FEWEST_ROUNDS: usize = 3;

/// Threads of some libraries spin for a while after their work is done. Nobody starts beside them.
const SETTLE: Duration = Duration::from_millis(3);

/// One contender's place in the rounds.
pub(super) struct Turn<'a> {
    pub(super) runner: &'a mut Runner,
    iterations: u32,
    /// Its time in each round that it took part in; rounds are the same for everyone.
    pub(super) times: Vec<f64>,
    rounds: usize,
    /// What stopped it.
    pub(super) failure: Option<anyhow::Error>,
}

impl<'a> Turn<'a> {
    /// Finds out how many iterations fill a turn, and in how many rounds that is affordable.
    pub(super) fn new(runner: &'a mut Runner, rounds: usize) -> Result<Self> {
        let once = runner.time(1)?.max(1e-6);
        let iterations = (TURN / once).ceil().clamp(1.0, 1e6);
        // Every turn has one iteration beside the clock.
        let turn = once * (iterations + 1.0);
        let affordable = (BUDGET / turn) as usize;
        let rounds = affordable.clamp(FEWEST_ROUNDS.min(rounds), rounds);
        Ok(Self { runner, iterations: iterations as u32, times: Vec::new(), rounds, failure: None })
    }

    fn take(&mut self, round: usize) {
        if round >= self.rounds || self.failure.is_some() {
            return;
        }
        thread::sleep(SETTLE);
        match self.runner.time(self.iterations) {
            Ok(time) => self.times.push(time),
            Err(error) => self.failure = Some(error),
        }
    }
}

/// Runs the rounds until they are done or `stop` says so. Who begins changes from round to round.
pub(super) fn take(turns: &mut [Turn<'_>], rounds: usize, stop: &dyn Fn() -> bool) {
    let contenders = turns.len();
    for round in 0..rounds {
        for place in 0..contenders {
            if stop() {
                return;
            }
            turns[(place + round) % contenders].take(round);
        }
    }
}

/// The value below which this share of the others lies, between neighbours where it falls there.
pub(super) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(low + (high - low) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        let values = [4.0, 1.0, 3.0, 2.0, 5.0];
        assert_eq!(quantile(&values, 0.5), Some(3.0));
        assert_eq!(quantile(&values, 0.25), Some(2.0));
        assert_eq!(quantile(&values[..2], 0.5), Some(2.5));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
