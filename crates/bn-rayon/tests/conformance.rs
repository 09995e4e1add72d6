//! The whole conformance suite, and the same bits from every number of threads, from every instruction
//! set with fused multiply-add, and past the cache.

use bn_conformance::Suite;
use bn_core::Error;
use bn_rayon::{Level, RayonBackend};

fn main() -> std::process::ExitCode {
    let mut suite = Suite::of(RayonBackend::new());
    for threads in [1, 2, 3, 8] {
        // Without the bound for small tensors, or the suite's would all stay on one thread.
        let make = || Ok(RayonBackend::with_threads(threads)?.with_alone_below(0));
        suite = suite.variant(format!("{threads}-threads"), make);
    }
    for name in ["avx512", "avx2", "neon"] {
        // Past the cache as well, which only tensors beyond it would take otherwise.
        let make = || Ok(RayonBackend::new().with_level(level(name)?).with_cache(0));
        suite = suite.variant(format!("{name}-past-cache"), make);
    }
    suite.every_element().run()
}

fn level(name: &str) -> Result<Level, Error> {
    let reason = || format!("this CPU has no {name}");
    Level::named(name).ok_or_else(|| Error::Unavailable { backend: "rayon", reason: reason() })
}
