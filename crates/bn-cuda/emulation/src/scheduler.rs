//! Blocks one after the other, or all at once, their threads as coroutines that take turns.

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

/// So many rounds in which threads only look whether another block has come are a wait without end.
const PATIENCE: usize = 100_000;

/// Whom a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Block,
    Warp,
    /// Nobody: it looks again in the next round.
    Turn,
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
    let whom = [Wait::Block, Wait::Warp, Wait::Turn][whom as usize];
    // SAFETY: a kernel runs in a coroutine alone, which has set its own yielder and sets it again when it
    // goes on; the yielder lives as long as the coroutine.
    unsafe { &*yielder }.suspend(whom);
    RUNNING.set(yielder);
}

/// Runs a kernel: its blocks one after the other, or all at once where they wait for each other.
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
    let together = if geometry.is_cooperative { blocks } else { 1 };
    for blocks in shuffler.order(blocks).chunks(together) {
        let mut handed = vec![[0; 2]; threads * together];
        let mut exchanges = vec![0; threads * together];
        let mut shared: Vec<Vec<f64>> = blocks.iter().map(|_| poison(geometry)).collect();
        // The block whose shared memory is in its place.
        let mut present = None;
        let mut state = Emulation::new(geometry.threads, geometry.blocks, wait);
        let state = &raw mut state;
        let entry = move || {
            // SAFETY: the caller's promise; the state outlives the blocks.
            unsafe { (variant.run)(state, kernel as c_uint, arguments) }
        };
        let coroutines = (0..threads * blocks.len()).map(|_| coroutine(entry)).collect();
        let mut resume = |thread: usize, coroutine: &mut Thread| {
            let block = thread / threads;
            // SAFETY: only the thread that runs reads the state, and none runs between two turns.
            let state = unsafe { &mut *state };
            state.thread = Index { x: (thread % threads) as c_uint };
            state.block = Index { x: blocks[block] as c_uint };
            state.handed = handed[block * threads..].as_mut_ptr();
            state.exchanges = exchanges[block * threads..].as_mut_ptr();
            // Each block sees its own shared memory, full of NaN at first.
            if present != Some(block) {
                variant.with_shared(|memory| {
                    if let Some(before) = present {
                        let len = shared[before].len();
                        shared[before].copy_from_slice(&memory[..len]);
                    }
                    memory[..shared[block].len()].copy_from_slice(&shared[block]);
                });
                present = Some(block);
            }
            coroutine.resume(())
        };
        take_turns(coroutines, threads, |count| shuffler.order(count), &mut resume);
    }
}

/// Shared memory of a block as it begins.
fn poison(geometry: Geometry) -> Vec<f64> {
    vec![f64::NAN; (geometry.shared_bytes as usize).div_ceil(size_of::<f64>())]
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

/// Gives every thread its turns until all are done; each `block` of them are a block.
fn take_turns(
    mut coroutines: Vec<Thread>,
    block: usize,
    mut order: impl FnMut(usize) -> Vec<usize>,
    resume: &mut impl FnMut(usize, &mut Thread) -> CoroutineResult<Wait, ()>,
) {
    let mut turns = vec![Turn::Ready; coroutines.len()];
    let mut idle = 0;
    while turns.iter().any(|turn| *turn != Turn::Done) {
        idle += 1;
        for thread in order(coroutines.len()) {
            if turns[thread] != Turn::Ready {
                continue;
            }
            turns[thread] = match resume(thread, &mut coroutines[thread]) {
                CoroutineResult::Yield(Wait::Turn) => Turn::Ready,
                CoroutineResult::Yield(wait) => Turn::At(wait),
                CoroutineResult::Return(()) => Turn::Done,
            };
            if turns[thread] != Turn::Ready {
                idle = 0;
            }
        }
        for warp in turns.chunks_mut(WARP) {
            release(warp, Wait::Warp);
        }
        for block in turns.chunks_mut(block) {
            release(block, Wait::Block);
        }
        let looks = turns.contains(&Turn::Ready);
        let is_done = turns.iter().all(|turn| *turn == Turn::Done);
        if (!looks && !is_done) || idle > PATIENCE {
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
        take_turns(coroutines, 64, |count| (0..count).collect(), &mut |_, thread| {
            thread.resume(())
        });
    }

    #[test]
    #[should_panic(expected = "do not come")]
    fn a_barrier_that_one_thread_misses_is_told() {
        let coroutines = (0..64).map(|thread| coroutine(move || waits(usize::from(thread != 9))));
        let order = |count| (0..count).collect();
        take_turns(coroutines.collect(), 64, order, &mut |_, thread| thread.resume(()));
    }
}
