//! Device memory: buffers that know their element type, their length and where they begin.

use core::fmt;
use core::marker::PhantomData;
use std::sync::Arc;

use bn_core::{Error, InOut, Memory, Scalar};

use crate::machine::Machine;

/// Values in the memory of a device.
pub struct Buffer<E, M: Machine> {
    block: M::Block,
    /// Bytes of the block before the first value.
    start: usize,
    len: usize,
    element: PhantomData<E>,
}

impl<E: Scalar, M: Machine> Buffer<E, M> {
    /// The values of a block from `start` bytes on.
    ///
    /// # Safety
    ///
    /// The block must hold them.
    pub(crate) unsafe fn from_block(block: M::Block, start: usize, len: usize) -> Self {
        Self { block, start, len, element: PhantomData }
    }

    /// The block, and how many bytes of it come before the first value.
    pub(crate) fn into_block(self) -> (M::Block, usize) {
        (self.block, self.start)
    }

    /// How many values there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address of the first value on the device.
    #[must_use]
    pub fn address(&self) -> u64 {
        M::address(&self.block) + self.start as u64
    }

    /// All values, to read.
    pub(crate) fn values(&self) -> Values<'_, E> {
        Values { address: self.address(), len: self.len, buffer: PhantomData }
    }

    /// All values, to write.
    pub(crate) fn values_mut(&mut self) -> ValuesMut<'_, E> {
        ValuesMut { address: self.address(), len: self.len, buffer: PhantomData }
    }
}

impl<E: Scalar, M: Machine> fmt::Debug for Buffer<E, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer<{}>({} values at {:#x})", E::DTYPE, self.len, self.address())
    }
}

/// A part of a buffer that is read: a slice on the device.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a, E> {
    address: u64,
    len: usize,
    buffer: PhantomData<&'a [E]>,
}

impl<E> Values<'_, E> {
    /// The address of the first of exactly `len` values.
    ///
    /// # Panics
    ///
    /// Where there are not so many: the last check before a kernel takes the address.
    pub(crate) fn of(self, len: usize) -> u64 {
        assert_eq!(self.len, len, "a checked request has the lengths of its problem");
        self.address
    }
}

/// A part of a buffer that is written.
pub(crate) struct ValuesMut<'a, E> {
    address: u64,
    len: usize,
    buffer: PhantomData<&'a mut [E]>,
}

impl<'a, E> ValuesMut<'a, E> {
    /// As [`Values::of`].
    pub(crate) fn of(&mut self, len: usize) -> u64 {
        self.as_values().of(len)
    }

    /// The same, to read.
    pub(crate) const fn as_values(&self) -> Values<'_, E> {
        Values { address: self.address, len: self.len, buffer: PhantomData }
    }

    /// The first `count` values, and the others.
    ///
    /// # Panics
    ///
    /// Where there are fewer.
    pub(crate) fn split_at(self, count: usize) -> (Self, Self) {
        let rest = self.len.checked_sub(count).expect("a split within the values");
        let behind = self.address + (count * size_of::<E>()) as u64;
        (
            Self { address: self.address, len: count, buffer: PhantomData },
            Self { address: behind, len: rest, buffer: PhantomData },
        )
    }
}

/// A tensor that is read and one that is written, which may be the same.
pub(crate) struct ReadWrite<'a, E> {
    input: Values<'a, E>,
    output: ValuesMut<'a, E>,
}

impl<'a, E: Scalar> ReadWrite<'a, E> {
    pub(crate) fn new<M: Machine>(io: InOut<'a, Buffer<E, M>>) -> Self {
        match io {
            InOut::Separate { input, output } => {
                Self { input: input.values(), output: output.values_mut() }
            }
            InOut::InPlace(buffer) => {
                let output = buffer.values_mut();
                // Both are the one buffer that is borrowed mutably; kernels know that they may be.
                let input =
                    Values { address: output.address, len: output.len, buffer: PhantomData };
                Self { input, output }
            }
        }
    }

