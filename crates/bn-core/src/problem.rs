//! The problem: how many values, which of them share a channel, and where they lie in memory.

use core::fmt;

use crate::Error;

/// Where the channel axis lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `(N, C, spatial…)`: NCHW, NCDHW, NCL, NC.
    ChannelsFirst,
    /// `(N, spatial…, C)`: NHWC, NDHWC, NLC, NC.
    ChannelsLast,
}

impl Layout {
    /// Both layouts.
    pub const ALL: [Self; 2] = [Self::ChannelsFirst, Self::ChannelsLast];

    /// `channels-first` or `channels-last`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChannelsFirst => "channels-first",
            Self::ChannelsLast => "channels-last",
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A validated shape: batch N, channels C, spatial positions S, layout, and groups of the batch.
///
/// Any rank of at least 2 is reduced to these numbers once, here; kernels need no second look. What
/// holds of every `Problem`: N, C, S and the number of groups are at least 1, the groups divide the
/// batch, and N·C·S values of 8 bytes fit in an `isize`, so that index arithmetic cannot overflow.
///
/// With one spatial position both layouts are the same memory; such a problem reports
/// [`Layout::ChannelsLast`], whose rows are the long ones, whichever was asked for, and every backend
/// takes it.
///
/// # Groups
///
/// With G groups (ghost batch normalisation, Hoffer et al. 2017) each run of N/G consecutive samples
/// has statistics of its own. Buffers of statistics then hold G·C values, group by group.
///
/// ```
/// use bn_core::{Layout, Problem};
///
/// let problem = Problem::new(&[32, 64, 56, 56], Layout::ChannelsFirst)?;
/// assert_eq!((problem.batch(), problem.channels(), problem.spatial()), (32, 64, 56 * 56));
/// assert_eq!(problem.with_groups(4)?.statistics(), 4 * 64);
/// # Ok::<(), bn_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    batch: usize,
    channels: usize,
    spatial: usize,
    groups: usize,
    layout: Layout,
}

impl Problem {
    /// The problem of a tensor with these dimensions: `(N, C, spatial…)` or `(N, spatial…, C)`.
    ///
    /// # Errors
    ///
    /// [`Error::Rank`] below rank 2, [`Error::NoChannels`] where C = 0, [`Error::EmptyBatch`] where
    /// another dimension is 0, [`Error::SizeOverflow`] where the product does not fit.
    pub fn new(dims: &[usize], layout: Layout) -> Result<Self, Error> {
        let (batch, channels, spatial) = match (layout, dims) {
            (Layout::ChannelsFirst, [batch, channels, spatial @ ..])
            | (Layout::ChannelsLast, [batch, spatial @ .., channels]) => {
                (*batch, *channels, spatial)
            }
            _ => {
                return Err(Error::Rank { dims: dims.into(), layout });
            }
        };
        if channels == 0 {
            return Err(Error::NoChannels { dims: dims.into(), layout });
        }
        if dims.contains(&0) {
            return Err(Error::EmptyBatch { dims: dims.into() });
        }
        let limit = isize::MAX as usize / size_of::<f64>();
        let elements = dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
        if elements.is_none_or(|elements| elements > limit) {
            return Err(Error::SizeOverflow { dims: dims.into(), limit });
        }
        let spatial = spatial.iter().product();
        let layout = if spatial == 1 { Layout::ChannelsLast } else { layout };
        Ok(Self { batch, channels, spatial, groups: 1, layout })
    }

    /// The same problem with the batch cut into `groups` runs of samples, each with its own statistics.
    ///
    /// # Errors
    ///
    /// [`Error::Groups`] where `groups` is 0 or does not divide the batch.
    pub fn with_groups(self, groups: usize) -> Result<Self, Error> {
        if groups == 0 || !self.batch.is_multiple_of(groups) {
            return Err(Error::Groups { groups, batch: self.batch });
        }
        Ok(Self { groups, ..self })
    }

    /// The same problem with one set of statistics for the whole batch.
    #[must_use]
    pub const fn ungrouped(self) -> Self {
        Self { groups: 1, ..self }
    }

    /// N, the number of samples.
    #[must_use]
    pub const fn batch(&self) -> usize {
        self.batch
    }

    /// C, the number of channels: the length of gamma, beta and the running statistics.
    #[must_use]
    pub const fn channels(&self) -> usize {
        self.channels
    }

    /// S, the number of spatial positions of a sample: the product of all dimensions but N and C.
    #[must_use]
    pub const fn spatial(&self) -> usize {
        self.spatial
    }

    /// G, the number of groups of the batch.
    #[must_use]
    pub const fn groups(&self) -> usize {
        self.groups
    }

    /// Where the channels lie; always [`Layout::ChannelsLast`] where S = 1.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// N·C·S, the length of x, y, dy and dx.
    #[must_use]
    pub const fn elements(&self) -> usize {
        self.batch * self.channels * self.spatial
    }

    /// N·S, the length of a mask of valid positions.
    #[must_use]
    pub const fn positions(&self) -> usize {
        self.batch * self.spatial
    }

