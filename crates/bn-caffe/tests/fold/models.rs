//! The published nets: every map, and whole trunks against what Caffe computed.

use std::path::Path;

use bn_caffe::fold::{Folded, Outcome as Place, fold};
use bn_caffe::net::Net;
use bn_caffe::net::graph::Graph;
use bn_caffe::proto::schema::Phase;
use bn_caffe::text::Document;
use bn_caffe::weights::Caffemodel;
use libtest_mimic::{Completion, Failed, Trial};
use ndarray::ArrayD;
use ndarray_npy::read_npy;

use crate::reference::{Tensor, run};
use crate::{Outcome, ensure, shared, trial};

/// A published net.
pub struct Model {
    pub name: &'static str,
    pub weights: &'static str,
    pub prototxt: &'static str,
    /// BatchNorm in the whole net, and in the trunk that Caffe ran.
    pub batch_norms: [usize; 2],
}

pub const MODELS: [Model; 4] = [
    Model {
        name: "minivision_retinaface",
        weights: "models/minivision_retinaface/Widerface-RetinaFace.caffemodel",
        prototxt: "models/minivision_retinaface/deploy.prototxt",
        batch_norms: [47, 47],
    },
    Model {
        name: "retinaface_mnet025",
        weights: "models/retinaface_mnet025/mobile0.25.caffemodel",
        prototxt: "models/retinaface_mnet025/mobile0.25.prototxt",
        batch_norms: [47, 35],
    },
    Model {
        name: "yoloface_50k",
        weights: "models/dogqiuqiu_yolo/yoloface-50k.caffemodel",
        prototxt: "models/dogqiuqiu_yolo/yoloface-50k.prototxt",
        batch_norms: [23, 23],
    },
    Model {
        name: "landmark106",
        weights: "models/dogqiuqiu_yolo/landmark106.caffemodel",
        prototxt: "models/dogqiuqiu_yolo/landmark106.prototxt",
        batch_norms: [38, 38],
    },
];

/// The bound of the whole, relative to the largest value.
const RELATIVE: f64 = 1e-6;

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for model in &MODELS {
        trials.push(trial(format!("{}::each_map", model.name), "models", move |_| {
            each_map(model).map(|()| Completion::Completed)
        }));
        trials.push(trial(format!("{}::trunk", model.name), "models/expected", move |path| {
            trunk(model, &path.join(model.name)).map(|()| Completion::Completed)
        }));
    }
    let folder = "oracle/trained_net";
    trials.push(trial("trained_net::whole", folder, |path| {
        trained_net(path).map(|()| Completion::Completed)
    }));
    trials
}

fn array(path: &Path) -> Result<Tensor, Failed> {
    let array: ArrayD<f32> = read_npy(path)?;
    let values = array.iter().map(|&value| f64::from(value)).collect();
    Ok(Tensor { dims: array.shape().to_vec(), values })
}

/// Every layer that took a map, with the map behind it before and alone afterwards, on noise.
fn each_map(model: &Model) -> Outcome {
    let document = Document::read(shared().join(model.prototxt))?;
    let weights = Caffemodel::read(shared().join(model.weights))?;
    let Folded { prototxt, weights: folded, decisions } = fold(&document, &weights)?;
    let before = Net::from_document(&document)?.for_phase(Phase::Test)?;
    let after = Net::parse(prototxt)?.for_phase(Phase::Test)?;
    let left: Vec<_> = decisions.iter().filter(|d| !d.is_folded()).collect();
    ensure(left.is_empty(), || format!("{left:?}"))?;
    ensure(decisions.len() == model.batch_norms[0], || format!("{} chains", decisions.len()))?;
    let batch_norms = after.layers.iter().filter(|layer| layer.type_name() == "BatchNorm").count();
    ensure(batch_norms == 0, || format!("{batch_norms} BatchNorm are left"))?;
    let mut maps = 0;
    for decision in &decisions {
        let Place::Before { layer, .. } = &decision.outcome else { continue };
        let input = Tensor::noise(&input_shape(&before, &weights, layer)?, maps);
        let chain: Vec<&str> =
            std::iter::once(layer).chain(&decision.layers).map(String::as_str).collect();
        let [unfolded, folded] = [(&before, &weights, &chain[..]), (&after, &folded, &chain[..1])]
            .map(|(net, weights, layers)| {
                let text = excerpt(net, layers)?;
                let blobs = run(text.as_bytes(), weights, &input)?;
                blobs.into_iter().next_back().map(|(_, value)| value).ok_or("nothing".into())
            });
        let unfolded: Result<Tensor, Failed> = unfolded;
        let distance = unfolded?.distance(&folded?);
        ensure(distance < RELATIVE, || format!("{decision}: off by {distance:e}"))?;
        maps += 1;
    }
    ensure(maps > 0, || "no map went into a layer".into())
}

