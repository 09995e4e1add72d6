//! The sums of channels-first: a unit's strips, block by block.
//!
//! Alone, in tight loops, or in turns with what is written: the same blocks in the same order.

use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::Range;

use super::CHANNELS;
use super::outputs::{Row, Sum};
use super::strip::{Span, row_of};
use crate::run::{BLOCK, in_chains};
use crate::shared::Shared;
use crate::simd::{Access, Kernel, Simd, Vector, total};
use crate::tile::Cut;
use crate::tuning::Hint;

/// Two sums over each channel of a span, into the places of its parts.
pub(crate) struct SumRows<'a, A: Access, Q> {
    pub(crate) cut: &'a Cut,
    pub(crate) span: Span,
    pub(crate) sum: Q,
    /// Where sums go, by part and statistic.
    pub(crate) to: [Shared<f64>; 2],
    /// How many bytes ahead memory is asked for; 0 where tensors are in the cache.
    pub(crate) ahead: usize,
    pub(crate) hint: Hint,
    /// How many channels further on the unit lies that this thread takes next.
    pub(crate) next: usize,
    pub(crate) access: PhantomData<A>,
}

/// The sums of a unit's channels. Not cleared as a whole: a unit of one channel has less to do than that
/// takes.
pub(super) type Acc<F> = [MaybeUninit<[F; 2]>; CHANNELS];

impl<A: Access, Q: Sum<A>> SumRows<'_, A, Q> {
    fn channels(&self) -> usize {
        self.span.tile.channels.len()
    }

    fn first_statistic(&self) -> usize {
        self.span.tile.group * self.cut.problem.channels() + self.span.tile.channels.start
    }

    /// The first row of a strip.
    #[inline(always)]
    fn row(&self, strip: usize) -> Row {
        row_of(self.cut, &self.span.tile, strip, self.span.tile.channels.start)
    }

    /// Writes the sums of a part to its place.
    #[inline(always)]
    fn write<S: Simd>(&self, part: usize, acc: &Acc<S::F64>) {
        let first = part * self.cut.problem.statistics() + self.first_statistic();
        for (i, acc) in acc.iter().enumerate().take(self.channels()) {
            // SAFETY: every channel of a strip has been written.
            let acc = unsafe { acc.assume_init() };
            for (acc, sums) in acc.iter().zip(self.to) {
                let mut lanes = [0.0; 8];
                // SAFETY: the array has 8 lanes.
                unsafe { acc.store(lanes.as_mut_ptr()) };
                // SAFETY: the place of this part and channel, which no other span has.
                unsafe { sums.set(first + i, total(lanes)) };
            }
        }
    }

    /// The same, block by block for whoever asks.
    ///
    /// The sums are borrowed: inside, a place that is only known at run time would keep all the rest in
    /// memory and out of registers.
    #[inline(always)]
    pub(super) fn begin<'s, S: Simd>(
        &'s self,
        simd: S,
        acc: &'s mut Acc<S::F64>,
    ) -> InTurns<'s, A, Q, S> {
        InTurns {
            sums: self,
            strips: self.span.strips.clone(),
            strip: 0,
            row: Row::default(),
            channels: self.channels(),
            channel: 0,
            from: 0,
            done: 0,
            held: self.sum.hold(simd, self.first_statistic()),
            both: [S::F64::splat(simd, 0.0); 2],
            acc,
            begins: true,
            ahead: Ahead::default(),
        }
    }
}

impl<A: Access, Q: Sum<A>> Kernel for SumRows<'_, A, Q> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let whole = BLOCK * A::Vec::<S>::LANES;
        let (cut, sum, hint) = (self.cut, self.sum, self.hint);
        let (channels, first) = (self.channels(), self.first_statistic());
        let mut acc: Acc<S::F64> = [const { MaybeUninit::uninit() }; CHANNELS];
        let mut begins = true;
        for strip in self.span.strips.clone() {
            let mut row = self.row(strip);
            let ahead = Ahead::new(&self, strip, row.len);
            for (i, acc) in acc.iter_mut().enumerate().take(channels) {
                let held = sum.hold(simd, first + i);
                let mut both = if begins {
                    [S::F64::splat(simd, 0.0); 2]
                } else {
                    // SAFETY: written by an earlier strip of this part.
                    unsafe { acc.assume_init() }
                };
                // Two loops, for asking without need costs as much as adding.
                macro_rules! add_row {
                    ($asks:literal) => {{
                        let mut from = 0;
                        while from + whole <= row.len {
                            let asked = (hint, ahead.of(i * row.len + from));
                            // SAFETY: values of the row.
                            unsafe {
                                add_block::<A, Q, S, $asks>(
                                    simd,
                                    sum,
                                    held,
                                    (row, from, whole),
                                    asked,
                                    &mut both,
                                );
                            }
                            from += whole;
                        }
                        if from < row.len {
                            let (len, asked) =
                                (row.len - from, (hint, ahead.of(i * row.len + from)));
                            // SAFETY: the same.
                            unsafe {
                                add_block::<A, Q, S, $asks>(
                                    simd,
                                    sum,
                                    held,
                                    (row, from, len),
                                    asked,
                                    &mut both,
                                );
                            }
                        }
                    }};
                }
                if self.ahead > 0 {
                    add_row!(true);
                } else {
                    add_row!(false);
                }
                acc.write(both);
                row.step(cut);
            }
            begins = cut.ends_part(strip);
            if begins {
                self.write::<S>(cut.part_of(strip), &acc);
            }
        }
    }
}

