//! The whole conformance suite on candle's operations: on tensors, and in `f32` on slices, by way of
//! the copies that choice at run time costs.

use std::process::ExitCode;

use bn_candle::CandleBackend;
use bn_conformance::Suite;
use bn_core::Staged;

fn main() -> ExitCode {
    let on_tensors = Suite::on_device("candle", || Ok(CandleBackend::default())).every_element();
    let staged = || Ok(Staged::new(CandleBackend::default()));
    let on_slices = Suite::probe("candle", staged).labelled("staged").element::<f32>();
    bn_conformance::run(on_tensors.trials().into_iter().chain(on_slices.trials()))
}
