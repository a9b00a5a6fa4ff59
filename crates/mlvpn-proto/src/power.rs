//! Powers of two that come out the same on every machine, so that a run can be repeated anywhere: those of the
//! system's library differ in the last bit from processor to processor.

use core::f64::consts::LN_2;

/// Terms of the series: the next is below 1e-16 for half a power.
const TERMS: u32 = 14;

/// 2 to the power of `x`, with an error below 1e-14 of it; 0 and infinity beyond ±1022.
pub(crate) fn exp2(x: f64) -> f64 {
    if !(-1022.0..=1022.0).contains(&x) {
        return if x > 0.0 { f64::INFINITY } else { 0.0 };
    }
    let whole = x.round();
    let part = (x - whole) * LN_2;
    // The exponential series, from its end (Horner).
    let series = (1..=TERMS).rev().fold(1.0, |sum, n| 1.0 + sum * part / f64::from(n));
    let exponent = (1023 + whole as i64) as u64;
    series * f64::from_bits(exponent << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_agree_with_the_librarys() {
        for n in -4_000..=4_000 {
            let x = f64::from(n) / 97.0;
            let ratio = exp2(x) / x.exp2();
            assert!((ratio - 1.0).abs() < 1e-14, "{x}: {ratio}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_nothing_or_infinite() {
        assert_eq!([exp2(-2_000.0), exp2(0.0), exp2(3.0)], [0.0, 1.0, 8.0]);
        assert!(exp2(2_000.0).is_infinite());
        assert_eq!(exp2(f64::NAN), 0.0);
    }
}
