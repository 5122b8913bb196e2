// SPDX-License-Identifier: MIT OR Apache-2.0
//! Time windows: `2026/11/20.14:05:00-2026/11/20.14:10:00`, a prefix, or `last 1h`. All times are UTC.

use weir_flow::Timestamp;

use crate::Error;

/// A span of event time. A record is in the window in which its flow ended, so that windows that do not overlap share no
/// record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    /// First instant in the window.
    pub from: Timestamp,
    /// First instant after it.
    pub until: Timestamp,
}

impl Window {
    /// All of time.
    pub const ALL: Self = Self { from: Timestamp::ZERO, until: Timestamp::from_nanos(u64::MAX) };

    /// Reads a window.
    ///
    /// - `2026/11/20.14:05:00`, or `2026-11-20T14:05:00`: that second. A prefix is the longer span that it names:
    ///   `2026/11/20.14` is an hour, `2026/11` a month.
    /// - `A-B` or `A - B`, each of the form above: from the beginning of A to the end of B; without B, from A on.
    /// - `last 90s`, `last 5m`, `last 1h`, `last 7d`, `last 2w`: until `now`.
    ///
    /// # Errors
    ///
    /// [`Error::Window`] if the text is none of these, or ends before it begins.
    pub fn parse(text: &str, now: Timestamp) -> Result<Self, Error> {
        Self::read(text.trim(), now).ok_or_else(|| Error::Window(text.to_owned()))
    }

    fn read(text: &str, now: Timestamp) -> Option<Self> {
        if text.is_empty() || text.eq_ignore_ascii_case("all") {
            return Some(Self::ALL);
        }
        if let Some(("last", span)) = text.split_once(' ') {
            let nanos = parse_span(span.trim())?;
            let from = Timestamp::from_nanos(now.as_nanos().saturating_sub(nanos));
            return Some(Self { from, until: Timestamp::from_nanos(now.as_nanos().saturating_add(1)) });
        }
        let (from, until) = if text.contains('/') {
            match text.split_once('-') {
                Some((from, until)) => (from, Some(until)),
                None => (text, None),
            }
        } else {
            // The dashes of ISO 8601 are no separators; one between blanks is.
            match text.split_once(" - ") {
                Some((from, until)) => (from, Some(until)),
                None => (text, None),
            }
        };
        let (from, end) = parse_point(from.trim())?;
        let until = match until.map(str::trim) {
            None => end,
            Some("") => Self::ALL.until.as_nanos(),
            Some(until) => parse_point(until)?.1,
        };
        (from < until).then_some(Self { from: Timestamp::from_nanos(from), until: Timestamp::from_nanos(until) })
    }

    /// Whether a record is in the window, by the time its flow ended.
    #[must_use]
    pub fn contains(&self, end: Timestamp) -> bool {
        self.from <= end && end < self.until
    }

    pub(crate) fn is_all(&self) -> bool {
        *self == Self::ALL
    }
}

fn parse_span(text: &str) -> Option<u64> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let secs = match text.get(number.len()..)? {
        "s" | "" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    number.trim().parse::<u64>().ok()?.checked_mul(secs)?.checked_mul(1_000_000_000)
}

/// First nanosecond of what the text names, and the first after it.
pub(crate) fn parse_point(text: &str) -> Option<(u64, u64)> {
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let legacy = text.contains('/');
    let (date, time) = if legacy { split(text, &['.'])? } else { split(text, &['T', 't', ' '])? };
    let mut date = date.split(if legacy { '/' } else { '-' });
    let year: i16 = digits(date.next()?, 4)?;
    let month: Option<i8> = optional(date.next(), 2)?;
    let day: Option<i8> = optional(date.next(), 2)?;
    let mut parts = time.map(|t| t.split(':'));
    let mut part = || optional(parts.as_mut().and_then(Iterator::next), 2);
    let hour: Option<i8> = part()?;
    let minute: Option<i8> = part()?;
    let (second, millis) = match parts.as_mut().and_then(Iterator::next) {
        None => (None, None),
        Some(text) => match text.split_once('.') {
            Some((second, millis)) => (Some(digits::<i8>(second, 2)?), Some(digits::<u64>(millis, 3)?)),
            None => (Some(digits::<i8>(text, 2)?), None),
        },
    };
    let too_much = date.next().is_some() || parts.is_some_and(|mut p| p.next().is_some());
    if too_much || (time.is_some() && (day.is_none() || hour.is_none())) {
        return None;
    }
    let civil = jiff::civil::Date::new(year, month.unwrap_or(1), day.unwrap_or(1)).ok()?;
    let clock = jiff::civil::Time::new(hour.unwrap_or(0), minute.unwrap_or(0), second.unwrap_or(0), 0).ok()?;
    let start = civil.to_datetime(clock);
    let span = if millis.is_some() {
        jiff::Span::new().milliseconds(1)
    } else if second.is_some() {
        jiff::Span::new().seconds(1)
    } else if minute.is_some() {
        jiff::Span::new().minutes(1)
    } else if hour.is_some() {
        jiff::Span::new().hours(1)
    } else if day.is_some() {
        jiff::Span::new().days(1)
    } else if month.is_some() {
        jiff::Span::new().months(1)
    } else {
        jiff::Span::new().years(1)
    };
    let start = start.checked_add(jiff::Span::new().milliseconds(i64::try_from(millis.unwrap_or(0)).ok()?)).ok()?;
    let end = start.checked_add(span).ok()?;
    let nanos = |at: jiff::civil::DateTime| {
        u64::try_from(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_nanosecond()).ok()
    };
    Some((nanos(start)?, nanos(end)?))
}

fn split<'a>(text: &'a str, at: &[char]) -> Option<(&'a str, Option<&'a str>)> {
    match text.split_once(at) {
        Some((_, "")) => None,
        Some((date, time)) => Some((date, Some(time))),
        None => Some((text, None)),
    }
}

fn digits<T: std::str::FromStr>(text: &str, count: usize) -> Option<T> {
    if text.len() != count || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// `Some(None)` if there is no text.
fn optional<T: std::str::FromStr>(text: Option<&str>, count: usize) -> Option<Option<T>> {
    match text {
        Some(text) => digits(text, count).map(Some),
        None => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<(u64, u64)> {
        let window = Window::parse(text, Timestamp::from_secs(1_000_000)).ok()?;
        Some((window.from.as_secs(), window.until.as_secs()))
    }

    #[test]
    fn windows_are_spans() {
        // 2026-11-20T14:05:00Z
        const T: u64 = 1_795_183_500;
        for (text, from, until) in [
            ("2026/11/20.14:05:00", T, T + 1),
            ("2026/11/20.14:05", T, T + 60),
            ("2026/11/20.14:05:00-2026/11/20.14:09:59", T, T + 300),
            ("2026/11/20.14:05-2026/11/20.14:09", T, T + 300),
            ("2026-11-20T14", T - 300, T + 3300),
            ("2026-11-20", T - 14 * 3600 - 300, T + 10 * 3600 - 300),
            ("2026-11-20T14:05 - 2026-11-20T14:05", T, T + 60),
            ("last 1h", 1_000_000 - 3600, 1_000_000),
        ] {
            assert_eq!(seconds(text), Some((from, until)), "{text}");
        }
        for text in ["yesterday", "2026/13", "2026/11/20.", "2026/11/20.14:5", "last year", "2026/11/20-2026/11/19"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn a_fraction_of_a_second_is_a_millisecond() {
        let (from, until) = parse_point("1970-01-01T00:00:01.500Z").unwrap();
        assert_eq!((from, until), (1_500_000_000, 1_501_000_000));
    }
}
