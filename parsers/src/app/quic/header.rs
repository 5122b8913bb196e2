// SPDX-License-Identifier: MIT OR Apache-2.0
//! Headers of packets, and versions.
//!
//! ```text
//!   long header:    1 1 TT xxxx, version 4, <1> destination, <1> source, then by type:        <n>: behind its length
//!     Initial              <v> token, <v> packet number and payload
//!     0-RTT, Handshake     <v> packet number and payload
//!     Retry                token, integrity tag 16
//!     Version Negotiation  versions 4 each; its own version is 0
//!   drafts before the twenty-second, and Google's Q044 to Q049, have both lengths of identifiers in one octet
//!   public header:  00xx1xx1, connection 8, version 4, packet number 1 to 6, hash 12       Google's, until Q043
//! ```

use crate::Cursor;

/// Long headers have it.
pub(super) const LONG: u8 = 0x80;
/// All packets have it, unless both sides agreed to grease it (RFC 9287); Version Negotiation need not.
pub(super) const FIXED: u8 = 0x40;

/// Least octets of a datagram with an Initial packet of a client (RFC 9000 section 14.1).
pub(super) const LEAST_INITIAL: usize = 1200;

/// Most octets of a connection identifier.
pub(super) const MAX_CID: usize = weir_flow::app::quic::MAX_CID;

/// Least octets of the destination that a client chooses (RFC 9000 section 7.2).
const LEAST_CHOSEN_CID: usize = 8;

/// What a version makes different.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Of the keys of Initial packets.
    pub(super) salt: &'static [u8; 20],
    /// Labels and types of packets are those of the second version (RFC 9369 section 3).
    pub(super) is_second: bool,
    /// Lengths of identifiers share an octet.
    has_nibbles: bool,
    /// Frames are Google's.
    pub(super) is_google: bool,
    /// Packets have no protection.
    pub(super) is_plain: bool,
}

impl Rules {
    const fn of(salt: &'static [u8; 20]) -> Self {
        Self { salt, is_second: false, has_nibbles: false, is_google: false, is_plain: false }
    }
}

const NO_SALT: [u8; 20] = [0; 20];
const SALT_17: [u8; 20] = *b"\xef\x4f\xb0\xab\xb4\x74\x70\xc4\x1b\xef\xcf\x80\x31\x33\x4f\xae\x48\x5e\x09\xa0";
const SALT_21: [u8; 20] = *b"\x7f\xbc\xdb\x0e\x7c\x66\xbb\xe9\x19\x3a\x96\xcd\x21\x51\x9e\xbd\x7a\x02\x64\x4a";
const SALT_23: [u8; 20] = *b"\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02";
const SALT_29: [u8; 20] = *b"\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99";
/// RFC 9001 section 5.2.
const SALT_1: [u8; 20] = *b"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a";
/// RFC 9369 section 3.3.1.
const SALT_2: [u8; 20] = *b"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9";
const SALT_2_DRAFT: [u8; 20] = *b"\xa7\x07\xc2\x03\xa5\x9b\x47\x18\x4a\x1d\x62\xca\x57\x04\x06\xea\x7a\xe3\xe5\xd3";
const SALT_Q050: [u8; 20] = *b"\x50\x45\x74\xef\xd0\x66\xfe\x2f\x9d\x94\x5c\xfc\xdb\xd3\xa7\xf0\xd3\xb5\x6b\x45";
const SALT_T050: [u8; 20] = *b"\x7f\xf5\x79\xe5\xac\xd0\x72\x91\x55\x80\x30\x4c\x43\xa2\x36\x7c\x60\x48\x83\x10";
const SALT_T051: [u8; 20] = *b"\x7a\x4e\xde\xf4\xe7\xcc\xee\x5f\xa4\x50\x6c\x19\x12\x4f\xc8\xcc\xda\x6e\x03\x3d";

/// RFC 9369 section 3.1.
const VERSION_2: u32 = 0x6b33_43cf;
const Q044: u32 = u32::from_be_bytes(*b"Q044");
const Q049: u32 = u32::from_be_bytes(*b"Q049");
const Q050: u32 = u32::from_be_bytes(*b"Q050");
const T050: u32 = u32::from_be_bytes(*b"T050");
const T051: u32 = u32::from_be_bytes(*b"T051");

