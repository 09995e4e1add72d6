//! Compiles the kernels for the CPU: as they are, and with errors planted in copies of them, which the
//! tests must find. Where there is no C++ compiler, says so instead.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The kernels, with the arguments that each takes, in the order of their indices.
const OPERATIONS: [(&str, &str); 16] = [
    ("moments_first", "MomentsArguments"),
    ("sums_first", "SumsArguments"),
    ("normalize_first", "NormalizeArguments"),
    ("gradient_first", "GradientArguments"),
    ("moments_last", "MomentsArguments"),
    ("sums_last", "SumsArguments"),
    ("normalize_last", "NormalizeArguments"),
    ("gradient_last", "GradientArguments"),
    ("finish_moments", "FinishMomentsArguments"),
    ("finish_sums", "FinishSumsArguments"),
    ("fixed_statistics", "FixedStatisticsArguments"),
    ("store_numbers", "StoreNumbersArguments"),
    ("train_first", "TrainArguments"),
    ("differentiate_first", "DifferentiateArguments"),
    ("train_last", "TrainArguments"),
    ("differentiate_last", "DifferentiateArguments"),
];

/// The element types in the order of their indices: the suffix of entry points, the type in C++, and the
/// values of a unit.
const TYPES: [(&str, &str, &[usize]); 4] = [
    ("f32", "float", &[4, 1]),
    ("f64", "double", &[2, 1]),
    ("f16", "f16", &[8, 4, 1]),
    ("bf16", "bf16", &[8, 4, 1]),
];
const MOST_WIDTHS: usize = 3;

/// The element type whose kernels are compiled with errors planted: to find them takes no other, and to compile all
/// takes minutes.
const OF_PLANTED: &str = "f32";

