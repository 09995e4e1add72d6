//! Properties of masks of valid positions.

use bn_core::{Element, Layout};

use crate::call::{How, MaskOf, Operations, TrainingCall};
use crate::compare::{Verdict, ensure, same_bits};
use crate::data::{Case, wide};
use crate::expect::{Affine, ExpectedStatistics, expected_y};
use crate::reference::{Moments, walk};
use crate::trials::problem;
use crate::trials::round_trip::update;

const SHAPE: [usize; 4] = [4, 7, 3, 5];

/// Whatever lies at a masked position, NaN or infinity, changes no statistic and no other position; the
/// masked position itself is normalised like every other.
pub(super) fn masked_positions_do_not_count<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let case = Case::<T>::new(problem(&SHAPE, layout), "masks");
    let problem = case.problem;
    let mask = Some(MaskOf { problem, bytes: &case.mask });
    let run = |x: &[T]| {
        let update = Some(update(&case));
        let call = TrainingCall { mask, update, ..TrainingCall::new(problem, x) };
        operations.training(&call, How::default())?.written()
    };
    let clean = run(&case.x)?;
    let is_masked: Vec<bool> = walk(&problem).map(|cell| case.mask[cell.position] == 0).collect();
    for poison in [f64::NAN, f64::INFINITY, 1e4] {
        let poisoned = case.x.iter().zip(&is_masked);
        let x: Vec<T> =
            poisoned.map(|(&x, &masked)| if masked { T::from_f64(poison) } else { x }).collect();
        let found = run(&x)?;
        let named = |name: &str| format!("{name} with {poison} where the mask is");
        same_bits(&named("save_mean"), &found.mean, &clean.mean)?;
        same_bits(&named("save_inv_std"), &found.inv_std, &clean.inv_std)?;
        ensure(found.running == clean.running, || named("running statistics differ"))?;
        for (index, masked) in is_masked.iter().enumerate() {
            let (found, clean) = (found.y[index], clean.y[index]);
            ensure(*masked || found == clean, || {
                format!("{}: y[{index}] is {found:?}, not {clean:?}", named("a valid position"))
            })?;
        }
    }
    let moments = Moments::of(&problem, &wide(&case.x), Some(&case.mask));
    let statistics = ExpectedStatistics::of_batch(&moments, case.eps, T::DTYPE);
    let y = expected_y(&problem, T::DTYPE, &statistics, &wide(&case.x), Affine::default());
    y.meets("y, masked positions too", &clean.y)
}

/// A mask that leaves nothing out changes nothing beyond rounding.
pub(super) fn full_mask_is_no_mask<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let case = Case::<T>::new(problem(&SHAPE, layout), "masks");
    let problem = case.problem;
    let bytes = vec![1; problem.positions()];
    let mask = Some(MaskOf { problem, bytes: &bytes });
    let call = TrainingCall { mask, ..TrainingCall::new(problem, &case.x) };
    let found = operations.training(&call, How::default())?.written()?;
    let moments = Moments::of(&problem, &wide(&case.x), None);
    let statistics = ExpectedStatistics::of_batch(&moments, case.eps, T::DTYPE);
    statistics.mean().meets("save_mean", &found.mean)?;
    statistics.inv_std().meets("save_inv_std", &found.inv_std)?;
    let y = expected_y(&problem, T::DTYPE, &statistics, &wide(&case.x), Affine::default());
    y.meets("y", &found.y)
}
