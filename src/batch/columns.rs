//! The fast part of reading: JSON arrays of integers, eight digits at a time.
//!
//! Three quarters of the time of a general JSON parser go into telling apart what could stand in an array. In a column
//! there are only integers and nulls; whatever else stands there is left to that parser.

/// Reads the integers and nulls of an array without white space, from behind its bracket up to the closing one (which is
/// not taken), and gives each to `push`; the number of bytes read.
///
/// Nothing when anything else stands there, or an integer of more than 18 digits, or when `push` does not want a value.
pub(super) fn integers(text: &[u8], mut push: impl FnMut(Option<i64>) -> bool) -> Option<usize> {
    if text.first() == Some(&b']') {
        return Some(0);
    }
    let mut rest = text;
    loop {
        let short = rest.first_chunk::<8>().and_then(|eight| {
            let (value, length) = up_to_eight_digits(u64::from_le_bytes(*eight));
            // The byte behind the number is among the eight.
            let behind = *eight.get(length)?;
            let usual = length == 1 || length > 1 && eight[0] != b'0';
            usual.then_some((Some(value as i64), length, behind))
        });
        let (value, length, behind) = match short {
            Some(found) => found,
            None => {
                let (value, length) = unusual(rest)?;
                (value, length, *rest.get(length)?)
            }
        };
        if !push(value) {
            return None;
        }
        match behind {
            b',' => rest = &rest[length + 1..],
            b']' => return Some(text.len() - rest.len() + length),
            _ => return None,
        }
    }
}

/// A null, a negative or a long number, or one at the end of the text; with its length.
#[cold]
fn unusual(text: &[u8]) -> Option<(Option<i64>, usize)> {
    if text.starts_with(b"null") {
        return Some((None, 4));
    }
    let (negative, digits) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    // JSON has no leading zeros; a negative zero it has, but that is no integer.
    let leading_zero = digits.first() == Some(&b'0') && (length > 1 || negative);
    if length == 0 || length > MAX_DIGITS || leading_zero {
        return None;
    }
    let value = digits[..length].iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some((Some(if negative { -value } else { value }), length + usize::from(negative)))
}

/// As many digits fit into 64 bits, whatever they are.
const MAX_DIGITS: usize = 18;

/// The number that the first digits among eight bytes make, and how many digits it has. The first byte is the lowest.
///
/// Eight bytes are one word: all are tested and added up at once, without a branch on the number of digits, which
/// the processor could not foresee.
#[inline]
fn up_to_eight_digits(word: u64) -> (u64, usize) {
    // A digit becomes its value, 0 to 9; of every other byte, one of the upper four bits is set, or the sum sets one.
    let values = word ^ 0x3030_3030_3030_3030;
    let others = (values.wrapping_add(0x0606_0606_0606_0606) | values) & 0xf0f0_f0f0_f0f0_f0f0;
    let count = (others.trailing_zeros() / 8) as usize;
    if count == 0 {
        return (0, 0);
    }
    // Zeros in front: the last digit becomes the highest byte.
    let digits = values << (64 - 8 * count);
    // Pairs, then fours, then all eight: each step multiplies the left neighbour and adds the right one.
    let pairs = (digits & 0x0f0f_0f0f_0f0f_0f0f).wrapping_mul(10 * 256 + 1) >> 8;
    let fours = (pairs & 0x00ff_00ff_00ff_00ff).wrapping_mul(100 * 65_536 + 1) >> 16;
    let eight = (fours & 0x0000_ffff_0000_ffff).wrapping_mul(10_000 * (1 << 32) + 1) >> 32;
    (eight, count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::up_to_eight_digits;

    fn integers(text: &[u8]) -> Option<(Vec<Option<i64>>, usize)> {
        let mut column = Vec::new();
        let length = super::integers(text, |value| {
            column.push(value);
            true
        })?;
        Some((column, length))
    }

    #[test]
    fn columns_end_at_their_bracket() {
        assert_eq!(integers(b"]"), Some((vec![], 0)));
        assert_eq!(integers(b"7]}"), Some((vec![Some(7)], 1)));
        assert_eq!(
            integers(b"-12,null,0,123456789012345678]"),
            Some((vec![Some(-12), None, Some(0), Some(123_456_789_012_345_678)], 29))
        );
    }

    #[test]
    fn everything_else_is_left_to_others() {
        for text in [
            "",
            "1",
            "1,",
            "1,]",
            ",1]",
            "1 ]",
            "01]",
            "-0]",
            "-]",
            "00000000]",
            "1.0]",
            "1e5]",
            "nul]",
            "+1]",
            "1234567890123456789]",
            "12345678901234567890123456]",
            "\u{ff11}]",
            "/]",
            ":]",
        ] {
            assert_eq!(integers(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn integers_read_as_they_are_written(values in prop::collection::vec(prop::option::of((0..18_u32, any::<i64>())), 1..50)) {
            let values: Vec<Option<i64>> = values
                .into_iter()
                .map(|value| value.map(|(digits, value)| value % 10_i64.pow(digits + 1)))
                .collect();
            let text = serde_json::to_string(&values).unwrap();
            prop_assert_eq!(integers(&text.as_bytes()[1..]), Some((values, text.len() - 2)));
        }

        #[test]
        fn any_bytes_are_told_from_digits(bytes in any::<[u8; 8]>()) {
            let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let value = bytes[..count].iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
            prop_assert_eq!(up_to_eight_digits(u64::from_le_bytes(bytes)), (value, count));
        }
    }
}
