//! Blocks one after the other, their threads as coroutines that take turns.

use core::cell::{Cell, RefCell};
use core::ffi::{c_uint, c_void};
use core::ptr;

use bn_cuda::Geometry;
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::kernels::Variant;
use crate::machine::Order;
use crate::runtime::{Emulation, Index};

const WARP: usize = 32;
/// Kernels keep a few units of values; debug builds of them a few more.
const STACK_BYTES: usize = 64 << 10;

/// Whom a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Block,
    Warp,
}

/// Where a thread stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Ready,
    At(Wait),
    Done,
}

type Thread = Coroutine<(), Wait, (), DefaultStack>;

thread_local! {
    /// How the coroutine that runs now hands over.
    static RUNNING: Cell<*const Yielder<(), Wait>> = const { Cell::new(ptr::null()) };
    /// Stacks of threads that are done.
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

/// What a kernel calls to wait.
extern "C" fn wait(whom: c_uint) {
    let yielder = RUNNING.get();
    // SAFETY: a kernel runs in a coroutine alone, which has set its own yielder and sets it again when it
    // goes on; the yielder lives as long as the coroutine.
    unsafe { &*yielder }.suspend(if whom == 0 { Wait::Block } else { Wait::Warp });
    RUNNING.set(yielder);
}

/// Runs a kernel.
///
/// # Panics
///
/// Where threads wait for others that do not come.
///
/// # Safety
///
/// `arguments` must be what the kernel of that index takes, and what it does with them must be sound.
pub(crate) unsafe fn run(
    variant: Variant,
    order: Order,
    kernel: usize,
    geometry: Geometry,
    arguments: *const c_void,
) {
    let threads = geometry.threads as usize;
    let (mut handed, mut exchanges) = (vec![[0; 2]; threads], vec![0; threads]);
    let mut state =
        Emulation::new(geometry.threads, geometry.blocks, wait, &mut handed, &mut exchanges);
    let mut shuffler = order.shuffler();
    for block in shuffler.order(geometry.blocks as usize) {
        variant.poison_shared();
        exchanges.fill(0);
        state.block = Index { x: block as u32 };
        let state = &raw mut state;
        let entry = move || {
            // SAFETY: the caller's promise; the state outlives the block.
            unsafe { (variant.run)(state, kernel as c_uint, arguments) }
        };
        let coroutines = (0..threads).map(|_| coroutine(entry)).collect();
        // SAFETY: only the thread that runs reads the state, and none runs between two turns.
        let set_thread = |thread: usize| unsafe { (*state).thread.x = thread as c_uint };
        run_block(coroutines, || shuffler.order(threads), set_thread);
    }
}

fn coroutine(entry: impl Fn() + 'static) -> Thread {
    let stack = STACKS.with_borrow_mut(Vec::pop);
    let stack =
        stack.unwrap_or_else(|| DefaultStack::new(STACK_BYTES).expect("memory for a stack"));
    Coroutine::with_stack(stack, move |yielder, ()| {
        RUNNING.set(ptr::from_ref(yielder));
        entry();
    })
}

/// Gives every thread its turns until all are done.
fn run_block(
    mut coroutines: Vec<Thread>,
    mut order: impl FnMut() -> Vec<usize>,
    set_thread: impl Fn(usize),
) {
    let mut turns = vec![Turn::Ready; coroutines.len()];
    loop {
        let mut progress = false;
        for thread in order() {
            if turns[thread] != Turn::Ready {
                continue;
            }
            progress = true;
            set_thread(thread);
            turns[thread] = match coroutines[thread].resume(()) {
                CoroutineResult::Yield(wait) => Turn::At(wait),
                CoroutineResult::Return(()) => Turn::Done,
            };
        }
        for warp in turns.chunks_mut(WARP) {
            release(warp, Wait::Warp);
        }
        release(&mut turns, Wait::Block);
        if turns.iter().all(|turn| *turn == Turn::Done) {
            break;
        }
        if !progress {
            for coroutine in &mut coroutines {
                // SAFETY: the stacks hold frames of kernels, which own nothing.
                unsafe { coroutine.force_reset() };
            }
            let first = turns.iter().position(|turn| *turn != Turn::Done);
            panic!("threads wait for others that do not come; the first is {first:?} of {turns:?}");
        }
    }
    STACKS.with_borrow_mut(|stacks| {
        stacks.extend(coroutines.into_iter().map(Coroutine::into_stack));
    });
}

/// Lets the threads go on if all of them have come.
fn release(turns: &mut [Turn], wait: Wait) {
    if turns.iter().all(|turn| *turn == Turn::At(wait)) {
        turns.fill(Turn::Ready);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(times: usize) {
        for _ in 0..times {
            wait(0);
        }
    }

    #[test]
    fn threads_meet_at_every_barrier() {
        let coroutines = (0..64).map(|_| coroutine(|| waits(3))).collect();
        run_block(coroutines, || (0..64).collect(), |_| ());
    }

    #[test]
    #[should_panic(expected = "do not come")]
    fn a_barrier_that_one_thread_misses_is_told() {
        let coroutines = (0..64).map(|thread| coroutine(move || waits(usize::from(thread != 9))));
        run_block(coroutines.collect(), || (0..64).collect(), |_| ());
    }
}
