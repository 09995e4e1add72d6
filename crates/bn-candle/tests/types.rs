//! Every element type, in every layout, with every epilogue, trained and frozen, against the same
//! layer in `f64`, whose gradients are held to central differences elsewhere.

mod step;
mod tensors;

use candle_core::{DType, Result};
use step::{Case, Operands, agree, tolerance};

#[test]
fn each_type_in_each_layout_with_each_epilogue() -> Result<()> {
    for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
        for case in Case::all(dtype) {
            let operands = Operands::new(&case)?;
            let found = operands.step(&case)?;
            let expected = operands.in_double()?.step(&Case { transposed: false, ..case })?;
            agree(&found, &expected, tolerance(dtype), &case)?;
        }
    }
    Ok(())
}
