//! How a problem is cut into blocks: pure arithmetic, which the problem alone decides.
//!
//! No number of the device enters here, so a reduction has one shape on every GPU.

use bn_core::{DType, Layout, Problem};

use crate::arguments::Shape;
use crate::kernel::{Geometry, Kernel};

/// Threads of a block at most; the kernels are compiled for no more.
const MOST_THREADS: usize = 256;
const WARP: usize = 32;
/// Blocks that occupy the largest devices.
const ENOUGH_BLOCKS: usize = 384;
/// Units of each thread in a part: at least as many as it reads at once...
const FEWEST_STEPS: usize = 4;
/// ...at most so many bytes of each tensor that is read, by layout...
const PART_BYTES_FIRST: usize = 64 << 10;
const PART_BYTES_LAST: usize = 128 << 10;
/// ...unless a channel then had more parts than a block merges, whose threads keep so many each, as in `finish.cuh`.
const PARTS_OF_A_THREAD: usize = 4;
const MOST_PARTS: usize = PARTS_OF_A_THREAD * MOST_THREADS;
/// The most columns of a block in channels-last, whose results meet in shared memory.
const MOST_COLUMNS: usize = 128;
/// The most blocks of a launch; kernels go on to further ones by themselves.
const MOST_BLOCKS: usize = i32::MAX as usize;
/// Values of a byte of activation bits.
const BITS: usize = 8;

/// A problem cut into blocks, for one element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) problem: Problem,
    pub(crate) shape: Shape,
    /// Values of a unit, what a thread reads at once: rows have whole ones.
    pub(crate) width: usize,
    threads: usize,
    /// Bytes of a unit.
    unit_bytes: usize,
}

impl Plan {
    pub(crate) fn new(problem: &Problem, dtype: DType) -> Self {
        let (row, most) = match problem.layout() {
            Layout::ChannelsFirst => (problem.spatial(), BITS),
            // A thread keeps sums for each value of a unit.
            Layout::ChannelsLast => (problem.channels(), BITS / 2),
        };
        let mut widths = Kernel::widths(dtype).iter().copied();
        let fits = |width: &usize| *width <= most && row.is_multiple_of(*width);
        let width = widths.find(fits).unwrap_or(1);
        let plan = Self {
            problem: *problem,
            shape: Self::shape(problem),
            width,
            threads: 0,
            unit_bytes: width * dtype.size(),
        };
        match problem.layout() {
            Layout::ChannelsFirst => plan.of_channels(),
            Layout::ChannelsLast => plan.of_rows(),
        }
    }

    /// Whether tensors at these addresses are aligned to their units.
    pub(crate) fn is_aligned(&self, tensors: &[u64]) -> bool {
        tensors.iter().all(|address| address.is_multiple_of(self.unit_bytes as u64))
    }

    /// A block takes a part of one channel of one group: a run of units through its rows.
    fn of_channels(self) -> Self {
        let Self { problem, width, mut shape, .. } = self;
        // A row's units, up to the end of its last byte of bits.
        let row_units = problem.spatial().div_ceil(BITS) * (BITS / width);
        let units = problem.group_batch() * row_units;
        let threads = threads_for(units.div_ceil(FEWEST_STEPS), WARP);
        let most_steps = PART_BYTES_FIRST / self.unit_bytes / threads;
        let wanted = ENOUGH_BLOCKS.div_ceil(problem.statistics());
        let part_length = part_length(units, threads, most_steps, wanted);
        let stride = (problem.channels() * problem.spatial()) as u64;
        shape.row_units = row_units as u64;
        shape.row_width = (row_units * width) as u64;
        shape.step_rows = (threads / row_units) as u64;
        shape.step_columns = (threads % row_units * width) as u64;
        shape.step_offset = shape.step_rows * stride + shape.step_columns;
        // Backwards where rows are rounded up by more than there is between two: the kernel's sum wraps too.
        shape.wrap_offset = stride.wrapping_sub(shape.row_width);
        shape.tiles = problem.channels() as u64;
        Self { shape, threads, ..self }.in_parts(units, part_length)
    }

