//! Lengths that leave a tail behind every vector and tile, and addresses that no vector likes.

use bn_core::{Element, Layout};

use crate::call::{How, Operations};
use crate::compare::Verdict;
use crate::data::Case;
use crate::trials::problem;
use crate::trials::round_trip::{Fused, Setup, same_backward, same_forward};

/// Every length to beyond four of the longest vectors, and some around powers of two.
fn lengths() -> impl Iterator<Item = usize> {
    (1..=70).chain([95, 127, 128, 129, 255, 257, 511, 513, 1023, 1025])
}

/// Planes of every length, all outputs between canaries where memory has slices.
pub(super) fn odd_rows<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    lengths().try_for_each(|length| round_trip(operations, layout, &[2, 3, length]))
}

/// Every number of channels.
pub(super) fn odd_channels<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    lengths().try_for_each(|length| round_trip(operations, layout, &[3, length, 2]))
}

fn round_trip<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
    shape: &[usize],
) -> Verdict {
    let case = Case::<T>::new(problem(shape, layout), "sizes");
    let setup = Setup { fused: Fused::AddReluBits, ..Setup::training(case.problem) };
    setup.check(operations, &case).map_err(|wrong| format!("shape {shape:?}: {wrong}"))
}

/// Buffers that start `shift` values behind an aligned address give the same bits.
pub(super) fn unaligned<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
    shift: usize,
) -> Verdict {
    for shape in [&[3, 5, 7, 9][..], &[2, 67, 3], &[2, 3, 1031]] {
        let case = Case::<T>::new(problem(shape, layout), "sizes");
        let setup = Setup::training(case.problem);
        let aligned = setup.both(operations, &case, How::default())?;
        let found = setup.both(operations, &case, How { shift, ..How::default() })?;
        same_forward(&found.0, &aligned.0)
            .and_then(|()| same_backward(&found.1, &aligned.1))
            .map_err(|wrong| format!("shape {shape:?}: {wrong}"))?;
    }
    Ok(())
}