/// The rules of a version with long headers; `None` if it is not known.
pub(super) fn rules(version: u32) -> Option<Rules> {
    const DRAFT: u32 = 0xff00_0000;
    let google = |salt| Some(Rules { is_google: true, ..Rules::of(salt) });
    let second = |salt| Some(Rules { is_second: true, ..Rules::of(salt) });
    match version {
        1 => Some(Rules::of(&SALT_1)),
        VERSION_2 => second(&SALT_2),
        0x709a_50c4 => second(&SALT_2_DRAFT),
        Q044..=Q049 => Some(Rules { has_nibbles: true, is_google: true, is_plain: true, ..Rules::of(&NO_SALT) }),
        Q050 => google(&SALT_Q050),
        T050 => google(&SALT_T050),
        T051 => google(&SALT_T051),
        // Clients that ask for negotiation write as in version 1, since they must write something; or see below.
        _ if is_reserved(version) => Some(Rules::of(&SALT_1)),
        // Of Facebook's mvfst: drafts 22 and 27.
        0xface_b001 => Some(Rules::of(&SALT_21)),
        0xface_b002 => Some(Rules::of(&SALT_23)),
        _ => match version.checked_sub(DRAFT)? {
            17..=20 => Some(Rules { has_nibbles: true, ..Rules::of(&SALT_17) }),
            21 => Some(Rules { has_nibbles: true, ..Rules::of(&SALT_21) }),
            22 => Some(Rules::of(&SALT_21)),
            23..=28 => Some(Rules::of(&SALT_23)),
            29..=32 => Some(Rules::of(&SALT_29)),
            33..=34 => Some(Rules::of(&SALT_1)),
            _ => None,
        },
    }
}

/// Other rules of a version reserved for negotiation: some clients take those of draft 29 for what is no version.
pub(super) fn other_rules(version: u32) -> Option<Rules> {
    is_reserved(version).then(|| Rules::of(&SALT_29))
}

/// Whether a version is one of those that make servers negotiate (RFC 9000 section 15).
const fn is_reserved(version: u32) -> bool {
    version & 0x0f0f_0f0f == 0x0a0a_0a0a
}

/// What a packet with a long header is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// With the length of its token.
    Initial(usize),
    ZeroRtt,
    Handshake,
    Retry,
    Negotiation,
    /// Of a version without protection.
    Plain,
}

/// A packet with a long header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Long<'a> {
    pub(super) first: u8,
    pub(super) version: u32,
    /// Connection identifier of whom it is for.
    pub(super) destination: &'a [u8],
    /// Connection identifier of who sent it.
    pub(super) source: &'a [u8],
    pub(super) kind: Kind,
    /// What comes behind the header: packet number and payload, or versions.
    pub(super) body: &'a [u8],
    /// Whether the body is all there.
    pub(super) is_whole: bool,
    /// What comes behind the packet in its datagram.
    pub(super) rest: &'a [u8],
}

impl<'a> Long<'a> {
    /// Reads the packet at the start of a datagram, or behind another packet. `None` if there is none with a long header, or
    /// one that is odd or of a version that is not known.
    pub(super) fn read(bytes: &'a [u8], is_snapped: bool) -> Option<Self> {
        let mut c = Cursor::new(bytes);
        let first = c.u8().filter(|first| first & LONG != 0)?;
        let version = c.u32()?;
        let rules = rules(version);
        let (destination, source) = cids(&mut c, rules.is_some_and(|rules| rules.has_nibbles))?;
        let kind = match &rules {
            None if version == 0 => Kind::Negotiation,
            None => return None,
            Some(rules) if rules.is_plain => Kind::Plain,
            // The second version counts from another start, so that nobody relies on the numbers.
            Some(rules) => match (first >> 4).wrapping_sub(u8::from(rules.is_second)) & 3 {
                0 => {
                    let len = usize::try_from(variable(&mut c)?).ok()?;
                    c.take(len)?;
                    Kind::Initial(len)
                }
                1 => Kind::ZeroRtt,
                2 => Kind::Handshake,
                _ => Kind::Retry,
            },
        };
        let mut packet =
            Self { first, version, destination, source, kind, body: c.rest(), is_whole: !is_snapped, rest: &[] };
        if matches!(kind, Kind::Initial(_) | Kind::ZeroRtt | Kind::Handshake) {
            let len = usize::try_from(variable(&mut c)?).ok()?;
            packet.body = c.rest();
            if let Some(body) = c.take(len) {
                (packet.body, packet.rest, packet.is_whole) = (body, c.rest(), true);
            } else if !is_snapped {
                return None;
            }
        }
        Some(packet)
    }

    /// Versions that a server offers.
    pub(super) fn versions(&self) -> impl Iterator<Item = u32> {
        self.body.as_chunks().0.iter().map(|version| u32::from_be_bytes(*version))
    }
}

/// Destination and source.
fn cids<'a>(c: &mut Cursor<'a>, has_nibbles: bool) -> Option<(&'a [u8], &'a [u8])> {
    if has_nibbles {
        let lengths = c.u8()?;
        // No identifier is one to three octets long.
        let len = |nibble: u8| if nibble == 0 { 0 } else { usize::from(nibble) + 3 };
        return Some((c.take(len(lengths >> 4))?, c.take(len(lengths & 0x0f))?));
    }
    let mut cid = || {
        let len = usize::from(c.u8()?);
        if len > MAX_CID { None } else { c.take(len) }
    };
    Some((cid()?, cid()?))
}

