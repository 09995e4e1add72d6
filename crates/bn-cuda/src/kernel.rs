//! The kernels by name, and how they are launched.

use bn_core::DType;

/// The source file of a kernel, and so the PTX text that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// `channels_first.cu`.
    ChannelsFirst,
    /// `channels_last.cu`.
    ChannelsLast,
    /// `finish.cu`.
    Finish,
    /// `resident_first.cu`.
    ResidentFirst,
    /// `resident_last.cu`.
    ResidentLast,
}

impl Source {
    /// Every source file.
    pub const ALL: [Self; 5] = [
        Self::ChannelsFirst,
        Self::ChannelsLast,
        Self::Finish,
        Self::ResidentFirst,
        Self::ResidentLast,
    ];

    /// The PTX that it compiles to for an element type, and for every architecture from `sm_80` on; of those that
    /// run in clusters, from `sm_90` on.
    ///
    /// # Panics
    ///
    /// Where the type is none of [`DType::ELEMENTS`], of which no kernel is.
    #[must_use]
    pub const fn ptx(self, dtype: DType) -> &'static str {
        match (self, dtype) {
            (Self::ChannelsFirst, DType::F32) => include_str!("../ptx/channels_first_f32.ptx"),
            (Self::ChannelsFirst, DType::F64) => include_str!("../ptx/channels_first_f64.ptx"),
            (Self::ChannelsFirst, DType::F16) => include_str!("../ptx/channels_first_f16.ptx"),
            (Self::ChannelsFirst, DType::BF16) => include_str!("../ptx/channels_first_bf16.ptx"),
            (Self::ChannelsLast, DType::F32) => include_str!("../ptx/channels_last_f32.ptx"),
            (Self::ChannelsLast, DType::F64) => include_str!("../ptx/channels_last_f64.ptx"),
            (Self::ChannelsLast, DType::F16) => include_str!("../ptx/channels_last_f16.ptx"),
            (Self::ChannelsLast, DType::BF16) => include_str!("../ptx/channels_last_bf16.ptx"),
            (Self::Finish, _) => include_str!("../ptx/finish.ptx"),
            (Self::ResidentFirst, DType::F32) => include_str!("../ptx/resident_first_f32.ptx"),
            (Self::ResidentFirst, DType::F64) => include_str!("../ptx/resident_first_f64.ptx"),
            (Self::ResidentFirst, DType::F16) => include_str!("../ptx/resident_first_f16.ptx"),
            (Self::ResidentFirst, DType::BF16) => include_str!("../ptx/resident_first_bf16.ptx"),
            (Self::ResidentLast, DType::F32) => include_str!("../ptx/resident_last_f32.ptx"),
            (Self::ResidentLast, DType::F64) => include_str!("../ptx/resident_last_f64.ptx"),
            (Self::ResidentLast, DType::F16) => include_str!("../ptx/resident_last_f16.ptx"),
            (Self::ResidentLast, DType::BF16) => include_str!("../ptx/resident_last_bf16.ptx"),
            _ => panic!("kernels have elements"),
        }
    }
}

/// What a kernel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Moments of each part, channels-first.
    MomentsFirst,
    /// Gradient sums of each part, channels-first.
    SumsFirst,
    /// y, channels-first.
    NormalizeFirst,
    /// dx, channels-first.
    GradientFirst,
    /// Moments of each part, channels-last.
    MomentsLast,
    /// Gradient sums of each part, channels-last.
    SumsLast,
    /// y, channels-last.
    NormalizeLast,
    /// dx, channels-last.
    GradientLast,
    /// From the moments of the parts to statistics, saved and running.
    FinishMoments,
    /// From the sums of the parts to those of the channels, dgamma and dbeta.
    FinishSums,
    /// Mean and 1/sqrt(var + eps) of running statistics.
    FixedStatistics,
    /// Numbers of the host, by value.
    StoreNumbers,
    /// Forward in one launch of clusters, channels-first.
    TrainFirst,
    /// Backward in one launch of clusters, channels-first.
    DifferentiateFirst,
    /// Forward in one launch of clusters, channels-last.
    TrainLast,
    /// Backward in one launch of clusters, channels-last.
    DifferentiateLast,
}

