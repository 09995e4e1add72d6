//! How a problem is cut into blocks: pure arithmetic, which the problem alone decides.
//!
//! No number of the device enters here, so a reduction has one shape on every GPU.

use bn_core::{Layout, Problem};

use crate::arguments::Shape;
use crate::kernel::Geometry;

/// Threads of a block at most; the kernels are compiled for no more.
const MOST_THREADS: usize = 256;
const WARP: usize = 32;
/// Blocks that occupy the largest devices a few times over.
const ENOUGH_BLOCKS: usize = 1024;
/// Units of each thread in a part: at least as many as it reads at once, at most 64 KiB for a block...
const FEWEST_STEPS: usize = 4;
const MOST_STEPS: usize = 16;
/// ...unless a channel then had more parts than this, all of which one warp merges.
const MOST_PARTS: usize = 4096;
/// The most columns of a block in channels-last, whose results meet in shared memory.
const MOST_COLUMNS: usize = 128;
/// The most blocks of a launch; kernels go on to further ones by themselves.
const MOST_BLOCKS: usize = i32::MAX as usize;
/// Bytes of a unit, and values of a byte of activation bits.
const UNIT_BYTES: usize = 16;
const BITS: usize = 8;

/// A problem cut into blocks, for elements of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) problem: Problem,
    pub(crate) shape: Shape,
    threads: usize,
    lanes: usize,
}

impl Plan {
    /// The plan for elements of `size` bytes: 2, 4 or 8.
    pub(crate) fn new(problem: &Problem, size: usize) -> Self {
        let lanes = UNIT_BYTES / size;
        match problem.layout() {
            Layout::ChannelsFirst => Self::of_channels(problem, lanes),
            Layout::ChannelsLast => Self::of_rows(problem, lanes),
        }
    }

    /// A block takes a part of one channel of one group: a run of units through its rows.
    fn of_channels(problem: &Problem, lanes: usize) -> Self {
        // A row's units, up to the end of its last byte of bits.
        let row_units = problem.spatial().div_ceil(BITS) * (BITS / lanes);
        let units = problem.group_batch() * row_units;
        let threads = threads_for(units.div_ceil(FEWEST_STEPS), WARP);
        let part_length = part_length(units, threads, problem.statistics());
        let mut shape = Self::shape(problem);
        shape.row_units = row_units as u64;
        shape.step_rows = (threads / row_units) as u64;
        shape.step_units = (threads % row_units) as u64;
        shape.tiles = problem.channels() as u64;
        Self::finished(problem, shape, units, part_length, (threads, lanes))
    }

    /// A block takes a tile of channels of a part of one group's rows.
    fn of_rows(problem: &Problem, lanes: usize) -> Self {
        let row_units = problem.channels().div_ceil(BITS) * (BITS / lanes);
        let widest = (MOST_COLUMNS / lanes).min(WARP);
        let width = row_units.checked_next_power_of_two().map_or(widest, |width| width.min(widest));
        let rows = problem.group_batch() * problem.spatial();
        // As many rows side by side as give each thread a few, and no fewer threads than columns.
        let height = rows.div_ceil(FEWEST_STEPS).min(MOST_THREADS);
        let threads = threads_for(width * height, WARP.max(width * lanes));
        let tiles = row_units.div_ceil(width);
        let part_length = part_length(rows, threads / width, problem.groups() * tiles);
        let mut shape = Self::shape(problem);
        shape.tile_units = width as u64;
        shape.tiles = tiles as u64;
        Self::finished(problem, shape, rows, part_length, (threads, lanes))
    }

    fn shape(problem: &Problem) -> Shape {
        Shape {
            groups: problem.groups() as u64,
            samples: problem.group_batch() as u64,
            channels: problem.channels() as u64,
            spatial: problem.spatial() as u64,
            row_bytes: problem.row_len().div_ceil(BITS) as u64,
            tile_units: 1,
            ..Shape::default()
        }
    }

    fn finished(
        problem: &Problem,
        shape: Shape,
        length: usize,
        part_length: usize,
        (threads, lanes): (usize, usize),
    ) -> Self {
        let parts = length.div_ceil(part_length) as u64;
        let (part_length, blocks) = (part_length as u64, shape.groups * shape.tiles * parts);
        let shape = Shape { part_length, parts, blocks, ..shape };
        Self { problem: *problem, shape, threads, lanes }
    }

