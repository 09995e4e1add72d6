//! No operation allocates, once the workspace has grown to what it needs.
//!
//! One test in a program of its own: whatever else ran at the same time would be counted too.

use std::alloc::{GlobalAlloc, Layout as Block, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use bn_core::{
    Backward, BatchNormBackend, Error, FixedStatistics, ForwardInference, ForwardTraining, InOut,
    Layout, Moments, Problem, Request, SavedStatistics, SavedTensor,
};
use bn_rayon::RayonBackend;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, block: Block) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(block) }
    }

    unsafe fn dealloc(&self, at: *mut u8, block: Block) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, block) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The buffers of one problem.
struct Tensors {
    problem: Problem,
    x: Vec<f32>,
    y: Vec<f32>,
    gamma: Vec<f32>,
    mean: Vec<f64>,
    inv_std: Vec<f64>,
    gradients: [Vec<f32>; 2],
}

impl Tensors {
    fn new(problem: Problem) -> Self {
        let (elements, channels) = (problem.elements(), problem.channels());
        Self {
            problem,
            x: (0..elements).map(|i| (i * 7919 % 1009) as f32 / 64.0).collect(),
            y: vec![0.0; elements],
            gamma: vec![1.5; channels],
            mean: vec![0.0; channels],
            inv_std: vec![0.0; channels],
            gradients: [vec![0.0; channels], vec![0.0; channels]],
        }
    }

    fn run_everything(&mut self, backend: &RayonBackend) -> Result<(), Error> {
        let Self { problem, x, y, gamma, mean, inv_std, gradients } = self;
        let problem = *problem;
        let io = InOut::new(&x[..], &mut y[..]);
        let saved = SavedStatistics { mean: &mut mean[..], inv_std: &mut inv_std[..] };
        let request =
            ForwardTraining { gamma: Some(&gamma[..]), ..ForwardTraining::new(problem, io, saved) };
        backend.forward_training(request.check()?)?;
        let io = InOut::new(&x[..], &mut y[..]);
        let statistics = FixedStatistics::Given { mean: &mean[..], inv_std: &inv_std[..] };
        backend.forward_inference(ForwardInference::new(problem, io, statistics).check()?)?;
        let [dgamma, dbeta] = gradients;
        let io = InOut::new(&x[..], &mut y[..]);
        let request = Backward {
            gamma: Some(&gamma[..]),
            dgamma: Some(&mut dgamma[..]),
            dbeta: Some(&mut dbeta[..]),
            ..Backward::new(problem, io, SavedTensor::Input(&x[..]), &mean[..], &inv_std[..])
        };
        backend.backward(request.check()?)?;
        let (mean, m2) = (&mut mean[..], &mut inv_std[..]);
        backend.moments(Moments { problem, x: &x[..], valid: None, mean, m2 }.check()?)
    }
}

#[test]
fn operations_allocate_nothing() {
    let shapes: [&[usize]; 4] = [&[2, 24, 14, 14], &[16, 40, 7, 7], &[2, 3, 64, 64], &[96, 48]];
    let mut tensors: Vec<Tensors> = Layout::ALL
        .into_iter()
        .flat_map(|layout| shapes.map(|dims| Tensors::new(Problem::new(dims, layout).unwrap())))
        .collect();
    let inline = RayonBackend::new();
    // In the caller's pool, whatever the size.
    let shared = RayonBackend::new().with_alone_below(0);
    let mut count = |backend: &RayonBackend| {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for tensors in &mut tensors {
            tensors.run_everything(backend).unwrap();
        }
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    // Each thread grows a workspace of its own with the first task that it gets, and on a busy machine
    // one may get none for a while; the test's own runner allocates now and then as well. So what is
    // asked for is that allocating comes to an end: an operation that allocates never has five
    // rounds in a row without.
    let mut comes_to_rest = |backend: &RayonBackend, place: &str| {
        let counts: Vec<usize> = (0..100).map(|_| count(backend)).collect();
        let at_rest = counts.windows(5).any(|rounds| rounds.iter().all(|&count| count == 0));
        assert!(at_rest, "{place}: {counts:?}");
        let total: usize = counts.iter().sum();
        assert!(total <= 100, "{place}, {total} in 100 rounds: {counts:?}");
    };
    comes_to_rest(&inline, "on the calling thread");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    pool.install(|| comes_to_rest(&shared, "in a pool"));
}
