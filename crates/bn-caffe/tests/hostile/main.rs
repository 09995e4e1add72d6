//! Broken and hostile files: never a panic, never memory beyond a small multiple of the file.
//!
//! Deterministic; `fuzz/` holds the same exercises for libFuzzer.

mod folding;
mod memory;
mod samples;

use bn_caffe::inspect::inspect;
use bn_caffe::net::graph::Graph;
use bn_caffe::net::{Net, check};
use bn_caffe::proto::schema::Phase;
use bn_caffe::text::{Document, Edits};
use bn_caffe::weights::Caffemodel;

/// Reads everything that a weight file can be asked for.
fn exercise_weights(bytes: &[u8]) -> bool {
    let Ok(mut weights) = Caffemodel::parse(bytes.to_vec()) else {
        return false;
    };
    if !bytes.starts_with(b"\x89HDF") {
        assert_eq!(weights.to_bytes(), bytes, "an unchanged file came back changed");
    }
    for layer in weights.layers() {
        let _ = (layer.type_name(), layer.parameter());
        for blob in (0..layer.blob_count()).filter_map(|n| layer.blob(n).ok()) {
            assert_eq!(blob.values().count(), blob.shape().count());
            let _ = blob.to_f32();
        }
    }
    let _ = inspect(None, Some(&weights), Phase::Test).map(|found| format!("{found:?}"));
    if let Ok(net) = Net::from_weights(&weights) {
        let _ = check::net(&net);
    }
    for layer in weights.layers_mut() {
        if let Ok(blobs) = layer.blobs() {
            layer.set_blobs(&blobs).expect("readable blobs can be set");
        }
    }
    Caffemodel::parse(weights.to_bytes()).expect("a rewritten file is readable");
    true
}

/// Reads everything that a prototxt can be asked for.
fn exercise_text(text: &[u8]) -> bool {
    let Ok(document) = Document::parse(text) else {
        return false;
    };
    let mut edits = Edits::new(&document);
    assert_eq!(edits.apply().expect("no edits"), text);
    edits.append(document.root(), "added: 1");
    if let Some(field) = document.root().fields().next() {
        edits.replace(field.value(), "1");
    }
    let edited = edits.apply().expect("separate edits");
    Document::parse(edited).expect("an edited text is readable");
    let Ok(net) = Net::from_document(&document) else {
        return false;
    };
    let _ = (check::net(&net), Graph::of(&net));
    let _ = inspect(Some(&net), None, Phase::Train).map(|found| format!("{found:?}"));
    true
}

/// A small generator of numbers, the same in every run (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// Flips one to four bits, and sometimes removes, doubles or overwrites a piece.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            bytes[at] ^= 1 << self.below(8);
        }
        let from = self.below(bytes.len());
        let to = (from + self.below(16)).min(bytes.len());
        match self.below(8) {
            0 => drop(bytes.drain(from..to)),
            1 => {
                let piece = bytes[from..to].to_vec();
                bytes.splice(from..from, piece);
            }
            2 => bytes[from..to].fill(0xff),
            _ => {}
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
}

fn damaged(sample: &[u8], rounds: usize, seed: u64, exercise: fn(&[u8]) -> bool) -> usize {
    let mut random = Random(seed);
    let mut readable = 0;
    for _ in 0..rounds {
        let mut bytes = sample.to_vec();
        random.damage(&mut bytes);
        readable += usize::from(exercise(&bytes));
    }
    readable
}

#[test]
fn the_samples_are_readable() {
    assert!(exercise_weights(&samples::weights()));
    assert!(exercise_text(samples::TEXT.as_bytes()));
}

#[test]
fn weights_cut_at_every_byte() {
    let sample = samples::weights();
    for end in 0..sample.len() {
        exercise_weights(&sample[..end]);
    }
}

#[test]
fn weights_with_100_000_damages() {
    let readable = damaged(&samples::weights(), 100_000, 0x5eed, exercise_weights);
    // Most flips hit values and leave the file readable, so that the deeper code is reached.
    assert!(readable > 10_000, "only {readable} of 100000 were readable");
}

#[test]
fn prototxt_cut_at_every_byte() {
    for end in 0..samples::TEXT.len() {
        exercise_text(&samples::TEXT.as_bytes()[..end]);
    }
}

#[test]
fn prototxt_with_50_000_damages() {
    let readable = damaged(samples::TEXT.as_bytes(), 50_000, 0xcafe, exercise_text);
    assert!(readable > 1_000, "only {readable} of 50000 were readable");
}

#[cfg(feature = "hdf5")]
#[test]
fn hdf5_cut_and_damaged() {
    let sample = samples::hdf5();
    assert!(exercise_weights(&sample));
    for end in (0..sample.len()).step_by(7) {
        exercise_weights(&sample[..end]);
    }
    damaged(&sample, 20_000, 0x4df5, exercise_weights);
}
