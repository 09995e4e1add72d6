//! In which order tiles are worked on, and by whom.
//!
//! Channels-first: a unit of channels is summed, settled and written by one thread while it is in its
//! cache, so memory is read once; while it is written, the sums of the thread's next unit are taken.
//! Where there are fewer units than threads the parts of all units are summed first, by all threads.
//! Channels-last: rows hold all channels, so all is summed before anything is written; the second
//! visit begins with what the first has read last.

use std::sync::OnceLock;

use bn_core::Layout;

use crate::channels_first::CHANNELS;
use crate::channels_first::short::SHORT_ROW;
use crate::channels_first::strip::Span;
use crate::simd::{Kernel, Level};
use crate::team::Team;
use crate::tile::{Cut, Tile};
use crate::tuning::Tuning;
use crate::workspace::Workspaces;

/// Bytes of one operand that a strip has at most where nothing is summed, and so nothing has to stay in a
/// cache.
const LONG_STRIP: usize = 64 << 10;

/// The same in tensors that are in a cache: statistics are settled eight at a time, which gains more than to
/// find a row of 56×56 in the first-level cache when it is written.
const NEAR_STRIP: usize = 128 << 10;

/// Bytes of one operand that such a unit has at most, so that the second-level cache holds it.
const NEAR_UNIT: usize = 256 << 10;

/// A page of memory.
const PAGE: usize = 4 << 10;

/// How many bytes ahead of short rows that are only written memory is asked for.
const SHORT_AHEAD: usize = 4096;

/// Tensors of fewer bytes are in a cache: nothing is gained by asking for their lines in advance.
const NEAR: usize = 2 << 20;

/// What every operation works with.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub(crate) team: Team,
    pub(crate) spaces: Workspaces,
    pub(crate) level: Level,
    /// Bytes of the last-level cache that are counted on.
    pub(crate) cache: usize,
    pub(crate) tuning: Tuning,
}

/// Bytes of the last-level cache that an operation counts on at most, for its stores and for the units of large
/// batches. A larger one is as a rule that of a socket with many cores, far from each, and lines are not stored
/// there faster than past it: with the 300 MiB of Emerald Rapids, inference of 32×512×28×28 took 9.9 ms by
/// ordinary stores, and 3.9 past the cache. A large cache of a few cores, stacked on them, has not been measured;
/// [`crate::RayonBackend::with_cache`] lets its owner count on more.
const COUNTED_ON: usize = 32 << 20;

/// The size of the last-level cache in bytes, as Linux tells it, up to [`COUNTED_ON`], which is also taken where
/// it does not.
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
        (0..5).filter_map(size).max().map_or(COUNTED_ON, |size| size.min(COUNTED_ON))
    })
}

/// One operation's tensors and threads.
pub(crate) struct Plan {
    pub(crate) cut: Cut,
    pub(crate) workers: usize,
    /// Bytes of an element.
    size: usize,
    /// Channels of a unit.
    width: usize,
    pub(crate) tuning: Tuning,
    /// Whether tensors are beyond the caches: then memory is asked for in advance, and a unit is written
    /// while the next is summed.
    far: bool,
    /// How many channels lie between the units that a thread takes one after the other, if it and the
    /// others take turns.
    pub(crate) next: usize,
}

impl Plan {
    /// How memory is walked; `None` where tensors are in a cache.
    pub(crate) fn walk(&self) -> Option<Tuning> {
        self.far.then_some(self.tuning)
    }

    /// How many bytes ahead of what is written memory is asked for. Long rows are read in order, which the
    /// processor follows by itself; with short ones the unit is asked for that is summed after the next.
    pub(crate) fn ahead_of_writes(&self, summed: bool) -> usize {
        let problem = &self.cut.problem;
        if !self.far || problem.spatial() > SHORT_ROW {
            0
        } else if summed {
            2 * self.next * problem.spatial() * self.size
        } else {
            SHORT_AHEAD
        }
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
}

/// The channels of a unit whose strips have at most so many bytes, and begin and end with a cache line
/// where the first one does.
fn width(row: usize, strip: usize) -> usize {
    let lines = 64 >> row.trailing_zeros().min(6);
    (strip / row / lines * lines).clamp(1, CHANNELS)
}

/// An operation in channels-first, unit by unit.
pub(crate) trait Units: Sync {
    /// Whether anything is summed.
    fn sums(&self) -> bool;
    /// Whether anything is written.
    fn writes(&self) -> bool;
    /// Prepares some channels of a group to be summed.
    fn begin(&self, channels: &Tile);
    /// Sums one span and writes another.
    fn step(&self, sum: Option<Span>, write: Option<Span>);
    /// Prepares a unit to be written, from its sums if there are any.
    fn settle(&self, unit: &Tile);
}

impl Engine {
    /// A plan for an operation with `operands` tensors of elements of `size` bytes, which sums and
    /// writes where `both`.
    pub(crate) fn plan(&self, cut: Cut, size: usize, operands: usize, both: bool) -> Plan {
        let problem = cut.problem;
        let bytes = problem.elements() * size;
        let (workers, far) = (self.team.workers(bytes * operands), bytes > NEAR);
        let width = match problem.layout() {
            Layout::ChannelsLast => problem.channels(),
            Layout::ChannelsFirst if cut.cuts_rows() => 1,
            Layout::ChannelsFirst => {
                let short = problem.spatial() <= SHORT_ROW;
                let strip = if !far && both {
                    NEAR_STRIP.min(NEAR_UNIT / problem.group_batch())
                } else if short {
                    self.tuning.short_strip
                } else if both {
                    // A unit beyond that leaves the last-level cache before it is written. In a batch of
                    // thousands it does so anyway, and strips should be no shorter than a page.
                    self.tuning.strip.min((self.cache / 8 / problem.group_batch()).max(PAGE))
                } else {
                    LONG_STRIP
                };
                // Enough units that threads finish together.
                let most = if workers == 1 { CHANNELS } else { problem.channels() / (4 * workers) };
                width(problem.spatial() * size, strip).min(most.max(1))
            }
        };
        // Where short rows are taken one by one, as those with bits are, strips are quicker one after the other.
        let abreast = self.tuning.abreast.filter(|_| problem.spatial() > SHORT_ROW);
        let tuning = Tuning { abreast, ..self.tuning };
        Plan { cut, workers, size, width, tuning, far, next: width * workers }
    }

