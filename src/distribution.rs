//! Value → count, grouped so finely that percentiles stay true.
//!
//! CloudWatch computes percentiles from the values themselves, but takes only so many of them in a call. Values are
//! therefore grouped: below 256 each integer is a group of its own, above that a group is 1/256 of its power of two
//! wide, so that no member lies further than 0.4 % from any other. Each group is published as the mean of its
//! members, which keeps the number of samples, their sum and their average exact.

use std::collections::BTreeMap;

/// Bits after the leading one that tell groups apart: 2⁻⁸ = 0.39 %, within the 0.5 % that is promised.
const PRECISION_BITS: u32 = 8;

/// A multiset of integers in groups of nearly equal values; merging does not depend on the order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    groups: BTreeMap<i32, Group>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Group {
    count: u64,
    sum: i128,
}

impl Distribution {
    /// Adds one value; whether it made a new group.
    pub fn add(&mut self, value: i64) -> bool {
        let group = self.groups.entry(group_of(value)).or_default();
        group.count += 1;
        group.sum += i128::from(value);
        group.count == 1
    }

    /// Adds all values of another distribution.
    pub fn merge(&mut self, other: &Self) {
        for (key, theirs) in &other.groups {
            let group = self.groups.entry(*key).or_default();
            group.count += theirs.count;
            group.sum += theirs.sum;
        }
    }

    /// Whether there is no value in it.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.groups.values().map(|group| group.count).sum()
    }

    /// The exact sum of the values.
    pub fn sum(&self) -> i128 {
        self.groups.values().map(|group| group.sum).sum()
    }

    /// Each group's mean and number of values, in ascending order.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (f64, u64)> + '_ {
        self.groups.values().map(|group| (group.sum as f64 / group.count as f64, group.count))
    }

    /// The value below or at which `quantile` (0.0 to 1.0) of the values lie, by nearest rank; none without values.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let rank = (quantile * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (mean, count) in self.groups() {
            seen += count;
            if seen >= rank {
                return Some(mean);
            }
        }
        None
    }
}

/// The group of a value: monotone, and symmetric around zero.
fn group_of(value: i64) -> i32 {
    let magnitude = value.unsigned_abs();
    let index = match magnitude.checked_ilog2() {
        Some(power) if power > PRECISION_BITS => {
            let shift = power - PRECISION_BITS;
            // The leading one and the bits after it, as in a floating-point number: exponent, then mantissa.
            (shift << PRECISION_BITS) as u64 + (magnitude >> shift)
        }
        _ => magnitude,
    };
    // At most (55 + 2) · 256: far below i32.
    if value < 0 { -(index as i32) } else { index as i32 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[i64]) -> Distribution {
        let mut distribution = Distribution::default();
        values.iter().for_each(|value| _ = distribution.add(*value));
        distribution
    }

    /// Values of every magnitude, edges of the groups among them.
    fn value() -> impl Strategy<Value = i64> {
        prop_oneof![
            any::<i64>(),
            -600..600_i64,
            1_000..60_000_000_i64,
            (0..63_u32, -1..=1_i64).prop_map(|(power, offset)| (1_i64 << power).saturating_add(offset)),
            Just(i64::MIN),
            Just(i64::MAX),
        ]
    }

    #[test]
    fn small_values_are_groups_of_their_own() {
        let values: Vec<i64> = (-511..=511).collect();
        assert_eq!(of(&values).groups().len(), values.len());
        assert_eq!(of(&[513, 512]).groups().len(), 1);
        assert_eq!(of(&[-512, -513]).groups().collect::<Vec<_>>(), [(-512.5, 2)]);
    }

    #[test]
    fn quantiles_are_those_of_the_nearest_rank() {
        let hundred = of(&(1..=100).collect::<Vec<_>>());
        for (quantile, value) in
            [(0.0, 1.0), (0.01, 1.0), (0.5, 50.0), (0.501, 51.0), (0.99, 99.0), (1.0, 100.0)]
        {
            assert_eq!(hundred.quantile(quantile), Some(value), "{quantile}");
        }
        assert_eq!(Distribution::default().quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn count_and_sum_are_exact(values in prop::collection::vec(value(), 0..400)) {
            let distribution = of(&values);
            prop_assert_eq!(distribution.count(), values.len() as u64);
            prop_assert_eq!(distribution.sum(), values.iter().map(|value| i128::from(*value)).sum::<i128>());
            prop_assert_eq!(distribution.is_empty(), values.is_empty());
        }

        #[test]
        fn no_value_is_further_than_half_a_percent_from_its_group(values in prop::collection::vec(value(), 1..400)) {
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let mut position = 0;
            for (mean, count) in of(&values).groups() {
                for value in &sorted[position..position + count as usize] {
                    prop_assert!((mean - *value as f64).abs() <= 0.005 * (*value as f64).abs(), "{value} in {mean}");
                }
                position += count as usize;
            }
        }

        #[test]
        fn merging_is_the_same_as_adding(values in prop::collection::vec(value(), 0..200), cut in 0..200_usize) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let (mut forward, mut backward) = (of(left), of(right));
            forward.merge(&of(right));
            backward.merge(&of(left));
            prop_assert_eq!(&forward, &of(&values));
            prop_assert_eq!(forward, backward);
        }
    }
}
