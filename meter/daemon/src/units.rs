// SPDX-License-Identifier: MIT OR Apache-2.0
//! Durations and sizes with their unit, as operators write them: `30s`, `5m`, `1h`, `250ms`; `64MiB`.

use std::time::Duration;

/// Reads a duration.
///
/// # Errors
///
/// A sentence that says what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("'{text}' is no duration: expected a number and ms, s, m or h, such as 30s");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| expected())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(expected()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(expected)
}

/// Writes a duration so that it reads the same.
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "0s".to_owned(),
        m if m % 1000 != 0 => format!("{m}ms"),
        m => format!("{}s", m / 1000),
    }
}

/// Units of sizes, the largest first.
const SIZES: [(&str, usize); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads a size in octets.
///
/// # Errors
///
/// A sentence that says what was expected.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let expected = || format!("'{text}' is no size: expected a number and B, KiB, MiB or GiB, such as 64MiB");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: usize = number.parse().map_err(|_| expected())?;
    let (_, octets) = SIZES.iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
    number.checked_mul(*octets).ok_or_else(expected)
}

/// Writes a size so that it reads the same.
pub fn show_size(octets: usize) -> String {
    let (unit, of) = SIZES.iter().find(|(_, of)| octets.is_multiple_of(*of)).unwrap_or(&("B", 1));
    format!("{}{unit}", octets / of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_they_are_written() {
        for (text, millis) in [("30s", 30_000), ("250ms", 250), ("5m", 300_000), ("1h", 3_600_000), ("0s", 0)] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(duration, Duration::from_millis(millis));
            assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }
        for text in ["", "30", "s", "-1s", "1.5s", "30 s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (text, octets) in [("64MiB", 64 << 20), ("1GiB", 1 << 30), ("1500B", 1500), ("3KiB", 3 << 10)] {
            assert_eq!((parse_size(text), show_size(octets).as_str()), (Ok(octets), text));
        }
        for text in ["", "64", "64MB", "64 MiB", "-1MiB", "99999999999999999999GiB", "18014398509481985KiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
