//! The sums of channels-first: a unit's strips, block by block.
//!
//! A part's strips are summed in [`ABREAST`] sums for each channel, strip i into sum i mod [`ABREAST`], which
//! are added in order at its end. So the order in which the strips of a group are walked changes no bit: one
//! after the other where tensors are in the cache, side by side where they come from memory.

use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::Range;

use super::CHANNELS;
use super::outputs::{Row, Stride, Sum};
use super::strip::{Span, row_of, take};
use crate::run::{BLOCK, in_chains};
use crate::shared::Shared;
use crate::simd::{Access, Kernel, Simd, Vector, total};
use crate::tile::{ABREAST, Cut};
use crate::tuning::{Hint, Tuning};

/// Two sums over each channel of a span, into the places of its parts.
pub(crate) struct SumRows<'a, A: Access, Q> {
    pub(crate) cut: &'a Cut,
    pub(crate) span: Span,
    pub(crate) sum: Q,
    /// Where sums go, by part and statistic.
    pub(crate) to: [Shared<f64>; 2],
    /// How memory is walked; `None` where tensors are in the cache.
    pub(crate) walk: Option<Tuning>,
    /// How many channels further on the unit lies that this thread takes next.
    pub(crate) next: usize,
    pub(crate) access: PhantomData<A>,
}

/// The blocks of a turn.
#[inline(always)]
pub(super) fn blocks<A: Access, S: Simd>(turn: usize) -> usize {
    (turn / (BLOCK * A::Vec::<S>::LANES * size_of::<A::Stored>())).max(1)
}

/// Sums of a unit's channels. Not cleared as a whole: a unit of one channel has less to do than that takes.
type Acc<F> = [MaybeUninit<[F; 2]>; CHANNELS];

/// Those of a part.
pub(super) struct Accs<F>([Acc<F>; ABREAST]);

impl<F> Accs<F> {
    #[inline(always)]
    pub(super) const fn new() -> Self {
        Self([const { [const { MaybeUninit::uninit() }; CHANNELS] }; ABREAST])
    }
}

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

    /// Writes the sums of a channel of a part to their place.
    #[inline(always)]
    fn write<S: Simd>(&self, part: usize, channel: usize, both: [S::F64; 2]) {
        let at = part * self.cut.problem.statistics() + self.first_statistic() + channel;
        for (sum, to) in both.into_iter().zip(self.to) {
            let mut lanes = [0.0; 8];
            // SAFETY: the array has 8 lanes.
            unsafe { sum.store(lanes.as_mut_ptr()) };
            // SAFETY: the place of this part and channel, which no other span has.
            unsafe { to.set(at, total(lanes)) };
        }
    }

    /// Adds the sums of a part's strips and writes them.
    #[inline(always)]
    fn end_part<S: Simd>(&self, part: usize, Accs(acc): &Accs<S::F64>) {
        let strips = self.cut.strips_of(part).len();
        for c in 0..self.channels() {
            // SAFETY: strips have written every channel of as many sums as there are strips.
            let mut both = unsafe { acc[0][c].assume_init() };
            for acc in acc.iter().take(strips).skip(1) {
                // SAFETY: the same.
                let more = unsafe { acc[c].assume_init() };
                both = [both[0].add(more[0]), both[1].add(more[1])];
            }
            self.write::<S>(part, c, both);
        }
    }

    /// The sums on their way, block by block for whoever asks.
    #[inline(always)]
    pub(super) fn begin<'s, S: Simd, const MOST: usize>(
        &'s self,
        simd: S,
        acc: &'s mut Accs<S::F64>,
        both: &'s mut [[S::F64; 2]; MOST],
    ) -> InTurns<'s, A, Q, S, MOST> {
        InTurns {
            sums: self,
            left: self.span.strips.clone(),
            strips: 0..0,
            row: Row::default(),
            channels: self.channels(),
            channel: 0,
            from: 0,
            done: 0,
            held: self.sum.hold(simd, self.first_statistic()),
            both,
            acc,
            ahead: Ahead::default(),
        }
    }

    /// One channel after the other, all strips of a part: sums stay in registers, and rows are in the cache.
    #[inline(always)]
    fn channel_by_channel<S: Simd>(&self, simd: S) {
        let cut = self.cut;
        let mut left = self.span.strips.clone();
        while !left.is_empty() {
            let part = cut.part_of(left.start);
            let strips = cut.strips_of(part);
            left.start = strips.end;
            for c in 0..self.channels() {
                let held = self.sum.hold(simd, self.first_statistic() + c);
                let mut all = [S::F64::splat(simd, 0.0); 2];
                for i in 0..strips.len().min(ABREAST) {
                    let mut both = [S::F64::splat(simd, 0.0); 2];
                    for strip in (strips.start + i..strips.end).step_by(ABREAST) {
                        let tile = &self.span.tile;
                        let row = row_of(cut, tile, strip, tile.channels.start + c);
                        self.add_row(simd, held, row, &mut both);
                    }
                    all = if i == 0 { both } else { [all[0].add(both[0]), all[1].add(both[1])] };
                }
                self.write::<S>(part, c, all);
            }
        }
    }

    #[inline(always)]
    fn strip_by_strip<S: Simd, const MOST: usize>(&self, simd: S, turn: usize) {
        let blocks = blocks::<A, S>(turn);
        let (mut acc, mut both) = (Accs::new(), [[S::F64::splat(simd, 0.0); 2]; MOST]);
        let mut sums = self.begin(simd, &mut acc, &mut both);
        while sums.next_strips(simd) {
            while sums.next_turn(simd, blocks).is_some() {}
        }
    }

    #[inline(always)]
    fn add_row<S: Simd>(&self, simd: S, held: Q::Held<S>, row: Row, both: &mut [S::F64; 2]) {
        let (whole, sum, mut from) = (BLOCK * A::Vec::<S>::LANES, self.sum, 0);
        while from + whole <= row.len {
            // SAFETY: values of the row, here and below.
            unsafe { add_block::<A, Q, S>(simd, sum, held, (row, from, whole), None, both) };
            from += whole;
        }
        if from < row.len {
            let piece = (row, from, row.len - from);
            // SAFETY: the same.
            unsafe { add_block::<A, Q, S>(simd, sum, held, piece, None, both) };
        }
    }
}

