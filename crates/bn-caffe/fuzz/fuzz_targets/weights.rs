//! Any bytes as a weight file: read, inspected, rewritten.
#![no_main]

use bn_caffe::inspect::inspect;
use bn_caffe::proto::schema::Phase;
use bn_caffe::weights::Caffemodel;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut weights) = Caffemodel::parse(bytes.to_vec()) else { return };
    if !bytes.starts_with(b"\x89HDF") {
        assert_eq!(weights.to_bytes(), bytes);
    }
    let _ = inspect(None, Some(&weights), Phase::Test);
    for layer in weights.layers_mut() {
        if let Ok(blobs) = layer.blobs() {
            layer.set_blobs(&blobs).expect("readable blobs can be set");
        }
    }
    Caffemodel::parse(weights.to_bytes()).expect("a rewritten file is readable");
});
