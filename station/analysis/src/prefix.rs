// SPDX-License-Identifier: MIT OR Apache-2.0
//! Address prefixes, port ranges and spans of time: the values that configuration is made of.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// A text that is no prefix, port range or span of time.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("{found:?} is not {allowed}")]
pub struct ParseError {
    found: String,
    allowed: &'static str,
}

impl ParseError {
    pub(crate) fn new(found: &str, allowed: &'static str) -> Self {
        Self { found: found.to_owned(), allowed }
    }
}

/// `address` with all but its first `len` bits cleared; `len` beyond the address's width leaves it as it is.
#[must_use]
pub fn masked(address: IpAddr, len: u8) -> IpAddr {
    match address {
        IpAddr::V4(a) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(len.into())).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask))
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(len.into())).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask))
        }
    }
}

/// Width of an address, in bits.
#[must_use]
pub const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// A set of addresses with the same first bits, as in `192.0.2.0/24`. A bare address is a prefix of full width.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

impl Prefix {
    /// The prefix of `len` bits that holds `address`; at most the address's width.
    #[must_use]
    pub fn new(address: IpAddr, len: u8) -> Self {
        Self { address: masked(address, len), len: len.min(width(address)) }
    }

    /// The lowest address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Number of fixed bits.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "the length of a prefix; no prefix is empty")]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Whether `address` is of the same version and begins with the same bits.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address, self.len) == self.address
    }

    /// Whether it is a single address.
    #[must_use]
    pub const fn is_address(&self) -> bool {
        self.len == width(self.address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_address() { self.address.fmt(f) } else { write!(f, "{}/{}", self.address, self.len) }
    }
}

impl FromStr for Prefix {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new(text, "an address or a prefix such as 192.0.2.0/24 or 2001:db8::/32");
        let (address, len) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let len = len.map_or(Ok(width(address)), |l| l.parse().map_err(|_| error()))?;
        if len > width(address) { Err(error()) } else { Ok(Self::new(address, len)) }
    }
}

/// Ports from the first to the last, both included; written `80` or `8000-8099`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port, not below `first`.
    pub last: u16,
}

impl PortRange {
    /// The range of one port.
    #[must_use]
    pub const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// Whether `port` is in it.
    #[must_use]
    pub const fn contains(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Ranges of ascending ports; neighbours are joined. At most `max` ranges, the rest is left out.
    pub fn of(ports: impl Iterator<Item = u16>, max: usize) -> Vec<Self> {
        let mut ranges: Vec<Self> = Vec::new();
        for port in ports {
            let full = ranges.len() >= max;
            match ranges.last_mut() {
                Some(last) if last.last.checked_add(1) == Some(port) => last.last = port,
                _ if full => break,
                _ => ranges.push(Self::one(port)),
            }
        }
        ranges
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl FromStr for PortRange {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new(text, "a port such as \"80\" or a range such as \"8000-8099\"");
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |t: &str| t.trim().parse::<u16>().map_err(|_| error());
        let range = Self { first: port(first)?, last: port(last)? };
        if range.first > range.last { Err(error()) } else { Ok(range) }
    }
}

/// A span of time in whole seconds; written with a unit, as in `30s`, `5m`, `1h`, `1d`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(u32);

impl Span {
    /// From seconds.
    #[must_use]
    pub const fn secs(secs: u32) -> Self {
        Self(secs)
    }

    /// In seconds.
    #[must_use]
    pub const fn as_secs(self) -> u32 {
        self.0
    }

    /// As a duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) =
            UNITS.iter().copied().find(|(unit, _)| self.0 > 0 && self.0.is_multiple_of(*unit)).unwrap_or((1, "s"));
        write!(f, "{}{name}", self.0 / unit)
    }
}

/// Longest first.
const UNITS: [(u32, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];

impl FromStr for Span {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        UNITS
            .iter()
            .find_map(|(unit, name)| Some((unit, text.strip_suffix(name)?)))
            .and_then(|(unit, number)| number.trim().parse::<u32>().ok()?.checked_mul(*unit))
            .map(Self)
            .ok_or_else(|| {
                ParseError::new(text, "a span of time with its unit, such as \"30s\", \"5m\", \"1h\" or \"1d\"")
            })
    }
}

macro_rules! text_form {
    ($($type:ty)*) => {$(
        impl TryFrom<String> for $type {
            type Error = ParseError;
            fn try_from(text: String) -> Result<Self, ParseError> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    )*};
}
text_form!(Prefix PortRange Span);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_written_alike() {
        for text in ["192.0.2.0/24", "0.0.0.0/0", "2001:db8::/32", "::/0", "192.0.2.1"] {
            assert_eq!(text.parse::<Prefix>().map(|p| p.to_string()), Ok(text.to_owned()));
        }
        for text in ["80", "8000-8099"] {
            assert_eq!(text.parse::<PortRange>().map(|p| p.to_string()), Ok(text.to_owned()));
        }
        for text in ["45s", "5m", "1h", "2d", "0s"] {
            assert_eq!(text.parse::<Span>().map(|p| p.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "192.0.2.0/33", "2001:db8::/129", "192.0.2/24", "a/b"] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
        for text in ["", "9-8", "65536", "-1"] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
        for text in ["", "30", "s", "1w", "-1s", "4294967295d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_prefix_holds_addresses_of_its_version_only() {
        let all = Prefix::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        assert!(all.contains(IpAddr::V4(Ipv4Addr::BROADCAST)));
        assert!(!all.contains(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    }

    #[test]
    fn neighbouring_ports_are_one_range() {
        let ranges = PortRange::of([1, 2, 3, 7, 65_534, 65_535].into_iter(), 2);
        assert_eq!(ranges, [PortRange { first: 1, last: 3 }, PortRange::one(7)]);
    }
}