    /// The tensor that is read.
    pub(crate) const fn input(&self) -> Values<'_, E> {
        Values { address: self.input.address, len: self.input.len, buffer: PhantomData }
    }

    /// Both addresses, of exactly `len` values each.
    pub(crate) fn of(&mut self, len: usize) -> [u64; 2] {
        [self.input.of(len), self.output.of(len)]
    }
}

/// The memory of a device, and the queue in which work on it is done.
pub struct DeviceMemory<M> {
    machine: Arc<M>,
    offset: usize,
}

impl<M: Machine> DeviceMemory<M> {
    pub(crate) const fn new(machine: Arc<M>) -> Self {
        Self { machine, offset: 0 }
    }

    /// The same memory, with buffers that begin so many values behind an aligned address.
    pub(crate) fn with_offset(&self, offset: usize) -> Self {
        Self { machine: Arc::clone(&self.machine), offset }
    }

    /// The machine whose memory it is.
    pub(crate) fn machine(&self) -> &M {
        &self.machine
    }

    /// A new buffer whose values are whatever was there, for outputs: no pass over it, as
    /// [`alloc`](Memory::alloc) makes one for its zeros.
    ///
    /// # Errors
    ///
    /// As [`alloc`](Memory::alloc).
    pub fn uninitialized<E: Scalar>(&self, len: usize) -> Result<Buffer<E, M>, Error> {
        let start = self.offset * size_of::<E>();
        let bytes = len.checked_mul(size_of::<E>()).and_then(|bytes| bytes.checked_add(start));
        let bytes = bytes.ok_or(Error::OutOfMemory { bytes: usize::MAX })?;
        let block = self.machine.allocate(bytes.max(1))?;
        // SAFETY: the block has the bytes before the first value and those of all values.
        Ok(unsafe { Buffer::from_block(block, start, len) })
    }

    /// Copies a buffer to another of the same length, on the device, without a wait.
    ///
    /// # Errors
    ///
    /// [`Error::Device`].
    ///
    /// # Panics
    ///
    /// Where the lengths differ.
    pub fn copy<E: Scalar>(&self, from: &Buffer<E, M>, to: &mut Buffer<E, M>) -> Result<(), Error> {
        let bytes = from.len * size_of::<E>();
        // SAFETY: both hold as many values, by the assertion in `of`; the one that is borrowed mutably
        // cannot overlap with the other.
        unsafe { self.machine.copy(from.address(), to.values_mut().of(from.len), bytes) }
    }
}

impl<M> Clone for DeviceMemory<M> {
    fn clone(&self) -> Self {
        Self { machine: Arc::clone(&self.machine), offset: self.offset }
    }
}

impl<M> fmt::Debug for DeviceMemory<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceMemory").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl<M: Machine> Memory for DeviceMemory<M> {
    type Buffer<E: Scalar> = Buffer<E, M>;
    type Owned<E: Scalar> = Buffer<E, M>;

    fn len<E: Scalar>(buffer: &Buffer<E, M>) -> usize {
        buffer.len
    }

    fn alloc<E: Scalar>(&self, len: usize) -> Result<Buffer<E, M>, Error> {
        let buffer = self.uninitialized::<E>(len)?;
        // SAFETY: the bytes are those of the buffer, which nobody else has yet.
        unsafe { self.machine.clear(buffer.address(), len * size_of::<E>())? };
        Ok(buffer)
    }

    fn read<E: Scalar>(&self, from: &Buffer<E, M>, to: &mut [E]) -> Result<(), Error> {
        assert_eq!(from.len, to.len(), "both have the same length");
        // SAFETY: the buffer holds as many bytes as the slice, by the assertion.
        unsafe { self.machine.copy_out(from.address(), bytemuck::cast_slice_mut(to)) }
    }

    fn write<E: Scalar>(&self, from: &[E], to: &mut Buffer<E, M>) -> Result<(), Error> {
        assert_eq!(from.len(), to.len, "both have the same length");
        // SAFETY: the buffer holds as many bytes as the slice, by the assertion, and is borrowed mutably.
        unsafe { self.machine.copy_in(bytemuck::cast_slice(from), to.address()) }
    }
}
