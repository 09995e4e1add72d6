//! In which order tiles are worked on, and by whom.
//!
//! Channels-first: a unit of channels is summed, settled and written by one thread while it is in its
//! cache, so memory is read once. Where there are fewer units than threads the parts of all units are
//! summed first, by all threads. Channels-last: rows hold all channels, so all is summed before
//! anything is written; the second visit begins with what the first has read last.

use core::ops::Range;
use std::sync::OnceLock;

use bn_core::Layout;

use crate::channels_first::CHANNELS;
use crate::simd::{Kernel, Level};
use crate::team::Team;
use crate::tile::{Cut, Tile};
use crate::workspace::Workspaces;

/// Bytes of one operand that a unit of channels aims at, so that two operands fit in a second-level
/// cache beside what is prefetched.
const UNIT: usize = 192 << 10;

/// What every operation works with.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub(crate) team: Team,
    pub(crate) spaces: Workspaces,
    pub(crate) level: Level,
    /// Bytes of the last-level cache.
    pub(crate) cache: usize,
}

/// The size of the last-level cache in bytes, as Linux tells it; 32 MiB where it does not.
pub(crate) fn last_level_cache() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    *SIZE.get_or_init(|| {
        let size = |index: usize| {
            let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
            let text = std::fs::read_to_string(path).ok()?;
            let text = text.trim();
            let unit = if text.ends_with('M') { 1 << 20 } else { 1 << 10 };
            text.trim_end_matches(['K', 'M']).parse::<usize>().ok().map(|size| size * unit)
        };
        (0..5).filter_map(size).max().unwrap_or(32 << 20)
    })
}

/// One operation's tensors and threads.
pub(crate) struct Plan {
    pub(crate) cut: Cut,
    pub(crate) workers: usize,
    /// Channels of a tile.
    width: usize,
}

impl Plan {
    /// Every tile of a unit, or of the whole problem, in the order of the parts.
    fn tile(&self, task: usize) -> Tile {
        let unit = self.unit(task / self.cut.parts);
        Tile { part: task % self.cut.parts, ..unit }
    }

    fn unit(&self, unit: usize) -> Tile {
        let channels = self.cut.problem.channels();
        let across = channels.div_ceil(self.width);
        let first = unit % across * self.width;
        let channels = first..channels.min(first + self.width);
        Tile { group: unit / across, channels, part: 0 }
    }

    fn units(&self) -> usize {
        self.cut.problem.groups() * self.cut.problem.channels().div_ceil(self.width)
    }

    /// Whether a unit stays with one thread from its sums to its outputs.
    pub(crate) fn by_units(&self) -> bool {
        self.cut.problem.layout() == Layout::ChannelsFirst && self.units() >= self.workers
    }
}

impl Engine {
    /// A plan for an operation with `operands` tensors of elements of `size` bytes.
    pub(crate) fn plan(&self, cut: Cut, size: usize, operands: usize) -> Plan {
        let problem = cut.problem;
        let workers = self.team.workers(problem.elements() * size * operands);
        let width = match problem.layout() {
            Layout::ChannelsLast => problem.channels(),
            Layout::ChannelsFirst => {
                let channel = problem.count() as usize * size * operands / 2;
                let cached = (UNIT / channel).clamp(1, CHANNELS);
                // Enough units that threads finish together.
                cached.min((problem.channels() / (4 * workers)).max(1))
            }
        };
        Plan { cut, workers, width }
    }

    /// Whether outputs of that size bypass the cache.
    pub(crate) fn streams(&self, elements: usize, size: usize) -> bool {
        elements * size * 2 > self.cache
    }

    pub(crate) fn run(&self, kernel: impl Kernel) {
        self.level.run(kernel);
    }

    /// Sums, settles and writes all tiles. `settle` is given a group's range of channels in
    /// channels-first, and is left to the caller, between the two, in channels-last.
    pub(crate) fn sweep(
        &self,
        plan: &Plan,
        sum: Option<&(impl Fn(Tile) + Sync)>,
        settle: &(impl Fn(usize, Range<usize>) + Sync),
        write: Option<&(impl Fn(Tile) + Sync)>,
    ) {
        let (workers, parts, units) = (plan.workers, plan.cut.parts, plan.units());
        if plan.by_units() {
            return self.team.each(workers, units, |unit| {
                let tile = plan.unit(unit);
                if let Some(sum) = sum {
                    (0..parts).for_each(|part| sum(Tile { part, ..tile.clone() }));
                    settle(tile.group, tile.channels.clone());
                }
                if let Some(write) = write {
                    (0..parts).rev().for_each(|part| write(Tile { part, ..tile.clone() }));
                }
            });
        }
        if let Some(sum) = sum {
            self.team.each(workers, units * parts, |task| sum(plan.tile(task)));
            // Channels-last settles all channels of all groups at once: `settle` may use the team.
            match plan.cut.problem.layout() {
                Layout::ChannelsLast => settle(0, 0..plan.cut.problem.channels()),
                Layout::ChannelsFirst => self.team.each(workers, units, |unit| {
                    let tile = plan.unit(unit);
                    settle(tile.group, tile.channels);
                }),
            }
        }
        if let Some(write) = write {
            let tasks = units * parts;
            self.team.each(workers, tasks, |task| write(plan.tile(tasks - 1 - task)));
        }
    }
}
