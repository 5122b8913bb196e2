// SPDX-License-Identifier: MIT OR Apache-2.0
//! SSDP (UPnP Device Architecture 2.0 section 1, draft-cai-ssdp-v1) over UDP, recognised by content.
//!
//! A flow is one transaction. After 64 messages nothing more is wanted: devices repeat themselves.
//!
//! - **Parsed**: first line, and the header fields that `weir_flow::app::Ssdp` has.
//! - **Not parsed**: other fields, how long an announcement holds among them; what is fetched from the location, which is HTTP.
//! - **Recognised** by the first line, `NOTIFY` or `M-SEARCH` with `*`, or a response with status 200, and one of the fields `ST`,
//!   `NT` and `USN`, which tell it from others that use HTTP over UDP, such as the discovery of media servers on ports 32410 on.
//! - **Bounds**: 2 KiB of a message, 16 values of each list.
//! - **Odd input**: what is no message is passed over, and counts as one; a field without a colon is left out.
//! - **Fields**: all of `weir_flow::app::Ssdp`.
//! - **Fixtures**: hand-made messages in `tests.rs`; `pcaps/ssdp/ssdp.pcap`.

#[cfg(test)]
mod tests;

use weir_flow::app::Ssdp;

use super::{AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport, line};

/// Most octets of a message that are looked at.
const MAX_MESSAGE: usize = 2048;

/// Messages that are read.
const MAX_MESSAGES: u8 = 64;

/// Reads the messages of one flow.
#[derive(Debug, Default)]
pub struct Parser {
    messages: u8,
}

impl super::Parser for Parser {
    type Fields = Ssdp;
    type Scratch = ();

    const IDENTITY: Identity = Identity {
        slug: "ssdp",
        transports: &[Transport::Datagram],
        port_hints: &[1900],
        max_buffered: 0,
        max_inspected: u32::MAX,
        max_open: 1,
    };

    const BEGINS: &[Octets] = &[Octets::of(b"NMH"), Octets::of(b"O-T"), Octets::of(b"TS"), Octets::of(b"IEP")];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        if matches!(input.bytes.first(), Some(b'N' | b'M' | b'H')) && read(input.bytes).is_some() {
            Probe::Yes
        } else {
            Probe::No
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Ssdp>, (): &mut ()) -> Step {
        if let Some((method, rest)) = read(input.bytes) {
            let index = transactions.oldest_open().unwrap_or_else(|| transactions.open().0);
            if let Some(fields) = transactions.fields_mut(index) {
                fields.method.push_new(method, &mut fields.memory);
                line::Lines::new(rest, input.snapped).filter_map(line::header).for_each(|field| write(field, fields));
            }
        }
        self.messages += 1;
        if self.messages < MAX_MESSAGES {
            return Step::Consumed(input.bytes.len());
        }
        if let Some(index) = transactions.oldest_open() {
            transactions.complete(index);
        }
        Step::Done
    }

    fn gap(&mut self, _: Direction) -> AfterGap {
        AfterGap::Resume
    }
}

/// The method of a message, and what follows its first line; `None` if the octets are no message.
fn read(bytes: &[u8]) -> Option<(&'static [u8], &[u8])> {
    let bytes = bytes.get(..MAX_MESSAGE).unwrap_or(bytes);
    let (first, len) = line::first(bytes)?;
    let rest = bytes.get(len..)?;
    let method = match first.trim_ascii_end() {
        b"NOTIFY * HTTP/1.1" | b"NOTIFY * HTTP/1.0" => &b"NOTIFY"[..],
        b"M-SEARCH * HTTP/1.1" | b"M-SEARCH * HTTP/1.0" => b"M-SEARCH",
        first if first.starts_with(b"HTTP/1.1 200") || first.starts_with(b"HTTP/1.0 200") => b"RESPONSE",
        _ => return None,
    };
    let mut names = line::Lines::new(rest, true).filter_map(line::header).map(|field| field.0);
    names
        .any(|name| [&b"ST"[..], b"NT", b"USN"].iter().any(|own| name.eq_ignore_ascii_case(own)))
        .then_some((method, rest))
}

fn write((name, value): (&[u8], &[u8]), fields: &mut Ssdp) {
    let memory = &mut fields.memory;
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    if value.is_empty() {
        return;
    }
    match name.len() {
        2 if is(b"st") => fields.search_target.push_new(value, memory),
        2 if is(b"nt") => fields.notification_type.push_new(value, memory),
        3 if is(b"usn") => fields.unique_name.push_new(value, memory),
        6 if is(b"server") && fields.server.is_empty() => fields.server.set(value, memory),
        10 if is(b"user-agent") && fields.user_agent.is_empty() => fields.user_agent.set(value, memory),
        8 if is(b"location") && fields.location.is_empty() => {
            fields.location.set(value, memory);
            fields.location_port = port(value);
        }
        _ => {}
    }
}

/// Port of an address such as `http://192.0.2.1:5000/x`, or the one that its scheme implies.
fn port(location: &[u8]) -> Option<u16> {
    let after = |scheme: &[u8]| {
        location.split_at_checked(scheme.len()).filter(|(start, _)| start.eq_ignore_ascii_case(scheme)).map(|s| s.1)
    };
    let (rest, implied) = match (after(b"http://"), after(b"https://")) {
        (Some(rest), _) => (rest, 80),
        (_, Some(rest)) => (rest, 443),
        _ => return None,
    };
    let authority = rest.split(|octet| matches!(octet, b'/' | b'?' | b'#')).next()?;
    // Behind the bracket of an IPv6 address.
    let tail = authority.rsplit(|&octet| octet == b']').next()?;
    let Some(colon) = tail.iter().rposition(|&octet| octet == b':') else { return Some(implied) };
    str::from_utf8(tail.get(colon + 1..)?).ok()?.parse().ok()
}
