//! The whole conformance suite on device 0: in its own memory, at odd addresses, and on slices by way of
//! copies. Ignored with the reason where there is no GPU; `BN_REQUIRE=cuda` makes that a failure.

use bn_conformance::Suite;
use bn_core::Staged;
use bn_cuda::CudaBackend;

fn main() -> std::process::ExitCode {
    let device = Suite::on_device("cuda", || CudaBackend::new(0))
        .variant("unaligned", || Ok(CudaBackend::new(0)?.unaligned(1)))
        .variant("without-clusters", || Ok(CudaBackend::new(0)?.without_clusters()))
        .every_element();
    let staged = Suite::probe("cuda", || Ok(Staged::new(CudaBackend::new(0)?)));
    let staged = staged.labelled("staged").every_element();
    bn_conformance::run(device.trials().into_iter().chain(staged.trials()))
}
