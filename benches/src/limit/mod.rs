//! The limit of the memory: the bytes that an operation cannot avoid, moved by the plainest loop.
//!
//! One read and one write are a copy, two reads and one write a triad (y = a + 3·b), reads alone a sum
//! or a dot product. Each is measured with ordinary stores, where the line is read before it is
//! written, and with stores that bypass the cache; the faster of both is the limit. Buffers are the
//! limit's own, as large as the operation's tensors.

mod kernels;
mod team;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::time::Duration;

use self::kernels::Part;
use crate::Traffic;
use crate::aligned::Aligned;

/// How outputs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stores {
    /// As a compiler writes them. What `memcpy` does about large copies is its own affair.
    Ordinary,
    /// Past the cache.
    Streaming,
}

impl Stores {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary stores",
            Self::Streaming => "streaming stores",
        }
    }
}

/// Buffers of the size of an operation's tensors, and the loops over them.
pub struct Limit {
    traffic: Traffic,
    threads: usize,
    reads: [Aligned<f32>; 2],
    writes: [Aligned<f32>; 2],
}

impl Limit {
    /// Allocates and touches the buffers.
    #[must_use]
    pub fn new(traffic: Traffic, tensor_bytes: usize, threads: usize) -> Self {
        let len = tensor_bytes.div_ceil(size_of::<f32>());
        let used = |is_used: bool| if is_used { len } else { 0 };
        let read = |is_used| Aligned::from_fn(used(is_used), |index| (index % 1024) as f32);
        Self {
            traffic,
            threads,
            reads: [read(true), read(traffic.reads > 1)],
            writes: [traffic.writes > 0, traffic.writes > 1].map(|is| Aligned::zeros(used(is))),
        }
    }

    /// The kinds of store that make a difference to this traffic on this machine.
    #[must_use]
    pub fn stores(&self) -> &'static [Stores] {
        #[cfg(target_arch = "x86_64")]
        if self.traffic.writes > 0 && x86::Avx2::detect().is_some() {
            return &[Stores::Ordinary, Stores::Streaming];
        }
        &[Stores::Ordinary]
    }

    /// Moves the bytes `iterations` times on all threads and returns the time of all iterations.
    ///
    /// Threads are started, and everything is moved once, before the clock runs; the threads meet
    /// after each iteration, as they do after an operation.
    pub fn time(&mut self, stores: Stores, iterations: u32) -> Duration {
        let mut parts = self.parts();
        let mut moves: Vec<_> =
            parts.iter_mut().map(|part| move || move_part(part, stores)).collect();
        team::time(&mut moves, iterations)
    }

    /// The buffers, cut into one run of whole cache lines for each thread.
    fn parts(&mut self) -> Vec<Part<'_>> {
        const FLOATS_IN_A_LINE: usize = 16;
        let len = self.reads[0].len();
        let share = len.div_ceil(self.threads).next_multiple_of(FLOATS_IN_A_LINE);
        let [mut first, mut second]: [&[f32]; 2] = [&self.reads[0], &self.reads[1]];
        let [mut third, mut fourth] = self.writes.each_mut().map(|write| &mut **write);
        let mut parts = Vec::new();
        while !first.is_empty() {
            parts.push(Part {
                traffic: self.traffic,
                reads: [split(&mut first, share), split(&mut second, share)],
                writes: [split_mut(&mut third, share), split_mut(&mut fourth, share)],
            });
        }
        parts
    }
}

fn move_part(part: &mut Part<'_>, stores: Stores) {
    #[cfg(target_arch = "x86_64")]
    if let Some(level) = x86::Avx2::detect() {
        return match stores {
            Stores::Ordinary => level.ordinary(part),
            Stores::Streaming => level.streaming(part),
        };
    }
    let _: Stores = stores;
    kernels::run(part);
}

/// Takes up to `len` values from the front.
fn split<'a>(rest: &mut &'a [f32], len: usize) -> &'a [f32] {
    let (front, back) = rest.split_at(len.min(rest.len()));
    *rest = back;
    front
}

/// Takes up to `len` values from the front, to write.
fn split_mut<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let whole = std::mem::take(rest);
    let (front, back) = whole.split_at_mut(len.min(whole.len()));
    *rest = back;
    front
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Odd lengths have a tail behind the last vector; three threads have shares of unequal length.
    #[test]
    fn every_kind_of_store_writes_every_value() {
        for (reads, writes) in [(1, 1), (2, 1), (2, 2)] {
            for (len, threads) in [(1, 1), (16, 3), (1003, 1), (1003, 3), (4096, 2)] {
                let traffic = Traffic { reads, writes };
                for stores in [Stores::Ordinary, Stores::Streaming] {
                    let mut limit = Limit::new(traffic, len * 4, threads);
                    if !limit.stores().contains(&stores) {
                        continue;
                    }
                    limit.time(stores, 2);
                    let value = |index: usize| (index % 1024) as f32 * [1.0, 4.0][reads - 1];
                    for written in &limit.writes[..writes] {
                        assert_eq!(written.len(), len);
                        let is_right = |(index, &found): (usize, &f32)| found == value(index);
                        assert!(written.iter().enumerate().all(is_right), "{stores:?} {len}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_limit_that_only_reads_has_one_kind_of_store() {
        let mut limit = Limit::new(Traffic { reads: 2, writes: 0 }, 4096, 2);
        assert_eq!(limit.stores(), [Stores::Ordinary]);
        assert!(limit.time(Stores::Ordinary, 10) > Duration::ZERO);
    }
}
