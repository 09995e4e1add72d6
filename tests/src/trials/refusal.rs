//! Layer `refusal`.

use bn_core::Element;

use crate::trial::Plan;

pub(crate) fn all<T: Element>(_plan: &mut Plan<T>) {}
pub(crate) fn of_element<T: Element>(_plan: &mut Plan<T>) {}
