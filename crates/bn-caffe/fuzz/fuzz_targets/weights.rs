//! Any bytes as a weight file: read, inspected, folded, exported, rewritten.
#![no_main]

use bn_caffe::exchange::export;
use bn_caffe::fold::fold;
use bn_caffe::inspect::inspect;
use bn_caffe::net::Net;
use bn_caffe::proto::schema::Phase;
use bn_caffe::text::Document;
use bn_caffe::weights::Caffemodel;
use libfuzzer_sys::fuzz_target;

const NET: &str = "layer { name: 'in' type: 'Input' top: 'x' }
    layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'y' convolution_param { num_output: 2 } }
    layer { name: 'b' type: 'BatchNorm' bottom: 'y' top: 'y' }
    layer { name: 's' type: 'Scale' bottom: 'y' top: 'y' scale_param { bias_term: true } }";

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut weights) = Caffemodel::parse(bytes.to_vec()) else { return };
    if !bytes.starts_with(b"\x89HDF") {
        assert_eq!(weights.to_bytes(), bytes);
    }
    let _ = inspect(None, Some(&weights), Phase::Test);
    let document = Document::parse(NET).expect("a net");
    let net = Net::from_document(&document).expect("a net");
    let _ = fold(&document, &weights);
    let _ = export(&net, &weights).map(|found| found.to_safetensors());
    for layer in weights.layers_mut() {
        if let Ok(blobs) = layer.blobs() {
            layer.set_blobs(&blobs).expect("readable blobs can be set");
        }
    }
    Caffemodel::parse(weights.to_bytes()).expect("a rewritten file is readable");
});
