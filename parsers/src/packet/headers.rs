// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path, where flow statistics are measured.
//!
//! What only statistics need of the headers of a packet, read in a second walk over them: whoever does not measure pays
//! nothing for it.

use weir_flow::{IpVersion, LinkType, Packet, protocol};

use super::{
    Fragment,
    ip::{Chain, Ipv4, Ipv6},
    link::Network,
    trim,
};

/// Parts of the headers that [`decode`](super::decode) does not tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Headers<'a> {
    /// Destination and source of an Ethernet frame, the outermost one (IEEE 802.3 clause 3.2); `None` on another link layer.
    pub ethernet: Option<[[u8; 6]; 2]>,
    /// Time to live of IPv4, hop limit of IPv6.
    pub ttl: u8,
    /// Reserved bit, "don't fragment" and "more fragments" of IPv4, in the upper three bits; `None` of IPv6.
    pub ip_flags: Option<u8>,
    /// The MPLS labels, outermost first, each with its traffic class and bottom-of-stack bit; of a higher stack the first ones.
    pub labels: Labels,
    /// The TCP header; `None` of another protocol, of a later fragment, and where it is cut off before its window ends.
    pub tcp: Option<TcpHeader<'a>>,
}

/// Destination and source, if it is a frame of Ethernet.
fn ethernet(packet: &Packet<'_>) -> Option<[[u8; 6]; 2]> {
    let (destination, rest) = packet.data.split_first_chunk()?;
    (packet.link == LinkType::ETHERNET).then_some([*destination, *rest.first_chunk()?])
}

/// MPLS labels of a packet.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Labels {
    entries: [[u8; 3]; Self::MOST],
    count: u8,
}

impl Labels {
    /// Most that are told.
    pub const MOST: usize = 3;

    /// From the outermost one on.
    fn read(stack: &[u8]) -> Self {
        let mut labels = Self::default();
        for (entry, [high, middle, bottom, _]) in labels.entries.iter_mut().zip(stack.as_chunks::<4>().0) {
            *entry = [*high, *middle, *bottom];
            labels.count += 1;
            if bottom & 1 == 1 {
                break;
            }
        }
        labels
    }

    /// One of them, counted from zero; `None` if there are not so many.
    #[must_use]
    pub fn get(&self, nth: usize) -> Option<[u8; 3]> {
        self.entries.get(nth).filter(|_| nth < usize::from(self.count)).copied()
    }
}

/// Parts of a TCP header (RFC 9293 section 3.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TcpHeader<'a> {
    /// Acknowledgment number.
    pub acknowledgment: u32,
    /// Window, as it stands there.
    pub window: u16,
    /// What was captured of the options.
    pub options: &'a [u8],
}

impl<'a> Headers<'a> {
    /// Reads a packet; `None` if it has no complete IP header.
    #[inline]
    #[must_use]
    pub fn read(packet: &Packet<'a>) -> Option<Self> {
        Self::plain(packet).or_else(|| Self::any(packet))
    }

    /// The same of most packets: Ethernet, IPv4 without options, no fragment.
    #[inline]
    fn plain(packet: &Packet<'a>) -> Option<Self> {
        const OCTETS: usize = 34;
        let (headers, behind) = packet.data.split_first_chunk::<OCTETS>()?;
        let be16 = |at: usize| u16::from_be_bytes([headers[at], headers[at + 1]]);
        let is_plain = packet.link == LinkType::ETHERNET
            && be16(12) == 0x0800
            && headers[14] == 0x45
            && be16(16) >= 20
            && be16(20) & 0x3fff == 0;
        if !is_plain {
            return None;
        }
        let tcp =
            if headers[23] == protocol::TCP { TcpHeader::read(trim(behind, u64::from(be16(16)) - 20)) } else { None };
        Some(Self {
            ethernet: ethernet(packet),
            ttl: headers[22],
            ip_flags: Some(headers[20] & 0xe0),
            labels: Labels::default(),
            tcp,
        })
    }

