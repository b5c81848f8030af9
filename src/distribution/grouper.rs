//! Groups of nearly equal values, for when there are too many to hold.
//!
//! Groups are made like a floating-point number: integers below 1,024 are groups of their own, above that a group is
//! 1/512 of its power of two wide, so that no member lies further than 0.2 % from any other. Shifting bits makes the
//! same groups on every machine. Counting is adding to a table that has a place for each group: a value costs a few
//! nanoseconds, wherever it lies.

/// Bits after the leading one that tell groups apart.
const PRECISION_BITS: u32 = 9;

/// Groups of each sign: 64 bits, less those that are told apart and the leading one, each have 2⁹ groups.
const PLACES: usize = (64 - PRECISION_BITS as usize + 1) << PRECISION_BITS;

/// A sum as a float. The machine knows how to convert 64 bits, and most sums fit.
pub(super) fn float(sum: i128) -> f64 {
    i64::try_from(sum).map_or_else(|_| sum as f64, |sum| sum as f64)
}

/// Values of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// Which one: ascending with the values, negative for negative ones.
    key: i32,
    pub count: u64,
    pub sum: i128,
}

impl Group {
    /// The least and the greatest value that could be in it.
    pub fn edges(&self) -> (i64, i64) {
        let magnitude = self.key.unsigned_abs() as u64;
        let (low, high) = match (magnitude >> PRECISION_BITS) as u32 {
            0 | 1 => (magnitude, magnitude),
            exponent => {
                let shift = exponent - 1;
                let mantissa = magnitude - (u64::from(shift) << PRECISION_BITS);
                (mantissa << shift, (mantissa << shift) + ((1 << shift) - 1))
            }
        };
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        if self.key < 0 { (-signed(high), -signed(low)) } else { (signed(low), signed(high)) }
    }
}

/// Groups values: a table that is used again and again.
pub struct Grouper {
    counts: Vec<u64>,
    sums: Vec<i128>,
    /// A bit for each place that holds something.
    used: Vec<u64>,
    /// A bit for each word of `used` that holds something.
    used_words: Vec<u64>,
}

impl Default for Grouper {
    fn default() -> Self {
        let places = 2 * PLACES;
        let words = places.div_ceil(64);
        Self {
            // Zeroed memory is taken from the system only where it is touched.
            counts: vec![0; places],
            sums: vec![0; places],
            used: vec![0; words],
            used_words: vec![0; words.div_ceil(64)],
        }
    }
}

impl Grouper {
    /// Counts values.
    pub(super) fn add_values(&mut self, values: &[i64]) {
        for value in values {
            self.add(key_of(*value), 1, i128::from(*value));
        }
    }

    /// Counts what was counted before.
    pub(super) fn add_groups(&mut self, groups: &[Group]) {
        for group in groups {
            self.add(group.key, group.count, group.sum);
        }
    }

    fn add(&mut self, key: i32, count: u64, sum: i128) {
        let place = (key + PLACES as i32) as usize;
        if self.counts[place] == 0 {
            self.used[place / 64] |= 1 << (place % 64);
            self.used_words[place / 4096] |= 1 << (place / 64 % 64);
        }
        self.counts[place] += count;
        self.sums[place] += sum;
    }

    /// The groups counted, ascending; the table is empty again.
    pub(super) fn take(&mut self) -> Vec<Group> {
        let mut groups = Vec::with_capacity(self.used.iter().map(|word| word.count_ones() as usize).sum());
        for summary in 0..self.used_words.len() {
            for word in bits(std::mem::take(&mut self.used_words[summary])) {
                let word = summary * 64 + word;
                for place in bits(std::mem::take(&mut self.used[word])) {
                    let place = word * 64 + place;
                    groups.push(Group {
                        key: place as i32 - PLACES as i32,
                        count: std::mem::take(&mut self.counts[place]),
                        sum: std::mem::take(&mut self.sums[place]),
                    });
                }
            }
        }
        groups
    }
}

/// The numbers of the bits that are set, ascending.
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(bit)
    })
}

/// The group of a value: monotone, and symmetric around zero.
fn key_of(value: i64) -> i32 {
    let magnitude = value.unsigned_abs();
    // The leading one and the bits after it, as in a floating-point number: exponent, then mantissa.
    let shift = (64 - PRECISION_BITS - 1).saturating_sub(magnitude.leading_zeros());
    let index = (u64::from(shift) << PRECISION_BITS) + (magnitude >> shift);
    // At most PLACES: far below i32.
    if value < 0 { -(index as i32) } else { index as i32 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn group(value: i64) -> Group {
        Group { key: key_of(value), count: 1, sum: i128::from(value) }
    }

    #[test]
    fn small_values_are_groups_of_their_own() {
        for value in -1_023..=1_023 {
            assert_eq!(group(value).edges(), (value, value));
        }
        assert_eq!(group(1_024).edges(), (1_024, 1_025));
        assert_eq!(group(-1_027).edges(), (-1_027, -1_026));
        assert!([i64::MIN, i64::MAX].into_iter().all(|value| key_of(value).unsigned_abs() < PLACES as u32));
    }

    proptest! {
        #[test]
        fn a_group_s_edges_are_where_its_neighbours_begin(value in prop_oneof![any::<i64>(), -5_000..5_000_i64]) {
            prop_assume!(value != i64::MIN);
            let (low, high) = group(value).edges();
            prop_assert!((low..=high).contains(&value));
            prop_assert_eq!((key_of(low), key_of(high)), (key_of(value), key_of(value)));
            prop_assert!(high - low <= value.abs() / 512);
            prop_assert!(high == i64::MAX || key_of(high + 1) == key_of(value) + 1);
        }

        #[test]
        fn what_goes_in_comes_out_in_order(values in prop::collection::vec(prop_oneof![any::<i64>(), -9..9_i64], 0..300)) {
            let mut grouper = Grouper::default();
            grouper.add_values(&values);
            let groups = grouper.take();
            prop_assert!(groups.is_sorted_by(|left, right| left.key < right.key));
            prop_assert_eq!(groups.iter().map(|group| group.count).sum::<u64>(), values.len() as u64);
            prop_assert_eq!(
                groups.iter().map(|group| group.sum).sum::<i128>(),
                values.iter().map(|value| i128::from(*value)).sum::<i128>()
            );
            prop_assert!(grouper.take().is_empty());
            grouper.add_groups(&groups);
            prop_assert_eq!(grouper.take(), groups);
        }
    }
}
