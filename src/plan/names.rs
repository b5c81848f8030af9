//! Free text → names that CloudWatch accepts, and that people still read.

use std::borrow::Cow;
use std::hash::Hasher;

use fnv::FnvHasher;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::limits::{MAX_DIMENSION_VALUE_CHARS, MAX_STREAM_NAME_CHARS};

/// What a text without any visible character is published as.
pub const EMPTY: &str = "(empty)";

/// What everything beyond a limit on the number of names is published as.
pub const OTHER: &str = "(other)";

/// A stream's name has no `:` and no `*`.
const STREAM: &AsciiSet = &CONTROLS.add(b':').add(b'*');

/// A dimension's value: ASCII without control characters, with something visible in it, not too long.
///
/// Other characters are percent-encoded as in a URL. A `%` stays as it is, because names are often URLs: so `/café` and
/// `/caf%C3%A9` are one. A name that is too long is cut and ends in a hash of the whole.
pub fn dimension_value(text: &str) -> String {
    if text.trim().is_empty() {
        return EMPTY.to_owned();
    }
    shorten(utf8_percent_encode(text, CONTROLS).into(), MAX_DIMENSION_VALUE_CHARS)
}

/// The name of the log stream of one source.
pub fn stream(test: &str, run: &str, source: &str) -> String {
    let name = format!("{test}/{run}/{source}");
    shorten(utf8_percent_encode(&name, STREAM).into(), MAX_STREAM_NAME_CHARS)
}

/// The class of an error: what stands before the first parenthesis or colon, as in `ConnectionError(…)`.
pub fn error_class(error: &str) -> &str {
    let end =
        error.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(error.len());
    if end == 0 { "Error" } else { &error[..end] }
}

/// Cuts a text at `max` bytes and says how much is missing.
pub fn cut(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(max);
    Cow::Owned(format!("{}… ({} bytes more)", &text[..end], text.len() - end))
}

/// Shortens a text to `max` bytes; the hash keeps texts apart that begin alike.
pub fn shorten(text: Cow<'_, str>, max: usize) -> String {
    if text.len() <= max {
        return text.into_owned();
    }
    let mut hasher = FnvHasher::default();
    hasher.write(text.as_bytes());
    let hash = format!("~{:016x}", hasher.finish());
    format!("{}{hash}", &text[..text.floor_char_boundary(max - hash.len())])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dimension_values_are_readable() {
        for (text, value) in [
            ("/cart", "/cart"),
            ("/item/[id] (100%)", "/item/[id] (100%)"),
            ("/café\n", "/caf%C3%A9%0A"),
            ("", EMPTY),
            (" \t", EMPTY),
            (":x", ":x"),
        ] {
            assert_eq!(dimension_value(text), value);
        }
    }

    #[test]
    fn long_names_are_cut_but_stay_different() {
        let long = |end: &str| dimension_value(&format!("{}{end}", "x".repeat(1200)));
        assert_eq!(long("a").len(), MAX_DIMENSION_VALUE_CHARS);
        assert_ne!(long("a"), long("b"));
        assert_eq!(dimension_value(&"x".repeat(1024)), "x".repeat(1024));
    }

    #[test]
    fn streams_carry_neither_colon_nor_asterisk() {
        assert_eq!(stream("a:b", "c*", "é"), "a%3Ab/c%2A/%C3%A9");
        assert_eq!(stream(&"t".repeat(512), &"r".repeat(512), "s").len(), MAX_STREAM_NAME_CHARS);
    }

    #[test]
    fn an_error_s_class_is_its_name() {
        for (error, class) in [
            ("ConnectionRefusedError(111, 'refused')", "ConnectionRefusedError"),
            ("requests.exceptions.ReadTimeout: slow", "requests.exceptions.ReadTimeout"),
            ("<weird>", "Error"),
            ("", "Error"),
        ] {
            assert_eq!(error_class(error), class);
        }
    }

    #[test]
    fn cutting_says_what_is_missing() {
        assert_eq!(cut("héllo", 5), "héll… (1 bytes more)");
        assert_eq!(cut("héllo", 2), "h… (5 bytes more)");
        assert_eq!(cut("hello", 5), "hello");
    }

    proptest! {
        #[test]
        fn every_dimension_value_is_legal(text in any::<String>(), repeat in 1..300_usize) {
            let value = dimension_value(&text.repeat(repeat));
            prop_assert!((1..=MAX_DIMENSION_VALUE_CHARS).contains(&value.len()));
            prop_assert!(value.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            prop_assert!(!value.trim().is_empty());
        }
    }
}
