//! Medians, and nothing else: a mean of times on a shared machine says more about the neighbours.

use std::time::Duration;

/// The median of `values`; the mean of the middle two where their number is even. NaN of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.len() / 2;
    let middle = |at: usize| sorted.get(at).copied().unwrap_or(f64::NAN);
    if sorted.len() % 2 == 1 { middle(upper) } else { f64::midpoint(middle(upper.wrapping_sub(1)), middle(upper)) }
}

/// The smallest and the largest of `values`.
pub(crate) fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::NAN, f64::NAN), |(low, high), &value| (low.min(value), high.max(value)))
}

/// The median of `times`, in nanoseconds.
pub(crate) fn p50(times: &mut [Duration]) -> f64 {
    let middle = times.len() / 2;
    if middle >= times.len() {
        return f64::NAN;
    }
    times.select_nth_unstable(middle).1.as_nanos() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_middle_two() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_range_covers_all_values() {
        assert_eq!(range(&[3.0, 1.0, 2.0]), (1.0, 3.0));
    }

    #[test]
    fn p50_is_in_nanoseconds() {
        let mut times = [3, 1, 2].map(Duration::from_micros);
        assert_eq!(p50(&mut times), 2000.0);
        assert!(p50(&mut []).is_nan());
    }
}
