//! The direction of dependencies between members: backends → core, facade → core and backends, and
//! no way back.

use cargo_metadata::camino::Utf8Path;
use cargo_metadata::{Dependency, DependencyKind, Package};

use super::Violation;

/// What a member is for, from which follows what it may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    /// The contract.
    Core,
    /// An implementation of the contract.
    Backend,
    /// A backend that also gives its framework a layer, and takes the layer's kernels from others.
    Framework,
    /// The suite that every backend runs.
    Conformance,
    /// A file format and what its networks contain.
    Format,
    /// The backends behind feature flags.
    Facade,
    /// A program or benchmark on top of it all.
    Tool,
    /// This program, which must build while others do not.
    Tasks,
}

impl Layer {
    /// Every member that is not named here is a backend.
    fn of(name: &str) -> Self {
        match name {
            "bn-core" => Self::Core,
            "bn-conformance" => Self::Conformance,
            "bn-candle" => Self::Framework,
            "bn-caffe" => Self::Format,
            "bn" => Self::Facade,
            "bn-cli" | "bn-bench" | "bn-cuda-emulation" => Self::Tool,
            "xtask" => Self::Tasks,
            _ => Self::Backend,
        }
    }

    fn may_depend_on(self, other: Self) -> bool {
        match self {
            Self::Core | Self::Tasks => false,
            Self::Backend | Self::Conformance | Self::Format => other == Self::Core,
            Self::Framework => matches!(other, Self::Core | Self::Backend),
            Self::Facade => matches!(other, Self::Core | Self::Backend | Self::Framework),
            Self::Tool => !matches!(other, Self::Tool | Self::Tasks),
        }
    }
}

/// The edges of a member that point the wrong way, and backends that the facade cannot leave out.
///
/// Tests, examples and benchmarks may use what they like: only normal and build dependencies count.
pub(super) fn check(
    manifest: &Utf8Path,
    package: &Package,
    members: &[&Package],
) -> Vec<Violation> {
    let of_members = package.dependencies.iter().filter(|dependency| {
        dependency.kind != DependencyKind::Development
            && members.iter().any(|member| member.name.as_str() == dependency.name)
    });
    let rules = of_members.filter_map(|dependency| broken_rule(&package.name, dependency));
    rules.map(|rule| Violation::of_file(manifest, rule)).collect()
}

fn broken_rule(package: &str, dependency: &Dependency) -> Option<String> {
    let (from, to) = (Layer::of(package), Layer::of(&dependency.name));
    if !from.may_depend_on(to) {
        return Some(format!("{package} must not depend on {}", dependency.name));
    }
    let backend = matches!(to, Layer::Backend | Layer::Framework);
    let is_tied = from == Layer::Facade && backend && !dependency.optional;
    is_tied.then(|| format!("{} must be optional, behind a feature", dependency.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_point_to_core() {
        let allowed = [
            ("bn-rayon", "bn-core"),
            ("bn-conformance", "bn-core"),
            ("bn-caffe", "bn-core"),
            ("bn-candle", "bn-rayon"),
            ("bn-candle", "bn-cuda"),
            ("bn", "bn-candle"),
            ("bn", "bn-naive"),
            ("bn-cli", "bn"),
            ("bn-cli", "bn-caffe"),
            ("bn-bench", "bn-conformance"),
            ("bn-cuda-emulation", "bn-cuda"),
        ];
        let forbidden = [
            ("bn-core", "bn-naive"),
            ("bn-rayon", "bn-naive"),
            ("bn-rayon", "bn"),
            ("bn-rayon", "bn-candle"),
            ("bn-candle", "bn"),
            ("bn-conformance", "bn-naive"),
            ("bn-caffe", "bn"),
            ("bn", "bn-cli"),
            ("bn-cuda", "bn-cuda-emulation"),
            ("xtask", "bn-core"),
        ];
        for (from, to) in allowed {
            assert!(Layer::of(from).may_depend_on(Layer::of(to)), "{from} → {to}");
        }
        for (from, to) in forbidden {
            assert!(!Layer::of(from).may_depend_on(Layer::of(to)), "{from} → {to}");
        }
    }
}