    #[inline(never)]
    fn any(packet: &Packet<'a>) -> Option<Self> {
        let network = Network::find(packet.link, packet.data).ok()?;
        let labels = Labels::read(network.labels);
        match network.version {
            IpVersion::V4 => {
                let header = Ipv4::new(network.bytes).ok()?;
                let is_tcp = header.protocol() == protocol::TCP && !matches!(header.fragment(), Fragment::Later { .. });
                // Zero: too long for the field.
                let claimed = match header.total_octets() {
                    0 => u64::MAX,
                    total => u64::from(total).saturating_sub(header.header_octets() as u64),
                };
                let segment = header.payload().filter(|_| is_tcp).map(|payload| trim(payload, claimed));
                Some(Self {
                    ethernet: ethernet(packet),
                    ttl: header.ttl(),
                    ip_flags: Some(header.flags()),
                    labels,
                    tcp: segment.and_then(TcpHeader::read),
                })
            }
            IpVersion::V6 => {
                let header = Ipv6::new(network.bytes).ok()?;
                let claimed = match header.payload_octets() {
                    0 => u64::MAX,
                    octets => octets.into(),
                };
                let chain = Chain::follow(header.next_header(), trim(header.payload(), claimed));
                let is_tcp = chain.protocol == protocol::TCP && !matches!(chain.fragment, Fragment::Later { .. });
                let segment = chain.payload.filter(|_| is_tcp);
                Some(Self {
                    ethernet: ethernet(packet),
                    ttl: header.hop_limit(),
                    ip_flags: None,
                    labels,
                    tcp: segment.and_then(TcpHeader::read),
                })
            }
        }
    }
}

impl<'a> TcpHeader<'a> {
    /// Reads the header at the start of a segment.
    #[must_use]
    pub fn read(segment: &'a [u8]) -> Option<Self> {
        const FIXED: usize = 20;
        let header = segment.first_chunk::<16>()?;
        let &[_, _, _, _, _, _, _, _, a0, a1, a2, a3, offset, _, w0, w1] = header;
        let octets = usize::from(offset >> 4) * 4;
        let header = segment.get(..octets).unwrap_or(segment);
        Some(Self {
            acknowledgment: u32::from_be_bytes([a0, a1, a2, a3]),
            window: u16::from_be_bytes([w0, w1]),
            options: header.get(FIXED..).unwrap_or_default(),
        })
    }

