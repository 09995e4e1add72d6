//! Weight files: both forms, changes that leave the rest as it was, names that stand twice.

use bn_caffe::Error;
use bn_caffe::bind::Binding;
use bn_caffe::blob::{Blob, Shape};
use bn_caffe::net::Net;
use bn_caffe::proto::raw::{RawField, RawMessage};
use bn_caffe::weights::{Caffemodel, Form, WeightLayer};

fn blob(values: &[f32]) -> Blob {
    Blob::from_f32(Shape::new([values.len()]).expect("small"), values).expect("fits")
}

/// A layer as bytes, from its fields.
fn layer(net_field: u32, fields: Vec<RawField>) -> RawField {
    let mut message = RawMessage::default();
    for field in fields {
        let number = field.number();
        let mut all: Vec<_> =
            message.fields().iter().filter(|f| f.number() == number).cloned().collect();
        all.push(field);
        message.replace_all(number, all);
    }
    RawField::bytes(net_field, message.to_bytes())
}

fn file(fields: &[RawField]) -> Vec<u8> {
    let mut message = RawMessage::default();
    let mut numbers: Vec<u32> = fields.iter().map(RawField::number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for number in numbers {
        message.replace_all(number, fields.iter().filter(|f| f.number() == number).cloned());
    }
    message.to_bytes().to_vec()
}

#[test]
fn a_changed_layer_leaves_the_rest_byte_for_byte() {
    // A convolution with settings of a fork inside and outside of what is known.
    let conv_param = {
        let mut p = RawMessage::default();
        p.set(RawField::varint(1, 4));
        p.set(RawField::varint(2, 0));
        p.set(RawField::varint(900, 7));
        p.to_bytes()
    };
    let conv = layer(
        100,
        vec![
            RawField::bytes(1, "conv"),
            RawField::bytes(2, "Convolution"),
            RawField::bytes(7, blob(&[1.0]).to_message()),
            RawField::bytes(106, conv_param),
            RawField::bytes(604, "fork"),
        ],
    );
    let bn = layer(100, vec![RawField::bytes(1, "bn"), RawField::varint(10, 0)]);
    let bytes = file(&[RawField::bytes(1, "net"), conv, bn, RawField::bytes(500, "trailer")]);
    let mut model = Caffemodel::parse(bytes.clone()).expect("readable");
    assert_eq!(model.to_bytes(), bytes);

    let conv = model.layer_mut("conv").expect("a layer");
    conv.set_blobs(&[blob(&[2.0]), blob(&[3.0])]).expect("readable");
    conv.edit(|m| m.edit_message(106, |p| p.set(RawField::varint(2, 1)))).expect("readable");
    assert_eq!(model.remove("bn"), 1);

    let again = Caffemodel::parse(model.to_bytes()).expect("readable");
    assert_eq!(again.encoded_len(), again.to_bytes().len());
    let conv = again.layer("conv").expect("a layer");
    assert_eq!(conv.blob(1).expect("two blobs").to_f32(), [3.0]);
    let parameter = conv.parameter().expect("readable");
    assert!(parameter.convolution_param.expect("kept").bias_term());
    let raw = RawMessage::parse(&conv.body()).expect("readable");
    assert_eq!(raw.get(604).map(|f| f.payload().as_ref()), Some(&b"fork"[..]));
    let inner = RawMessage::parse(raw.get(106).expect("kept").payload()).expect("readable");
    assert_eq!(inner.count(900), 1);
    assert!(again.to_bytes().ends_with(b"\x07trailer"));
    assert!(again.layer("bn").is_none());
}

#[test]
fn layers_of_the_old_form_are_read_and_rewritten_in_it() {
    let old = layer(
        2,
        vec![
            RawField::bytes(2, "data"),
            RawField::bytes(3, "ip"),
            RawField::bytes(4, "ip"),
            RawField::varint(5, 14),
            RawField::bytes(6, blob(&[1.0, 2.0]).to_message()),
            RawField::float(7, 2.0),
        ],
    );
    let mut model = Caffemodel::parse(file(&[old])).expect("readable");
    let ip = model.layer("ip").expect("a layer");
    assert_eq!((ip.form(), ip.type_name(), ip.blob_count()), (Form::V1, "InnerProduct", 1));
    let parameter = ip.parameter().expect("readable");
    assert_eq!((parameter.type_name(), parameter.param[0].lr_mult()), ("InnerProduct", 2.0));
    model.layer_mut("ip").expect("a layer").set_blobs(&[blob(&[5.0])]).expect("readable");
    let again = Caffemodel::parse(model.to_bytes()).expect("readable");
    let ip = again.layer("ip").expect("a layer");
    assert_eq!((ip.form(), ip.blob(0).expect("one").to_f32()), (Form::V1, vec![5.0]));
}

#[test]
fn names_match_types_do_not() {
    let net = Net::parse(
        "layer { name: 'bn' type: 'BatchNorm' bottom: 'x' top: 'x' }
         layer { name: 's' type: 'Scale' bottom: 'x' top: 'x' scale_param { bias_term: true } }",
    )
    .expect("a net");
    let mut model = Caffemodel::default();
    model.push(WeightLayer::new("bn", "", &[blob(&[9.0]), blob(&[9.0]), blob(&[9.0])]));
    model.push(WeightLayer::new("other", "", &[]));
    model.push(WeightLayer::new("bn", "", &[blob(&[1.0]), blob(&[1.0]), blob(&[1.0])]));
    model.insert_after("other", WeightLayer::new("s", "", &[blob(&[1.0])]));
    let names: Vec<_> = model.layers().map(WeightLayer::name).collect();
    assert_eq!(names, ["bn", "other", "s", "bn"]);

    // The last of a name wins, as when Caffe copies one after the other.
    let binding = Binding::by_name(&net, &model);
    let bn = binding.layers[0].expect("bound");
    assert_eq!(bn.blob(0).expect("three").to_f32(), [1.0]);
    assert_eq!(binding.unused.len(), 1);
    let error = Binding::new(&net, &model).expect_err("one blob instead of two").to_string();
    assert_eq!(error, "layer \"s\" (Scale), blobs in the weight file: found 1, expected 2");
    assert!(matches!(
        bn.blob(3),
        Err(Error::Blob { blob: 3, ref layer, .. }) if layer == "bn"
    ));
}

#[test]
fn broken_files_say_where() {
    let error = Caffemodel::parse(&b"\x0a\x01n\xa2\x06\x05\x0a\x09b"[..]).expect_err("too short");
    assert!(matches!(error, Error::Wire { offset: 6, .. }), "{error}");
    let error = Caffemodel::parse(&b"\xa2\x06\x03\x0a\x05b"[..]).expect_err("name too long");
    assert!(matches!(error, Error::Wire { offset: 5, .. }), "{error}");
    assert!(Caffemodel::parse(&b"\xa0\x06\x01"[..]).is_err(), "a layer as a varint");
    assert!(Caffemodel::parse(&b"\xa2\x06\x03\x0a\x01\xff"[..]).is_err(), "a name not in UTF-8");
    let missing = Caffemodel::read("no/such/file").expect_err("no file");
    assert!(missing.to_string().starts_with("no/such/file: "));
}

#[cfg(not(feature = "hdf5"))]
#[test]
fn hdf5_is_named_and_refused() {
    let error = Caffemodel::parse(&b"\x89HDF\r\n\x1a\nrest"[..]).expect_err("HDF5");
    assert!(error.to_string().contains("feature `hdf5`"), "{error}");
}

/// Names with a slash become nested groups, which Caffe cannot load again.
#[cfg(feature = "hdf5")]
#[test]
fn hdf5_groups_inside_groups_are_layers_with_a_slash() {
    let mut builder = hdf5_pure::FileBuilder::new();
    let mut data = builder.create_group("data");
    let mut conv = data.create_group("conv1");
    conv.create_dataset("0").with_f32_data(&[1.0, 2.0]);
    let mut bn = conv.create_group("bn");
    bn.create_dataset("0").with_f32_data(&[3.0]);
    conv.add_group(bn.finish());
    data.add_group(conv.finish());
    builder.add_group(data.finish());
    let model = Caffemodel::parse(builder.finish().expect("small")).expect("readable");
    let values = |name| model.layer(name).and_then(|l| l.blob(0).ok()).map(|b| b.to_f32());
    assert_eq!(values("conv1"), Some(vec![1.0, 2.0]));
    assert_eq!(values("conv1/bn"), Some(vec![3.0]));
}
