//! The text format: what is accepted, what is refused and where, and edits.

use bn_caffe::Error;
use bn_caffe::net::{Net, check};
use bn_caffe::proto::schema::{Phase, ShareMode};
use bn_caffe::text::{Document, Edits, Value};

fn parse(text: &str) -> Document {
    Document::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn with_value<T>(text: &str, read: impl FnOnce(Value<'_>) -> T) -> T {
    let doc = parse(&format!("x: {text}"));
    read(doc.root().get("x").expect("a field"))
}

/// Line and column of the error.
fn refused(text: &str) -> (usize, usize) {
    match Document::parse(text) {
        Err(Error::Text { line, column, .. }) => (line, column),
        other => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn every_spelling_of_a_structure_is_the_same() {
    for text in [
        "layer { name: \"a\" top: \"t\" top: \"u\" }",
        "layer: { name: 'a', top: 't'; top: 'u'; };",
        "layer < name: \"a\" top: [\"t\", 'u'] >",
        "# c\nlayer # d\n{ # e\nname # f\n: # g\n'a' # h\ntop:['t','u']}#i",
        "\u{feff}layer: [{ name: \"a\" top: [\"t\"] top: \"\" 'u' }]",
    ] {
        let net = Net::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(net.layers.len(), 1, "{text}");
        assert_eq!(net.layers[0].name(), "a", "{text}");
        assert_eq!(net.layers[0].tops(), ["t", "u"], "{text}");
    }
}

#[test]
fn numbers_are_read_as_protobuf_reads_them() {
    for (text, expected) in [
        ("1", 1.0),
        ("-1.5", -1.5),
        ("- # so\n 2", -2.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e-5", 1e-5),
        ("1E+2f", 100.0),
        ("2f", 2.0),
        ("0x1F", 31.0),
        ("017", 15.0),
        ("inf", f64::INFINITY),
        ("-Infinity", f64::NEG_INFINITY),
        ("18446744073709551616", 18_446_744_073_709_551_616.0),
    ] {
        assert_eq!(with_value(text, |v| v.as_f64().ok()), Some(expected), "{text}");
    }
    assert!(with_value("-nan", |v| v.as_f32().expect("NaN").is_nan()));
    // Rounded twice, through double.
    assert_eq!(with_value("9.9999997e-06", |v| v.as_f32().ok()), Some(1e-5));
    assert_eq!(with_value("-0x10", |v| v.as_i32().ok()), Some(-16));
    assert_eq!(with_value("4294967295", |v| v.as_u32().ok()), Some(u32::MAX));
    for text in ["4294967296", "-1", "1.0", "one", "'1'"] {
        assert!(with_value(text, |v| v.as_u32().is_err()), "{text}");
    }
    for (text, expected) in
        [("true", true), ("t", true), ("1", true), ("false", false), ("f", false), ("0", false)]
    {
        assert_eq!(with_value(text, |v| v.as_bool().ok()), Some(expected), "{text}");
    }
    assert!(with_value("2", |v| v.as_bool().is_err()));
    assert!(with_value("TRUE", |v| v.as_bool().is_err()));
}

#[test]
fn strings_are_joined_and_unescaped() {
    for (text, expected) in [
        (r#""a" 'b'  "c""#, &b"abc"[..]),
        (r#""\n\t\\\"\'\?\a""#, b"\n\t\\\"'?\x07"),
        (r#""\101\7\x41g\u00e9\U0001F600""#, "A\u{7}Ag\u{e9}\u{1F600}".as_bytes()),
        (r#"'"'"#, b"\""),
        (r#""\377""#, b"\xff"),
    ] {
        assert_eq!(with_value(text, |v| v.as_bytes().ok()).as_deref(), Some(expected), "{text}");
    }
    for text in [r#""\400""#, r#""\q""#, r#""\x""#, r#""\ud800""#] {
        assert!(with_value(text, |v| v.as_bytes().is_err()), "{text}");
    }
    assert!(with_value(r#""\377""#, |v| v.as_str().is_err()));
}

#[test]
fn errors_point_at_the_place() {
    assert_eq!(refused("layer {\n  name: \"a\n}"), (2, 9));
    assert_eq!(refused("a: 1\nlayer {\n  b: 2"), (2, 7));
    assert_eq!(refused("a 1"), (1, 3));
    assert_eq!(refused("a: 1\n}"), (2, 1));
    assert_eq!(refused("a { b: 1 >"), (1, 10));
    assert_eq!(refused("a: [1, 2"), (1, 9));
    assert_eq!(refused("a: [1 2]"), (1, 7));
    assert_eq!(refused("a: [1,]"), (1, 7));
    assert_eq!(refused("a: 1x"), (1, 4));
    assert_eq!(refused("a: 09"), (1, 4));
    assert_eq!(refused("a: 1e"), (1, 4));
    assert_eq!(refused("a:"), (1, 3));
    let wrong = Net::parse("layer {\n  name: 3\n}").expect_err("a number for a name");
    assert_eq!(wrong.to_string(), "line 2, column 9: expected a string in quotes, found \"3\"");
    assert!(Net::parse("name: 'a' name: 'b'").is_err());
    assert!(Net::parse("layer { phase: DEPLOY }").is_err());
}

#[test]
fn comments_need_not_be_utf8() {
    let text = b"# \xc4\xe3\xba\xc3\nname: 'n' # \xff\n".to_vec();
    let doc = Document::parse(text.clone()).expect("a name");
    assert_eq!(Edits::new(&doc).apply().expect("no edits"), text);
}

#[test]
fn nesting_is_bounded() {
    let nested = |n: usize| format!("{}{}", "a{".repeat(n), "}".repeat(n));
    assert!(Document::parse(nested(100)).is_ok());
    assert!(Document::parse(nested(101)).is_err());
    assert!(Document::parse("a<".repeat(1 << 20)).is_err());
    assert!(Document::parse(format!("a:{}", "[".repeat(1 << 20))).is_err());
}

#[test]
fn edits_change_their_field_and_nothing_else() {
    let text = "name: 'n'\n\n# first\nlayer {\n\tname: 'a' # keep\n\ttop: 't'\n}\nlayer { name: 'b' top: 'u' }\n";
    let doc = parse(text);
    let layers: Vec<_> = doc.root().fields().filter(|f| f.name() == "layer").collect();
    let body = |n: usize| layers[n].value().as_message().expect("a message");
    let mut edits = Edits::new(&doc);
    edits.replace(body(0).get("name").expect("a name"), Edits::quote("x\"y"));
    edits.append(body(0), "bottom: 'q'");
    edits.append(body(1), "bottom: 'r'");
    edits.insert_after(layers[0], "layer {\n  name: 'c'\n}");
    edits.insert_before(layers[0], "layer { name: 'd' }");
    edits.append(doc.root(), "state { }");
    let expected = "name: 'n'\n\n# first\nlayer { name: 'd' }\nlayer {\n\tname: \"x\\\"y\" # keep\n\ttop: 't'\n\tbottom: 'q'\n}\nlayer {\n  name: 'c'\n}\nlayer { name: 'b' top: 'u' bottom: 'r' }\nstate { }\n";
    assert_eq!(String::from_utf8_lossy(&edits.apply().expect("separate")), expected);

    let mut edits = Edits::new(&doc);
    edits.remove(layers[0]);
    edits.remove(body(1).fields().next().expect("a name"));
    let expected = "name: 'n'\n\n# first\nlayer { top: 'u' }\n";
    assert_eq!(String::from_utf8_lossy(&edits.apply().expect("separate")), expected);

    let mut edits = Edits::new(&doc);
    edits.remove(layers[0]);
    edits.replace(body(0).get("name").expect("a name"), "'z'");
    assert!(matches!(edits.apply(), Err(Error::OverlappingEdits { .. })));

    // A byte order mark stays first.
    let doc = parse("\u{feff}");
    let mut edits = Edits::new(&doc);
    edits.append(doc.root(), "a: 1");
    assert_eq!(String::from_utf8_lossy(&edits.apply().expect("one")), "\u{feff} a: 1");

    for (text, expected) in [("a{}", "a{ b: 1 }"), ("a {\n}\n", "a {\n  b: 1\n}\n")] {
        let doc = parse(text);
        let mut edits = Edits::new(&doc);
        let inner = doc.root().get("a").and_then(|v| v.as_message().ok());
        edits.append(inner.expect("a message"), "b: 1");
        assert_eq!(String::from_utf8_lossy(&edits.apply().expect("one")), expected);
    }
}

#[test]
fn layers_of_the_old_form_are_upgraded() {
    let net = Net::parse(
        r#"input: "data" input_shape { dim: 2 dim: 3 }
           layers {
             name: "conv" type: CONVOLUTION bottom: "data" top: "conv"
             blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
             param: "w" blob_share_mode: PERMISSIVE
             convolution_param { num_output: 4 kernel_size: 3 }
             include { phase: TEST }
           }
           layers { name: "loss" type: SOFTMAX_LOSS bottom: "conv" }"#,
    )
    .expect("a net");
    let types: Vec<_> = net.layers.iter().map(|l| l.type_name()).collect();
    assert_eq!(types, ["Input", "Convolution", "SoftmaxWithLoss"]);
    let input = net.layers[0].parameter.input_param.as_ref().expect("shapes");
    assert_eq!(input.shape[0].dim, [2, 3]);
    let conv = &net.layers[1];
    assert_eq!(conv.convolution().num_output(), 4);
    let specs = &conv.parameter.param;
    assert_eq!((specs[0].name(), specs[0].share_mode()), ("w", ShareMode::Permissive));
    assert_eq!((specs[1].lr_mult(), specs[1].decay_mult()), (2.0, 0.0));
    assert_eq!(net.for_phase(Phase::Train).expect("one kind of rules").layers.len(), 2);

    for refused in [
        "layers { layer { name: 'c' type: 'conv' } }",
        "layer { } layers { }",
        "input: 'a' input_dim: 1 input_dim: 2",
        "input: 'a' input: 'b' input_shape { dim: 1 }",
    ] {
        assert!(Net::parse(refused).is_err(), "{refused}");
    }
}

#[test]
fn three_params_of_batch_norm_are_corrected_in_a_net() {
    let spec = "param { name: 'm' lr_mult: 1 }";
    let bn = |specs: usize| {
        let text = format!(
            "layer {{ type: 'Input' top: 'x' }} layer {{ type: 'BatchNorm' bottom: 'x' top: 'y' {} }}",
            spec.repeat(specs)
        );
        Net::parse(text).expect("a net")
    };
    let three = bn(3);
    assert!(check::net(&three).is_ok());
    for param in &three.layers[1].parameter.param {
        assert_eq!((param.name(), param.lr_mult(), param.decay_mult()), ("m", 0.0, 0.0));
    }
    assert!(check::net(&bn(0)).is_ok());
    for specs in [1, 2, 4] {
        assert!(check::net(&bn(specs)).is_err(), "{specs} specs");
    }
}

#[test]
fn nets_that_caffe_refuses_are_refused() {
    let input = "layer { name: 'i' type: 'Input' top: 'x' }";
    for (layers, word) in [
        (
            "layer { name: 'b' type: 'BatchNorm' bottom: 'x' top: 'y' batch_norm_param { scale_bias: true } }",
            "scale_bias",
        ),
        ("layer { name: 'b' type: 'batchnorm' bottom: 'x' top: 'y' }", "BatchNorm"),
        ("layer { name: 'b' type: 'BatchNorm' bottom: 'x' top: 'y' top: 'z' }", "tops"),
        ("layer { name: 'b' type: 'BatchNorm' bottom: 'q' top: 'y' }", "bottom 0"),
        (
            "layer { name: 'b' type: 'ReLU' bottom: 'x' top: 'y' } layer { name: 'c' type: 'ReLU' bottom: 'x' top: 'y' }",
            "another layer",
        ),
        (
            "layer { name: 's' type: 'Scale' bottom: 'x' top: 'y' scale_param { filler { type: 'nope' } } }",
            "nope",
        ),
    ] {
        let net = Net::parse(format!("{input} {layers}")).expect("well-formed");
        let error = check::net(&net).expect_err(layers).to_string();
        assert!(error.contains(word) && error.contains("expected"), "{error}");
    }
}
