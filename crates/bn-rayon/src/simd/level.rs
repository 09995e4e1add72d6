//! The instruction sets, chosen once at run time.

use core::fmt;

use super::{Simd, portable::Portable};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};

/// An instruction set that this CPU has.
///
/// There is no way to make one that the CPU lacks, so whoever holds a level may run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Avx512,
    Avx2,
    Neon,
    Portable,
}

/// Something to run on a level.
///
/// The functions that are compiled for an instruction set stand here, and not beside [`Level::run`]: so the code of a
/// kernel belongs to the kernel's module, and the compiler makes that of several at once.
pub(crate) trait Kernel: Sized {
    /// Whether it stores past the cache. The portable level has no such stores, and no code for them.
    const STREAMS: bool = false;

    /// Runs it. Inlined into a function that is compiled for the level.
    fn run<S: Simd>(self, simd: S);

    /// # Safety
    ///
    /// The CPU has these features.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
    unsafe fn on_avx512(self) {
        // SAFETY: the caller's.
        self.run(unsafe { Avx512::new() });
    }

    /// # Safety
    ///
    /// The CPU has these features.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn on_avx2(self) {
        // SAFETY: the caller's.
        self.run(unsafe { Avx2::new() });
    }

    /// With lanes as arrays, where the CPU needs nothing.
    #[inline(never)]
    fn on_arrays<const FUSED: bool>(self) {
        self.run(Portable::<FUSED>);
    }
}

impl Level {
    /// The names of all levels, fastest first, for messages and tests.
    pub const NAMES: [&'static str; 4] = ["avx512", "avx2", "neon", "portable"];

    /// The level of that name; `None` where there is none or this CPU lacks it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let kind = match name {
            "avx512" => Kind::Avx512,
            "avx2" => Kind::Avx2,
            "neon" => Kind::Neon,
            "portable" => Kind::Portable,
            _ => return None,
        };
        kind.is_there().then_some(Self(kind))
    }

    /// The fastest level of this CPU, or the one that the environment variable `BN_SIMD` names where
    /// the CPU has it.
    #[must_use]
    pub fn detect() -> Self {
        let forced = std::env::var("BN_SIMD").ok();
        let names = forced.as_deref().into_iter().chain(Self::NAMES);
        names.into_iter().find_map(Self::named).unwrap_or(Self(Kind::Portable))
    }

    /// Every level that this CPU has, fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::NAMES.into_iter().filter_map(Self::named)
    }

    /// Its name, as [`Level::named`] takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::NAMES[self.0 as usize]
    }

    /// Whether its results are the bits of every other level with fused multiply-add.
    #[must_use]
    pub fn is_fused(self) -> bool {
        self.0 != Kind::Portable
    }

    /// Whether stores can bypass the cache.
    pub(crate) fn streams(self) -> bool {
        matches!(self.0, Kind::Avx512 | Kind::Avx2)
    }

    pub(crate) fn run<K: Kernel>(self, kernel: K) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is made only where the CPU has its features.
            Kind::Avx512 => unsafe { kernel.on_avx512() },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is made only where the CPU has its features.
            Kind::Avx2 => unsafe { kernel.on_avx2() },
            _ if K::STREAMS => unreachable!("nobody asks for stores that the level lacks"),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => kernel.on_arrays::<true>(),
            _ => kernel.on_arrays::<false>(),
        }
    }

    /// The same for a kernel that few tensors need: compiled for AVX2 where the level is AVX-512, which gives
    /// the same bits, and so once less.
    pub(crate) fn run_seldom(self, kernel: impl Kernel) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is made only where the CPU has its features, and AVX-512 only with AVX2.
            Kind::Avx512 | Kind::Avx2 => unsafe { kernel.on_avx2() },
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => kernel.on_arrays::<true>(),
            _ => kernel.on_arrays::<false>(),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self.0 {
            Kind::Avx512 => "AVX-512",
            Kind::Avx2 => "AVX2 + FMA",
            Kind::Neon => "NEON",
            Kind::Portable => "portable",
        })
    }
}

impl Kind {
    #[cfg(target_arch = "x86_64")]
    fn is_there(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        match self {
            Self::Avx512 => {
                avx2 && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            Self::Avx2 => avx2,
            Self::Neon => false,
            Self::Portable => true,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_there(self) -> bool {
        match self {
            Self::Neon => cfg!(target_arch = "aarch64"),
            Self::Avx512 | Self::Avx2 => false,
            Self::Portable => true,
        }
    }
}