    /// G·C, the length of a buffer of batch statistics.
    #[must_use]
    pub const fn statistics(&self) -> usize {
        self.groups * self.channels
    }

    /// N/G, the number of samples of a group.
    #[must_use]
    pub const fn group_batch(&self) -> usize {
        self.batch / self.groups
    }

    /// m = N/G·S, the number of values that a statistic is taken over where no mask leaves any out.
    #[must_use]
    pub const fn count(&self) -> u64 {
        (self.group_batch() * self.spatial) as u64
    }

    /// The number of contiguous rows: N·C rows of S values, or N·S rows of C values.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.elements() / self.row_len()
    }

    /// The length of a contiguous row: S for channels-first, C for channels-last.
    #[must_use]
    pub const fn row_len(&self) -> usize {
        match self.layout {
            Layout::ChannelsFirst => self.spatial,
            Layout::ChannelsLast => self.channels,
        }
    }

    /// The bytes of a buffer of activation bits: each row padded to whole bytes.
    ///
    /// Element `i` of row `r` is bit `i % 8` of byte `r · ceil(row_len / 8) + i / 8`. Rows are padded
    /// so that two tiles of a parallel kernel never share a byte.
    #[must_use]
    pub const fn bits_len(&self) -> usize {
        self.rows() * self.row_len().div_ceil(8)
    }

    /// Where the value of sample `n`, channel `c`, position `s` lies.
    #[must_use]
    pub const fn offset(&self, n: usize, c: usize, s: usize) -> usize {
        match self.layout {
            Layout::ChannelsFirst => (n * self.channels + c) * self.spatial + s,
            Layout::ChannelsLast => (n * self.spatial + s) * self.channels + c,
        }
    }

    /// Where the statistics of sample `n`, channel `c` lie in a buffer of G·C.
    #[must_use]
    pub const fn statistic(&self, n: usize, c: usize) -> usize {
        n / self.group_batch() * self.channels + c
    }

    /// Where the activation bit of the element at `offset` lies: its byte and the bit in it.
    #[must_use]
    pub const fn bit(&self, offset: usize) -> (usize, u8) {
        let (row, column) = (offset / self.row_len(), offset % self.row_len());
        (row * self.row_len().div_ceil(8) + column / 8, 1 << (column % 8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rank_from_two_reduces_to_three_numbers() {
        let parts = |dims: &[usize], layout| {
            let problem = Problem::new(dims, layout).unwrap();
            (problem.batch(), problem.channels(), problem.spatial(), problem.layout())
        };
        let (first, last) = (Layout::ChannelsFirst, Layout::ChannelsLast);
        assert_eq!(parts(&[5, 3], first), (5, 3, 1, last));
        assert_eq!(parts(&[5, 3], last), (5, 3, 1, last));
        assert_eq!(parts(&[2, 4, 7], first), (2, 4, 7, first));
        assert_eq!(parts(&[2, 4, 7], last), (2, 7, 4, last));
        assert_eq!(parts(&[2, 3, 4, 5, 6], first), (2, 3, 120, first));
        assert_eq!(parts(&[2, 3, 4, 5, 6], last), (2, 6, 60, last));
    }

    #[test]
    fn refuses_what_has_no_statistics() {
        let new = |dims: &[usize]| Problem::new(dims, Layout::ChannelsFirst);
        assert!(matches!(new(&[]), Err(Error::Rank { .. })));
        assert!(matches!(new(&[3]), Err(Error::Rank { .. })));
        assert!(matches!(new(&[3, 0, 2]), Err(Error::NoChannels { .. })));
        assert!(matches!(new(&[0, 3, 2]), Err(Error::EmptyBatch { .. })));
        assert!(matches!(new(&[3, 3, 0]), Err(Error::EmptyBatch { .. })));
        assert!(matches!(new(&[usize::MAX, 2]), Err(Error::SizeOverflow { .. })));
        assert!(matches!(new(&[1 << 40, 1 << 20, 2]), Err(Error::SizeOverflow { .. })));
        assert!(matches!(new(&[6, 2]).unwrap().with_groups(4), Err(Error::Groups { .. })));
        assert!(matches!(new(&[6, 2]).unwrap().with_groups(0), Err(Error::Groups { .. })));
    }

    #[test]
    fn offsets_and_bits_cover_every_element_once() {
        for layout in Layout::ALL {
            let problem = Problem::new(&[2, 3, 5], layout).unwrap();
            let (mut seen, mut bits) = (vec![0; problem.elements()], vec![0u8; problem.bits_len()]);
            for n in 0..problem.batch() {
                for c in 0..problem.channels() {
                    for s in 0..problem.spatial() {
                        let offset = problem.offset(n, c, s);
                        seen[offset] += 1;
                        let (byte, bit) = problem.bit(offset);
                        assert_eq!(bits[byte] & bit, 0);
                        bits[byte] |= bit;
                    }
                }
            }
            assert!(seen.iter().all(|&times| times == 1));
            assert_eq!(bits.iter().map(|byte| byte.count_ones()).sum::<u32>() as usize, 30);
        }
    }
}
