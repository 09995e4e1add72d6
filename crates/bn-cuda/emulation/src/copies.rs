//! Copies that a thread has begun and not waited for: they are done when it waits, and not before.

use core::cell::RefCell;
use core::ffi::c_uint;
use std::collections::VecDeque;

/// One copy: to, from (null for zeros), bytes.
type Copy = (*mut u8, *const u8, usize);

/// The copies of a thread by group; the last group is open.
#[derive(Default)]
struct Groups {
    closed: VecDeque<Vec<Copy>>,
    open: Vec<Copy>,
}

#[derive(Default)]
struct Copies {
    threads: Vec<Groups>,
    current: usize,
}

thread_local! {
    /// Those of the cluster that runs in this thread of the operating system.
    static COPIES: RefCell<Copies> = RefCell::default();
}

/// A cluster of so many threads begins; what others did not wait for is forgotten.
pub(crate) fn begin(threads: usize) {
    COPIES.with_borrow_mut(|copies| {
        copies.threads.clear();
        copies.threads.resize_with(threads, Groups::default);
    });
}

/// The thread that runs from now on.
pub(crate) fn set_thread(thread: usize) {
    COPIES.with_borrow_mut(|copies| copies.current = thread);
}

fn with_own<R>(visit: impl FnOnce(&mut Groups) -> R) -> R {
    COPIES.with_borrow_mut(|copies| visit(&mut copies.threads[copies.current]))
}

pub(crate) extern "C" fn copy(to: *mut u8, from: *const u8, bytes: c_uint) {
    with_own(|groups| groups.open.push((to, from, bytes as usize)));
}

pub(crate) extern "C" fn commit() {
    with_own(|groups| {
        let group = core::mem::take(&mut groups.open);
        groups.closed.push_back(group);
    });
}

/// Does the copies of all closed groups but the last so many.
pub(crate) extern "C" fn arrive(groups: c_uint) {
    with_own(|own| {
        while own.closed.len() > groups as usize {
            for (to, from, bytes) in own.closed.pop_front().unwrap_or_default() {
                // SAFETY: the kernel has named places of its own, in memory of the device and of its block, which
                // are those of a real copy.
                unsafe {
                    match from.is_null() {
                        true => to.write_bytes(0, bytes),
                        false => to.copy_from_nonoverlapping(from, bytes),
                    }
                }
            }
        }
    });
}
