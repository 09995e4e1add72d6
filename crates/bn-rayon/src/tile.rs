//! How a problem is cut: parts of each channel's values, whose sums are added in order.
//!
//! A part follows from the problem alone, so every reduction has one shape whatever the threads. In
//! channels-first a part is a run of samples, or of positions of one sample where samples are long; in
//! channels-last it is a run of rows. A tile is one part of some channels of one group. Tiles with
//! different groups, channels or parts share no element, and so no byte of activation bits either:
//! parts within a row begin at multiples of eight.

use core::ops::Range;

use bn_core::{Layout, Problem};

/// About how many values a part has: half a megabyte of `f32`, so that a part's second visit finds
/// it in the second-level cache.
const PART: usize = 1 << 17;

/// How many strips of a part are taken abreast, and each has sums of its own.
pub(crate) const ABREAST: usize = 4;

/// The cut of a problem.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) problem: Problem,
    /// Samples (channels-first) or rows (channels-last) of a part.
    rows: usize,
    /// Positions of a part within a sample; S where samples are not cut.
    columns: usize,
    /// How many parts each channel of a group has.
    pub(crate) parts: usize,
}

/// One part of some channels of one group.
#[derive(Clone, Debug)]
pub(crate) struct Tile {
    pub(crate) group: usize,
    pub(crate) channels: Range<usize>,
    pub(crate) part: usize,
}

impl Cut {
    pub(crate) fn new(problem: Problem) -> Self {
        let (samples, spatial) = (problem.group_batch(), problem.spatial());
        match problem.layout() {
            Layout::ChannelsFirst if spatial > PART => {
                let parts = samples * spatial.div_ceil(PART);
                Self { problem, rows: 1, columns: PART, parts }
            }
            Layout::ChannelsFirst => {
                let rows = PART / spatial;
                let rows = if rows < ABREAST { rows } else { rows / ABREAST * ABREAST };
                Self { problem, rows, columns: spatial, parts: samples.div_ceil(rows) }
            }
            Layout::ChannelsLast => {
                let rows = (PART / problem.channels()).next_multiple_of(64).max(64);
                let all = samples * spatial;
                Self { problem, rows, columns: spatial, parts: all.div_ceil(rows) }
            }
        }
    }

    /// The statistics of a tile's channels.
    #[inline(always)]
    pub(crate) fn statistics(&self, tile: &Tile) -> Range<usize> {
        let first = tile.group * self.problem.channels();
        first + tile.channels.start..first + tile.channels.end
    }

    /// The samples of a part, counted over the whole batch, and its positions (channels-first).
    #[inline(always)]
    pub(crate) fn samples(&self, tile: &Tile) -> (Range<usize>, Range<usize>) {
        let (samples, spatial) = (self.problem.group_batch(), self.problem.spatial());
        let first = tile.group * samples;
        let across = spatial.div_ceil(self.columns);
        let (row, column) = (tile.part / across * self.rows, tile.part % across * self.columns);
        (
            first + row..first + samples.min(row + self.rows),
            column..spatial.min(column + self.columns),
        )
    }

    /// The strips of a group: what some channels have of one sample, or of a piece of one
    /// (channels-first). Parts are runs of strips.
    pub(crate) fn strips(&self) -> usize {
        self.problem.group_batch() * self.problem.spatial().div_ceil(self.columns)
    }

    /// The strips of a part.
    pub(crate) fn strips_of(&self, part: usize) -> Range<usize> {
        part * self.rows..self.strips().min((part + 1) * self.rows)
    }

    /// The part of a strip.
    #[inline(always)]
    pub(crate) fn part_of(&self, strip: usize) -> usize {
        strip / self.rows
    }

    /// Where in its part a strip is.
    #[inline(always)]
    pub(crate) fn place_in_part(&self, strip: usize) -> usize {
        strip % self.rows
    }

    /// The sample of a strip, counted over the whole batch, and its positions.
    #[inline(always)]
    pub(crate) fn strip(&self, group: usize, strip: usize) -> (usize, Range<usize>) {
        let spatial = self.problem.spatial();
        let across = spatial.div_ceil(self.columns);
        let column = strip % across * self.columns;
        (
            group * self.problem.group_batch() + strip / across,
            column..spatial.min(column + self.columns),
        )
    }

    /// Whether strips have one length, and vectors that are aligned in one are in all.
    #[inline(always)]
    pub(crate) fn is_even(&self) -> bool {
        !self.cuts_rows() && (self.problem.channels() * self.problem.spatial()).is_multiple_of(16)
    }

    /// Whether strips are pieces of rows.
    pub(crate) fn cuts_rows(&self) -> bool {
        self.columns < self.problem.spatial()
    }

    /// The rows of a part, counted over the whole batch (channels-last).
    #[inline(always)]
    pub(crate) fn rows(&self, tile: &Tile) -> Range<usize> {
        let all = self.problem.group_batch() * self.problem.spatial();
        let (first, row) = (tile.group * all, tile.part * self.rows);
        first + row..first + all.min(row + self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_every_value_once() {
        for (dims, groups) in [(vec![6, 2, 5], 3), (vec![2, 1, 300_000], 2), (vec![70_000, 3], 7)] {
            for layout in Layout::ALL {
                let problem = Problem::new(&dims, layout).unwrap().with_groups(groups).unwrap();
                let (cut, mut values) = (Cut::new(problem), 0);
                for group in 0..groups {
                    for part in 0..cut.parts {
                        let tile = Tile { group, channels: 0..1, part };
                        values += match problem.layout() {
                            Layout::ChannelsFirst => {
                                let (samples, columns) = cut.samples(&tile);
                                assert_eq!(columns.start % 8, 0);
                                samples.len() * columns.len()
                            }
                            Layout::ChannelsLast => cut.rows(&tile).len(),
                        };
                    }
                }
                assert_eq!(values, problem.positions(), "{dims:?} {layout}");
            }
        }
    }
}
