//! Folded files in another reader: OpenCV's, where Python has it.

use std::path::Path;
use std::process::Command;

use bn_caffe::fold::{Folded, fold};
use bn_caffe::text::Document;
use bn_caffe::weights::Caffemodel;
use libtest_mimic::{Completion, Failed, Trial};

use crate::models::{MODELS, Model};
use crate::{ensure, shared, trial};

/// Loads two nets, gives both the same input, and prints the largest distance and the largest value.
const SCRIPT: &str = "
import sys, numpy as np, cv2
outs = []
x = np.load(sys.argv[1])
for n in (2, 4):
    net = cv2.dnn.readNetFromCaffe(sys.argv[n], sys.argv[n + 1])
    net.enableFusion(False)
    net.setInput(x)
    names = sorted(net.getUnconnectedOutLayersNames())
    outs.append([net.forward(name) for name in names])
print(max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(*outs)), len(outs[0]))
";

pub fn trials() -> Vec<Trial> {
    let trials = MODELS.iter().map(|model| {
        trial(format!("{}::in_opencv", model.name), "models/expected", move |path| {
            in_opencv(model, &path.join(model.name))
        })
    });
    trials.collect()
}

fn in_opencv(model: &Model, folder: &Path) -> Result<Completion, Failed> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let probe = Command::new(&python).args(["-c", "import cv2, numpy"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        let reason = "python3 (or $PYTHON) has no cv2: pip install \
                      opencv-python-headless==4.12.0.88";
        return Ok(Completion::ignored_with(reason));
    }
    let document = Document::read(folder.join("trunk.prototxt"))?;
    let weights = shared().join(model.weights);
    let Folded { prototxt, weights: folded, .. } = fold(&document, &Caffemodel::read(&weights)?)?;
    let scratch = tempfile::tempdir()?;
    let [text, binary] = ["net.prototxt", "net.caffemodel"].map(|name| scratch.path().join(name));
    std::fs::write(&text, prototxt)?;
    folded.write(&binary)?;
    let output = Command::new(&python)
        .args(["-c", SCRIPT])
        .arg(folder.join("input.npy"))
        .args([&folder.join("trunk.prototxt"), &weights, &text, &binary])
        .output()?;
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure(output.status.success(), || complaint.into_owned())?;
    let distance: f64 = said.split_whitespace().next().ok_or("no answer")?.parse()?;
    ensure(distance < 1e-3, || said.into_owned())?;
    Ok(Completion::Completed)
}
