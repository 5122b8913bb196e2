// SPDX-License-Identifier: MIT OR Apache-2.0
//! MQTT (OASIS MQTT 3.1.1 and 5.0, and 3.1 before them) over TCP, recognised by content.
//!
//! A connection is one transaction.
//!
//! - **Parsed**: fixed headers (section 2.1 of 5.0), CONNECT and CONNACK (3.1, 3.2), topics of PUBLISH (3.3), filters of
//!   SUBSCRIBE (3.8).
//! - **Not parsed**: passwords, messages and wills, properties, topic aliases; MQTT over WebSocket, MQTT-SN.
//! - **Recognised** by CONNECT: its header, name and level of the protocol: 8 octets at least. A connection that began before the
//!   capture is not.
//! - **Bounds**: 4 KiB of a packet; of PUBLISH what holds its topic. 32 topics, 32 filters.
//! - **Odd input**: a length that lies leaves out what it is of; a packet of a kind that does not exist ends the flow, and so do
//!   missing octets.
//! - **Fields**: all of `weir_flow::app::Mqtt`.
//! - **Fixtures**: hand-made packets in `tests.rs`; `pcaps/mqtt/mqtt.pcap`.

#[cfg(test)]
mod tests;

use weir_flow::app::Mqtt;

use super::{AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport};
use crate::Cursor;

/// Most octets of a packet that are looked at.
const MAX_PACKET: usize = 4096;

/// Most octets of a topic that are waited for.
const MAX_TOPIC: usize = 512;

/// Kinds of packets.
const CONNECT: u8 = 1;
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const SUBSCRIBE: u8 = 8;

/// The level from which on packets have properties.
const WITH_PROPERTIES: u8 = 5;

const WILL: u8 = 0x04;
const USER_NAME: u8 = 0x80;

/// Reads the packets of one connection.
#[derive(Debug, Default)]
pub struct Parser {
    has_properties: bool,
}

/// A fixed header.
#[derive(Clone, Copy, Debug)]
struct Header {
    kind: u8,
    flags: u8,
    /// Octets of the header, and of what follows.
    own: usize,
    len: usize,
}

/// What octets begin with.
enum Begins {
    With(Header),
    TooShort,
    Bad,
}

impl super::Parser for Parser {
    type Fields = Mqtt;
    type Scratch = ();

    const IDENTITY: Identity = Identity {
        slug: "mqtt",
        transports: &[Transport::Stream],
        port_hints: &[1883],
        max_buffered: 5 + MAX_PACKET,
        max_inspected: u32::MAX,
        max_open: 1,
    };

    const BEGINS: &[Octets] = &[Octets::of(&[CONNECT << 4])];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        if input.bytes.first() != Some(&(CONNECT << 4)) {
            return Probe::No;
        }
        let header = match begins(input.bytes) {
            Begins::With(header) if header.len >= 10 => header,
            Begins::TooShort => return Probe::More,
            Begins::With(_) | Begins::Bad => return Probe::No,
        };
        let body = input.bytes.get(header.own..).unwrap_or_default();
        let is_beginning = |whole: &[u8], levels: std::ops::RangeInclusive<u8>| {
            let known = body.len().min(whole.len());
            match (body.get(..known) == whole.get(..known), body.get(whole.len())) {
                (false, _) => Probe::No,
                (true, None) => Probe::More,
                // A bridge says so by the first bit.
                (true, Some(level)) if levels.contains(&(level & 0x7f)) => Probe::Yes,
                (true, Some(_)) => Probe::No,
            }
        };
        match is_beginning(b"\0\x04MQTT", 4..=5) {
            Probe::No => is_beginning(b"\0\x06MQIsdp", 3..=3),
            told => told,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Mqtt>, (): &mut ()) -> Step {
        let header = match begins(input.bytes) {
            Begins::With(header) => header,
            Begins::TooShort => return Step::More,
            Begins::Bad => return Step::Reject,
        };
        let most = match header.kind {
            CONNECT | SUBSCRIBE => MAX_PACKET,
            PUBLISH => 2 + MAX_TOPIC,
            CONNACK => 2,
            _ => 0,
        };
        let body = input.bytes.get(header.own..).unwrap_or_default();
        let wanted = header.len.min(most);
        if body.len() < wanted && !input.snapped {
            // The topic alone is enough.
            let topic = body.first_chunk().map(|len| 2 + usize::from(u16::from_be_bytes(*len)));
            if header.kind != PUBLISH || topic.is_none_or(|topic| body.len() < topic) {
                return Step::More;
            }
        }
        let index = transactions.oldest_open().unwrap_or_else(|| transactions.open().0);
        if let Some(fields) = transactions.fields_mut(index) {
            fields.packet_types = Some(fields.packet_types.unwrap_or(0) | 1 << header.kind);
            self.take(header, Cursor::new(body.get(..wanted).unwrap_or(body)), fields);
        }
        Step::Skip((header.own + header.len) as u64)
    }

