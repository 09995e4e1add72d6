//! What a tensor is for, and what such a tensor is called in files.

/// The input that a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    X,
    Dy,
    Gamma,
    Beta,
    RunningMean,
    RunningVar,
    Residual,
}

impl Role {
    /// The option that gives it.
    pub(crate) const fn option(self) -> &'static str {
        match self {
            Self::X => "--x",
            Self::Dy => "--dy",
            Self::Gamma => "--gamma",
            Self::Beta => "--beta",
            Self::RunningMean => "--running-mean",
            Self::RunningVar => "--running-var",
            Self::Residual => "--residual",
        }
    }

    /// The names under which files of several tensors keep it: ours, and PyTorch's.
    pub(crate) const fn names(self) -> &'static [&'static str] {
        match self {
            Self::X => &["x"],
            Self::Dy => &["dy"],
            Self::Gamma => &["gamma", "weight"],
            Self::Beta => &["beta", "bias"],
            Self::RunningMean => &["running_mean"],
            Self::RunningVar => &["running_var"],
            Self::Residual => &["residual"],
        }
    }
}
