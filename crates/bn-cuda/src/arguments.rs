//! What kernels are launched with: the structs of `kernels/arguments.cuh`, field by field.
//!
//! Addresses are those of the device; 0 is null. Every field has 8 bytes, so no compiler pads.

/// A kernel's struct of arguments.
///
/// # Safety
///
/// The type must be `repr(C)` and have the fields of its namesake in `kernels/arguments.cuh`.
pub(crate) unsafe trait Arguments {}

macro_rules! arguments {
    ($(#[doc = $doc:literal] $name:ident { $($field:ident: $type:ty,)* })*) => {
        $(
            #[doc = $doc]
            #[repr(C)]
            #[derive(Clone, Copy, Debug)]
            pub(crate) struct $name {
                $(pub(crate) $field: $type,)*
            }

            // SAFETY: repr(C); the emulation compares the sizes of all, and the suite reads every field.
            unsafe impl Arguments for $name {}
        )*

        /// The size of each struct by name, for comparison with what a compiler of the kernels says.
        pub const ARGUMENT_SIZES: &[(&str, usize)] = &[$((stringify!($name), size_of::<$name>()),)*];
    };
}

/// The problem, cut into blocks: see `plan.rs`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) groups: u64,
    pub(crate) samples: u64,
    pub(crate) channels: u64,
    pub(crate) spatial: u64,
    pub(crate) row_units: u64,
    pub(crate) row_bytes: u64,
    pub(crate) row_width: u64,
    pub(crate) step_rows: u64,
    pub(crate) step_columns: u64,
    pub(crate) step_offset: u64,
    pub(crate) wrap_offset: u64,
    pub(crate) tile_units: u64,
    pub(crate) tiles: u64,
    pub(crate) part_length: u64,
    pub(crate) parts: u64,
    pub(crate) blocks: u64,
}

/// How a share of a cluster's block stays on the chip: see `plan.rs`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Residence {
    pub(crate) again: u64,
    pub(crate) parts_at: u64,
    pub(crate) settled_at: u64,
    pub(crate) units_at: u64,
}

/// How many numbers [`StoreNumbersArguments`] carries.
pub(crate) const NUMBERS: usize = 256;

arguments! {
    /// Moments of each part.
    MomentsArguments {
        shape: Shape,
        x: u64,
        mask: u64,
        partials: u64,
    }

    /// y.
    NormalizeArguments {
        shape: Shape,
        x: u64,
        y: u64,
        mean: u64,
        inv_std: u64,
        running_mean: u64,
        running_var: u64,
        scale: f64,
        eps: f64,
        gamma: u64,
        beta: u64,
        residual: u64,
        bits: u64,
        epilogue: u64,
    }

    /// Gradient sums of each part.
    SumsArguments {
        shape: Shape,
        dy: u64,
        x: u64,
        gate_y: u64,
        gate_bits: u64,
        mean: u64,
        inv_std: u64,
        partials: u64,
        is_normalized: u64,
    }

    /// dx.
    GradientArguments {
        shape: Shape,
        dy: u64,
        dx: u64,
        x: u64,
        gate_y: u64,
        gate_bits: u64,
        dresidual: u64,
        mean: u64,
        inv_std: u64,
        gamma: u64,
        sum_dy: u64,
        sum_dy_xhat: u64,
        counts: u64,
        count: f64,
        mask: u64,
        is_normalized: u64,
    }

    /// Statistics from the moments of the parts.
    FinishMomentsArguments {
        groups: u64,
        channels: u64,
        parts: u64,
        partials: u64,
        mean: u64,
        m2: u64,
        inv_std: u64,
        eps: f64,
        running_mean: u64,
        running_var: u64,
        keep: f64,
        add: f64,
        rounds_product: u64,
        is_unbiased: u64,
    }

    /// Gradient sums and parameter gradients from the sums of the parts.
    FinishSumsArguments {
        groups: u64,
        channels: u64,
        parts: u64,
        partials: u64,
        sum_dy: u64,
        sum_dy_xhat: u64,
        dgamma: u64,
        dbeta: u64,
    }

    /// Forward in one launch.
    TrainArguments {
        moments: MomentsArguments,
        finish: FinishMomentsArguments,
        normalize: NormalizeArguments,
        residence: Residence,
    }

    /// Backward in one launch.
    DifferentiateArguments {
        sums: SumsArguments,
        finish: FinishSumsArguments,
        gradient: GradientArguments,
        residence: Residence,
    }

    /// Fixed statistics from running ones.
    FixedStatisticsArguments {
        channels: u64,
        running_mean: u64,
        running_var: u64,
        scale: f64,
        eps: f64,
        mean: u64,
        inv_std: u64,
    }

    /// Numbers of the host.
    StoreNumbersArguments {
        to: u64,
        count: u64,
        numbers: [f64; NUMBERS],
    }
}

/// Arguments of a kernel that is there plain and otherwise.
pub(crate) trait Tensors {
    /// The addresses of all tensors of elements; 0 is none.
    fn tensors(&self) -> [u64; 5];

    /// That of the mask, or 0.
    fn mask(&self) -> u64 {
        0
    }
}

impl Tensors for MomentsArguments {
    fn tensors(&self) -> [u64; 5] {
        [self.x, 0, 0, 0, 0]
    }

    fn mask(&self) -> u64 {
        self.mask
    }
}

impl Tensors for NormalizeArguments {
    fn tensors(&self) -> [u64; 5] {
        [self.x, self.y, self.residual, 0, 0]
    }
}

impl Tensors for TrainArguments {
    fn tensors(&self) -> [u64; 5] {
        self.normalize.tensors()
    }

    fn mask(&self) -> u64 {
        self.moments.mask
    }
}

impl Tensors for DifferentiateArguments {
    fn tensors(&self) -> [u64; 5] {
        self.gradient.tensors()
    }

    fn mask(&self) -> u64 {
        self.gradient.mask
    }
}

impl Tensors for SumsArguments {
    fn tensors(&self) -> [u64; 5] {
        [self.dy, self.x, self.gate_y, 0, 0]
    }
}

impl Tensors for GradientArguments {
    fn tensors(&self) -> [u64; 5] {
        [self.dy, self.dx, self.x, self.gate_y, self.dresidual]
    }

    fn mask(&self) -> u64 {
        self.mask
    }
}
