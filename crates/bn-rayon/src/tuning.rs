//! How a processor likes memory to be walked.
//!
//! Nothing here changes a result: only the order in which lines are asked for and units are taken. The
//! figures were found by measuring; see `docs/performance.md`.

/// Which cache a line is asked into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hint {
    /// All of them, the first-level one included.
    #[default]
    First,
    /// The second-level cache and those behind it.
    Second,
}

/// What the channels-first kernels take in turns and how far ahead they look, and whether the outputs of both
/// layouts go side by side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    /// Bytes of one operand that a strip has at most, unless it is one row: fewer, and the jumps from
    /// sample to sample show; more, and the two units of a thread leave its second-level cache.
    pub(crate) strip: usize,
    /// The same where rows are short.
    pub(crate) short_strip: usize,
    /// Bytes of one operand that are summed before as many are written.
    pub(crate) turn: usize,
    /// The same where strips of several samples are walked side by side, a turn of each: memory has more
    /// pages open then. In channels-last it is runs of rows, and turns of a few lines. `None` where they are
    /// better walked one after the other.
    pub(crate) abreast: Option<usize>,
    /// How many bytes ahead of the sums memory is asked for.
    pub(crate) ahead: usize,
    /// Where to.
    pub(crate) hint: Hint,
}

/// Long strips and long turns, which need little help. Measured on Zen 4, whose own prefetchers follow
/// what is read in order and lose it where something else is read beside it; on Emerald Rapids nothing else tried
/// was better.
pub(crate) const GENERAL: Tuning = Tuning {
    strip: 48 << 10,
    short_strip: 16 << 10,
    turn: 2048,
    abreast: Some(512),
    ahead: 2048,
    hint: Hint::Second,
};

/// Measured on Zen 5, where the above would cost 5 to 20 %: units that stay in the second-level cache.
pub(crate) const ZEN5: Tuning = Tuning {
    strip: 6400,
    short_strip: 3200,
    turn: 512,
    abreast: None,
    ahead: 4096,
    hint: Hint::First,
};

impl Tuning {
    /// That of the processor at hand.
    pub(crate) fn here() -> Self {
        if is_zen5() { ZEN5 } else { GENERAL }
    }
}

/// Whether this is an AMD processor of family 26.
fn is_zen5() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let vendor = core::arch::x86_64::__cpuid(0);
        let version = core::arch::x86_64::__cpuid(1).eax;
        let family = (version >> 8 & 0xf) + (version >> 20 & 0xff);
        let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
        name.as_flattened() == b"AuthenticAMD" && family == 26
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}
