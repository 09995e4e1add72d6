//! Layer `property`: what must hold whatever the numbers are.

mod gradients;
mod groups;
mod masks;
mod order;
mod running;
mod same_bits;

use bn_core::{Element, Feature, Layout};

use super::place;
use crate::call::Operations;
use crate::compare::Verdict;
use crate::trial::Plan;

/// A property in one layout.
type Check<T> = fn(&dyn Operations<T>, Layout) -> Verdict;

pub(super) fn all<T: Element>(plan: &mut Plan<T>) {
    use Feature::{ActivationBits, AddRelu, Groups, Mask, Normalized, Relu};
    let properties: [(&str, &[Feature], Check<T>); 20] = [
        ("dx-sums-to-nothing", &[], gradients::dx_sums_to_nothing),
        ("dx-is-linear-in-dy", &[], gradients::dx_is_linear_in_dy),
        ("fused-backward-is-its-parts", &[], gradients::fused_backward_is_its_parts),
        ("gates-agree", &[Relu, AddRelu, ActivationBits], gradients::gates_agree),
        ("backward-from-x-hat", &[Normalized], gradients::backward_from_x_hat),
        ("channels-permuted", &[], order::channels_permuted),
        ("samples-permuted", &[], order::samples_permuted),
        ("chunks-merge-to-the-whole", &[], order::chunks_merge_to_the_whole),
        ("fused-forward-is-its-parts", &[], same_bits::fused_forward_is_its_parts),
        ("every-run-gives-the-same-bits", &[], same_bits::every_run_gives_the_same_bits),
        ("bits-leave-y-alone", &[Relu, AddRelu, ActivationBits], same_bits::bits_leave_y_alone),
        ("outputs-not-asked-for", &[], same_bits::outputs_not_asked_for),
        ("recalibration", &[], running::recalibration),
        ("running-left-alone", &[], running::left_alone),
        ("nothing-kept-of-nan", &[], running::nothing_kept_of_nan),
        ("caffe-sum-and-factor", &[], running::caffe_sum_and_factor),
        ("groups-are-batches", &[Groups], groups::groups_are_batches),
        ("groups-update-as-one", &[Groups], groups::groups_update_as_one),
        ("masked-positions-do-not-count", &[Mask], masks::masked_positions_do_not_count),
        ("full-mask-is-no-mask", &[Mask], masks::full_mask_is_no_mask),
    ];
    for layout in Layout::ALL {
        for (name, needs, check) in properties {
            let name = format!("property/{}/{name}", place::<T>(layout));
            let needs = needs.iter().copied().chain([Feature::from(layout)]);
            plan.add(name, needs, move |operations| check(operations, layout));
        }
        running::conventions(plan, layout);
    }
    let both = Layout::ALL.map(Feature::from);
    plan.add(format!("property/{}/layouts-agree", T::DTYPE), both, order::layouts_agree);
}
