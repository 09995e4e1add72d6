//! Layer `hostile`: values, sizes and requests that implementations get wrong.

mod constants;
mod lengths;
mod magnitudes;
mod numbers;
mod poison;
mod single_value;
mod sizes;

use bn_core::{Element, Feature, Layout};

use super::place;
use crate::call::Operations;
use crate::compare::Verdict;
use crate::trial::Plan;

/// A hostile case in one layout.
type Check<T> = fn(&dyn Operations<T>, Layout) -> Verdict;

pub(super) fn all<T: Element>(plan: &mut Plan<T>) {
    use Feature::{ActivationBits, AddRelu, Groups, InPlace, Mask, Relu};
    let cases: [(&str, &[Feature], Check<T>); 27] = [
        ("large-mean", &[], magnitudes::large_mean),
        ("large-mean-small-variance", &[], magnitudes::large_mean_small_variance),
        ("large-mean-fixed-statistics", &[], magnitudes::large_mean_fixed_statistics),
        ("huge-values", &[], magnitudes::huge_values),
        ("tiny-values", &[], magnitudes::tiny_values),
        ("overflow-of-y", &[], magnitudes::overflow_of_y),
        ("channels-of-all-magnitudes", &[], magnitudes::channels_of_all_magnitudes),
        ("outlier-first", &[], magnitudes::outlier_first),
        ("constant", &[], constants::exactly_beta),
        ("constant-in-place", &[InPlace], constants::exactly_beta_in_place),
        ("constant-but-one", &[], constants::constant_but_one),
        ("zeros-do-not-pass", &[Relu, ActivationBits], constants::zeros_do_not_pass),
        ("nan-stays-in-its-channel", &[], poison::of_x_in_training),
        ("nan-stays-in-its-group", &[Groups], poison::of_x_in_groups),
        ("nan-stays-in-its-element", &[], poison::of_x_with_fixed_statistics),
        ("nan-of-dy-stays-in-its-channel", &[], poison::of_dy),
        ("nan-passes-the-relu", &[Relu, ActivationBits], poison::through_the_relu),
        ("nan-of-a-parameter", &[], poison::of_parameters),
        ("single-value-refused", &[], single_value::refused),
        ("single-value-allowed", &[], single_value::allowed),
        ("single-value-of-a-group", &[Groups], single_value::of_a_group),
        ("single-value-of-a-mask", &[Mask], single_value::of_a_mask),
        ("odd-rows", &[Relu, AddRelu, ActivationBits], sizes::odd_rows),
        ("odd-channels", &[Relu, AddRelu, ActivationBits], sizes::odd_channels),
        ("bad-numbers", &[], numbers::bad_numbers),
        ("bad-counts-and-masks", &[], numbers::bad_counts_and_masks),
        ("bad-shapes", &[], numbers::bad_shapes),
    ];
    for layout in Layout::ALL {
        for (name, needs, check) in cases {
            let name = format!("hostile/{}/{name}", place::<T>(layout));
            let needs = needs.iter().copied().chain([Feature::from(layout)]);
            plan.add(name, needs, move |operations| check(operations, layout));
        }
        for (operation, check) in lengths::operations::<T>() {
            let name = format!("hostile/{}/wrong-lengths/{operation}", place::<T>(layout));
            plan.add(name, [], move |operations| check(operations, layout));
        }
        for shift in [1, 2, 3, 7] {
            let name = format!("hostile/{}/unaligned-by-{shift}", place::<T>(layout));
            plan.add_on_slices(name, [Feature::from(layout)], move |operations| {
                sizes::unaligned(operations, layout, shift)
            });
        }
    }
}
