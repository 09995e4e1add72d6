//! Where the suite puts the buffers that it hands to a backend.

use bn_core::{Error, HostMemory, Memory, Scalar};
use core::borrow::{Borrow, BorrowMut};

/// A way to hold host data in a backend's memory for the time of one call.
///
/// Sealed by what it is for: [`BetweenCanaries`] for slices, [`Exact`] for every other memory.
pub trait Place<M: Memory>: Clone + Send + Sync + 'static {
    /// A buffer held in the backend's memory.
    type Held<E: Scalar>;

    /// Whether [`hold`](Place::hold) can start a buffer `shift` values behind an aligned address.
    const SHIFTS: bool;

    /// Puts `host` into the backend's memory.
    ///
    /// # Errors
    ///
    /// What the memory's own methods return.
    fn hold<E: Scalar>(&self, memory: &M, host: &[E], shift: usize)
    -> Result<Self::Held<E>, Error>;

    /// The buffer to read.
    fn view<E: Scalar>(held: &Self::Held<E>) -> &M::Buffer<E>;

    /// The buffer to write.
    fn view_mut<E: Scalar>(held: &mut Self::Held<E>) -> &mut M::Buffer<E>;

    /// Takes the values out again.
    ///
    /// # Errors
    ///
    /// Where the memory fails, or something was written outside the buffer.
    fn release<E: Scalar>(&self, memory: &M, held: Self::Held<E>) -> Result<Vec<E>, String>;
}

/// A buffer of exactly the length, by the memory's own `alloc`, `write` and `read`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exact;

impl<M: Memory> Place<M> for Exact {
    type Held<E: Scalar> = M::Owned<E>;
    const SHIFTS: bool = false;

    fn hold<E: Scalar>(&self, memory: &M, host: &[E], _: usize) -> Result<M::Owned<E>, Error> {
        memory.upload(host)
    }

    fn view<E: Scalar>(held: &M::Owned<E>) -> &M::Buffer<E> {
        held.borrow()
    }

    fn view_mut<E: Scalar>(held: &mut M::Owned<E>) -> &mut M::Buffer<E> {
        held.borrow_mut()
    }

    fn release<E: Scalar>(&self, memory: &M, held: M::Owned<E>) -> Result<Vec<E>, String> {
        memory.download(held.borrow()).map_err(|error| format!("reading back failed: {error}"))
    }
}

/// A slice out of the middle of a longer one, whose ends hold canaries: a write outside is seen, before
/// the buffer and behind it, and a buffer can start at an odd address.
#[derive(Clone, Copy, Debug, Default)]
pub struct BetweenCanaries;

/// A slice between canaries.
#[derive(Clone, Debug)]
pub struct Guarded<E> {
    values: Vec<E>,
    start: usize,
    len: usize,
}

/// As long as the longest vector of any instruction set, so that a whole stray vector lands on it.
const CANARY_BYTES: usize = 128;
const CANARY: u8 = 0x5A;

fn canaries<E: Scalar>(count: usize) -> impl Iterator<Item = E> {
    let bytes = [CANARY; size_of::<f64>()];
    core::iter::repeat_n(bytemuck::pod_read_unaligned(&bytes[..size_of::<E>()]), count)
}

impl Place<HostMemory> for BetweenCanaries {
    type Held<E: Scalar> = Guarded<E>;
    const SHIFTS: bool = true;

    fn hold<E: Scalar>(
        &self,
        _: &HostMemory,
        host: &[E],
        shift: usize,
    ) -> Result<Guarded<E>, Error> {
        let canary = CANARY_BYTES / size_of::<E>();
        let mut values: Vec<E> = canaries(canary + shift).collect();
        values.extend_from_slice(host);
        values.extend(canaries::<E>(canary));
        Ok(Guarded { values, start: canary + shift, len: host.len() })
    }

    fn view<E: Scalar>(held: &Guarded<E>) -> &[E] {
        &held.values[held.start..][..held.len]
    }

    fn view_mut<E: Scalar>(held: &mut Guarded<E>) -> &mut [E] {
        &mut held.values[held.start..][..held.len]
    }

    fn release<E: Scalar>(&self, _: &HostMemory, held: Guarded<E>) -> Result<Vec<E>, String> {
        let Guarded { mut values, start, len } = held;
        let is_dead = |value: &E| bytemuck::bytes_of(value).iter().any(|&byte| byte != CANARY);
        if let Some(before) = values[..start].iter().rposition(is_dead) {
            return Err(format!("a write {} values before its first", start - before));
        }
        if let Some(behind) = values[start + len..].iter().position(is_dead) {
            return Err(format!("a write {} values behind its last", behind + 1));
        }
        values.truncate(start + len);
        Ok(values.split_off(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_outside_kills_a_canary() {
        let hold = || BetweenCanaries.hold(&HostMemory, &[1.0f32, 2.0], 1).unwrap();
        let release = |held| BetweenCanaries.release(&HostMemory, held);
        assert_eq!(release(hold()), Ok(vec![1.0, 2.0]));
        for (index, message) in
            [(32, "a write 1 values before its first"), (35, "a write 1 values behind its last")]
        {
            let mut held = hold();
            held.values[index] = 0.0;
            assert_eq!(release(held), Err(message.into()));
        }
    }
}
