// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where records go, as an operator writes it.

use std::{fmt, path::PathBuf, str::FromStr};

/// Port of IPFIX over UDP and TCP (RFC 7011 section 10.1), and with TLS.
const IPFIX_PORT: u16 = 4739;
const TLS_PORT: u16 = 4740;

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
    /// The same, encrypted (RFC 7011 section 11.2).
    Tls(String, Box<TlsOptions>),
    /// A file, made anew; for IPFIX that of RFC 5655.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

/// Whom a destination trusts, and what it shows.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TlsOptions {
    /// File of certificate authorities, PEM; those of this system if there is none.
    pub authorities: Option<PathBuf>,
    /// File of the certificate to show, with those between it and its authority, PEM.
    pub certificate: Option<PathBuf>,
    /// File of its key, PEM.
    pub key: Option<PathBuf>,
    /// Name that the other side's certificate must have, if it is not that of the host.
    pub name: Option<String>,
}

impl TlsOptions {
    /// Reads `ca=FILE&cert=FILE&key=FILE&name=NAME`, each at most once.
    fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "behind '?' expected ca=FILE, cert=FILE, key=FILE or name=NAME, with '&' between them";
        let mut options = Self::default();
        for part in text.split('&') {
            let Some((key, value)) = part.split_once('=').filter(|(_, value)| !value.is_empty()) else {
                return Err(EXPECTED);
            };
            let is_set = match key {
                "ca" => options.authorities.replace(value.into()).is_some(),
                "cert" => options.certificate.replace(value.into()).is_some(),
                "key" => options.key.replace(value.into()).is_some(),
                "name" => options.name.replace(value.to_owned()).is_some(),
                _ => return Err(EXPECTED),
            };
            if is_set {
                return Err("an option is given twice");
            }
        }
        Ok(options)
    }
}

impl fmt::Display for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let options = [
            ("ca", path(&self.authorities)),
            ("cert", path(&self.certificate)),
            ("key", path(&self.key)),
            ("name", self.name.clone()),
        ];
        let options = options.into_iter().filter_map(|(key, value)| Some((key, value?)));
        for ((key, value), mark) in options.zip(std::iter::once('?').chain(std::iter::repeat('&'))) {
            write!(f, "{mark}{key}={value}")?;
        }
        Ok(())
    }
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

    /// Whether it is behind a connection, which may break and be made again.
    #[must_use]
    pub const fn is_connection(&self) -> bool {
        matches!(self.transport, Transport::Tcp(_) | Transport::Tls(..))
    }

    /// The same, with these options of TLS where it says nothing of its own.
    #[must_use]
    pub fn with_tls(mut self, usual: &TlsOptions) -> Self {
        if let Transport::Tls(_, options) = &mut self.transport {
            let has_certificate = options.certificate.is_some() || options.key.is_some();
            if !has_certificate {
                (options.certificate, options.key) = (usual.certificate.clone(), usual.key.clone());
            }
            options.authorities = options.authorities.take().or_else(|| usual.authorities.clone());
        }
        self
    }
}

/// Why a destination cannot be understood.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DestinationError {
    /// No scheme, or one that does not exist.
    #[error(
        "'{0}': expected udp://HOST[:PORT], tcp://HOST[:PORT], tls://HOST[:PORT], file:PATH, json:PATH, json:tcp://HOST:PORT, json:-, passive-dns:PATH or passive-dns:-"
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
            return match authority(rest, IPFIX_PORT) {
                Ok(address) => Ok(Self { format: Format::Ipfix, transport: Transport::Udp(address) }),
                Err(what) => incomplete(what),
            };
        }
        let (rest_of, format) = [("json:", Format::Json), ("passive-dns:", Format::PassiveDns)]
            .into_iter()
            .find_map(|(prefix, format)| Some((text.strip_prefix(prefix)?, format)))
            .unwrap_or((text, Format::Ipfix));
        if let Some(rest) = rest_of.strip_prefix("tcp://") {
            return match authority(rest, IPFIX_PORT) {
                Ok(address) => Ok(Self { format, transport: Transport::Tcp(address) }),
                Err(what) => incomplete(what),
            };
        }
        if let Some(rest) = rest_of.strip_prefix("tls://") {
            let (host, options) = rest.split_once('?').map_or((rest, None), |(host, options)| (host, Some(options)));
            let options = options.map_or(Ok(TlsOptions::default()), TlsOptions::parse);
            return match (authority(host, TLS_PORT), options) {
                (Ok(address), Ok(options)) => Ok(Self { format, transport: Transport::Tls(address, options.into()) }),
                (Err(what), _) | (_, Err(what)) => incomplete(what),
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

/// Host and port in the form that a socket takes; the port is the usual one if there is none.
fn authority(text: &str, usual: u16) -> Result<String, &'static str> {
    let (host, port) = match text.rfind(':') {
        // The colons of a bare IPv6 address are not a port's.
        Some(at) if !text.ends_with(']') && (text.starts_with('[') || text.find(':') == Some(at)) => {
            (&text[..at], text[at + 1..].parse().map_err(|_| "the port is not a number from 0 to 65535")?)
        }
        _ => (text, usual),
    };
    if host.is_empty() || host == "[]" {
        return Err("a host is missing");
    }
    if host.contains(['/', ' ', '?']) {
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
            Transport::Tls(address, options) => write!(f, "{scheme}tls://{address}{options}"),
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
            ("tls://station", "tls://station:4740"),
            ("tls://[::1]?name=station", "tls://[::1]:4740?name=station"),
            ("json:tls://a:1?cert=b&ca=/c/d&key=e", "json:tls://a:1?ca=/c/d&cert=b&key=e"),
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
        for text in ["tls://a?", "tls://a?ca", "tls://a?ca=", "tls://a?ca=b&ca=c", "tls://a?trust=all", "tcp://a?ca=b"]
        {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }

    #[test]
    fn usual_options_stand_where_a_destination_has_none() {
        let usual = "tls://x?ca=usual&cert=a&key=b".parse::<Destination>().unwrap();
        let Transport::Tls(_, usual) = usual.transport else { panic!("{usual}") };
        let with = |text: &str| text.parse::<Destination>().unwrap().with_tls(&usual).to_string();
        assert_eq!(with("tls://a"), "tls://a:4740?ca=usual&cert=a&key=b");
        assert_eq!(with("tls://a?ca=own&cert=c&key=d"), "tls://a:4740?ca=own&cert=c&key=d");
        assert_eq!(with("tcp://a"), "tcp://a:4739");
    }
}