impl<A: Access, Q: Sum<A>> Kernel for SumRows<'_, A, Q> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.walk {
            None => self.channel_by_channel(simd),
            Some(Tuning { abreast: Some(turn), .. }) => {
                self.strip_by_strip::<S, ABREAST>(simd, turn);
            }
            Some(Tuning { turn, .. }) => self.strip_by_strip::<S, 1>(simd, turn),
        }
    }
}

/// [`SumRows`] on the way: at most so many strips side by side, which lie equally far from each other.
pub(super) struct InTurns<'a, A: Access, Q: Sum<A>, S: Simd, const MOST: usize> {
    sums: &'a SumRows<'a, A, Q>,
    left: Range<usize>,
    strips: Range<usize>,
    /// That of the first strip.
    row: Row,
    channels: usize,
    /// Of the unit, that of the row.
    channel: usize,
    /// How many values of the row have been added.
    from: usize,
    /// And of the strip.
    done: usize,
    held: Q::Held<S>,
    /// The sums of the row. Borrowed, like the others: with places that are only known at run time, all the rest
    /// would be in memory with them, and not in registers.
    both: &'a mut [[S::F64; 2]; MOST],
    acc: &'a mut Accs<S::F64>,
    ahead: Ahead,
}

impl<A: Access, Q: Sum<A>, S: Simd, const MOST: usize> InTurns<'_, A, Q, S, MOST> {
    /// Goes on to the next strips; `false` where there are none.
    #[inline(always)]
    pub(super) fn next_strips(&mut self, simd: S) -> bool {
        if self.left.is_empty() {
            return false;
        }
        let sums = self.sums;
        let part = sums.cut.part_of(self.left.start);
        let mut left = self.left.start..sums.cut.strips_of(part).end;
        self.strips = take::<MOST>(sums.cut, &mut left, true);
        self.left.start = self.strips.end;
        self.row = sums.row(self.strips.start);
        self.ahead = Ahead::new(sums, &self.strips, self.row.len);
        (self.channel, self.done) = (0, 0);
        self.begin_row(simd);
        true
    }

    /// How many strips there are: a constant where it can be one.
    #[inline(always)]
    fn count(&self) -> usize {
        if MOST == 1 { 1 } else { self.strips.len() }
    }

    /// The sums of each strip.
    #[inline(always)]
    fn places(&self) -> Range<usize> {
        let first = self.sums.cut.place_in_part(self.strips.start) % ABREAST;
        first..first + self.count()
    }

    #[inline(always)]
    fn begin_row(&mut self, simd: S) {
        self.from = 0;
        self.held = self.sums.sum.hold(simd, self.sums.first_statistic() + self.channel);
        let begins = self.sums.cut.place_in_part(self.strips.start) < ABREAST;
        let places = self.places();
        for (both, place) in self.both.iter_mut().zip(places) {
            *both = if begins {
                [S::F64::splat(simd, 0.0); 2]
            } else {
                // SAFETY: written by an earlier strip of these sums.
                unsafe { self.acc.0[place][self.channel].assume_init() }
            };
        }
    }

    /// Adds so many blocks of each strip and returns how many vectors of each they had; `None` at the strips'
    /// end.
    #[inline(always)]
    pub(super) fn next_turn(&mut self, simd: S, blocks: usize) -> Option<usize> {
        let mut vectors = 0;
        for _ in 0..blocks {
            vectors += self.next_block(simd)?;
        }
        Some(vectors)
    }

    /// Adds the next block of each strip.
    #[inline(always)]
    fn next_block(&mut self, simd: S) -> Option<usize> {
        let whole = BLOCK * A::Vec::<S>::LANES;
        let (sums, from) = (self.sums, self.from);
        if self.channel == self.channels {
            let part = sums.cut.part_of(self.strips.start);
            if self.strips.end == sums.cut.strips_of(part).end {
                sums.end_part::<S>(part, self.acc);
            }
            return None;
        }
        let len = (self.row.len - from).min(whole);
        let (sum, held, mut row) = (sums.sum, self.held, self.row);
        let (hint, mut asked) = self.ahead.of(self.done);
        let sample = Stride::sample(sums.cut);
        let count = self.count();
        for both in &mut self.both[..count] {
            if len == whole {
                // The length is a constant here, and the loop unrolled.
                let piece = (row, from, whole);
                // SAFETY: values of the row.
                unsafe { add_block::<A, Q, S>(simd, sum, held, piece, Some((hint, asked)), both) };
            } else {
                let piece = (row, from, len);
                // SAFETY: the same.
                unsafe { add_block::<A, Q, S>(simd, sum, held, piece, Some((hint, asked)), both) };
            }
            row += sample;
            asked += sample.element;
        }
        self.from += len;
        self.done += len;
        if self.from == self.row.len {
            let places = self.places();
            for (both, place) in self.both.iter().zip(places) {
                self.acc.0[place][self.channel].write(*both);
            }
            self.channel += 1;
            self.row += Stride::channel(sums.cut);
            if self.channel < self.channels {
                self.begin_row(simd);
            }
        }
        Some(len.div_ceil(A::Vec::<S>::LANES))
    }
}