/// [`SumRows`] on the way.
pub(super) struct InTurns<'a, A: Access, Q: Sum<A>, S: Simd> {
    sums: &'a SumRows<'a, A, Q>,
    strips: Range<usize>,
    strip: usize,
    row: Row,
    channels: usize,
    /// Of the unit, that of the row.
    channel: usize,
    /// How many values of the row have been added.
    from: usize,
    /// And of the strip.
    done: usize,
    held: Q::Held<S>,
    both: [S::F64; 2],
    acc: &'a mut Acc<S::F64>,
    /// Whether the strip is the first of its part.
    begins: bool,
    ahead: Ahead,
}

impl<A: Access, Q: Sum<A>, S: Simd> InTurns<'_, A, Q, S> {
    /// Goes on to the next strip; `false` where there is none.
    #[inline(always)]
    pub(super) fn next_strip(&mut self, simd: S) -> bool {
        let Some(strip) = self.strips.next() else { return false };
        self.strip = strip;
        self.row = self.sums.row(strip);
        self.ahead = Ahead::new(self.sums, strip, self.row.len);
        (self.channel, self.done) = (0, 0);
        self.begin_row(simd);
        true
    }

    #[inline(always)]
    fn begin_row(&mut self, simd: S) {
        self.from = 0;
        self.held = self.sums.sum.hold(simd, self.sums.first_statistic() + self.channel);
        self.both = if self.begins {
            [S::F64::splat(simd, 0.0); 2]
        } else {
            // SAFETY: written by an earlier strip of this part.
            unsafe { self.acc[self.channel].assume_init() }
        };
    }

    /// Adds so many blocks of the strip and returns how many vectors they had; `None` at the strip's end.
    #[inline(always)]
    pub(super) fn next_turn(&mut self, simd: S, blocks: usize) -> Option<usize> {
        let mut vectors = 0;
        for _ in 0..blocks {
            vectors += self.next_block(simd)?;
        }
        Some(vectors)
    }

    /// Adds the next block of the strip and returns how many vectors it had; `None` at the strip's end.
    #[inline(always)]
    fn next_block(&mut self, simd: S) -> Option<usize> {
        let whole = BLOCK * A::Vec::<S>::LANES;
        let (sums, row, from) = (self.sums, self.row, self.from);
        if self.channel == self.channels {
            self.begins = sums.cut.ends_part(self.strip);
            if self.begins {
                sums.write::<S>(sums.cut.part_of(self.strip), self.acc);
            }
            return None;
        }
        let len = (row.len - from).min(whole);
        let (sum, held, both) = (sums.sum, self.held, &mut self.both);
        let asked = (sums.hint, self.ahead.of(self.done));
        if len == whole {
            // The length is a constant here, and the loop unrolled.
            let piece = (row, from, whole);
            // SAFETY: values of the row.
            unsafe { add_block::<A, Q, S, true>(simd, sum, held, piece, asked, both) };
        } else {
            let piece = (row, from, len);
            // SAFETY: the same.
            unsafe { add_block::<A, Q, S, true>(simd, sum, held, piece, asked, both) };
        }
        self.from += len;
        self.done += len;
        if self.from == row.len {
            self.acc[self.channel].write(self.both);
            self.channel += 1;
            self.row.step(sums.cut);
            if self.channel < self.channels {
                self.begin_row(simd);
            }
        }
        Some(len.div_ceil(A::Vec::<S>::LANES))
    }
}

/// Where the sums of a strip ask for memory: as many values ahead as the step says, in the order in
/// which strips are summed.
#[derive(Default)]
struct Ahead {
    first: usize,
    skip: usize,
    len: usize,
    second: usize,
}

impl Ahead {
    #[inline(always)]
    fn new<A: Access, Q: Sum<A>>(sums: &SumRows<'_, A, Q>, strip: usize, row: usize) -> Self {
        let values = sums.ahead / size_of::<A::Stored>();
        if values == 0 {
            return Self::default();
        }
        let (span, len) = (&sums.span, row * sums.channels());
        let place = |further: usize| {
            let (mut strip, mut c) = (strip + further, span.tile.channels.start);
            if strip >= span.strips.end {
                strip = span.strips.start + (strip - span.strips.end) % span.strips.len();
                c += sums.next;
            }
            row_of(sums.cut, &span.tile, strip, c).element
        };
        let further = values / len;
        let (first, second) = (place(further), place(further + 1));
        Self { first, skip: values % len, len, second }
    }

    /// The element to ask for beside that which lies `done` values into the strip.
    #[inline(always)]
    fn of(&self, done: usize) -> usize {
        let at = self.skip + done;
        if at < self.len { self.first + at } else { self.second + at - self.len }
    }
}

/// Adds the values of a row from `from` on, at most [`BLOCK`] vectors, and where `ASKS` asks for the lines
/// of as many from the element `asked` on: one between two additions, because a burst of eight waits for the
/// first.
///
/// # Safety
///
/// The row has them.
#[inline(always)]
unsafe fn add_block<A: Access, Q: Sum<A>, S: Simd, const ASKS: bool>(
    simd: S,
    sum: Q,
    held: Q::Held<S>,
    (row, from, len): (Row, usize, usize),
    (hint, asked): (Hint, usize),
    acc: &mut [S::F64; 2],
) {
    let zero = A::Vec::<S>::splat(simd, A::Scalar::default());
    let (mut first, mut second) = ([zero; 2], [zero; 2]);
    in_chains!(A::Vec::<S>::LANES, len, |chain, at, count| {
        if ASKS {
            sum.prefetch(simd, hint, asked + at);
        }
        // SAFETY: `count` values of the row.
        let (one, other) = unsafe { sum.lanes(simd, held, row, from + at, count) };
        first[chain] = first[chain].add(one);
        second[chain] = one.mul_add(other, second[chain]);
    });
    acc[0] = acc[0].add(first[0].add(first[1]).fold());
    acc[1] = acc[1].add(second[0].add(second[1]).fold());
}
