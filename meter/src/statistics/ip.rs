// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path, where it is asked for. What IP headers, and Ethernet and MPLS labels before them, say.

use weir_flow::Statistics;
use weir_parsers::packet::{Headers, Labels};

/// Bits of what is known, of one direction each: that of the second is one higher.
mod known {
    pub(super) const PACKET: u8 = 1;
    pub(super) const FLAGS: u8 = 1 << 2;
    pub(super) const ETHERNET: u8 = 1 << 4;
}

/// What the open record has so far. All zero at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ip {
    first: [u8; 2],
    least: [u8; 2],
    greatest: [u8; 2],
    flags: [u8; 2],
    labels: [Labels; 2],
    /// Destination and source of the first packet.
    ethernet: [[[u8; 6]; 2]; 2],
    known: u8,
}

impl Ip {
    const fn has(&self, bits: u8) -> bool {
        self.known & bits != 0
    }

    /// Takes the headers of one packet.
    pub fn packet(&mut self, side: usize, headers: &Headers<'_>) {
        if !self.has(known::PACKET << side) {
            self.begin(side, headers);
        }
        self.least[side] = self.least[side].min(headers.ttl);
        self.greatest[side] = self.greatest[side].max(headers.ttl);
    }

    fn begin(&mut self, side: usize, headers: &Headers<'_>) {
        self.known |= known::PACKET << side;
        (self.first[side], self.least[side], self.greatest[side]) = (headers.ttl, headers.ttl, headers.ttl);
        if let Some(flags) = headers.ip_flags {
            self.known |= known::FLAGS << side;
            self.flags[side] = flags;
        }
        self.labels[side] = headers.labels;
        if let Some(addresses) = headers.ethernet {
            self.known |= known::ETHERNET << side;
            self.ethernet[side] = addresses;
        }
    }

    /// What the record has of a direction, as its forward one.
    pub fn forward(&self, side: usize, out: &mut Statistics) {
        if self.has(known::PACKET << side) {
            out.ttl = Some(self.first[side]);
            out.ttl_min = Some(self.least[side]);
            out.ttl_max = Some(self.greatest[side]);
            out.ip_flags = self.has(known::FLAGS << side).then_some(self.flags[side]);
            if self.has(known::ETHERNET << side) {
                let [destination, source] = &self.ethernet[side];
                out.source_mac.set(source);
                out.destination_mac.set(destination);
            }
            let labels = [&mut out.mpls_label, &mut out.mpls_label_2, &mut out.mpls_label_3];
            for (nth, field) in labels.into_iter().enumerate() {
                self.labels[side].get(nth).into_iter().for_each(|label| field.set(&label));
            }
        }
    }

    /// The same as its reverse one.
    pub fn reverse(&self, side: usize, out: &mut Statistics) {
        if self.has(known::PACKET << side) {
            out.reverse_ttl = Some(self.first[side]);
            out.reverse_ttl_min = Some(self.least[side]);
            out.reverse_ttl_max = Some(self.greatest[side]);
            out.reverse_ip_flags = self.has(known::FLAGS << side).then_some(self.flags[side]);
            let labels = [&mut out.reverse_mpls_label, &mut out.reverse_mpls_label_2, &mut out.reverse_mpls_label_3];
            for (nth, field) in labels.into_iter().enumerate() {
                self.labels[side].get(nth).into_iter().for_each(|label| field.set(&label));
            }
        }
    }
}
