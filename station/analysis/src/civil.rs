// SPDX-License-Identifier: MIT OR Apache-2.0
//! Time as text: RFC 3339 in alerts, and the window form of nfdump's `-t`. Always UTC.

use weir_flow::Timestamp;

/// Calendar fields of a point in time.
struct Civil {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Civil {
    /// Days are counted in eras of 400 years that begin on the first of March, so that the leap day is the last of a year.
    fn of(secs: u64) -> Self {
        let days = secs / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted + 2) / 5 + 1,
            hour: secs / 3_600 % 24,
            minute: secs / 60 % 60,
            second: secs % 60,
        }
    }

    /// Seconds since the epoch; `None` before it.
    fn secs(&self) -> Option<u64> {
        let year = self.year.checked_sub(u64::from(self.month <= 2))?;
        let (era, year_of_era) = (year / 400, year % 400);
        let shifted = if self.month > 2 { self.month - 3 } else { self.month + 9 };
        let day_of_year = (153 * shifted + 2) / 5 + self.day.checked_sub(1)?;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
        Some(days * 86_400 + self.hour * 3_600 + self.minute * 60 + self.second)
    }
}

/// RFC 3339 with microseconds, as in `2024-02-29T23:59:59.000001Z`. What is finer is cut off.
#[must_use]
pub fn rfc3339(ts: Timestamp) -> String {
    let c = Civil::of(ts.as_secs());
    let micros = ts.as_micros() % 1_000_000;
    format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{micros:06}Z", c.year, c.month, c.day, c.hour, c.minute, c.second)
}

/// Reads what [`rfc3339`] writes. `None` for anything else, other time zones included.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let digits = |range: std::ops::Range<usize>| -> Option<u64> {
        let part = text.get(range)?;
        part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    if shape != "0000-00-00T00:00:00.000000Z" {
        return None;
    }
    let civil = Civil {
        year: digits(0..4)?,
        month: digits(5..7)?,
        day: digits(8..10)?,
        hour: digits(11..13)?,
        minute: digits(14..16)?,
        second: digits(17..19)?,
    };
    let valid = (1..=12).contains(&civil.month)
        && (1..=31).contains(&civil.day)
        && civil.hour < 24
        && civil.minute < 60
        && civil.second < 60;
    let micros = civil.secs().filter(|_| valid)?.checked_mul(1_000_000)? + digits(20..26)?;
    Some(Timestamp::from_micros(micros))
}

/// The window of nfdump's `-t` that holds everything from `first` to `last`, as in
/// `2024/02/29.23:59:59-2024/03/01.00:00:01`: whole seconds, rounded outwards.
#[must_use]
pub fn window(first: Timestamp, last: Timestamp) -> String {
    let text = |secs: u64| {
        let c = Civil::of(secs);
        format!("{:04}/{:02}/{:02}.{:02}:{:02}:{:02}", c.year, c.month, c.day, c.hour, c.minute, c.second)
    };
    let end = last.max(first).as_nanos().div_ceil(1_000_000_000);
    format!("{}-{}", text(first.as_secs()), text(end))
}

/// For `#[serde(with = "…")]`: a [`Timestamp`] as RFC 3339.
pub mod as_rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use weir_flow::Timestamp;

    /// Writes the time as text.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(ts: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::rfc3339(*ts))
    }

    /// Reads the time from text.
    ///
    /// # Errors
    ///
    /// If the text is not in the form that is written.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_rfc3339(&text).ok_or_else(|| D::Error::custom(format_args!("not a time: {text}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days_are_written_right() {
        // 1709251199 is 2024-02-29 23:59:59 UTC (date -u -d @1709251199).
        assert_eq!(rfc3339(Timestamp::from_micros(1_709_251_199_000_001)), "2024-02-29T23:59:59.000001Z");
        assert_eq!(rfc3339(Timestamp::ZERO), "1970-01-01T00:00:00.000000Z");
        assert_eq!(
            window(Timestamp::from_millis(1_709_251_199_900), Timestamp::from_millis(1_709_251_200_100)),
            "2024/02/29.23:59:59-2024/03/01.00:00:01"
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        for secs in (0..18_446_744_073).step_by(86_399 * 31) {
            let ts = Timestamp::from_micros(secs * 1_000_000 + 7);
            assert_eq!(parse_rfc3339(&rfc3339(ts)), Some(ts));
        }
        for text in ["", "1969-12-31T23:59:59.000000Z", "2024-13-01T00:00:00.000000Z", "2024-01-01T00:00:00Z"] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }
}
