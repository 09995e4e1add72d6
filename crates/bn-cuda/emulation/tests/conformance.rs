//! The whole conformance suite on emulated kernels: in every order of threads the same bits, at odd
//! addresses too. Ignored with the reason where the build found no C++ compiler.

use bn_conformance::Suite;
use bn_cuda_emulation::{Emulator, Order};

fn main() -> std::process::ExitCode {
    Suite::on_device("cuda-emulation", || Emulator::backend(Order::Forward))
        .variant("reverse", || Emulator::backend(Order::Reverse))
        .variant("seeded", || Emulator::backend(Order::Seeded(7)))
        .variant("unaligned", || Ok(Emulator::backend(Order::Forward)?.unaligned(1)))
        .variant("teams", || Emulator::with_teams(Order::Reverse, 8))
        .every_element()
        .run()
}
