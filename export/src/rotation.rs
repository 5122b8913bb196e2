// SPDX-License-Identifier: MIT OR Apache-2.0
//! When a file is finished and the next one begun, and what they are called.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// When files are finished.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rotation {
    /// At the end of each such interval since 1970, UTC: with five minutes at 12:00, 12:05 and so on.
    pub interval: Option<Duration>,
    /// Before they have more octets than that.
    pub octets: Option<u64>,
}

impl Rotation {
    /// Whether files are ever finished before the end.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.interval.is_some() || self.octets.is_some()
    }

    /// Looks whether files can be called like this.
    ///
    /// # Errors
    ///
    /// If the pattern has a conversion that does not exist.
    pub fn check(&self, pattern: &Path) -> Result<(), UnknownConversion> {
        name(pattern, Duration::ZERO).map(drop)
    }

    /// Where the interval begins that this time, since 1970, lies in; the time itself if there are none.
    pub(crate) fn slot(&self, time: Duration) -> Duration {
        match self.interval.map(|interval| interval.as_nanos()).filter(|nanos| *nanos > 0) {
            Some(nanos) => {
                let begin = time.as_nanos() / nanos * nanos;
                Duration::from_nanos(u64::try_from(begin).unwrap_or(u64::MAX))
            }
            None => time,
        }
    }

    /// How long after this time, since 1970, the interval ends.
    pub(crate) fn left(&self, time: Duration) -> Option<Duration> {
        let interval = self.interval?;
        Some((self.slot(time) + interval).saturating_sub(time))
    }
}

/// Why a name is none for files that are finished one after the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("'%{0}' in the name of a file is none of %Y, %m, %d, %H, %M, %S, %s and %%")]
pub struct UnknownConversion(char);

/// The name that a file gets that was begun at this time, since 1970. Where the pattern says nothing of time, it stands before
/// the extension.
///
/// # Errors
///
/// If the pattern has a conversion that does not exist.
pub fn name(pattern: &Path, time: Duration) -> Result<PathBuf, UnknownConversion> {
    let text = pattern.to_string_lossy();
    if text.contains('%') {
        return expand(&text, time).map(PathBuf::from);
    }
    let stem = pattern.file_stem().unwrap_or_default().to_string_lossy();
    let extension = pattern.extension().map(|extension| format!(".{}", extension.to_string_lossy()));
    let name = format!("{stem}-%Y%m%dT%H%M%SZ{}", extension.unwrap_or_default());
    Ok(pattern.with_file_name(expand(&name, time)?))
}

/// The same name, for the so-manieth time: with the number before the extension.
pub fn again(name: &Path, number: u32) -> PathBuf {
    let stem = name.file_stem().unwrap_or_default().to_string_lossy();
    let extension = name.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    name.with_file_name(format!("{stem}-{number}{extension}"))
}

/// What a file is called as long as it is written.
pub fn unfinished(name: &Path) -> PathBuf {
    let mut unfinished = name.as_os_str().to_owned();
    unfinished.push(".part");
    unfinished.into()
}

fn expand(pattern: &str, time: Duration) -> Result<String, UnknownConversion> {
    let seconds = time.as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let mut text = String::new();
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        // Writing to a string cannot fail.
        let _ = match rest.next().unwrap_or(' ') {
            'Y' => write!(text, "{year:04}"),
            'm' => write!(text, "{month:02}"),
            'd' => write!(text, "{day:02}"),
            'H' => write!(text, "{:02}", seconds / 3600 % 24),
            'M' => write!(text, "{:02}", seconds / 60 % 60),
            'S' => write!(text, "{:02}", seconds % 60),
            's' => write!(text, "{seconds}"),
            '%' => write!(text, "%"),
            other => return Err(UnknownConversion(other)),
        };
    }
    Ok(text)
}

/// Year, month and day of a day since 1970, in the Gregorian calendar: eras of 400 years, which begin with March.
fn date(days: u64) -> (u64, u64, u64) {
    /// Days from 0000-03-01 to 1970-01-01, and of 400 years.
    const TO_1970: u64 = 719_468;
    const ERA: u64 = 146_097;
    let days = days + TO_1970;
    let (era, of_era) = (days / ERA, days % ERA);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        let dates = [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (20_779, (2026, 11, 22)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ];
        for (day, expected) in dates {
            assert_eq!(date(day), expected, "{day}");
        }
    }

    #[test]
    fn names_have_the_time() {
        let time = Duration::from_secs(20_779 * 86_400 + 3_661);
        for (pattern, expected) in [
            ("/a.b/flows.ipfix", "/a.b/flows-20261122T010101Z.ipfix"),
            ("flows", "flows-20261122T010101Z"),
            ("x/%Y-%m-%d/%H%M%S.json", "x/2026-11-22/010101.json"),
            ("%s%%", "1795309261%"),
        ] {
            assert_eq!(name(Path::new(pattern), time).unwrap(), Path::new(expected));
        }
        assert_eq!(name(Path::new("%q"), time), Err(UnknownConversion('q')));
        assert!(name(Path::new("a%"), time).is_err());
        assert_eq!(again(Path::new("a/b.c"), 2), Path::new("a/b-2.c"));
        assert_eq!(unfinished(Path::new("a/b.c")), Path::new("a/b.c.part"));
    }

    #[test]
    fn intervals_begin_with_the_hour() {
        let rotation = Rotation { interval: Some(Duration::from_secs(300)), octets: None };
        let time = Duration::from_secs(3_600 + 310);
        assert_eq!(rotation.slot(time), Duration::from_secs(3_900));
        assert_eq!(rotation.left(time), Some(Duration::from_secs(290)));
        assert_eq!(Rotation::default().slot(time), time);
    }
}