    fn gap(&mut self, _: Direction) -> AfterGap {
        // Nothing marks the beginning of a packet but the length of the one before.
        AfterGap::Done
    }
}

/// Reads a fixed header.
fn begins(bytes: &[u8]) -> Begins {
    let mut c = Cursor::new(bytes);
    let Some(first) = c.u8() else { return Begins::TooShort };
    if first >> 4 == 0 {
        return Begins::Bad;
    }
    let Some(len) = number(&mut c) else {
        return if c.remaining() < 4 && c.rest().iter().all(|octet| octet & 0x80 != 0) {
            Begins::TooShort
        } else {
            Begins::Bad
        };
    };
    Begins::With(Header { kind: first >> 4, flags: first & 0x0f, own: c.offset(), len })
}

/// A number of one to four octets, of which all but the last have their first bit set; else nothing is read.
fn number(c: &mut Cursor<'_>) -> Option<usize> {
    let len = c.rest().iter().take(4).position(|octet| octet & 0x80 == 0)? + 1;
    let octets = c.take(len)?;
    Some(octets.iter().rev().fold(0, |number, octet| number << 7 | usize::from(octet & 0x7f)))
}

/// A text, or other octets, behind their length.
fn counted<'a>(c: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let len = c.u16()?;
    c.take(len.into())
}

impl Parser {
    /// Takes what a packet says behind its fixed header.
    fn take(&mut self, header: Header, mut c: Cursor<'_>, fields: &mut Mqtt) {
        match header.kind {
            CONNECT => _ = self.connect(c, fields),
            CONNACK => fields.return_code = c.u16().map(|flags_and_code| flags_and_code.to_be_bytes()[1]),
            PUBLISH => {
                fields.publish_flags = Some(fields.publish_flags.unwrap_or(0) | header.flags);
                let topic = c.u16().map(|len| c.take(len.into()).unwrap_or(c.rest())).filter(|topic| !topic.is_empty());
                topic.into_iter().for_each(|topic| fields.topics.push_new(topic, &mut fields.memory));
            }
            SUBSCRIBE => {
                let _identifier = c.u16();
                if self.has_properties {
                    let properties = number(&mut c).unwrap_or(0);
                    c.take(properties);
                }
                while let Some(filter) = counted(&mut c) {
                    fields.filters.push_new(filter, &mut fields.memory);
                    let _options = c.u8();
                }
            }
            _ => {}
        }
    }

    /// CONNECT; `None` where it ends early.
    fn connect(&mut self, mut c: Cursor<'_>, fields: &mut Mqtt) -> Option<()> {
        let memory = &mut fields.memory;
        counted(&mut c)?;
        let level = c.u8()? & 0x7f;
        fields.version = Some(level);
        self.has_properties = level >= WITH_PROPERTIES;
        let flags = c.u8()?;
        fields.connect_flags = Some(flags);
        fields.keep_alive = Some(c.u16()?);
        self.skip_properties(&mut c)?;
        fields.client_id.set(counted(&mut c)?, memory);
        if flags & WILL != 0 {
            self.skip_properties(&mut c)?;
            fields.will_topic.set(counted(&mut c)?, memory);
            counted(&mut c)?;
        }
        if flags & USER_NAME != 0 {
            fields.user_name.set(counted(&mut c)?, memory);
        }
        Some(())
    }

    fn skip_properties(&self, c: &mut Cursor<'_>) -> Option<()> {
        if self.has_properties {
            let len = number(c)?;
            c.take(len)?;
        }
        Some(())
    }
}
