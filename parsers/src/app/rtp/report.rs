// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets of RTCP (RFC 3550 section 6), several in one datagram.

use weir_flow::{Compact, Text, Timestamp, app::Rtp};

use super::packet::{has_small_counts, is_rtcp_type, is_version_2};

/// Octets of the header of a packet: version and count, type, length.
const HEADER: usize = 4;
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const CNAME: u8 = 1;

/// Octets of a report block.
const BLOCK: usize = 24;

/// One packet.
#[derive(Clone, Copy, Debug)]
struct Packet<'a> {
    kind: u8,
    /// Of report blocks, or of chunks.
    count: u8,
    body: &'a [u8],
}

/// Takes the first packet off; `None` if there is no whole one.
fn split(bytes: &[u8]) -> Option<(Packet<'_>, &[u8])> {
    let (&[first, kind, high, low], rest) = bytes.split_first_chunk::<HEADER>()?;
    if !is_version_2(first) || !is_rtcp_type(kind) {
        return None;
    }
    let (body, rest) = rest.split_at_checked(4 * usize::from(u16::from_be_bytes([high, low])))?;
    Some((Packet { kind, count: first & 0x1f, body }, rest))
}

impl<'a> Packet<'a> {
    /// The report blocks, and what a sender says before them; `None` if the count and the length do not agree.
    fn report(&self) -> Option<(&'a [u8], &'a [u8])> {
        let of_sender = match self.kind {
            SENDER_REPORT => 24,
            RECEIVER_REPORT => 4,
            _ => return None,
        };
        let (sender, rest) = self.body.split_at_checked(of_sender)?;
        // What profiles append follows the blocks (RFC 3550 section 6.4.3).
        Some((sender, rest.get(..BLOCK * usize::from(self.count))?))
    }
}

/// What is known of a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Whole packets, one behind the other.
    Plain,
    /// A report, and then what is encrypted, or was not captured (RFC 3711 section 3.4).
    Encrypted,
    /// Something else.
    None,
}

/// What a datagram is. `is_known`: the flow is RTP, in which a datagram may begin with any packet (RFC 5506).
pub(super) fn kind(bytes: &[u8], is_known: bool) -> Kind {
    let Some((first, mut rest)) = split(bytes) else { return Kind::None };
    let is_report = first.report().is_some();
    if !is_known && (!is_report || has_small_counts(bytes)) {
        return Kind::None;
    }
    while let Some((_, others)) = split(rest) {
        rest = others;
    }
    match (rest.is_empty(), is_report || is_known) {
        (true, _) => Kind::Plain,
        (false, true) => Kind::Encrypted,
        (false, false) => Kind::None,
    }
}

/// The last sender report of one side.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    /// The middle of its NTP timestamp, as reports repeat it.
    middle: u32,
    at: Timestamp,
}

/// Fields of one direction.
struct Fields<'a> {
    ssrc: &'a mut Compact<u32>,
    sender_packets: &'a mut Compact<u32>,
    sender_octets: &'a mut Compact<u32>,
    fraction: &'a mut Option<u8>,
    lost: &'a mut Compact<u32>,
    jitter: &'a mut Compact<u32>,
    round_trip: &'a mut Compact<u32>,
    cname: &'a mut Text<256>,
    memory: &'a mut weir_flow::Memory,
}

impl<'a> Fields<'a> {
    fn of(rtp: &'a mut Rtp, side: usize) -> Self {
        if side == 0 {
            Self {
                ssrc: &mut rtp.ssrc,
                sender_packets: &mut rtp.sender_packets,
                sender_octets: &mut rtp.sender_octets,
                fraction: &mut rtp.reported_fraction,
                lost: &mut rtp.reported_lost,
                jitter: &mut rtp.reported_jitter,
                round_trip: &mut rtp.round_trip,
                cname: &mut rtp.cname,
                memory: &mut rtp.memory,
            }
        } else {
            Self {
                ssrc: &mut rtp.reverse_ssrc,
                sender_packets: &mut rtp.reverse_sender_packets,
                sender_octets: &mut rtp.reverse_sender_octets,
                fraction: &mut rtp.reverse_reported_fraction,
                lost: &mut rtp.reverse_reported_lost,
                jitter: &mut rtp.reverse_reported_jitter,
                round_trip: &mut rtp.reverse_round_trip,
                cname: &mut rtp.reverse_cname,
                memory: &mut rtp.memory,
            }
        }
    }
}

