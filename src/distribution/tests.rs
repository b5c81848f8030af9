//! What a distribution promises, whatever the values.

use proptest::prelude::*;

use super::*;

const TOLERANCE: f64 = 0.005;

fn of(values: &[i64]) -> Distribution {
    let mut distribution = Distribution::default();
    distribution.extend(values, &mut Grouper::default());
    distribution
}

fn samples(distribution: &Distribution) -> Vec<Sample> {
    let mut samples = Vec::new();
    distribution.clone().samples(TOLERANCE, &mut Grouper::default(), &mut samples);
    samples
}

/// Values of every magnitude, edges of groups among them.
fn value() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        -600..600_i64,
        1_000..60_000_000_i64,
        9_000..11_000_i64,
        (0..63_u32, -1..=1_i64).prop_map(|(power, offset)| (1_i64 << power).saturating_add(offset)),
        Just(i64::MIN),
        Just(i64::MAX),
    ]
}

/// Few enough to be held as they are, or too many; all over the place, or close together.
fn values() -> impl Strategy<Value = Vec<i64>> {
    prop_oneof![
        prop::collection::vec(value(), 0..60),
        prop::collection::vec(value(), 500..600),
        prop::collection::vec(100_000..120_000_i64, 500..1_200),
    ]
}

#[test]
fn what_lies_close_is_joined_and_what_does_not_is_not() {
    let sample = |value, count| Sample { value, count };
    assert_eq!(samples(&of(&[])), []);
    assert_eq!(samples(&of(&[3, 1, 3, 2])), [sample(1.0, 1), sample(2.0, 1), sample(3.0, 2)]);
    assert_eq!(samples(&of(&[1_000, 1_009])), [sample(1_004.5, 2)]);
    assert_eq!(samples(&of(&[1_000, 1_011])), [sample(1_000.0, 1), sample(1_011.0, 1)]);
    assert_eq!(samples(&of(&[-1_009, -1_000])), [sample(-1_004.5, 2)]);
    assert_eq!(samples(&of(&[-1, 0, 1])), [sample(-1.0, 1), sample(0.0, 1), sample(1.0, 1)]);
}

#[test]
fn samples_are_few() {
    let thousands: Vec<i64> = (0..100_000).map(|n| 10_000 + n % 990_000).collect();
    // A hundredfold range in steps of nearly one per cent.
    assert!(samples(&of(&thousands)).len() < 320, "{}", samples(&of(&thousands)).len());
}

#[test]
fn quantiles_are_those_of_the_nearest_rank() {
    let quantiles = |values: &[i64], quantile| {
        of(values).quantiles([quantile], &mut Grouper::default()).map(|[value]| value)
    };
    let hundred: Vec<i64> = (1..=100).collect();
    let thousand: Vec<i64> = (1..=1_000).collect();
    for (quantile, value) in [(0.0, 1.0), (0.01, 1.0), (0.5, 50.0), (0.501, 51.0), (0.99, 99.0), (1.0, 100.0)]
    {
        assert_eq!(quantiles(&hundred, quantile), Some(value), "{quantile}");
    }
    assert_eq!((quantiles(&thousand, 0.5), quantiles(&thousand, 0.999)), (Some(500.0), Some(999.0)));
    assert_eq!(quantiles(&[], 0.5), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn count_and_sum_are_exact(values in values()) {
        let distribution = of(&values);
        prop_assert_eq!(distribution.count(), values.len() as u64);
        prop_assert_eq!(distribution.sum(), values.iter().map(|value| i128::from(*value)).sum::<i128>());
        prop_assert_eq!(samples(&distribution).iter().map(|sample| sample.count).sum::<u64>(), values.len() as u64);
    }

    #[test]
    fn no_value_is_further_than_the_tolerance_from_its_sample(values in values()) {
        let mut sorted = values.clone();
        sorted.sort_unstable();
        let mut position = 0;
        let samples = samples(&of(&values));
        prop_assert!(samples.is_sorted_by(|left, right| left.value < right.value));
        for Sample { value: mean, count } in samples {
            for value in &sorted[position..position + count as usize] {
                // Beyond 2⁵³, a 64-bit float is not exact itself.
                let limit = TOLERANCE * (1.0 + 1e-9) * (*value as f64).abs();
                prop_assert!((mean - *value as f64).abs() <= limit, "{value} in {mean}");
            }
            position += count as usize;
        }
    }

    #[test]
    fn neither_order_nor_parts_matter(values in values(), cut in 0..1_500_usize, piece in 1..700_usize) {
        let mut grouper = Grouper::default();
        let whole = of(&values);
        let mut pieces = Distribution::default();
        values.rchunks(piece).for_each(|piece| pieces.extend(piece, &mut grouper));
        let (left, right) = values.split_at(cut.min(values.len()));
        let (left, right) = (of(left), of(right));
        let merged = Distribution::merged([&right, &left].into_iter(), &mut grouper);
        for other in [pieces, merged] {
            prop_assert_eq!(samples(&whole), samples(&other));
            prop_assert_eq!((whole.count(), whole.sum()), (other.count(), other.sum()));
        }
    }
}