    /// A block takes a tile of channels of a part of one group's rows.
    fn of_rows(self) -> Self {
        let Self { problem, width, mut shape, .. } = self;
        let row_units = problem.channels().div_ceil(BITS) * (BITS / width);
        let widest = (MOST_COLUMNS / width).min(WARP);
        let across =
            row_units.checked_next_power_of_two().map_or(widest, |units| units.min(widest));
        let rows = problem.group_batch() * problem.spatial();
        // As many rows side by side as give each thread a few, and no fewer threads than columns.
        let height = rows.div_ceil(FEWEST_STEPS).min(MOST_THREADS);
        let threads = threads_for(across * height, WARP.max(across * width));
        let tiles = row_units.div_ceil(across);
        let most_steps = PART_BYTES_LAST / self.unit_bytes / threads;
        let wanted = ENOUGH_BLOCKS.div_ceil(problem.groups() * tiles);
        let part_length = part_length(rows, threads / across, most_steps, wanted);
        shape.tile_units = across as u64;
        shape.tiles = tiles as u64;
        Self { shape, threads, ..self }.in_parts(rows, part_length)
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

    fn in_parts(self, length: usize, part_length: usize) -> Self {
        let (shape, parts) = (self.shape, length.div_ceil(part_length) as u64);
        let (part_length, blocks) = (part_length as u64, shape.groups * shape.tiles * parts);
        Self { shape: Shape { part_length, parts, blocks, ..shape }, ..self }
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
            Layout::ChannelsLast => self.shape.tile_units as usize * self.width,
        };
        let shared = self.threads / WARP * columns * item * size_of::<f64>();
        Geometry {
            blocks: (self.shape.blocks).min(MOST_BLOCKS as u64) as u32,
            threads: self.threads as u32,
            shared_bytes: shared as u32,
        }
    }
}

/// A power of two from `least` to the most, that is no more than twice `wanted`.
fn threads_for(wanted: usize, least: usize) -> usize {
    wanted.min(MOST_THREADS).next_power_of_two().clamp(least, MOST_THREADS)
}

/// The length of a part: whole steps of a block, enough of them for few parts, and few enough for many
/// blocks.
fn part_length(length: usize, step: usize, most_steps: usize, wanted_parts: usize) -> usize {
    let steps = length.div_ceil(step);
    let part_steps = steps.div_ceil(wanted_parts).clamp(FEWEST_STEPS, most_steps);
    // Kernels count the steps of a part in 32 bits.
    let part_steps = part_steps.max(steps.div_ceil(MOST_PARTS)).min(u32::MAX as usize / step);
    // The same number of parts, of one length as far as possible.
    let parts = steps.div_ceil(part_steps);
    steps.div_ceil(parts) * step
}

/// The launch of a kernel with a block for each of `channels`, in which a thread takes up to
/// [`PARTS_OF_A_THREAD`] parts.
pub(crate) fn merging(channels: usize, parts: usize) -> Geometry {
    let threads = parts.min(MOST_THREADS).next_power_of_two().clamp(WARP, MOST_THREADS);
    // A pair of doubles for each warp.
    let shared_bytes = threads / WARP * 2 * size_of::<f64>();
    Geometry {
        blocks: channels.min(MOST_BLOCKS) as u32,
        threads: threads as u32,
        shared_bytes: shared_bytes as u32,
    }
}

/// The launch of a kernel with a thread for each of `count`.
pub(crate) fn threads(count: usize) -> Geometry {
    const THREADS: usize = 128;
    let blocks = count.div_ceil(THREADS).min(MOST_BLOCKS);
    Geometry { blocks: blocks as u32, threads: THREADS as u32, shared_bytes: 0 }
}

#[cfg(test)]
mod tests;
