//! Who works: the calling thread alone, or the threads of a rayon pool.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use rayon::ThreadPool;

/// Below this many bytes of tensors an operation stays on the calling thread: handing work to a
/// sleeping thread takes 5 to 20 µs, in which one core moves about a megabyte within its cache.
const ALONE: usize = 3 << 20;

/// The threads of a backend.
#[derive(Clone, Debug)]
pub(crate) struct Team {
    pool: Option<Arc<ThreadPool>>,
    /// Below this many bytes of tensors the calling thread works alone.
    pub(crate) alone: usize,
}

/// The next task for a thread, until there is none.
type Next<'a> = dyn Fn() -> Option<usize> + 'a;

impl Team {
    pub(crate) fn new(pool: Option<Arc<ThreadPool>>) -> Self {
        Self { pool, alone: ALONE }
    }

    /// The threads there are.
    pub(crate) fn threads(&self) -> usize {
        self.pool
            .as_ref()
            .map_or_else(rayon::current_num_threads, |pool| pool.current_num_threads())
    }

    /// How many of them an operation on that many bytes is worth.
    pub(crate) fn workers(&self, bytes: usize) -> usize {
        if bytes < self.alone { 1 } else { self.threads() }
    }

    /// Runs `work` for every task below `tasks`, by `workers` threads that take the next task when
    /// they are done with one. In order where there is one worker.
    pub(crate) fn each(&self, workers: usize, tasks: usize, work: impl Fn(usize) + Sync) {
        if workers.min(tasks) <= 1 {
            return (0..tasks).for_each(work);
        }
        self.share(workers, tasks, &|next| {
            while let Some(task) = next() {
                work(task);
            }
        });
    }

    /// The same, where `work` is told the next task of its thread together with the one before: each
    /// task is first the one, then the other.
    pub(crate) fn chain(
        &self,
        workers: usize,
        tasks: usize,
        work: impl Fn(Option<usize>, Option<usize>) + Sync,
    ) {
        self.share(workers, tasks, &|next| {
            let mut before = None;
            loop {
                let task = next();
                if task.is_none() && before.is_none() {
                    return;
                }
                work(task, before);
                before = task;
            }
        });
    }

    /// Gives out tasks to that many threads. Not generic: rayon's joins would be compiled again for every
    /// kind of task.
    fn share(&self, workers: usize, tasks: usize, thread: &(dyn Fn(&Next<'_>) + Sync)) {
        let next = AtomicUsize::new(0);
        let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&task| task < tasks);
        let worker = || thread(&take);
        match (&self.pool, workers.min(tasks)) {
            (_, 0 | 1) => worker(),
            (Some(pool), workers) => pool.install(|| fan_out(workers, &worker)),
            (None, workers) => fan_out(workers, &worker),
        }
    }
}

/// Calls `worker` that many times at once, on a tree of joins, which unlike a scope allocates nothing.
fn fan_out(times: usize, worker: &(dyn Fn() + Sync)) {
    if times <= 1 {
        worker();
    } else {
        rayon::join(|| fan_out(times / 2, worker), || fan_out(times - times / 2, worker));
    }
}
