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
    /// `teams.cu`.
    Teams,
}

impl Source {
    /// Every source file.
    pub const ALL: [Self; 4] = [Self::ChannelsFirst, Self::ChannelsLast, Self::Finish, Self::Teams];

    /// The PTX that it compiles to, for every architecture from `sm_80` on.
    #[must_use]
    pub const fn ptx(self) -> &'static str {
        match self {
            Self::ChannelsFirst => include_str!("../ptx/channels_first.ptx"),
            Self::ChannelsLast => include_str!("../ptx/channels_last.ptx"),
            Self::Finish => include_str!("../ptx/finish.ptx"),
            Self::Teams => include_str!("../ptx/teams.ptx"),
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
    /// Moments, statistics and y, channels-first.
    TrainFirst,
    /// Sums, parameter gradients and dx, channels-first.
    DifferentiateFirst,
}

impl Operation {
    /// Every operation, in the order of [`Kernel::index`].
    pub const ALL: [Self; 14] = [
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
            Self::TrainFirst | Self::DifferentiateFirst => Source::Teams,
        }
    }
}

/// A kernel: what it does, of which element type. Those of `finish.cu` go by the type of the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// What it does.
    pub operation: Operation,
    /// Of which type.
    pub dtype: DType,
}

impl Kernel {
    /// How many indices there are; not every one is a kernel.
    pub const COUNT: usize = Operation::ALL.len() * DType::ELEMENTS.len();

    /// Its place among [`Kernel::COUNT`].
    ///
    /// # Panics
    ///
    /// Where the type is none of [`DType::ELEMENTS`], of which no kernel is.
    #[must_use]
    pub fn index(self) -> usize {
        let dtype = DType::ELEMENTS.iter().position(|&dtype| dtype == self.dtype);
        self.operation as usize * DType::ELEMENTS.len() + dtype.expect("kernels have elements")
    }

    /// The name of its entry point: `moments_first_f32`.
    #[must_use]
    pub fn name(self) -> String {
        format!("{}_{}", self.operation.name(), self.dtype)
    }
}

/// How many threads run a kernel, in one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Blocks.
    pub blocks: u32,
    /// Threads of a block: whole warps, at most 256.
    pub threads: u32,
    /// Bytes of shared memory of a block.
    pub shared_bytes: u32,
    /// Whether blocks wait for each other, so that all of them must be there at once.
    pub is_cooperative: bool,
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
    fn the_embedded_ptx_holds_every_kernel() {
        for operation in Operation::ALL {
            let ptx = operation.source().ptx();
            let dtypes: &[DType] = match (operation, operation.source()) {
                (Operation::StoreNumbers, _) => &[DType::F64],
                (_, Source::Finish) => &[DType::F32, DType::F64],
                _ => &DType::ELEMENTS,
            };
            for &dtype in dtypes {
                let name = Kernel { operation, dtype }.name();
                assert!(ptx.contains(&format!(".visible .entry {name}(")), "{name}");
            }
        }
    }

    #[test]
    fn a_driver_for_cuda_12_0_takes_the_ptx() {
        for source in Source::ALL {
            assert!(source.ptx().contains(".version 8.0\n"), "{source:?}");
            assert!(source.ptx().contains(".target sm_80\n"), "{source:?}");
        }
    }
}
