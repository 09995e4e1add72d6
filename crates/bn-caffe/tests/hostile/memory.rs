//! Memory that reading takes, counted in the allocator.
//!
//! Only this thread's memory counts, so other tests may run beside.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bn_caffe::net::Net;
use bn_caffe::weights::{Caffemodel, WeightLayer};

use crate::{exercise_text, exercise_weights, samples};

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed to the system's allocator unchanged; the counters are plain cells
// without a destructor and allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = NOW.try_with(|now| {
            now.set(now.get().wrapping_add(layout.size()));
            let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now.get())));
        });
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        let _ = NOW.try_with(|now| now.set(now.get().saturating_sub(layout.size())));
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs something and returns the most memory that it held at once.
fn peak(run: impl FnOnce()) -> usize {
    NOW.set(0);
    PEAK.set(0);
    run();
    PEAK.get()
}

/// What any file may take, besides a multiple of its size: 16,384 layers of the largest kind.
const CONSTANT: usize = 64 << 20;

#[expect(clippy::print_stdout, reason = "the figures are for whoever runs the test")]
fn bounded(what: &str, bytes: &[u8], multiple: usize, exercise: fn(&[u8]) -> bool) {
    let used = peak(|| {
        exercise(bytes);
    });
    let allowed = multiple * bytes.len() + CONSTANT;
    println!("{what}: {} bytes of file, {used} bytes at most", bytes.len());
    assert!(used <= allowed, "{what}: {used} bytes for a file of {}", bytes.len());
}

/// A length-delimited field.
fn field(number: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::encode_varint(u64::from(number) << 3 | 2, &mut out);
    prost::encoding::encode_varint(payload.len() as u64, &mut out);
    out.extend_from_slice(payload);
    out
}

#[test]
fn weights_that_claim_much_take_little() {
    let gigabytes = [&b"\xa2\x06\xff\xff\xff\xff\x07"[..], &[0; 64]].concat();
    let big_blob = field(100, &field(7, b"\x2a\xff\xff\xff\xff\x07\0\0\0\0"));
    let shape = |dim: &[u8]| field(100, &field(7, &field(7, &field(1, dim))));
    let overflow = shape(&[0xff, 0xff, 0xff, 0xff, 0x07].repeat(8));
    let negative = shape(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    let repeated = |inner: &[u8], n: usize| field(100, &inner.repeat(n));
    let params = b"\x32\0";
    for (what, bytes) in [
        ("a layer of two gigabytes", gigabytes),
        ("a blob of two gigabytes", big_blob),
        ("dimensions that overflow", overflow),
        ("a negative dimension", negative),
        ("a million dimensions", shape(&vec![1; 1 << 20])),
        ("a million empty layers", b"\xa2\x06\0".repeat(1 << 20)),
        ("16384 empty layers", b"\xa2\x06\0".repeat(1 << 14)),
        ("a million empty blobs", repeated(b"\x3a\0", 1 << 20)),
        ("half a million empty param", repeated(params, 1 << 19)),
        ("a million empty rules", repeated(b"\x42\0", 1 << 20)),
        ("a million empty bottoms", repeated(b"\x1a\0", 1 << 20)),
        ("a million unknown fields", repeated(b"\xc8\x0c\x01", 1 << 20)),
        ("a million inputs", b"\x1a\0".repeat(1 << 20)),
        ("a million open groups", vec![0x0b; 1 << 20]),
        ("a million open groups in a layer", field(100, &vec![0x0b; 1 << 20])),
    ] {
        bounded(what, &bytes, 64, exercise_weights);
    }
}

#[test]
fn texts_that_nest_or_repeat_take_little() {
    for (what, text) in [
        ("a million braces", "a{".repeat(1 << 20)),
        ("a million lists", "a:[".repeat(1 << 20)),
        ("a million fields", "a:1 ".repeat(1 << 20)),
        ("a million messages", "a{}".repeat(1 << 20)),
        ("a million layers", "layer{}".repeat(1 << 20)),
        ("16384 layers", "layer{}".repeat(1 << 14)),
        ("a million dimensions", format!("input_dim:[1{}]", ",1".repeat(1 << 20))),
        ("a million rules", format!("layer{{{}}}", "include{}".repeat(1 << 18))),
        ("a million comments", "#\n".repeat(1 << 20)),
        ("an open string", format!("a: \"{}", "\\".repeat(1 << 20))),
        ("a string in a million parts", format!("a:{}", "''".repeat(1 << 20))),
    ] {
        bounded(what, text.as_bytes(), 64, exercise_text);
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are for whoever runs the test")]
fn plain_weights_are_not_copied() {
    let values = vec![0.5f32; 4 << 20];
    let mut weights = Caffemodel::default();
    weights.push(WeightLayer::new("conv", "Convolution", &[samples::blob(&values)]));
    let bytes = weights.to_bytes();
    let size = bytes.len();
    drop((weights, values));
    let used = peak(|| {
        let weights = Caffemodel::parse(bytes).expect("readable");
        let blob = weights.layer("conv").and_then(|l| l.blob(0).ok()).expect("a blob");
        assert!(blob.values().all(|v| v == 0.5));
        let net = Net::from_weights(&weights).expect("readable");
        assert_eq!(net.layers.len(), 1);
        let mut sink = std::io::sink();
        weights.write_to(&mut sink).expect("a sink takes all");
    });
    println!("{size} bytes of file, {used} bytes beside it at most");
    assert!(used < 64 << 10, "{used} bytes beside a file of {size}");
}
