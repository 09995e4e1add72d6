//! A mask of valid positions, and how many values each group of the batch is left with.

use crate::{Error, HostMemory, Memory, Problem};

/// How many values a statistic of each group is taken over.
///
/// For one process these are the problem's own counts or those of a mask; for synchronised statistics
/// they are summed over the processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts(Repr);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Repr {
    Uniform { count: u64, groups: usize },
    PerGroup(Box<[u64]>),
}

impl Counts {
    /// One count for each group.
    ///
    /// # Errors
    ///
    /// [`Error::Counts`] where there is none, or one is 0.
    pub fn per_group(counts: &[u64]) -> Result<Self, Error> {
        if counts.is_empty() || counts.contains(&0) {
            return Err(Error::Counts { found: counts.into(), groups: counts.len() });
        }
        Ok(Self(Repr::PerGroup(counts.into())))
    }

    /// The count of a group.
    ///
    /// # Panics
    ///
    /// Where there is no such group.
    #[must_use]
    pub fn of(&self, group: usize) -> u64 {
        match &self.0 {
            Repr::Uniform { count, groups } => {
                assert!(group < *groups, "group {group} of {groups}");
                *count
            }
            Repr::PerGroup(counts) => counts[group],
        }
    }

    /// The number of groups.
    #[must_use]
    pub fn groups(&self) -> usize {
        match &self.0 {
            Repr::Uniform { groups, .. } => *groups,
            Repr::PerGroup(counts) => counts.len(),
        }
    }

    /// The first group with a single value, if there is one.
    #[must_use]
    pub fn single_value(&self) -> Option<usize> {
        (0..self.groups()).find(|&group| self.of(group) == 1)
    }

    pub(crate) fn fits(&self, problem: &Problem) -> Result<(), Error> {
        let groups = problem.groups();
        if self.groups() == groups {
            return Ok(());
        }
        let found = (0..self.groups()).map(|group| self.of(group)).collect();
        Err(Error::Counts { found, groups })
    }
}

impl From<&Problem> for Counts {
    fn from(problem: &Problem) -> Self {
        Self(Repr::Uniform { count: problem.count(), groups: problem.groups() })
    }
}

/// A mask of valid positions that has been checked against a problem and counted.
///
/// The mask holds N·S bytes, position by position (sample by sample), 0 where a position is not valid;
/// it holds for all channels of the position. Positions that are not valid are left out of the
/// statistics; all positions are normalised, and backward is the exact gradient of that, so the
/// masked positions' dx is that of fixed statistics. Keras' BatchNormalization treats its mask so.
pub struct ValidPositions<'a, M: Memory> {
    mask: &'a M::Buffer<u8>,
    problem: Problem,
    counts: Counts,
}

impl<'a, M: Memory> ValidPositions<'a, M> {
    /// Checks and counts a mask that lies in `memory`, which copies it to the host once.
    ///
    /// # Errors
    ///
    /// [`Error::Length`], [`Error::NoValidPositions`], and what [`Memory::read`] returns.
    pub fn new(memory: &M, problem: &Problem, mask: &'a M::Buffer<u8>) -> Result<Self, Error> {
        super::request::length("mask", M::len(mask), problem.positions(), "N·S, one per position")?;
        let on_host = memory.download(mask)?;
        let counts = on_host
            .chunks(problem.group_batch() * problem.spatial())
            .map(|group| group.iter().filter(|&&valid| valid != 0).count() as u64)
            .collect::<Box<[u64]>>();
        if let Some(group) = counts.iter().position(|&count| count == 0) {
            return Err(Error::NoValidPositions { group });
        }
        Ok(Self { mask, problem: *problem, counts: Counts(Repr::PerGroup(counts)) })
    }

    /// The mask itself, N·S bytes.
    #[must_use]
    pub const fn mask(&self) -> &'a M::Buffer<u8> {
        self.mask
    }

    /// How many positions are valid in each group.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The same positions, for a copy of the mask in other memory.
    pub(crate) fn with_copy<'b, N: Memory>(
        &self,
        mask: &'b N::Buffer<u8>,
    ) -> ValidPositions<'b, N> {
        ValidPositions { mask, problem: self.problem, counts: self.counts.clone() }
    }

    pub(crate) fn fits(&self, problem: &Problem) -> Result<(), Error> {
        let same = self.problem.batch() == problem.batch()
            && self.problem.spatial() == problem.spatial()
            && self.problem.groups() == problem.groups();
        if same { Ok(()) } else { Err(Error::MaskOfAnotherProblem) }
    }
}

impl<'a> ValidPositions<'a, HostMemory> {
    /// Checks and counts a mask on the host.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] and [`Error::NoValidPositions`].
    pub fn on_host(problem: &Problem, mask: &'a [u8]) -> Result<Self, Error> {
        Self::new(&HostMemory, problem, mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Layout;

    #[test]
    fn counts_follow_the_groups() {
        let problem = Problem::new(&[4, 2, 3], Layout::ChannelsFirst).unwrap();
        let problem = problem.with_groups(2).unwrap();
        let mut mask = [1u8; 12];
        mask[2] = 0;
        let valid = ValidPositions::on_host(&problem, &mask).unwrap();
        assert_eq!((valid.counts().of(0), valid.counts().of(1)), (5, 6));
        assert_eq!(valid.fits(&problem.ungrouped()), Err(Error::MaskOfAnotherProblem));
        mask[6..].fill(0);
        assert_eq!(
            ValidPositions::on_host(&problem, &mask).err(),
            Some(Error::NoValidPositions { group: 1 })
        );
        assert!(ValidPositions::on_host(&problem, &mask[1..]).is_err());
    }

    #[test]
    fn counts_must_fit_the_groups() {
        let problem = Problem::new(&[4, 2], Layout::ChannelsLast).unwrap();
        assert!(Counts::per_group(&[4, 0]).is_err());
        assert!(Counts::per_group(&[]).is_err());
        assert!(Counts::per_group(&[2, 2]).unwrap().fits(&problem).is_err());
        assert_eq!(Counts::from(&problem).of(0), 4);
        assert_eq!(Counts::per_group(&[3, 1]).unwrap().single_value(), Some(1));
    }
}
