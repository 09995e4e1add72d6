//! Blocks one after the other, and those of a cluster together; their threads as coroutines that take turns.

use core::cell::{Cell, RefCell};
use core::ffi::{c_uint, c_void};
use core::ptr;

use bn_cuda::Geometry;
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::copies;
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
    Cluster,
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
    let whom = [Wait::Block, Wait::Warp, Wait::Cluster][whom as usize];
    // SAFETY: a kernel runs in a coroutine alone, which has set its own yielder and sets it again when it
    // goes on; the yielder lives as long as the coroutine.
    unsafe { &*yielder }.suspend(whom);
    RUNNING.set(yielder);
}

/// A block's shared memory, aligned as that of a device is.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Cell16([f64; 2]);

/// NaN in every element type, wherever it is read from.
const POISON: f64 = f64::from_bits(u64::MAX);

/// Runs a kernel, its clusters one after the other.
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
    let (threads, cluster) = (geometry.threads as usize, geometry.cluster as usize);
    let cells = (geometry.shared_bytes as usize).div_ceil(size_of::<Cell16>());
    let mut shuffler = order.shuffler();
    for first in shuffler.order(geometry.blocks as usize / cluster) {
        let mut handed = vec![[0; 2]; threads * cluster];
        let mut exchanges = vec![0; threads * cluster];
        let mut shared = vec![vec![Cell16([POISON; 2]); cells]; cluster];
        let memories: Vec<*mut f64> =
            shared.iter_mut().map(|memory| memory.as_mut_ptr().cast()).collect();
        let mut state = Emulation::new(geometry, &memories, wait);
        let state = &raw mut state;
        let entry = move || {
            // SAFETY: the caller's promise; the state outlives the cluster.
            unsafe { (variant.run)(state, kernel as c_uint, arguments) }
        };
        copies::begin(threads * cluster);
        let coroutines = (0..threads * cluster).map(|_| coroutine(entry)).collect();
        let mut resume = |thread: usize, coroutine: &mut Thread| {
            let rank = thread / threads;
            copies::set_thread(thread);
            // SAFETY: only the thread that runs reads the state, and none runs between two turns.
            unsafe {
                (*state).thread = Index { x: (thread % threads) as c_uint };
                (*state).block = Index { x: (first * cluster + rank) as c_uint };
                (*state).rank = rank as c_uint;
                (*state).handed = handed[rank * threads..].as_mut_ptr();
                (*state).exchanges = exchanges[rank * threads..].as_mut_ptr();
            }
            coroutine.resume(())
        };
        take_turns(coroutines, threads, |count| shuffler.order(count), &mut resume);
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

/// Gives every thread of a cluster, whose blocks have `block` each, its turns until all are done.
fn take_turns(
    mut coroutines: Vec<Thread>,
    block: usize,
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
        for block in turns.chunks_mut(block) {
            release(block, Wait::Block);
        }
        release(&mut turns, Wait::Cluster);
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