    /// Whether outputs of that size bypass the cache: those of which the next layer would find little there,
    /// since it writes a tensor of its own while it reads this one, beside what this operation has read.
    ///
    /// At half of the cache, 4096×1024 and 32×2048×7×7 took twice the time of a copy past a cache of 32 MiB.
    pub(crate) fn streams(&self, elements: usize, size: usize) -> bool {
        self.level.streams() && elements * size * 4 > self.cache
    }

    pub(crate) fn run(&self, kernel: impl Kernel) {
        self.level.run(kernel);
    }

    /// The same for a kernel that few tensors need.
    pub(crate) fn run_seldom(&self, kernel: impl Kernel) {
        self.level.run_seldom(kernel);
    }

    /// Runs an operation in channels-first.
    pub(crate) fn by_units(&self, plan: &Plan, work: &impl Units) {
        let (team, workers, units, parts) =
            (&self.team, plan.workers, plan.units(), plan.cut.parts);
        let whole = |tile: Tile| Some(Span { tile, strips: 0..plan.cut.strips() });
        if units < workers {
            let part = |task: usize| {
                let (tile, part) = (plan.unit(task / parts), task % parts);
                Some(Span { tile: Tile { part, ..tile }, strips: plan.cut.strips_of(part) })
            };
            if work.sums() {
                self.begin_all(plan, work);
                team.each(workers, units * parts, |task| work.step(part(task), None));
            }
            team.each(workers, units, |unit| work.settle(&plan.unit(unit)));
            if work.writes() {
                let tasks = units * parts;
                team.each(workers, tasks, |task| work.step(None, part(tasks - 1 - task)));
            }
        } else if work.sums() && work.writes() && !plan.far {
            self.begin_all(plan, work);
            team.each(workers, units, |unit| {
                let unit = plan.unit(unit);
                work.step(whole(unit.clone()), None);
                work.settle(&unit);
                work.step(None, whole(unit));
            });
        } else if plan.far && work.sums() && work.writes() {
            team.chain(workers, units, |next, before| {
                let next = next.map(|unit| plan.unit(unit));
                if let Some(unit) = &next {
                    work.begin(unit);
                }
                let before = before.and_then(|unit| whole(plan.unit(unit)));
                work.step(next.clone().and_then(whole), before);
                if let Some(unit) = &next {
                    work.settle(unit);
                }
            });
        } else {
            team.each(workers, units, |unit| {
                let unit = plan.unit(unit);
                if work.sums() {
                    work.begin(&unit);
                    work.step(whole(unit.clone()), None);
                }
                work.settle(&unit);
                if work.writes() {
                    work.step(None, whole(unit));
                }
            });
        }
    }

    /// Prepares all channels at once: more of them side by side than a unit may have.
    fn begin_all(&self, plan: &Plan, work: &impl Units) {
        for group in 0..plan.cut.problem.groups() {
            work.begin(&Tile { group, channels: 0..plan.cut.problem.channels(), part: 0 });
        }
    }

    /// Runs a step of an operation in channels-last for every part of every group, from the last where
    /// `backwards`.
    pub(crate) fn by_parts(&self, plan: &Plan, backwards: bool, work: &(impl Fn(Tile) + Sync)) {
        let tasks = plan.units() * plan.cut.parts;
        self.team.each(plan.workers, tasks, |task| {
            let task = if backwards { tasks - 1 - task } else { task };
            work(Tile { part: task % plan.cut.parts, ..plan.unit(task / plan.cut.parts) });
        });
    }
}
