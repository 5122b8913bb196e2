// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where records go, as an operator writes it.

use std::{fmt, path::PathBuf, str::FromStr};

/// Port of IPFIX over UDP and TCP (RFC 7011 section 10.1).
const IPFIX_PORT: u16 = 4739;

/// How records are encoded for a destination.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// IPFIX messages.
    Ipfix,
    /// One JSON object a line.
    Json,
    /// Answers of DNS, added up, one JSON object a line (draft-dulaunoy-dnsop-passive-dns-cof).
    PassiveDns,
}

/// How octets get to a destination.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Transport {
    /// One message in each datagram (RFC 7011 section 10.3).
    Udp(String),
    /// A stream of messages (RFC 7011 section 10.4), or of lines.
    Tcp(String),
    /// A file, made anew; for IPFIX that of RFC 5655.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

/// One destination of `--export`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Destination {
    /// Encoding.
    pub format: Format,
    /// Way.
    pub transport: Transport,
}

impl Destination {
    /// Whether it is standard output, of which a reader may have had enough.
    #[must_use]
    pub const fn is_stdout(&self) -> bool {
        matches!(self.transport, Transport::Stdout)
    }
}

/// Why a destination cannot be understood.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DestinationError {
    /// No scheme, or one that does not exist.
    #[error(
        "'{0}': expected udp://HOST[:PORT], tcp://HOST[:PORT], file:PATH, json:PATH, json:-, passive-dns:PATH or passive-dns:-"
    )]
    Scheme(String),
    /// A scheme without its host, port or path.
    #[error("'{0}': {1}")]
    Incomplete(String, &'static str),
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let incomplete = |what| Err(DestinationError::Incomplete(text.to_owned(), what));
        let path = |rest: &str| if rest == "-" { Transport::Stdout } else { Transport::File(PathBuf::from(rest)) };
        if let Some(rest) = text.strip_prefix("udp://") {
            return match authority(rest) {
                Ok(address) => Ok(Self { format: Format::Ipfix, transport: Transport::Udp(address) }),
                Err(what) => incomplete(what),
            };
        }
        let streams =
            [("tcp://", Format::Ipfix), ("json:tcp://", Format::Json), ("passive-dns:tcp://", Format::PassiveDns)];
        if let Some((rest, format)) =
            streams.into_iter().find_map(|(scheme, format)| Some((text.strip_prefix(scheme)?, format)))
        {
            return match authority(rest) {
                Ok(address) => Ok(Self { format, transport: Transport::Tcp(address) }),
                Err(what) => incomplete(what),
            };
        }
        let (format, rest) = match text.split_once(':') {
            Some(("file", rest)) => (Format::Ipfix, rest),
            Some(("json", rest)) => (Format::Json, rest),
            Some(("passive-dns", rest)) => (Format::PassiveDns, rest),
            _ => return Err(DestinationError::Scheme(text.to_owned())),
        };
        if rest.is_empty() {
            return incomplete("a path is missing; '-' is standard output");
        }
        Ok(Self { format, transport: path(rest) })
    }
}

/// Host and port in the form that a socket takes; the port is that of IPFIX if there is none.
fn authority(text: &str) -> Result<String, &'static str> {
    let (host, port) = match text.rfind(':') {
        // The colons of a bare IPv6 address are not a port's.
        Some(at) if !text.ends_with(']') && (text.starts_with('[') || text.find(':') == Some(at)) => {
            (&text[..at], text[at + 1..].parse().map_err(|_| "the port is not a number from 0 to 65535")?)
        }
        _ => (text, IPFIX_PORT),
    };
    if host.is_empty() || host == "[]" {
        return Err("a host is missing");
    }
    if host.contains(['/', ' ']) {
        return Err("expected HOST[:PORT] and nothing after it");
    }
    let bare_v6 = host.contains(':') && !host.starts_with('[');
    Ok(if bare_v6 { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, file) = match self.format {
            Format::Ipfix => ("", "file:"),
            Format::Json => ("json:", "json:"),
            Format::PassiveDns => ("passive-dns:", "passive-dns:"),
        };
        match &self.transport {
            Transport::Udp(address) => write!(f, "udp://{address}"),
            Transport::Tcp(address) => write!(f, "{scheme}tcp://{address}"),
            Transport::File(path) => write!(f, "{file}{}", path.display()),
            Transport::Stdout => write!(f, "{file}-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_as_they_are_written() {
        for (text, shown) in [
            ("udp://station", "udp://station:4739"),
            ("udp://192.0.2.1:9995", "udp://192.0.2.1:9995"),
            ("tcp://[2001:db8::1]:4740", "tcp://[2001:db8::1]:4740"),
            ("tcp://[2001:db8::1]", "tcp://[2001:db8::1]:4739"),
            ("tcp://2001:db8::1", "tcp://[2001:db8::1]:4739"),
            ("json:-", "json:-"),
            ("json:tcp://log:5170", "json:tcp://log:5170"),
            ("file:a:b.ipfix", "file:a:b.ipfix"),
            ("file:-", "file:-"),
            ("passive-dns:-", "passive-dns:-"),
            ("passive-dns:names.jsonl", "passive-dns:names.jsonl"),
            ("passive-dns:tcp://[::1]:5170", "passive-dns:tcp://[::1]:5170"),
        ] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "udp:station",
            "udp://",
            "tcp://:4739",
            "udp://a:b",
            "udp://a/b",
            "file:",
            "ftp://a",
            "json",
            "passive-dns:",
        ] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }
}
