//! The whole conformance suite on emulated kernels: in every order of threads and blocks the same
//! bits, at odd addresses too. Ignored with the reason where the build found no C++ compiler.

use bn_conformance::Suite;
use bn_cuda_emulation::{Emulator, Order};

fn main() -> std::process::ExitCode {
    let whole = Suite::on_device("cuda-emulation", || Emulator::backend(Order::Forward));
    // The widths of units of four and eight values; more would only take longer.
    let orders = Suite::on_device("cuda-emulation", || Emulator::backend(Order::Forward))
        .variant("reverse", || Emulator::backend(Order::Reverse))
        .variant("seeded", || Emulator::backend(Order::Seeded(7)))
        .variant("unaligned", || Ok(Emulator::backend(Order::Forward)?.unaligned(1)))
        .variant("without-clusters", || Ok(Emulator::backend(Order::Forward)?.without_clusters()))
        .element::<f32>()
        .element::<bn_core::bf16>()
        .trials();
    let orders = orders.into_iter().filter(|trial| trial.name().contains("variant/"));
    bn_conformance::run(whole.every_element().trials().into_iter().chain(orders))
}
