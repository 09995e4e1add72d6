//! Memory for sums and coefficients, kept between operations.

use std::sync::{Arc, Mutex, PoisonError};

use bn_core::Error;

/// Numbers in a cache line.
const LINE: usize = 8;

/// Workspaces that are not in use now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workspaces(Arc<Mutex<Vec<Vec<f64>>>>);

impl Workspaces {
    /// Lends `len` numbers, which hold anything, to `work`. Allocates only where no earlier operation
    /// needed as many.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub(crate) fn lend<R>(
        &self,
        len: usize,
        work: impl FnOnce(&mut [f64]) -> R,
    ) -> Result<R, Error> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut space = lock().pop().unwrap_or_default();
        // Vectors of coefficients should not lie across two cache lines.
        let room = len + LINE;
        let more = room.saturating_sub(space.len());
        space
            .try_reserve(more)
            .map_err(|_| Error::OutOfMemory { bytes: more.saturating_mul(8) })?;
        space.resize(room.max(space.len()), 0.0);
        let start = space.as_ptr().align_offset(LINE * 8).min(LINE);
        let result = work(&mut space[start..start + len]);
        lock().push(space);
        Ok(result)
    }
}

/// Cuts a workspace into `N` equal pieces.
pub(crate) fn pieces<const N: usize>(
    space: &mut [f64],
    len: usize,
) -> ([&mut [f64]; N], &mut [f64]) {
    let (head, rest) = space.split_at_mut(N * len);
    let mut pieces = head.chunks_exact_mut(len.max(1));
    (core::array::from_fn(|_| pieces.next().unwrap_or_default()), rest)
}