/// Where the sums of a strip ask for memory: as many values ahead as the step says, in the order in
/// which strips are summed.
#[derive(Clone, Copy, Default)]
struct Ahead {
    hint: Hint,
    first: usize,
    skip: usize,
    len: usize,
    second: usize,
}

impl Ahead {
    #[inline(always)]
    fn new<A: Access, Q: Sum<A>>(
        sums: &SumRows<'_, A, Q>,
        strips: &Range<usize>,
        row: usize,
    ) -> Self {
        let Some(walk) = sums.walk else { return Self::default() };
        let values = walk.ahead / size_of::<A::Stored>();
        let (span, len) = (&sums.span, row * sums.channels());
        let place = |further: usize| {
            let (mut strip, mut c) =
                (strips.start + further * strips.len(), span.tile.channels.start);
            if strip >= span.strips.end {
                strip = span.strips.start + (strip - span.strips.end) % span.strips.len();
                c += sums.next;
            }
            row_of(sums.cut, &span.tile, strip, c).element
        };
        let further = values / len;
        let (first, second) = (place(further), place(further + 1));
        Self { hint: walk.hint, first, skip: values % len, len, second }
    }

    /// The element to ask for beside that which lies `done` values into the strip.
    #[inline(always)]
    fn of(&self, done: usize) -> (Hint, usize) {
        let at = self.skip + done;
        (self.hint, if at < self.len { self.first + at } else { self.second + at - self.len })
    }
}

/// Adds the values of a row from `from` on, at most [`BLOCK`] vectors, and asks for the lines of as many from
/// the element `asked` on: one between two additions, because a burst of eight waits for the first.
///
/// # Safety
///
/// The row has them.
#[inline(always)]
unsafe fn add_block<A: Access, Q: Sum<A>, S: Simd>(
    simd: S,
    sum: Q,
    held: Q::Held<S>,
    (row, from, len): (Row, usize, usize),
    asked: Option<(Hint, usize)>,
    acc: &mut [S::F64; 2],
) {
    let zero = A::Vec::<S>::splat(simd, A::Scalar::default());
    let (mut first, mut second) = ([zero; 2], [zero; 2]);
    in_chains!(A::Vec::<S>::LANES, len, |chain, at, count| {
        if let Some((hint, asked)) = asked {
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
