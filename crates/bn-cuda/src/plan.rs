//! How a problem is cut into blocks: pure arithmetic, which the problem alone decides.
//!
//! No number of the device enters here, so a reduction has one shape on every GPU.

use bn_core::{DType, Layout, Problem};

use crate::arguments::{Residence, Shape};
use crate::kernel::{Geometry, Kernel, MOST_BLOCKS_OF_CLUSTER, MOST_SHARED_BYTES};

/// Threads of a block at most; the kernels are compiled for no more.
const MOST_THREADS: usize = 256;
const WARP: usize = 32;
/// Blocks that occupy the largest devices.
const ENOUGH_BLOCKS: usize = 384;
/// Units that a thread reads at once at most, as in `walk.cuh`.
const BATCH: usize = 4;
/// Units of each thread in a part: at least as many as it reads at once, and so many bytes...
const FEWEST_STEPS: usize = BATCH;
const FEWEST_BYTES: usize = 64;
/// ...at most so many bytes of each tensor that is read, by layout...
const PART_BYTES_FIRST: usize = 64 << 10;
const PART_BYTES_LAST: usize = 128 << 10;
/// ...unless a channel then had more parts than a block merges, whose threads keep so many each, as in `finish.cuh`.
const PARTS_OF_A_THREAD: usize = 4;
const MOST_PARTS: usize = PARTS_OF_A_THREAD * MOST_THREADS;
/// The most columns of a block in channels-last, whose results meet in shared memory; and the bytes of a row that a
/// block has where its part stays on the chip: a line of the cache.
const MOST_COLUMNS: usize = 128;
const RESIDENT_TILE_BYTES: usize = 128;
/// The most bytes of a tensor in a part that stays on the chip, which is a block of a cluster: what does not fit in
/// shared memory must still be in L2. Half of it is what is wanted where blocks are enough for that: several then fit on a
/// multiprocessor.
const RESIDENT_BYTES: usize = 104 << 10;
/// In channels-last, where a thread does more for each value, so many values, and smaller clusters: the largest ones wait
/// for room on neighbouring multiprocessors.
const RESIDENT_VALUES_LAST: usize = RESIDENT_BYTES / 4;
const BLOCKS_OF_CLUSTER_LAST: usize = 8;
/// Shared memory of such a block, for three of them on a multiprocessor; or for two, where their registers allow no
/// more: in backward of channels-last.
const SHARED_BYTES: usize = 74 << 10;
const SHARED_BYTES_OF_TWO: usize = MOST_SHARED_BYTES;
/// The most blocks of a launch; kernels go on to further ones by themselves.
const MOST_BLOCKS: usize = i32::MAX as usize;
/// Values of a byte of activation bits.
const BITS: usize = 8;
/// What results and units in shared memory are aligned to.
const ALIGNMENT: usize = 16;

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
    /// Whether a cluster of blocks can keep a channel, or a tile.
    is_resident: bool,
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
            is_resident: false,
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
        let threads = threads_for(units.div_ceil(self.fewest_steps()), WARP);
        let stride = (problem.channels() * problem.spatial()) as u64;
        shape.row_units = row_units as u64;
        shape.row_width = (row_units * width) as u64;
        shape.step_rows = (threads / row_units) as u64;
        shape.step_columns = (threads % row_units * width) as u64;
        shape.step_offset = shape.step_rows * stride + shape.step_columns;
        // Backwards where rows are rounded up by more than there is between two: the kernel's sum wraps too.
        shape.wrap_offset = stride.wrapping_sub(shape.row_width);
        shape.tiles = problem.channels() as u64;
        let whole = Self { shape, threads, ..self };
        let resident = whole.resident_cut(units, threads, RESIDENT_BYTES, MOST_BLOCKS_OF_CLUSTER);
        resident.unwrap_or_else(|| whole.cut(units, threads, PART_BYTES_FIRST))
    }

    /// A block takes a tile of channels of a part of one group's rows.
    fn of_rows(self) -> Self {
        let rows = self.problem.group_batch() * self.problem.spatial();
        let narrow = self.of_tiles(rows, RESIDENT_TILE_BYTES / self.unit_bytes);
        let value_bytes = self.unit_bytes / self.width;
        let most = RESIDENT_BYTES.min(RESIDENT_VALUES_LAST * value_bytes);
        let resident = narrow.resident_cut(rows, narrow.step(), most, BLOCKS_OF_CLUSTER_LAST);
        resident.unwrap_or_else(|| {
            let wide = self.of_tiles(rows, MOST_COLUMNS / self.width);
            wide.cut(rows, wide.step(), PART_BYTES_LAST)
        })
    }

    /// A block takes a tile of up to so many units of a row.
    fn of_tiles(self, rows: usize, widest: usize) -> Self {
        let Self { problem, width, mut shape, .. } = self;
        let row_units = problem.channels().div_ceil(BITS) * (BITS / width);
        // Whole bytes of bits.
        let widest = widest.clamp(BITS / width, WARP);
        let across =
            row_units.checked_next_power_of_two().map_or(widest, |units| units.min(widest));
        // As many rows side by side as give each thread a few, and no fewer threads than columns.
        let height = rows.div_ceil(self.fewest_steps()).min(MOST_THREADS);
        let threads = threads_for(across * height, WARP.max(across * width));
        shape.tile_units = across as u64;
        shape.tiles = row_units.div_ceil(across) as u64;
        Self { shape, threads, ..self }
    }

    /// So many steps of a thread make it worth its while.
    fn fewest_steps(&self) -> usize {
        FEWEST_STEPS.max(FEWEST_BYTES / self.unit_bytes)
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

    /// In parts of at most so many bytes, enough of them for many blocks; a block takes `step` of `length` at a time.
    fn cut(self, length: usize, step: usize, part_bytes: usize) -> Self {
        let tiles = (self.shape.groups * self.shape.tiles) as usize;
        let most_steps = part_bytes / self.step_bytes();
        let wanted = ENOUGH_BLOCKS.div_ceil(tiles);
        self.in_parts(length, part_length(length, step, most_steps, wanted))
    }

    /// In the parts of clusters that keep a channel or tile on the chip: small ones, or if those were too many, ones of
    /// up to so many bytes; none where there are more than `most_blocks` of those, too.
    fn resident_cut(
        self,
        length: usize,
        step: usize,
        most_bytes: usize,
        most_blocks: usize,
    ) -> Option<Self> {
        let (tiles, steps) = (self.shape.tiles as usize, length.div_ceil(step));
        let most_steps = most_bytes / self.step_bytes();
        let fits = steps.div_ceil(most_blocks) <= most_steps;
        if self.shape.groups != 1 || !fits || tiles > MOST_BLOCKS / most_blocks {
            return None;
        }
        let wanted = (steps * self.step_bytes()).div_ceil(RESIDENT_BYTES / 2).min(most_blocks);
        let cut = self.in_parts(length, part_length(length, step, most_steps, wanted));
        Some(Self { is_resident: true, ..cut })
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
        Geometry { shared_bytes: 0, ..self.reducing(0) }
    }

    /// The launch of a kernel that reduces to items of `item` doubles for each column and warp.
    pub(crate) fn reducing(&self, item: usize) -> Geometry {
        Geometry {
            blocks: (self.shape.blocks).min(MOST_BLOCKS as u64) as u32,
            threads: self.threads as u32,
            shared_bytes: self.stage_bytes(item) as u32,
            cluster: 1,
        }
    }

    /// The launch of clusters that keep `tensors` of them on the chip, reduce to items of `item` doubles, and have
    /// `part` doubles of each column in a part and `settled` in the end; if there is one.
    pub(crate) fn resident(
        &self,
        tensors: usize,
        [item, part, settled]: [usize; 3],
    ) -> Option<(Geometry, Residence)> {
        if !self.is_resident {
            return None;
        }
        let doubles = |count: usize| self.columns() * count * size_of::<f64>();
        let parts_at = self.stage_bytes(item).next_multiple_of(ALIGNMENT);
        let settled_at = parts_at + doubles(part);
        let units_at = (settled_at + doubles(settled)).next_multiple_of(ALIGNMENT);
        let of_step = self.step_bytes() * tensors;
        let steps = self.shape.part_length as usize / self.step();
        let most = match (self.problem.layout(), tensors) {
            (Layout::ChannelsLast, 2) => SHARED_BYTES_OF_TWO,
            _ => SHARED_BYTES,
        };
        let again = steps.saturating_sub((most - units_at) / of_step);
        // Whole batches, or all.
        let again = again.next_multiple_of(BATCH).min(steps);
        let geometry = Geometry {
            blocks: self.shape.blocks as u32,
            threads: self.threads as u32,
            shared_bytes: (units_at + (steps - again) * of_step) as u32,
            cluster: self.shape.parts as u32,
        };
        let [again, parts_at, settled_at, units_at] =
            [again, parts_at, settled_at, units_at].map(|number| number as u64);
        Some((geometry, Residence { again, parts_at, settled_at, units_at }))
    }

    /// The columns whose results a block has in the end.
    fn columns(&self) -> usize {
        match self.problem.layout() {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => self.shape.tile_units as usize * self.width,
        }
    }

    /// Units or rows that a block takes at a time, and the bytes of them.
    fn step(&self) -> usize {
        self.threads / self.shape.tile_units as usize
    }

    fn step_bytes(&self) -> usize {
        self.threads * self.unit_bytes
    }

    /// Bytes of what a reduction uses: an item for each column and warp, and a double for each column.
    fn stage_bytes(&self, item: usize) -> usize {
        (self.threads / WARP * item + 1) * self.columns() * size_of::<f64>()
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
        cluster: 1,
    }
}

/// The launch of a kernel with a thread for each of `count`.
pub(crate) fn threads(count: usize) -> Geometry {
    const THREADS: usize = 128;
    let blocks = count.div_ceil(THREADS).min(MOST_BLOCKS);
    Geometry { blocks: blocks as u32, threads: THREADS as u32, shared_bytes: 0, cluster: 1 }
}

#[cfg(test)]
mod tests;
