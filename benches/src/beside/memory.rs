//! Whether everyone's tensors fit into the memory at once.

use std::fs;

use crate::Case;

/// Why a case is not measured with so many contenders; `None` where it fits or nobody knows.
pub(super) fn shortage(case: &Case, contenders: usize) -> Option<String> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let (needed, free) = (needed(case, contenders), available(&text)?);
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    (needed > free).then(|| {
        format!(
            "the tensors of {contenders} contenders need {:.1} GB and {:.1} GB are free",
            gigabytes(needed),
            gigabytes(free)
        )
    })
}

/// Every contender has its tensors, and one more while it reads them.
fn needed(case: &Case, contenders: usize) -> u64 {
    let tensors = case.operation.traffic().tensors() + 1;
    (case.tensor_bytes() * tensors * contenders) as u64
}

/// What the system says it can give away, of the text of `/proc/meminfo`, in bytes.
fn available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operation;
    use bn_conformance::shapes;
    use bn_core::{DType, Layout};

    #[test]
    fn the_system_is_asked() {
        let text = "MemTotal:  9 kB\nMemAvailable:    7 kB\n";
        assert_eq!(available(text), Some(7 * 1024));
        assert_eq!(available("nothing"), None);
    }

    #[test]
    fn a_crowd_does_not_fit() {
        let case = Case {
            operation: Operation::Backward,
            layout: Layout::ChannelsFirst,
            dtype: DType::F32,
            threads: 1,
            shape: shapes::matching("flat")[0],
        };
        assert_eq!(needed(&case, 3), 3 * 4 * 4096 * 1024 * 4);
        if cfg!(target_os = "linux") {
            assert!(shortage(&case, 1 << 30).unwrap().contains("contenders need"));
        }
        assert_eq!(shortage(&case, 0), None);
    }
}
