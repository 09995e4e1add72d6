//! Traces of real nets.

use std::path::Path;

use bn_caffe::Error;
use bn_caffe::oracle::{models, traces};

use crate::engine::Engine;
use crate::report::Tally;

/// Replays every net in every arithmetic; whether everything holds.
pub fn replay(directory: &Path) -> Result<bool, Error> {
    let models = models::find(directory)?;
    let mut summaries = Vec::new();
    for engine in &Engine::all() {
        for model in &models {
            let layers = traces::replay(&model.traces, &model.weights, engine.engines().f32)?;
            let width = layers.iter().map(|case| case.name.len()).max().unwrap_or(0);
            println!("\n{}, {}", model.name, engine.name);
            let mut tally = Tally::default();
            for layer in &layers {
                tally.case(width, layer);
            }
            let what = format!("{}, {}: {} layers", model.name, engine.name, layers.len());
            summaries.push((what, tally));
        }
    }
    println!();
    for (what, tally) in &summaries {
        tally.summary(what);
    }
    Ok(summaries.iter().all(|(_, tally)| tally.holds()))
}
