//! The values of a tensor in the order of memory, and which channel each belongs to.

use bn_core::{Layout, Problem};

/// Where one value of a tensor belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Its channel.
    pub channel: usize,
    /// Its statistic, group·C + channel: an index into buffers of G·C values.
    pub statistic: usize,
    /// Its position, sample·S + spatial position: an index into a mask.
    pub position: usize,
    /// Its index in `(N, C, S)` order, whatever the layout.
    pub logical: usize,
}

/// The cells of every value, in the order of memory.
///
/// Counted here, axis by axis, and not taken from [`Problem::offset`]: a suite that asked the contract
/// where a value lies could not see the contract err.
#[must_use]
pub fn walk(problem: &Problem) -> Walk {
    let (channels, spatial) = (problem.channels(), problem.spatial());
    Walk {
        batch: problem.batch(),
        channels,
        spatial,
        per_group: problem.batch() / problem.groups(),
        last: problem.layout() == Layout::ChannelsLast,
        next: (0, 0, 0),
    }
}

/// The iterator that [`walk`] returns.
#[derive(Clone, Debug)]
pub struct Walk {
    batch: usize,
    channels: usize,
    spatial: usize,
    per_group: usize,
    last: bool,
    /// Sample, channel and spatial position of the next cell.
    next: (usize, usize, usize),
}

impl Walk {
    const fn after(&self, (n, c, s): (usize, usize, usize)) -> (usize, usize, usize) {
        let (last_channel, last_position) = (c + 1 == self.channels, s + 1 == self.spatial);
        match (self.last, last_channel, last_position) {
            (_, true, true) => (n + 1, 0, 0),
            (true, false, _) => (n, c + 1, s),
            (true, true, false) => (n, 0, s + 1),
            (false, _, false) => (n, c, s + 1),
            (false, false, true) => (n, c + 1, 0),
        }
    }
}

impl Iterator for Walk {
    type Item = Cell;

    fn next(&mut self) -> Option<Cell> {
        let (n, channel, s) = self.next;
        if n == self.batch {
            return None;
        }
        self.next = self.after(self.next);
        Some(Cell {
            channel,
            statistic: n / self.per_group * self.channels + channel,
            position: n * self.spatial + s,
            logical: (n * self.channels + channel) * self.spatial + s,
        })
    }
}

/// The bits that forward writes for the elements that passed: rows padded to whole bytes with zeros.
#[must_use]
pub fn pack_bits(problem: &Problem, open: &[bool]) -> Vec<u8> {
    let row = match problem.layout() {
        Layout::ChannelsFirst => problem.spatial(),
        Layout::ChannelsLast => problem.channels(),
    };
    let bytes = open.chunks(row).flat_map(|row| row.chunks(8));
    bytes.map(|byte| byte.iter().rev().fold(0, |bits, &open| bits << 1 | u8::from(open))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_and_the_contract_agree_on_where_a_value_lies() {
        for layout in Layout::ALL {
            let problem = Problem::new(&[4, 3, 5], layout).unwrap().with_groups(2).unwrap();
            let (c, s) = (problem.channels(), problem.spatial());
            for (index, cell) in walk(&problem).enumerate() {
                let (n, position) = (cell.position / s, cell.position % s);
                assert_eq!(problem.offset(n, cell.channel, position), index);
                assert_eq!(cell.logical, (n * c + cell.channel) * s + position);
                assert_eq!(cell.statistic, n / 2 * c + cell.channel);
            }
            assert_eq!(walk(&problem).count(), problem.elements());
        }
    }

    #[test]
    fn bits_are_packed_as_the_contract_says() {
        for layout in Layout::ALL {
            let problem = Problem::new(&[2, 3, 11], layout).unwrap();
            let open: Vec<bool> = (0..problem.elements()).map(|i| i * i % 7 < 3).collect();
            let bits = pack_bits(&problem, &open);
            assert_eq!(bits.len(), problem.bits_len());
            for (index, &open) in open.iter().enumerate() {
                let (byte, bit) = problem.bit(index);
                assert_eq!(bits[byte] & bit != 0, open);
            }
        }
    }
}
