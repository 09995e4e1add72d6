//! Numbers and shapes for people: short, and never so short that they mislead.

/// Five significant digits; powers of ten where the number is far from 1.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    if (1e-3..1e5).contains(&size) {
        let before_point = size.log10().floor() as i32 + 1;
        let decimals = (5 - before_point.max(1)).max(0) as usize;
        // A minus in front of nothing but zeros says nothing; it cannot arise from 1e-3.
        return format!("{value:.decimals$}");
    }
    format!("{value:.3e}")
}

/// A time in the unit that suits it.
pub(super) fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s if s < 1.0 => format!("{:.3} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// A shape as `64×24×8×8`.
pub(crate) fn shape(dims: &[usize]) -> String {
    if dims.is_empty() {
        return "scalar".into();
    }
    dims.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_five_digits() {
        let cases = [
            (0.0, "0"),
            (1.5, "1.5000"),
            (-12.345678, "-12.346"),
            (12345.678, "12346"),
            (0.001_234_567, "0.0012"),
            (1e-7, "1.000e-7"),
            (-2.5e30, "-2.500e30"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }
}
