// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which datagram is a media packet: the header of RTP (RFC 3550 section 5.1).

/// Octets of the fixed header.
pub(super) const FIXED: usize = 12;

/// What a header says that is of interest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Header {
    pub(super) payload_type: u8,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
}

impl Header {
    /// The fixed header as it stands, whatever it says.
    #[inline]
    pub(super) fn of(fixed: &[u8; FIXED]) -> Self {
        let [_, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
        Self {
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
        }
    }

    /// The header of a datagram in which all lengths hold; `None` if it is none.
    pub(super) fn read(bytes: &[u8], snapped: bool) -> Option<Self> {
        let fixed = bytes.first_chunk::<FIXED>()?;
        let [first, second, ..] = *fixed;
        if !is_version_2(first) || is_rtcp_type(second) {
            return None;
        }
        let mut header = FIXED + 4 * usize::from(first & 0x0f);
        if first & 0x10 != 0 {
            match bytes.get(header + 2..header + 4) {
                Some(&[high, low]) => header += 4 + 4 * usize::from(u16::from_be_bytes([high, low])),
                _ if snapped => {}
                _ => return None,
            }
        }
        let payload = bytes.len().checked_sub(header);
        let holds = match (payload, bytes.last()) {
            _ if snapped => true,
            (Some(payload), Some(&padding)) if first & 0x20 != 0 => (1..=payload).contains(&usize::from(padding)),
            (payload, _) => payload.is_some(),
        };
        holds.then(|| Self::of(fixed))
    }

    /// The same of a datagram of which nothing is known: its payload type is in use, and it looks like nothing else.
    pub(super) fn read_first(bytes: &[u8], snapped: bool) -> Option<Self> {
        let header = Self::read(bytes, snapped)?;
        let is_type = matches!(header.payload_type, 0 | 3..=18 | 25 | 26 | 28 | 31..=34 | 96..=127);
        let is_other = has_small_counts(bytes) || is_quic(bytes);
        (is_type && bytes.len() > FIXED && !is_other).then_some(header)
    }
}

/// Whether the first octet is that of RTP or RTCP (RFC 7983 section 7).
pub(super) const fn is_version_2(first: u8) -> bool {
    first & 0xc0 == 0x80
}

/// Whether the second octet is that of RTCP (RFC 5761 section 4).
pub(super) const fn is_rtcp_type(second: u8) -> bool {
    matches!(second, 192..=223)
}

/// Whether octets are a Hello of ZRTP (RFC 6189 section 5): the session that it protects is RTP.
pub(super) fn is_zrtp(bytes: &[u8]) -> bool {
    matches!(bytes, [0x10, 0x00, _, _, b'Z', b'R', b'T', b'P', ..])
}

/// Whether a message of DNS, or of what is made like it, may begin so: identifier and flags, then four counts, which are small.
/// A timestamp and an SSRC are hardly ever, since SSRCs are random.
pub(super) fn has_small_counts(bytes: &[u8]) -> bool {
    matches!(bytes.get(4..FIXED), Some([0, a, 0, b, 0, c, 0, d]) if (a | b | c | d) < 64)
}

/// Whether a long header of QUIC may begin so whose fixed bit is not set (RFC 9287): versions 1 and 2.
fn is_quic(bytes: &[u8]) -> bool {
    matches!(bytes.get(1..5), Some([0, 0, 0, 1] | [0x6b, 0x33, 0x43, 0xcf]))
}

/// Units of a timestamp in a second, where the payload type alone says it (RFC 3551 section 6).
pub(super) const fn clock_rate(payload_type: u8) -> Option<u32> {
    match payload_type {
        0 | 3..=5 | 7..=9 | 12 | 13 | 15 | 18 => Some(8_000),
        6 => Some(16_000),
        10 | 11 => Some(44_100),
        16 => Some(11_025),
        17 => Some(22_050),
        14 | 25 | 26 | 28 | 31..=34 => Some(90_000),
        _ => None,
    }
}
