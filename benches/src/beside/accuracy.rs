//! Everyone's error as the mean of the inputs moves away from 0.

use anyhow::Result;
use bn_conformance::shapes;
use bn_core::DType;

use super::inputs::Inputs;
use super::judge::Expected;
use super::record::{Accuracy, Errors};
use super::session::Session;
use crate::Case;

/// The values spread by 2 around each of these.
const MEANS: [f64; 7] = [0.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];

/// Large enough for sums to go wrong, small enough for the reference.
const SHAPE: &str = "tiny/8x16x32x32";

/// One case for each operation in each layout of these, at [`SHAPE`].
pub(super) fn cases(of: &[Case]) -> Vec<Case> {
    let shape = shapes::matching(SHAPE)[0];
    let mut cases: Vec<Case> = Vec::new();
    for &case in of {
        let is_there = |known: &Case| {
            (known.operation, known.layout, known.threads)
                == (case.operation, case.layout, case.threads)
        };
        if !cases.iter().any(is_there) {
            cases.push(Case { shape, dtype: DType::F32, ..case });
        }
    }
    cases
}

/// Has everyone compute a case at each mean.
pub(super) fn of(session: &mut Session<'_>, case: &Case) -> Result<Accuracy> {
    let dims = case.shape.dims(case.layout);
    let folder = session.folder("inputs-by-mean");
    let mut contenders: Vec<Errors> = Vec::new();
    for mean in MEANS {
        let inputs = Inputs::write(case.operation, &dims, case.layout, mean, &folder)?;
        let errors = session.errors(case, &inputs, &Expected::of(&inputs)?)?;
        if contenders.is_empty() {
            let none = |key: &str| Errors { key: key.to_owned(), errors: Vec::new() };
            contenders = session.keys().map(none).collect();
        }
        for (one, found) in contenders.iter_mut().zip(errors) {
            one.errors.push(found.and_then(Result::ok));
        }
    }
    contenders.retain(|one| one.errors.iter().any(Option::is_some));
    Ok(Accuracy {
        operation: case.operation.name(),
        layout: case.layout.name(),
        shape: case.shape.to_string(),
        means: MEANS.to_vec(),
        contenders,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operation;
    use bn_core::Layout;

    #[test]
    fn each_operation_in_each_layout_has_one_case() {
        let case = |operation, shape| Case {
            operation,
            layout: Layout::ChannelsLast,
            dtype: DType::F32,
            threads: 2,
            shape: shapes::matching(shape)[0],
        };
        let measured = [
            case(Operation::Training, "resnet50/1x64x56x56"),
            case(Operation::Training, "flat"),
            case(Operation::Backward, "flat"),
        ];
        let cases = cases(&measured);
        let operations: Vec<_> = cases.iter().map(|case| case.operation).collect();
        assert_eq!(operations, [Operation::Training, Operation::Backward]);
        assert!(cases.iter().all(|case| case.shape.to_string() == SHAPE));
    }
}