/// An integer of variable length (RFC 9000 section 16).
pub(super) fn variable(c: &mut Cursor<'_>) -> Option<u64> {
    let first = c.u8()?;
    let more = (1 << (first >> 6)) - 1;
    c.take(more)?.iter().try_fold(u64::from(first & 0x3f), |all, octet| Some(all << 8 | u64::from(*octet)))
}

/// A packet of Google's versions until Q043, of a client that says its version: connection identifier and version.
pub(super) fn public(bytes: &[u8]) -> Option<(&[u8], u32)> {
    const VERSION: u8 = 0x01;
    const CONNECTION: u8 = 0x08;
    let mut c = Cursor::new(bytes);
    let flags = c.u8()?;
    let cid = c.take(8)?;
    let version = c.array::<4>()?;
    let fits = flags & (LONG | FIXED | VERSION | CONNECTION) == VERSION | CONNECTION
        && matches!(version, [b'Q', b'0', b'0'..=b'4', b'0'..=b'9']);
    fits.then_some((cid, u32::from_be_bytes(version)))
}

/// Whether a datagram, the first that is seen of a flow, is one of QUIC.
///
/// A version that is known is four octets that nothing else has there. What it leaves open is closed by lengths that must fit.
pub(super) fn is_quic(bytes: &[u8], is_hinted: bool, is_snapped: bool) -> bool {
    let Some(packet) = Long::read(bytes, is_snapped) else { return public(bytes).is_some() };
    let is_large = bytes.len() >= LEAST_INITIAL;
    let is_fixed = packet.first & FIXED != 0;
    match packet.kind {
        // A flow that was not seen to begin; without the bit it could be RTP as well.
        Kind::Negotiation => {
            is_fixed
                && packet.body.len().is_multiple_of(4)
                && packet.versions().any(|version| rules(version).is_some() && !is_reserved(version))
        }
        Kind::Plain => is_fixed,
        _ if is_reserved(packet.version) => {
            matches!(packet.kind, Kind::Initial(_))
                && is_fixed
                && is_large
                && packet.destination.len() >= LEAST_CHOSEN_CID
        }
        // Of version 1 and 2 alone (RFC 9287 section 3); RTP begins with such an octet, too.
        _ if !is_fixed => is_large && matches!(packet.version, 1 | VERSION_2),
        Kind::Initial(_) => is_large || is_hinted || is_snapped,
        Kind::ZeroRtt | Kind::Handshake | Kind::Retry => {
            packet.rest.first().is_none_or(|first| first & FIXED != 0 || is_hinted)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_rfc_9000_appendix_a_1() {
        let read = |bytes: &[u8]| variable(&mut Cursor::new(bytes));
        assert_eq!(read(&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]), Some(151_288_809_941_952_652));
        assert_eq!(read(&[0x9d, 0x7f, 0x3e, 0x7d]), Some(494_878_333));
        assert_eq!(read(&[0x7b, 0xbd]), Some(15_293));
        assert_eq!([read(&[0x25]), read(&[0x40, 0x25])], [Some(37); 2]);
        assert_eq!([read(&[]), read(&[0x40]), read(&[0xc0; 7])], [None; 3]);
    }

    #[test]
    fn lengths_that_lie_are_no_header() {
        // Version 1, destination of 8 octets, no source, no token, 4 octets behind the header.
        let packet = [0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 4, 9, 9, 9, 9];
        let read = Long::read(&packet, false).unwrap();
        assert_eq!(
            (read.kind, read.destination, read.body),
            (Kind::Initial(0), &[1, 2, 3, 4, 5, 6, 7, 8][..], &[9; 4][..])
        );
        for len in 0..packet.len() {
            assert!(Long::read(&packet[..len], false).is_none(), "{len}");
        }
        for (at, octet) in [(5, 21), (5, 20), (14, 9), (15, 0x3f), (16, 5)] {
            let mut lying = packet;
            lying[at] = octet;
            assert!(Long::read(&lying, false).is_none(), "{at}");
        }
        let cut = Long::read(&packet[..19], true).unwrap();
        assert_eq!((cut.body, cut.is_whole), (&[9; 2][..], false));
    }

    #[test]
    fn types_of_the_second_version_are_others() {
        let kind = |first| Long::read(&[first, 0x6b, 0x33, 0x43, 0xcf, 0, 0, 0, 0], false).unwrap().kind;
        assert_eq!([0xc0, 0xd0, 0xe0, 0xf0].map(kind), [Kind::Retry, Kind::Initial(0), Kind::ZeroRtt, Kind::Handshake]);
    }
}
