// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path.
//!
//! Classic pcap files.
//!
//! ```text
//! file header    magic(4) major(2) minor(2) zone(4) accuracy(4) snap length(4) link type(2 of 4)
//! record header  seconds(4) fraction(4) captured octets(4) wire octets(4)
//!                Kuznetzov's modification: and interface(4) protocol(2) packet type(1) padding(1)
//! ```
//!
//! All in the byte order of the magic. The zone is not applied: nothing writes another than zero, and libpcap ignores it
//! too. Neither is the snap length a bound: files are joined from several captures.

use weir_flow::{LinkType, Merged, Packet, Timestamp};

use super::MAX_CAPTURED;
use super::order::Order;
use super::records::{Record, Records};

/// Octets of the file header.
pub(super) const HEADER_OCTETS: usize = 24;

/// What the magic says about the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    pub(super) order: Order,
    nanos_per_fraction: u64,
    record_header_octets: usize,
}

impl Variant {
    /// The variant with this magic, if it is one of pcap's.
    pub(super) fn of(magic: [u8; 4]) -> Option<Self> {
        [Order::Little, Order::Big].into_iter().find_map(|order| {
            let (nanos_per_fraction, record_header_octets) = match order.u32(magic) {
                0xa1b2_c3d4 => (1_000, 16),
                0xa1b2_3c4d => (1, 16),
                0xa1b2_cd34 => (1_000, 24),
                _ => return None,
            };
            Some(Self { order, nanos_per_fraction, record_header_octets })
        })
    }
}

/// Where the two lengths of a record stand: writers of before version 2.3 had them the other way round, and some of 2.3.
#[derive(Clone, Copy, Debug)]
enum Lengths {
    CapturedFirst,
    SmallerIsCaptured,
    WireFirst,
}

/// The records of a classic pcap file, whose byte order is known to the compiler: it is asked for four times a packet.
#[derive(Debug)]
pub(super) struct Pcap<const BIG: bool> {
    nanos_per_fraction: u64,
    record_header_octets: usize,
    lengths: Lengths,
    link: LinkType,
}

impl<const BIG: bool> Pcap<BIG> {
    const ORDER: Order = if BIG { Order::Big } else { Order::Little };

    /// Checks the file header. The byte order of `variant` must be ours.
    ///
    /// # Errors
    ///
    /// A sentence on what is not known.
    pub(super) fn new(variant: Variant, header: &[u8; HEADER_OCTETS]) -> Result<Self, String> {
        let &[_, _, _, _, j0, j1, n0, n1, .., l0, l1, l2, l3] = header;
        let Variant { nanos_per_fraction, record_header_octets, .. } = variant;
        let (major, minor) = (Self::ORDER.u16([j0, j1]), Self::ORDER.u16([n0, n1]));
        let lengths = match (major, minor) {
            // 543 is what DG/UX wrote.
            (2, 0..=2) | (543, _) => Lengths::WireFirst,
            (2, 3) => Lengths::SmallerIsCaptured,
            (2, _) => Lengths::CapturedFirst,
            _ => return Err(format!("pcap version {major}.{minor} is not known")),
        };
        // The upper half says how long the frame check sequence is.
        let link = Self::ORDER.u32([l0, l1, l2, l3]) & 0xffff;
        Ok(Self { nanos_per_fraction, record_header_octets, lengths, link: LinkType(link as u16) })
    }
}

impl<const BIG: bool> Records for Pcap<BIG> {
    #[inline]
    fn read<'a>(&mut self, bytes: &'a [u8], place: &mut Packet<'a>) -> Record {
        let header_octets = self.record_header_octets;
        let header = bytes.first_chunk::<16>().map(|header| header.as_chunks::<4>());
        let (Some(([secs, fraction, first, second], _)), Some(behind)) = (header, bytes.get(header_octets..)) else {
            return Record::Short { octets: header_octets, part: "packet header" };
        };
        let [secs, fraction, first, second] = [secs, fraction, first, second].map(|field| Self::ORDER.u32(*field));
        let (captured, wire) = match self.lengths {
            Lengths::CapturedFirst => (first, second),
            Lengths::SmallerIsCaptured => (first.min(second), first.max(second)),
            Lengths::WireFirst => (second, first),
        };
        if captured > MAX_CAPTURED {
            return Record::Damaged(too_long(captured));
        }
        let Some(data) = behind.get(..captured as usize) else {
            return Record::Short { octets: header_octets + captured as usize, part: "packet record" };
        };
        // Cannot overflow: 2^32 * 10^9 + 2^32 * 10^3 < 2^63. A fraction of more than a second is added as it stands.
        let nanos = u64::from(secs) * 1_000_000_000 + u64::from(fraction) * self.nanos_per_fraction;
        *place = Packet {
            data,
            // Some writers put the captured length, or zero, where they do not know.
            wire_octets: wire.max(captured),
            ts: Timestamp::from_nanos(nanos),
            interface: 0,
            link: self.link,
            merged: Merged::NOT,
        };
        Record::Packet { octets: header_octets + data.len() }
    }
}

#[cold]
pub(super) fn too_long(captured: u32) -> String {
    format!("a packet of {captured} octets, more than the {MAX_CAPTURED} that are possible")
}
