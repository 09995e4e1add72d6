//! The coefficients of channels-last, side by side as vectors load them.

use bn_core::Problem;

use super::flat::Rows;
use crate::settle::Places;
use crate::shared::Shared;
use crate::simd::{Access, Real, Simd, Vector};
use crate::tile::Tile;

/// Places behind a group's channels that repeat its first ones, so that a vector that begins near the
/// end of a row and goes on in the next finds its coefficients in one piece.
const PADDING: usize = 16;

/// Places that the channels of a group have at least, repeated: short rows end often.
const LONG: usize = 512;

/// The places of a group's channels, whole rows of them.
pub(super) fn period(channels: usize) -> usize {
    channels * LONG.div_ceil(channels)
}

/// The places that a table of a problem has for each coefficient.
pub(crate) fn padded(problem: &Problem) -> usize {
    // Whole cache lines.
    (problem.groups() * (period(problem.channels()) + PADDING)).next_multiple_of(PADDING)
}

/// Lanes of per-channel numbers.
pub(crate) trait LoadLanes: Real {
    /// Loads `count` of them.
    ///
    /// # Safety
    ///
    /// `count` values can be read.
    unsafe fn load<A: Access<Scalar = Self>, S: Simd>(
        simd: S,
        from: *const Self,
        count: usize,
    ) -> A::Vec<S>;
}

impl<R: Real> LoadLanes for R {
    #[inline(always)]
    unsafe fn load<A: Access<Scalar = R>, S: Simd>(
        simd: S,
        from: *const R,
        count: usize,
    ) -> A::Vec<S> {
        if count == A::Vec::<S>::LANES {
            // SAFETY: the caller's.
            unsafe { A::Vec::<S>::load(simd, from) }
        } else {
            // SAFETY: the caller's.
            unsafe { A::Vec::<S>::load_first(simd, from, count) }
        }
    }
}

/// Coefficients of all channels of all groups: `N` arrays as lanes, and the channels that need `f64`. Lanes of
/// those hold anything; only [`super::RowByRow`] visits a group that has any, and replaces what they give.
pub(crate) struct Table<R, const N: usize> {
    lanes: [Shared<R>; N],
    /// Statistics with numbers beyond `f32`, in order.
    wide: Vec<(usize, [f64; N])>,
}

impl<R: Real, const N: usize> Table<R, N> {
    /// Has every group's coefficients written by `settle`, and asks for those that lanes do not hold.
    pub(crate) fn new(
        problem: &Problem,
        to: Places<R, N>,
        settle: impl Fn(Tile, Places<R, N>),
        exact: impl Fn(usize) -> [f64; N],
    ) -> Self {
        let channels = problem.channels();
        let places = period(channels) + PADDING;
        for group in 0..problem.groups() {
            // A kernel writes at group·channels + c, and a group's places begin at group·places.
            let lanes = to.lanes.map(|lanes| lanes.skip(group * (places - channels)));
            settle(Tile { group, channels: 0..channels, part: 0 }, Places { lanes, ..to });
            let first = group * places;
            for lanes in to.lanes {
                for place in first + channels..first + places {
                    // SAFETY: places of the table, the latter written before.
                    unsafe { lanes.set(place, lanes.get(place - channels)) };
                }
            }
        }
        // SAFETY: all are settled.
        let wide = (0..problem.statistics()).filter(|&statistic| unsafe { to.is_wide(statistic) });
        let wide = wide.map(|statistic| (statistic, exact(statistic))).collect();
        Self { lanes: to.lanes, wide }
    }

    /// The coefficients of a group, with which its rows are walked, side by side or not.
    #[inline(always)]
    pub(super) fn rows(&self, group: usize, channels: usize, abreast: bool) -> Rows<R, N> {
        let first = group * (period(channels) + PADDING);
        Rows { table: self.lanes, first, channels, abreast }
    }

    /// Whether any of a group needs `f64`.
    pub(crate) fn has_wide(&self, group: usize, channels: usize) -> bool {
        !self.wide_of(group, channels).is_empty()
    }

    /// Those of a group that need `f64`.
    pub(super) fn wide_of(&self, group: usize, channels: usize) -> &[(usize, [f64; N])] {
        let first = self.wide.partition_point(|(statistic, _)| *statistic < group * channels);
        let last = self.wide.partition_point(|(statistic, _)| *statistic < (group + 1) * channels);
        &self.wide[first..last]
    }
}
