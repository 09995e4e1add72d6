//! Memory for sums and coefficients, kept between operations.

use std::sync::{Arc, Mutex, PoisonError};

use bn_core::Error;

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
        let more = len.saturating_sub(space.len());
        space
            .try_reserve(more)
            .map_err(|_| Error::OutOfMemory { bytes: more.saturating_mul(8) })?;
        space.resize(len.max(space.len()), 0.0);
        let result = work(&mut space[..len]);
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
