//! Any bytes as a prototxt: parsed, read, checked, edited, folded.
#![no_main]

use bn_caffe::fold::fold;
use bn_caffe::inspect::inspect;
use bn_caffe::net::{Net, check};
use bn_caffe::proto::schema::Phase;
use bn_caffe::text::{Document, Edits};
use bn_caffe::weights::Caffemodel;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(document) = Document::parse(text) else { return };
    let mut edits = Edits::new(&document);
    assert_eq!(edits.apply().expect("no edits"), text);
    edits.append(document.root(), "added: 1");
    if let Some(field) = document.root().fields().next() {
        edits.replace(field.value(), "1");
    }
    Document::parse(edits.apply().expect("separate edits")).expect("an edited text is readable");
    let Ok(net) = Net::from_document(&document) else { return };
    let _ = check::net(&net);
    let _ = inspect(Some(&net), None, Phase::Train);
    let _ = fold(&document, &Caffemodel::default());
});