/// A variant of the kernels: its name, and a place in a file whose text is replaced.
struct Variant {
    name: &'static str,
    planted: Option<(&'static str, &'static str, &'static str)>,
}

const VARIANTS: [Variant; 5] = [
    Variant { name: "plain", planted: None },
    Variant {
        name: "no_barrier",
        planted: Some(("reduction.cuh", "    __syncthreads();\n    bool holds", "    bool holds")),
    },
    Variant {
        name: "long_tail",
        planted: Some((
            "walk.cuh",
            "here.exists = left > 0 && here.column < shape.spatial;",
            "here.exists = left > 0;",
        )),
    },
    Variant {
        name: "alone",
        planted: Some((
            "residence.cuh",
            "    meet_cluster();\n\n    each_column(columns, [&](u32 column, bool exists) {\n        u32 rank = threadIdx.x % TEAM;\n        const double* at = (const double*)(parts + column);\n        Moments",
            "\n    each_column(columns, [&](u32 column, bool exists) {\n        u32 rank = threadIdx.x % TEAM;\n        const double* at = (const double*)(parts + column);\n        Moments",
        )),
    },
    Variant {
        name: "early",
        planted: Some((
            "kept.cuh",
            "if (ARRIVE) wait_for_copies(COPY_GROUPS - 1 - group);",
            "if (ARRIVE) wait_for_copies(COPY_GROUPS - group);",
        )),
    },
];

fn main() {
    println!("cargo:rustc-check-cfg=cfg(emulated)");
    let kernels = Path::new("../kernels");
    println!("cargo:rerun-if-changed={}", kernels.display());
    println!("cargo:rerun-if-changed=include");
    println!("cargo:rerun-if-changed=build.rs");
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(2).warnings(false).include("include");
    // The kernels say themselves where they fuse a·b + c, and read words of values.
    for flag in ["-ffp-contract=off", "-fno-strict-aliasing"] {
        build.flag_if_supported(flag);
    }
    let compiler = build.try_get_compiler().ok();
    let works = compiler.is_some_and(|compiler| {
        Command::new(compiler.path())
            .arg("--version")
            .output()
            .is_ok_and(|run| run.status.success())
    });
    if !works {
        return;
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    for variant in VARIANTS {
        let folder = out.join(variant.name);
        copy(kernels, &folder, &variant);
        let unit = out.join(format!("{}.cpp", variant.name));
        fs::write(&unit, translation_unit(&variant, &folder)).expect("a folder of ours");
        build.file(unit);
    }
    build.compile("kernels");
    println!("cargo:rustc-cfg=emulated");
}

/// Copies the sources, and plants the error in its file.
fn copy(kernels: &Path, folder: &Path, variant: &Variant) {
    fs::create_dir_all(folder).expect("a folder of ours");
    for entry in fs::read_dir(kernels).expect("the kernels lie beside this package") {
        let path = entry.expect("a readable folder").path();
        let mut text = fs::read_to_string(&path).expect("sources are text");
        if let Some((file, right, wrong)) = variant.planted
            && path.ends_with(file)
        {
            assert_eq!(text.matches(right).count(), 1, "one place in {file} to plant an error at");
            text = text.replace(right, wrong);
        }
        fs::write(folder.join(path.file_name().expect("a file")), text).expect("a folder of ours");
    }
}

/// The kernels in a namespace, and what calls them by their index.
fn translation_unit(variant: &Variant, folder: &Path) -> String {
    let Variant { name, planted } = variant;
    let include = |file: &str| format!("#include \"{}\"\n", folder.join(file).display());
    let sources = ["channels_first", "channels_last", "finish", "resident_first", "resident_last"];
    let sources = sources.map(|source| include(&format!("{source}.cu"))).concat();
    let (mut cases, mut sizes) = (String::new(), String::new());
    for (operation, (kernel, arguments)) in OPERATIONS.into_iter().enumerate() {
        for (dtype, (suffix, cpp, widths)) in TYPES.into_iter().enumerate() {
            let of_parameters = (8..12).contains(&operation);
            let exists = match kernel {
                "store_numbers" => suffix == "f64",
                _ => !of_parameters || suffix == "f32" || suffix == "f64",
            };
            if !exists {
                continue;
            }
            let namespace = if cpp == suffix { format!("{name}::") } else { String::new() };
            let of = match kernel {
                "store_numbers" => String::new(),
                _ => format!("<{namespace}{cpp}>"),
            };
            if suffix == "f64" {
                sizes += &format!(
                    "    if (!strcmp(of, \"{arguments}\")) return sizeof({name}::{arguments}{of});\n"
                );
            }
            if planted.is_some() && !of_parameters && suffix != OF_PLANTED {
                continue;
            }
            for (slot, width) in widths.iter().enumerate() {
                let index = 2 * ((operation * TYPES.len() + dtype) * MOST_WIDTHS + slot);
                let entry = match (of_parameters, width) {
                    (false, 8) if kernel.ends_with("last") => continue,
                    (false, width) => format!("{kernel}_{suffix}x{width}"),
                    (true, 1) => format!("{kernel}_{suffix}"),
                    (true, _) => continue,
                };
                let mut case = |index, entry| {
                    cases += &format!(
                        "    case {index}: return {name}::{entry}(*(const {name}::{arguments}{of}*)a);\n"
                    );
                };
                case(index, entry.clone());
                if operation < 8 {
                    case(index + 1, format!("{entry}_any"));
                }
            }
        }
    }
    let types = match planted {
        Some(_) => format!("#define ONE_TYPE\n#define ONLY_{}\n", OF_PLANTED.to_uppercase()),
        None => String::new(),
    };
    format!(
        "{types}#include \"emulation.h\"\nnamespace {name} {{\n{sources}}}\n\
         extern \"C\" size_t {name}_size(const char* of) {{\n{sizes}    return 0;\n}}\n\
         extern \"C\" void {name}_run(Emulation* state, unsigned kernel, const void* a) {{\n    \
         emulation = state;\n    switch (kernel) {{\n{cases}    default: abort();\n    }}\n}}\n"
    )
}