/// What a datagram of RTCP is read with.
pub(super) struct Reading<'a> {
    /// The index of its direction.
    pub(super) side: usize,
    pub(super) now: Timestamp,
    /// The last sender reports of both sides.
    pub(super) sent: &'a mut [Sent; 2],
    /// The source of the other direction, if one is followed: of several report blocks, that about it counts.
    pub(super) other: Option<u32>,
}

/// Reads the packets of a datagram.
pub(super) fn read(mut bytes: &[u8], kind: Kind, mut reading: Reading<'_>, rtp: &mut Rtp) {
    let mut fields = Fields::of(rtp, reading.side);
    if let Some(&[_, _, _, _, a, b, c, d]) = bytes.first_chunk::<{ HEADER + 4 }>()
        && fields.ssrc.get().is_none()
    {
        fields.ssrc.set(u32::from_be_bytes([a, b, c, d]));
    }
    while kind == Kind::Plain
        && let Some((packet, rest)) = split(bytes)
    {
        bytes = rest;
        if let Some((sender, blocks)) = packet.report() {
            reading.sender(sender, &mut fields);
            reading.blocks(blocks, &mut fields);
        } else if packet.kind == SOURCE_DESCRIPTION && packet.count > 0 && fields.cname.is_empty() {
            let name = cname(packet.body).unwrap_or_default();
            fields.cname.set(name, fields.memory);
        }
    }
}

fn word(bytes: &[u8], index: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(4 * index..)?.first_chunk()?))
}

impl Reading<'_> {
    /// SSRC, NTP timestamp, RTP timestamp, packets, octets; of a receiver report the SSRC alone.
    fn sender(&mut self, sender: &[u8], fields: &mut Fields<'_>) {
        let (Some(seconds), Some(fraction)) = (word(sender, 1), word(sender, 2)) else { return };
        let middle = seconds << 16 | fraction >> 16;
        if let Some(sent) = self.sent.get_mut(self.side) {
            *sent = Sent { middle, at: self.now };
        }
        word(sender, 4).into_iter().for_each(|packets| fields.sender_packets.set(packets));
        word(sender, 5).into_iter().for_each(|octets| fields.sender_octets.set(octets));
    }

    fn blocks(&self, blocks: &[u8], fields: &mut Fields<'_>) {
        let all = || blocks.chunks_exact(BLOCK);
        let block = all().find(|block| self.other.is_some() && word(block, 0) == self.other).or_else(|| all().next());
        let Some(block) = block else { return };
        let (Some(loss), Some(jitter), Some(last), Some(delay)) =
            (word(block, 1), word(block, 3), word(block, 4), word(block, 5))
        else {
            return;
        };
        let [fraction, ..] = loss.to_be_bytes();
        *fields.fraction = Some(fraction);
        // A signed number of 24 bits.
        let lost = loss & 0x00ff_ffff;
        fields.lost.set(if lost & 0x0080_0000 == 0 { lost } else { 0 });
        fields.jitter.set(jitter);
        let sent = self.sent.get(1 - self.side.min(1)).copied().unwrap_or_default();
        if last != 0 && last == sent.middle {
            let passed = self.now.as_nanos().saturating_sub(sent.at.as_nanos()) / 1000;
            let waited = (u64::from(delay) * 1_000_000) >> 16;
            fields.round_trip.set(u32::try_from(passed.saturating_sub(waited)).unwrap_or(u32::MAX));
        }
    }
}

/// The CNAME of the first chunk (RFC 3550 section 6.5).
fn cname(chunks: &[u8]) -> Option<&[u8]> {
    let mut items = chunks.get(4..)?;
    loop {
        let (&[kind, len], rest) = items.split_first_chunk::<2>()?;
        if kind == 0 {
            return None;
        }
        let (value, rest) = rest.split_at_checked(len.into())?;
        if kind == CNAME {
            return Some(value);
        }
        items = rest;
    }
}