/// An input that a layer takes.
fn input_shape(net: &Net, weights: &Caffemodel, name: &str) -> Result<Vec<usize>, Failed> {
    let layer = net.layer(name).ok_or("no layer")?;
    let shape = weights.layer(name).ok_or("no weights")?.blob(0)?.shape().dims().to_vec();
    Ok(match layer.type_name() {
        "Convolution" => vec![2, shape[1] * layer.convolution().group() as usize, 9, 8],
        "Deconvolution" => vec![2, shape[0], 9, 8],
        _ => {
            let values: usize = shape.iter().product();
            vec![2, values / layer.inner_product().num_output() as usize]
        }
    })
}

/// A net of some layers of another, one behind the other.
fn excerpt(net: &Net, layers: &[&str]) -> Result<String, Failed> {
    let mut text = "layer { name: 'in' type: 'Input' top: '0' }\n".to_owned();
    for (n, name) in layers.iter().enumerate() {
        let layer = net.layer(name).ok_or("no layer")?;
        let mut settings = String::new();
        let c = layer.convolution();
        match layer.type_name() {
            "Convolution" | "Deconvolution" => {
                let mut field = |name: &str, values: &[u32]| {
                    values.iter().for_each(|v| settings += &format!(" {name}: {v}"));
                };
                field("num_output", &[c.num_output()]);
                field("group", &[c.group()]);
                field("kernel_size", &c.kernel_size);
                field("stride", &c.stride);
                field("pad", &c.pad);
                field("dilation", &c.dilation);
                let single = [
                    ("kernel_h", c.kernel_h),
                    ("kernel_w", c.kernel_w),
                    ("stride_h", c.stride_h),
                    ("stride_w", c.stride_w),
                    ("pad_h", c.pad_h),
                    ("pad_w", c.pad_w),
                ];
                single.iter().for_each(|(name, value)| field(name, value.as_slice()));
                settings = format!("convolution_param {{{settings} }}");
            }
            "InnerProduct" => {
                let outputs = layer.inner_product().num_output();
                settings = format!("inner_product_param {{ num_output: {outputs} }}");
            }
            "BatchNorm" => {
                settings = format!("batch_norm_param {{ eps: {:e} }}", layer.batch_norm().eps());
            }
            _ => {}
        }
        text += &format!(
            "layer {{ name: {name:?} type: '{}' bottom: '{n}' top: '{}' {settings} }}\n",
            layer.type_name(),
            n + 1
        );
    }
    Ok(text)
}

/// The layers that Caffe ran, from its input to its outputs.
fn trunk(model: &Model, folder: &Path) -> Outcome {
    let document = Document::read(folder.join("trunk.prototxt"))?;
    let weights = Caffemodel::read(shared().join(model.weights))?;
    let Folded { prototxt, weights: folded, decisions } = fold(&document, &weights)?;
    ensure(decisions.len() == model.batch_norms[1], || format!("{} chains", decisions.len()))?;
    let input = array(&folder.join("input.npy"))?;
    let before = run(document.text(), &weights, &input)?;
    let after = run(&prototxt, &folded, &input)?;
    let net = Net::from_document(&document)?.for_phase(Phase::Test)?;
    let graph = Graph::of(&net);
    let mut outputs = 0;
    for value in graph.values.iter().filter(|value| value.readers.is_empty()) {
        let file = folder.join(format!("out__{}.npy", value.name.replace('/', "_")));
        let (before, after) = (&before[&value.name], &after[&value.name]);
        let distance = before.distance(after);
        // Errors of all layers before add up.
        ensure(distance < 10.0 * RELATIVE, || format!("{}: off by {distance:e}", value.name))?;
        let caffe = array(&file)?.distance(before);
        ensure(caffe < 1e-4, || format!("{}: Caffe is off by {caffe:e}", value.name))?;
        outputs += 1;
    }
    ensure(outputs > 0, || "no outputs".into())
}

/// The net that Caffe trained, folded, against the probabilities that Caffe computed.
fn trained_net(path: &Path) -> Outcome {
    let document = Document::read(path.join("deploy.prototxt"))?;
    let weights = Caffemodel::read(path.join("net_iter_200.caffemodel"))?;
    let Folded { prototxt, weights: folded, decisions } = fold(&document, &weights)?;
    let places: Vec<_> = decisions.iter().map(ToString::to_string).collect();
    let expected = [
        "data_bn + data_scale → data_bn (one Scale); layer before: \"data\" (Input) cannot take it; \
         layer after: \"conv1\" pads with zeros, and the shift is not 0",
        "conv1_bn + conv1_scale → conv1 (Convolution before it, bias_term added)",
        "conv2_bn + conv2_scale → conv2 (Convolution before it)",
        "ip1_bn + ip1_scale → ip1 (InnerProduct before it)",
    ];
    ensure(places == expected, || format!("{places:#?}"))?;
    let input = array(&path.join("input.npy"))?;
    let caffe = array(&path.join("prob.npy"))?;
    let [before, after] = [(document.text(), &weights), (&prototxt[..], &folded)]
        .map(|(text, weights)| run(text, weights, &input).map(|mut blobs| blobs.remove("prob")));
    let before = before?.ok_or("no prob")?;
    let distance = before.distance(&after?.ok_or("no prob")?);
    ensure(distance < RELATIVE, || format!("off by {distance:e}"))?;
    let distance = before.distance(&caffe);
    ensure(distance < 1e-5, || format!("Caffe is off by {distance:e}"))
}