impl Operation {
    /// Every operation, in the order of [`Kernel::index`].
    pub const ALL: [Self; 16] = [
        Self::MomentsFirst,
        Self::SumsFirst,
        Self::NormalizeFirst,
        Self::GradientFirst,
        Self::MomentsLast,
        Self::SumsLast,
        Self::NormalizeLast,
        Self::GradientLast,
        Self::FinishMoments,
        Self::FinishSums,
        Self::FixedStatistics,
        Self::StoreNumbers,
        Self::TrainFirst,
        Self::DifferentiateFirst,
        Self::TrainLast,
        Self::DifferentiateLast,
    ];

    /// The name of its entry points, without the element type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MomentsFirst => "moments_first",
            Self::SumsFirst => "sums_first",
            Self::NormalizeFirst => "normalize_first",
            Self::GradientFirst => "gradient_first",
            Self::MomentsLast => "moments_last",
            Self::SumsLast => "sums_last",
            Self::NormalizeLast => "normalize_last",
            Self::GradientLast => "gradient_last",
            Self::FinishMoments => "finish_moments",
            Self::FinishSums => "finish_sums",
            Self::FixedStatistics => "fixed_statistics",
            Self::StoreNumbers => "store_numbers",
            Self::TrainFirst => "train_first",
            Self::DifferentiateFirst => "differentiate_first",
            Self::TrainLast => "train_last",
            Self::DifferentiateLast => "differentiate_last",
        }
    }

    /// Where it stands.
    #[must_use]
    pub const fn source(self) -> Source {
        match self {
            Self::MomentsFirst | Self::SumsFirst | Self::NormalizeFirst | Self::GradientFirst => {
                Source::ChannelsFirst
            }
            Self::MomentsLast | Self::SumsLast | Self::NormalizeLast | Self::GradientLast => {
                Source::ChannelsLast
            }
            Self::FinishMoments | Self::FinishSums | Self::FixedStatistics | Self::StoreNumbers => {
                Source::Finish
            }
            Self::TrainFirst | Self::DifferentiateFirst => Source::ResidentFirst,
            Self::TrainLast | Self::DifferentiateLast => Source::ResidentLast,
        }
    }
}

/// A kernel: what it does, of which element type, in units of how many values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// What it does.
    pub operation: Operation,
    /// Of which type; those of `finish.cu` go by the type of the parameters.
    pub dtype: DType,
    /// How many values a thread reads at once: one of [`Kernel::widths`], and 1 in `finish.cu`.
    pub width: usize,
    /// Whether it is for aligned tensors without a mask alone; those that run in clusters and those of `finish.cu`
    /// always are.
    pub is_plain: bool,
}

impl Kernel {
    /// How many indices there are; not every one is a kernel.
    pub const COUNT: usize = 2 * Operation::ALL.len() * DType::ELEMENTS.len() * Self::MOST_WIDTHS;

    const MOST_WIDTHS: usize = 3;

