//! Value → count, grouped so finely that percentiles stay true.
//!
//! CloudWatch computes percentiles from the values themselves, but takes only so many of them in a call. A
//! [`Distribution`] holds few values as they are, and many in the groups of a [`Grouper`]. When it is published, what
//! lies next to each other is joined into [`Sample`]s, as long as no value is further from the sample's mean than a
//! tolerance. A sample's value is the mean of its members: so the number of values, their sum and their average stay
//! exact, and each percentile is within the tolerance.

mod grouper;

pub use grouper::Grouper;
use grouper::{Group, float};

/// Up to so many values are held as they are: what most endpoints have in a second. More are grouped.
const EXACT_MAX: usize = 512;

/// A multiset of integers. What it holds depends on the values alone, not on their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// All values, or, once there are groups, those that are in no group yet.
    values: Vec<i64>,
    /// Ascending.
    groups: Vec<Group>,
}

/// Values that are published as one: their mean, and how many they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The mean of its members.
    pub value: f64,
    /// How many they are.
    pub count: u64,
}

impl Distribution {
    /// Adds values.
    pub fn extend(&mut self, values: &[i64], grouper: &mut Grouper) {
        self.values.extend_from_slice(values);
        // Grouping costs as much as there are groups: it waits until there is as much to group.
        if self.values.len() > EXACT_MAX.max(self.groups.len()) {
            self.group(grouper);
        }
    }

    /// All values of several distributions.
    pub fn merged<'a>(parts: impl Iterator<Item = &'a Self> + Clone, grouper: &mut Grouper) -> Self {
        if parts.clone().any(|part| !part.groups.is_empty())
            || parts.clone().map(|part| part.values.len()).sum::<usize>() > EXACT_MAX
        {
            for part in parts {
                grouper.add_groups(&part.groups);
                grouper.add_values(&part.values);
            }
            return Self { values: Vec::new(), groups: grouper.take() };
        }
        Self { values: parts.flat_map(|part| &part.values).copied().collect(), groups: Vec::new() }
    }

    fn group(&mut self, grouper: &mut Grouper) {
        grouper.add_groups(&self.groups);
        grouper.add_values(&self.values);
        self.values = Vec::new();
        self.groups = grouper.take();
    }

    /// Brings the values into order.
    fn settle(&mut self, grouper: &mut Grouper) {
        if self.groups.is_empty() {
            self.values.sort_unstable();
        } else if !self.values.is_empty() {
            self.group(grouper);
        }
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.values.len() as u64 + self.groups.iter().map(|group| group.count).sum::<u64>()
    }

    /// The exact sum of the values.
    pub fn sum(&self) -> i128 {
        let single: i128 = self.values.iter().map(|value| i128::from(*value)).sum();
        single + self.groups.iter().map(|group| group.sum).sum::<i128>()
    }

    /// Memory that the values take, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.values.capacity() * size_of::<i64>() + self.groups.capacity() * size_of::<Group>()
    }

    /// Writes the values as few samples, ascending, in place of what stands in `samples`: none of them lies further than
    /// `tolerance` (a share of itself) from its sample's value, where its group is not wider than that.
    pub fn samples(&mut self, tolerance: f64, grouper: &mut Grouper, samples: &mut Vec<Sample>) {
        self.settle(grouper);
        samples.clear();
        if self.groups.is_empty() {
            join(self.values.iter().map(|value| Span::of_value(*value)), tolerance, samples);
        } else {
            join(self.groups.iter().map(Span::of_group), tolerance, samples);
        }
    }

    /// The value below or at which each of some ascending `quantiles` (0.0 to 1.0) of the values lie, by nearest rank;
    /// none without values.
    pub fn quantiles<const N: usize>(
        &mut self,
        quantiles: [f64; N],
        grouper: &mut Grouper,
    ) -> Option<[f64; N]> {
        self.settle(grouper);
        let total = self.count() as f64;
        let ranks = quantiles.map(|quantile| (quantile * total).ceil().max(1.0) as u64);
        if self.groups.is_empty() {
            let at = |rank: u64| self.values.get(rank as usize - 1).map(|value| *value as f64);
            self.values.first()?;
            return Some(ranks.map(|rank| at(rank).unwrap_or_default()));
        }
        let mut groups = self.groups.iter();
        let (mut seen, mut value) = (0, 0.0);
        Some(ranks.map(|rank| {
            while seen < rank {
                let Some(group) = groups.next() else { break };
                seen += group.count;
                value = float(group.sum) / group.count as f64;
            }
            value
        }))
    }
}

/// Neighbouring values.
#[derive(Clone, Copy)]
struct Span {
    low: f64,
    high: f64,
    count: u64,
    sum: i128,
    /// The sum in fast arithmetic: to decide by, not to publish.
    about: f64,
}

impl Span {
    fn of_value(value: i64) -> Self {
        let about = value as f64;
        Self { low: about, high: about, count: 1, sum: i128::from(value), about }
    }

    fn of_group(group: &Group) -> Self {
        let (low, high) = group.edges();
        let about = float(group.sum);
        Self { low: low as f64, high: high as f64, count: group.count, sum: group.sum, about }
    }

    fn and(self, next: &Self) -> Self {
        let (count, sum) = (self.count + next.count, self.sum + next.sum);
        Self { low: self.low, high: next.high, count, sum, about: self.about + next.about }
    }

    /// Whether the edges, and with them all members, are within `tolerance` of the mean.
    fn within(&self, tolerance: f64) -> bool {
        // Both sides times the count: that saves a division.
        let count = self.count as f64;
        self.about <= (self.low + tolerance * self.low.abs()) * count
            && self.about >= (self.high - tolerance * self.high.abs()) * count
    }

    fn sample(&self) -> Sample {
        Sample { value: float(self.sum) / self.count as f64, count: self.count }
    }
}

/// Joins ascending spans, from the first on, as long as they stay within the tolerance.
fn join(mut spans: impl Iterator<Item = Span>, tolerance: f64, samples: &mut Vec<Sample>) {
    let Some(mut current) = spans.next() else { return };
    for next in spans {
        let both = current.and(&next);
        if both.within(tolerance) {
            current = both;
        } else {
            samples.push(current.sample());
            current = next;
        }
    }
    samples.push(current.sample());
}

#[cfg(test)]
mod tests;
