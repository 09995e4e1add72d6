//! The emulated device.

use core::ffi::c_void;

use bn_core::{Device, Error};
use bn_cuda::{CudaBackend, Geometry, Kernel, Machine};

use crate::memory::Block;

/// In what order blocks, and the threads of a block, take their turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The first one first.
    Forward,
    /// The last one first.
    Reverse,
    /// Anew for every round, drawn from a seed.
    Seeded(u64),
}

/// An error planted in the kernels, for tests of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// None: the kernels as they are.
    Nothing,
    /// The barrier before warps read what others have found is missing.
    NoBarrier,
    /// Units behind the end of a row are taken for units of it.
    LongTail,
    /// A block does not wait until the others of its cluster have their parts.
    Alone,
    /// Units are read before their copies have arrived.
    Early,
}

/// A CPU that runs the kernels.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(emulated), expect(dead_code, reason = "there is no emulator to read them"))]
pub struct Emulator {
    order: Order,
    planted: Planted,
}

impl Emulator {
    /// An emulator, as the machine of a backend.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] where the build found no C++ compiler.
    pub fn backend(order: Order) -> Result<CudaBackend<Self>, Error> {
        Self::with_planted(order, Planted::Nothing)
    }

    /// The same of kernels with an error.
    ///
    /// # Errors
    ///
    /// As [`Emulator::backend`].
    pub fn with_planted(order: Order, planted: Planted) -> Result<CudaBackend<Self>, Error> {
        Self { order, planted }.opened()
    }

    fn opened(self) -> Result<CudaBackend<Self>, Error> {
        if cfg!(emulated) {
            return Ok(CudaBackend::on(self));
        }
        let reason = "this build found no C++ compiler to emulate kernels with".into();
        Err(Error::Unavailable { backend: "cuda", reason })
    }
}

// SAFETY: blocks are aligned allocations of the asked size; calls act at once, so in order; the kernels are
// compiled from the crate's sources (an error is planted by tests of the tests alone, in memory of theirs).
unsafe impl Machine for Emulator {
    type Block = Block;

    fn device(&self) -> Device {
        Device { label: "emulated on the CPU".into(), instruction_set: "C++".into() }
    }

    fn has_clusters(&self) -> bool {
        true
    }

    fn allocate(&self, bytes: usize) -> Result<Block, Error> {
        Block::new(bytes).ok_or(Error::OutOfMemory { bytes })
    }

    fn address(block: &Block) -> u64 {
        block.address()
    }

    unsafe fn clear(&self, address: u64, bytes: usize) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        unsafe { (address as *mut u8).write_bytes(0, bytes) };
        Ok(())
    }

    unsafe fn copy_in(&self, from: &[u8], to: u64) -> Result<(), Error> {
        // SAFETY: the caller's promise; the slice is no memory of the device.
        unsafe { (to as *mut u8).copy_from_nonoverlapping(from.as_ptr(), from.len()) };
        Ok(())
    }

    unsafe fn copy_out(&self, from: u64, to: &mut [u8]) -> Result<(), Error> {
        // SAFETY: the caller's promise; the slice is no memory of the device.
        unsafe { to.as_mut_ptr().copy_from_nonoverlapping(from as *const u8, to.len()) };
        Ok(())
    }

    unsafe fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        unsafe { (to as *mut u8).copy_from_nonoverlapping(from as *const u8, bytes) };
        Ok(())
    }

    #[cfg(emulated)]
    unsafe fn launch(
        &self,
        kernel: Kernel,
        geometry: Geometry,
        arguments: *const c_void,
    ) -> Result<(), Error> {
        let variant = crate::kernels::Variant::of(self.planted);
        // SAFETY: the caller's promise.
        unsafe { crate::scheduler::run(variant, self.order, kernel.index(), geometry, arguments) };
        Ok(())
    }

    #[cfg(not(emulated))]
    unsafe fn launch(&self, _: Kernel, _: Geometry, _: *const c_void) -> Result<(), Error> {
        unreachable!("without a C++ compiler no emulator is made")
    }
}

/// Draws the orders of one kernel's run.
#[cfg(emulated)]
pub(crate) struct Shuffler {
    order: Order,
    state: u64,
}

#[cfg(emulated)]
impl Order {
    pub(crate) fn shuffler(self) -> Shuffler {
        let state = if let Self::Seeded(seed) = self { seed } else { 0 };
        Shuffler { order: self, state }
    }
}

#[cfg(emulated)]
impl Shuffler {
    /// The numbers below `count`, each once.
    pub(crate) fn order(&mut self, count: usize) -> Vec<usize> {
        let mut numbers: Vec<usize> = (0..count).collect();
        match self.order {
            Order::Forward => {}
            Order::Reverse => numbers.reverse(),
            Order::Seeded(_) => {
                for last in (1..count).rev() {
                    numbers.swap(last, (self.draw() % (last as u64 + 1)) as usize);
                }
            }
        }
        numbers
    }

    /// A number without a pattern: SplitMix64 (Steele, Lea and Flood 2014).
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }
}