    /// The widths that there are of a type, the widest first: 16 bytes, 8 of the types whose rows are often
    /// odd multiples of that, and a value. In channels-last there are none of eight values.
    #[must_use]
    pub const fn widths(dtype: DType) -> &'static [usize] {
        match dtype {
            DType::F64 => &[2, 1],
            DType::F16 | DType::BF16 => &[8, 4, 1],
            _ => &[4, 1],
        }
    }

    /// Its place among [`Kernel::COUNT`].
    ///
    /// # Panics
    ///
    /// Where there is no such type or width, and so no such kernel.
    #[must_use]
    pub fn index(self) -> usize {
        let dtype = DType::ELEMENTS.iter().position(|&dtype| dtype == self.dtype);
        let width = Self::widths(self.dtype).iter().position(|&width| width == self.width);
        let dtype = self.operation as usize * DType::ELEMENTS.len() + dtype.expect("an element");
        let width = dtype * Self::MOST_WIDTHS + width.expect("a width of the type");
        width * 2 + usize::from(!self.is_plain)
    }

    /// Whether its blocks run in clusters.
    #[must_use]
    pub const fn runs_in_clusters(self) -> bool {
        matches!(self.operation.source(), Source::ResidentFirst | Source::ResidentLast)
    }

    /// The name of its entry point: `moments_first_f32x4`, or with `_any` where it is not plain.
    #[must_use]
    pub fn name(self) -> String {
        let Self { operation, dtype, width, is_plain } = self;
        let any = if is_plain { "" } else { "_any" };
        match operation.source() {
            Source::Finish => format!("{}_{dtype}", operation.name()),
            _ => format!("{}_{dtype}x{width}{any}", operation.name()),
        }
    }
}

/// Blocks of a cluster at most.
pub const MOST_BLOCKS_OF_CLUSTER: usize = 16;
/// Bytes of shared memory of a block of a cluster at most; other blocks have the 48 KiB that every device gives.
pub const MOST_SHARED_BYTES: usize = 112 << 10;

/// How many threads run a kernel, in one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Blocks.
    pub blocks: u32,
    /// Threads of a block: whole warps, at most 256.
    pub threads: u32,
    /// Bytes of shared memory of a block.
    pub shared_bytes: u32,
    /// Blocks of a cluster, which run together, and of which there are whole ones; 1 where there are none.
    pub cluster: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_stand_in_the_order_of_their_indices() {
        for (index, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, index);
        }
    }

    #[test]
    fn every_kernel_has_an_index_of_its_own() {
        let mut seen = std::collections::HashSet::new();
        for operation in Operation::ALL {
            for dtype in DType::ELEMENTS {
                for &width in Kernel::widths(dtype) {
                    for is_plain in [true, false] {
                        let index = Kernel { operation, dtype, width, is_plain }.index();
                        assert!(index < Kernel::COUNT && seen.insert(index));
                    }
                }
            }
        }
    }

    #[test]
    fn the_embedded_ptx_holds_every_kernel() {
        for operation in Operation::ALL {
            let dtypes: &[DType] = match (operation, operation.source()) {
                (Operation::StoreNumbers, _) => &[DType::F64],
                (_, Source::Finish) => &[DType::F32, DType::F64],
                _ => &DType::ELEMENTS,
            };
            for &dtype in dtypes {
                let all = Kernel::widths(dtype);
                let widths = if operation.source() == Source::Finish { &[1] } else { all };
                let ptx = operation.source().ptx(dtype);
                let is_last =
                    matches!(operation.source(), Source::ChannelsLast | Source::ResidentLast);
                for &width in widths.iter().filter(|&&width| !is_last || width < 8) {
                    let both = [true, false];
                    let is_single =
                        !matches!(operation.source(), Source::ChannelsFirst | Source::ChannelsLast);
                    for is_plain in &both[..if is_single { 1 } else { 2 }] {
                        let name = Kernel { operation, dtype, width, is_plain: *is_plain }.name();
                        assert!(ptx.contains(&format!(".visible .entry {name}(")), "{name}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_driver_for_cuda_12_0_takes_the_ptx() {
        for source in Source::ALL {
            for dtype in DType::ELEMENTS {
                let ptx = source.ptx(dtype);
                assert!(ptx.contains(".version 8.0\n"), "{source:?} {dtype}");
                let runs_in_clusters =
                    matches!(source, Source::ResidentFirst | Source::ResidentLast);
                let target = if runs_in_clusters { ".target sm_90\n" } else { ".target sm_80\n" };
                assert!(ptx.contains(target), "{source:?} {dtype}");
            }
        }
    }
}
