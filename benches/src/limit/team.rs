//! Threads that work in step and are timed together.

use std::hint;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Runs every piece of work on a thread of its own, `iterations` times in step, and returns the time
/// of all iterations. Each piece runs once before the clock starts.
pub(super) fn time<W: FnMut() + Send>(work: &mut [W], iterations: u32) -> Duration {
    let barrier = SpinBarrier::new(work.len());
    let in_step = |work: &mut W| {
        work();
        barrier.wait();
        let start = Instant::now();
        for _ in 0..iterations {
            work();
            barrier.wait();
        }
        start.elapsed()
    };
    let Some((own, others)) = work.split_first_mut() else { return Duration::ZERO };
    thread::scope(|scope| {
        for other in others {
            scope.spawn(|| in_step(other));
        }
        in_step(own)
    })
}

/// A meeting point that costs a few hundred nanoseconds: waking a sleeping thread takes longer than a
/// copy of a small tensor, and would make the limit of small tensors a figure about the scheduler.
struct SpinBarrier {
    threads: usize,
    arrived: AtomicUsize,
    round: AtomicUsize,
}

impl SpinBarrier {
    fn new(threads: usize) -> Self {
        Self { threads, arrived: AtomicUsize::new(0), round: AtomicUsize::new(0) }
    }

    fn wait(&self) {
        let round = self.round.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            self.arrived.store(0, Ordering::Relaxed);
            self.round.store(round.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut spins = 0;
        while self.round.load(Ordering::Acquire) == round {
            hint::spin_loop();
            spins += 1;
            // More threads than cores: whoever is awaited needs this one.
            if spins % 4096 == 0 {
                thread::yield_now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_work_in_step() {
        for threads in [1, 2, 5] {
            let done: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
            let mut work: Vec<_> = (0..threads)
                .map(|own| {
                    let done = &done;
                    move || {
                        let before = done[own].fetch_add(1, Ordering::SeqCst);
                        for other in done {
                            let other = other.load(Ordering::SeqCst);
                            assert!(other.abs_diff(before + 1) <= 1, "one is rounds ahead");
                        }
                    }
                })
                .collect();
            assert!(time(&mut work, 100) > Duration::ZERO);
            assert!(done.iter().all(|done| done.load(Ordering::SeqCst) == 101));
        }
        assert_eq!(time::<fn()>(&mut [], 3), Duration::ZERO);
    }
}