    /// Kind and value of each option, as far as they make sense. An end of options is the last one, with kind 0.
    pub fn each_option(&self, mut visit: impl FnMut(u8, &'a [u8])) {
        const END: u8 = 0;
        const NO_OPERATION: u8 = 1;
        let mut rest = self.options;
        while let Some((&kind, behind)) = rest.split_first() {
            if matches!(kind, END | NO_OPERATION) {
                visit(kind, &[]);
                rest = if kind == END { &[] } else { behind };
                continue;
            }
            // The length counts kind and length (RFC 9293 section 3.2).
            let value =
                behind.split_first().and_then(|(&len, value)| value.split_at_checked(usize::from(len).checked_sub(2)?));
            let Some((value, behind)) = value else { return };
            visit(kind, value);
            rest = behind;
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_flow::{Merged, Timestamp};

    use super::*;

    fn packet(data: &[u8]) -> Packet<'_> {
        let wire_octets = data.len() as u32;
        let (ts, link, merged) = (Timestamp::ZERO, LinkType::ETHERNET, Merged::NOT);
        Packet { data, wire_octets, ts, interface: 0, link, merged }
    }

    /// A segment: acknowledgment 0x01020304, window 0x7fff, options MSS 1460, no operation, window scale 7.
    const SEGMENT: [u8; 28] = [
        0x10, 0, 0x20, 0, 0, 0, 0, 9, 1, 2, 3, 4, 0x70, 0x12, 0x7f, 0xff, 0, 0, 0, 0, // fixed part
        2, 4, 5, 0xb4, 1, 3, 3, 7,
    ];

    fn v4(ethertype: &[u8], flags: u8, segment: &[u8]) -> Vec<u8> {
        let total = 20 + segment.len() as u8;
        let ip = [0x45, 0, 0, total, 0, 0, flags, 0, 57, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        [&[2; 12][..], ethertype, &ip, segment].concat()
    }

    fn options(header: &TcpHeader<'_>) -> Vec<(u8, Vec<u8>)> {
        let mut seen = Vec::new();
        header.each_option(|kind, value| seen.push((kind, value.to_vec())));
        seen
    }

    #[test]
    fn headers_are_read() {
        // Two MPLS labels: 1000 with traffic class 5, and 16 at the bottom of the stack.
        let two = [0x88, 0x47, 0x00, 0x3e, 0x8a, 64, 0x00, 0x01, 0x01, 64];
        let four = [&two[..6], &[0, 0, 0x20, 9], &[0, 0, 0x30, 9], &[0, 0, 0x41, 9]].concat();
        for (ethertype, labels) in [
            (&[8, 0][..], [None; 4]),
            (&two, [Some([0x00, 0x3e, 0x8a]), Some([0x00, 0x01, 0x01]), None, None]),
            (&four, [Some([0x00, 0x3e, 0x8a]), Some([0, 0, 0x20]), Some([0, 0, 0x30]), None]),
        ] {
            let data = v4(ethertype, 0x40, &SEGMENT);
            let headers = Headers::read(&packet(&data)).unwrap();
            assert!(Headers::any(&packet(&data)) == Some(headers));
            assert_eq!((headers.ttl, headers.ip_flags, headers.ethernet), (57, Some(0x40), Some([[2; 6]; 2])));
            assert_eq!([0, 1, 2, 3].map(|nth| headers.labels.get(nth)), labels);
            let tcp = headers.tcp.unwrap();
            assert_eq!((tcp.acknowledgment, tcp.window), (0x0102_0304, 0x7fff));
            assert_eq!(options(&tcp), [(2, vec![5, 0xb4]), (1, vec![]), (3, vec![7])]);
        }
    }

    #[test]
    fn ipv6_has_a_hop_limit_and_no_flags() {
        let mut data = [&[2; 12][..], &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 28, 6, 61], &[9; 32], &SEGMENT].concat();
        let headers = Headers::read(&packet(&data)).unwrap();
        assert_eq!((headers.ttl, headers.ip_flags, headers.tcp.unwrap().window), (61, None, 0x7fff));
        // UDP has no such header.
        data[20] = 17;
        assert_eq!(Headers::read(&packet(&data)).unwrap().tcp, None);
    }

    #[test]
    fn what_is_cut_off_is_not_read() {
        let data = v4(&[8, 0], 0, &SEGMENT);
        for len in 0..data.len() {
            let headers = Headers::read(&packet(&data[..len]));
            assert_eq!(headers, Headers::any(&packet(&data[..len])), "{len}");
            assert_eq!(headers.is_some(), len >= 34, "{len}");
            let tcp = headers.and_then(|headers| headers.tcp);
            assert_eq!(tcp.is_some(), len >= 34 + 16, "{len}");
            let kinds = tcp.map_or(0, |tcp| options(&tcp).len());
            assert_eq!(kinds, [54 + 4, 54 + 5, 54 + 8].iter().filter(|end| len >= **end).count(), "{len}");
        }
        // A later fragment has no header of its own.
        let mut later = v4(&[8, 0], 0, &SEGMENT);
        later[21] = 5;
        assert_eq!(Headers::read(&packet(&later)).unwrap().tcp, None);
        // What is behind the packet, which Ethernet pads, is none of it.
        let mut padded = v4(&[8, 0], 0, &SEGMENT[..20]);
        padded.extend([2, 4, 9, 9, 0, 0, 0, 0]);
        assert_eq!(options(&Headers::read(&packet(&padded)).unwrap().tcp.unwrap()), []);
    }

    #[test]
    fn options_that_lie_end_the_options() {
        let of = |octets: &[u8]| options(&TcpHeader { acknowledgment: 0, window: 0, options: octets });
        assert_eq!(of(&[1, 8, 1, 3, 3, 7]), [(1, vec![])]);
        assert_eq!(of(&[1, 8, 0]), [(1, vec![])]);
        assert_eq!(of(&[1, 8, 3]), [(1, vec![])]);
        assert_eq!(of(&[3, 3, 7, 0, 2, 4, 1, 1]), [(3, vec![7]), (0, vec![])]);
        assert_eq!(of(&[8]), []);
    }
}