    /// The parts of each group and channel.
    pub(crate) fn parts(&self) -> usize {
        self.shape.parts as usize
    }

    /// Partial results of a reduction: one for each group, channel and part.
    pub(crate) fn partials(&self) -> usize {
        self.problem.statistics() * self.parts()
    }

    /// The launch of a kernel that writes values.
    pub(crate) fn writing(&self) -> Geometry {
        self.reducing(0)
    }

    /// The launch of a kernel that reduces to items of `item` doubles for each column and warp.
    pub(crate) fn reducing(&self, item: usize) -> Geometry {
        let columns = match self.problem.layout() {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => self.shape.tile_units as usize * self.lanes,
        };
        let shared = self.threads / WARP * columns * item * size_of::<f64>();
        Geometry {
            blocks: (self.shape.blocks).min(MOST_BLOCKS as u64) as u32,
            threads: self.threads as u32,
            shared_bytes: shared as u32,
            is_cooperative: false,
        }
    }

    /// The launch of one team of a fused kernel, of which more may follow; `None` where there are no teams:
    /// of channels-last, whose tiles lie across the whole tensor, and of several groups.
    pub(crate) fn teams(&self, item: usize) -> Option<Geometry> {
        let is_one = self.problem.layout() == Layout::ChannelsFirst && self.problem.groups() == 1;
        let blocks = u32::try_from(self.shape.parts).ok().filter(|_| is_one)?;
        Some(Geometry { blocks, is_cooperative: blocks > 1, ..self.reducing(item) })
    }

    /// As many teams as a device holds and as there are channels; `None` where a second team does not fit,
    /// which would work while the first one waits.
    pub(crate) fn teams_of(&self, team: Geometry, resident: usize) -> Option<Geometry> {
        let teams = (resident / team.blocks as usize).min(self.problem.channels());
        let enough = teams >= 2 || (teams == 1 && self.problem.channels() == 1);
        let blocks = u32::try_from(teams * team.blocks as usize).ok().filter(|_| enough)?;
        Some(Geometry { blocks, ..team })
    }

    /// Doubles that hold a count of arrivals for each channel.
    pub(crate) fn arrivals(&self) -> usize {
        self.problem.channels().div_ceil(2)
    }
}

/// A power of two from `least` to the most, that is no more than twice `wanted`.
fn threads_for(wanted: usize, least: usize) -> usize {
    wanted.min(MOST_THREADS).next_power_of_two().clamp(least, MOST_THREADS)
}

/// The length of a part: whole steps of a block, enough of them for few parts, and few enough for many
/// blocks.
fn part_length(length: usize, step: usize, others: usize) -> usize {
    let steps = length.div_ceil(step);
    let wanted_parts = ENOUGH_BLOCKS.div_ceil(others);
    let part_steps = steps.div_ceil(wanted_parts).clamp(FEWEST_STEPS, MOST_STEPS);
    let part_steps = part_steps.max(steps.div_ceil(MOST_PARTS));
    // The same number of parts, of one length as far as possible.
    let parts = steps.div_ceil(part_steps);
    steps.div_ceil(parts) * step
}

/// The launch of a kernel with a warp for each of `channels`.
pub(crate) fn warps(channels: usize) -> Geometry {
    const WARPS: usize = 4;
    let blocks = channels.div_ceil(WARPS).min(MOST_BLOCKS);
    Geometry {
        blocks: blocks as u32,
        threads: (WARPS * WARP) as u32,
        shared_bytes: 0,
        is_cooperative: false,
    }
}

/// The launch of a kernel with a thread for each of `count`.
pub(crate) fn threads(count: usize) -> Geometry {
    const THREADS: usize = 128;
    let blocks = count.div_ceil(THREADS).min(MOST_BLOCKS);
    Geometry {
        blocks: blocks as u32,
        threads: THREADS as u32,
        shared_bytes: 0,
        is_cooperative: false,
    }
}

#[cfg(test)]
mod tests;
