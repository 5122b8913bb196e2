// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptions of sessions (SDP, RFC 8866), line by line: each line that is of interest stands by itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_flow::app::Sip;

/// Which body it is that lines are of.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Body {
    /// A session description.
    #[default]
    Session,
    /// Several parts (RFC 2046 section 5.1), a session description perhaps among them; these lines are not of it.
    Parts,
    /// The session description among several parts.
    Part,
}

impl Body {
    /// By Content-Type; `None` if it is of no interest.
    pub(super) fn of_type(content_type: &[u8]) -> Option<Self> {
        let has_prefix =
            |prefix: &[u8]| content_type.get(..prefix.len()).is_some_and(|t| t.eq_ignore_ascii_case(prefix));
        if has_prefix(b"application/sdp") {
            Some(Self::Session)
        } else {
            has_prefix(b"multipart/").then_some(Self::Parts)
        }
    }

    /// Reads a line, and says of which body the next one is.
    pub(super) fn read(self, line: &[u8], sip: &mut Sip) -> Self {
        match (self, line) {
            (Self::Parts, [b'v', b'=', ..]) => Self::Part,
            (Self::Part, [b'-', b'-', ..]) => Self::Parts,
            (Self::Session | Self::Part, [kind @ (b'c' | b'm' | b'a'), b'=', value @ ..]) => {
                match kind {
                    b'c' => connection(value, sip),
                    b'm' => media(value, sip),
                    _ => attribute(value, sip),
                }
                self
            }
            _ => self,
        }
    }
}

fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

fn number(digits: &[u8]) -> Option<u16> {
    str::from_utf8(digits).ok()?.parse().ok()
}

/// `IN IP4 224.2.36.42/127`: an address may have a TTL and a count behind it. Names of hosts are passed over.
fn connection(value: &[u8], sip: &mut Sip) {
    let Some(address) = words(value).nth(2) else { return };
    let address = address.split(|&b| b == b'/').next().unwrap_or_default();
    match str::from_utf8(address).ok().and_then(|a| a.parse().ok()) {
        // On hold, by the old convention (RFC 3264 section 8.4).
        Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED) | IpAddr::V6(Ipv6Addr::UNSPECIFIED)) | None => {}
        Some(IpAddr::V4(address)) => sip.media_ipv4.push_new(address.octets(), &mut sip.memory),
        Some(IpAddr::V6(address)) => sip.media_ipv6.push_new(address.octets(), &mut sip.memory),
    }
}

/// `audio 49170/2 RTP/AVP 0 8`: type, port and perhaps a count, transport, formats.
fn media(value: &[u8], sip: &mut Sip) {
    let mut words = words(value);
    let (Some(kind), Some(port), Some(transport)) = (words.next(), words.next(), words.next()) else { return };
    let port = port.split(|&b| b == b'/').next().and_then(number).unwrap_or(0);
    // Refused, or not to be used (RFC 3264 section 6).
    if port == 0 {
        return;
    }
    let memory = &mut sip.memory;
    match kind {
        b"audio" => sip.audio_port.push_new(port, memory),
        b"video" => sip.video_port.push_new(port, memory),
        _ => sip.media_port.push_new(port, memory),
    }
    if transport.starts_with(b"RTP/") || transport.windows(5).any(|part| part == b"/RTP/") {
        let names = words.filter_map(|format| number(format).and_then(static_name));
        names.for_each(|name| sip.codec.push_new(name.as_bytes(), memory));
    }
}

/// `rtpmap:97 opus/48000/2`: payload type, then name, clock rate and channels.
fn attribute(value: &[u8], sip: &mut Sip) {
    let Some(mapping) = value.strip_prefix(b"rtpmap:") else { return };
    let Some(codec) = words(mapping).nth(1) else { return };
    let name = codec.split(|&b| b == b'/').next().unwrap_or_default();
    if !name.is_empty() {
        sip.codec.push_new(name, &mut sip.memory);
    }
}

/// Names of the payload types that need no mapping (RFC 3551 section 6).
fn static_name(payload_type: u16) -> Option<&'static str> {
    Some(match payload_type {
        0 => "PCMU",
        3 => "GSM",
        4 => "G723",
        5 | 6 | 16 | 17 => "DVI4",
        7 => "LPC",
        8 => "PCMA",
        9 => "G722",
        10 | 11 => "L16",
        12 => "QCELP",
        13 => "CN",
        14 => "MPA",
        15 => "G728",
        18 => "G729",
        25 => "CelB",
        26 => "JPEG",
        28 => "nv",
        31 => "H261",
        32 => "MPV",
        33 => "MP2T",
        34 => "H263",
        _ => return None,
    })
}
