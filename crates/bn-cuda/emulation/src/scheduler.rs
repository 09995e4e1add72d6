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
    let whom = [Wait::Block, Wait::Warp][whom as usize];
    // SAFETY: a kernel runs in a coroutine alone, which has set its own yielder and sets it again when it
    // goes on; the yielder lives as long as the coroutine.
    unsafe { &*yielder }.suspend(whom);
    RUNNING.set(yielder);
}

/// Runs a kernel, its blocks one after the other.
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
    let (threads, blocks) = (geometry.threads as usize, geometry.blocks as usize);
    let mut shuffler = order.shuffler();
    for block in shuffler.order(blocks) {
        let mut handed = vec![[0; 2]; threads];
        let mut exchanges = vec![0; threads];
        // Shared memory is full of NaN at first.
        variant.with_shared(|memory| memory[..shared_doubles(geometry)].fill(f64::NAN));
        let mut state = Emulation::new(geometry.threads, geometry.blocks, wait);
        state.block = Index { x: block as c_uint };
        state.handed = handed.as_mut_ptr();
        state.exchanges = exchanges.as_mut_ptr();
        let state = &raw mut state;
        let entry = move || {
            // SAFETY: the caller's promise; the state outlives the block.
            unsafe { (variant.run)(state, kernel as c_uint, arguments) }
        };
        let coroutines = (0..threads).map(|_| coroutine(entry)).collect();
        let mut resume = |thread: usize, coroutine: &mut Thread| {
            // SAFETY: only the thread that runs reads the state, and none runs between two turns.
            unsafe { (*state).thread = Index { x: thread as c_uint } };
            coroutine.resume(())
        };
        take_turns(coroutines, |count| shuffler.order(count), &mut resume);
    }
}

/// Doubles of a block's shared memory.
fn shared_doubles(geometry: Geometry) -> usize {
    (geometry.shared_bytes as usize).div_ceil(size_of::<f64>())
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

/// Gives every thread of a block its turns until all are done.
fn take_turns(
    mut coroutines: Vec<Thread>,
    mut order: impl FnMut(usize) -> Vec<usize>,
    resume: &mut impl FnMut(usize, &mut Thread) -> CoroutineResult<Wait, ()>,
) {
    let mut turns = vec![Turn::Ready; coroutines.len()];
    while turns.iter().any(|turn| *turn != Turn::Done) {
        for thread in order(coroutines.len()) {
            if turns[thread] != Turn::Ready {
                continue;
            }
            turns[thread] = match resume(thread, &mut coroutines[thread]) {
                CoroutineResult::Yield(wait) => Turn::At(wait),
                CoroutineResult::Return(()) => Turn::Done,
            };
        }
        for warp in turns.chunks_mut(WARP) {
            release(warp, Wait::Warp);
        }
        release(&mut turns, Wait::Block);
        let is_done = turns.iter().all(|turn| *turn == Turn::Done);
        if !turns.contains(&Turn::Ready) && !is_done {
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
        take_turns(coroutines, |count| (0..count).collect(), &mut |_, thread| thread.resume(()));
    }

    #[test]
    #[should_panic(expected = "do not come")]
    fn a_barrier_that_one_thread_misses_is_told() {
        let coroutines = (0..64).map(|thread| coroutine(move || waits(usize::from(thread != 9))));
        let order = |count| (0..count).collect();
        take_turns(coroutines.collect(), order, &mut |_, thread| thread.resume(()));
    }
}
