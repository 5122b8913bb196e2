// SPDX-License-Identifier: MIT OR Apache-2.0
//! The packets that begin a tunnel.

use std::ops::RangeInclusive;

use super::MAX_APART;
use crate::Cursor;

const CLIENT_V1: u8 = 1;
const SERVER_V1: u8 = 2;
const CLIENT_V2: u8 = 7;
const SERVER_V2: u8 = 8;
const CLIENT_V3: u8 = 10;

/// Least octets: operation, session, nothing acknowledged, number.
pub(super) const LEAST: usize = 1 + 8 + 1 + 4;

/// Octets more with one number acknowledged, and the session that it is of.
const ACKNOWLEDGED: usize = 4 + 8;

/// Octets of the digests of tls-auth: MD5, SHA-1, SHA-224, SHA-256, SHA-384, SHA-512.
const DIGESTS: [usize; 6] = [16, 20, 28, 32, 48, 64];

/// Packet number and time.
const REPLAY: usize = 8;

/// Octets of the code of tls-crypt.
const CODE: usize = 32;

/// The first packet of a client that can be asked for its key without a state (OpenVPN 2.6).
const EARLY: u32 = 0x0f00_0001;

/// From the year 2001, before the first version, to the year 2068.
const TIMES: RangeInclusive<u32> = 0x3a4f_c880..=0xb8ff_ffff;

/// How control packets are protected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protection {
    None,
    Auth,
    Crypt,
}

/// A packet that begins a tunnel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reset {
    pub(super) operation: u8,
    pub(super) is_of_client: bool,
    /// The key of the client follows.
    pub(super) has_key: bool,
    pub(super) session: u64,
    pub(super) protection: Protection,
    /// The session that is answered, if that can be read.
    answered: Option<u64>,
    /// Where there is one.
    time: u32,
}

/// Whether a packet of a client may begin so: operation, and key 0.
pub(super) const fn is_client(octet: u8) -> bool {
    octet & 7 == 0 && matches!(octet >> 3, CLIENT_V1 | CLIENT_V2 | CLIENT_V3)
}

impl Reset {
    /// Reads a packet; `None` if the octets are none.
    #[inline]
    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        let (&first, _) = packet.split_first()?;
        let operation = first >> 3;
        let is_server = matches!(operation, SERVER_V1 | SERVER_V2);
        if first & 7 != 0 || !(is_server || is_client(first)) {
            return None;
        }
        let mut c = Cursor::new(packet);
        c.u8()?;
        let session = c.u64()?;
        let reset = Self {
            operation,
            is_of_client: !is_server,
            has_key: operation == CLIENT_V3,
            session,
            protection: Protection::None,
            answered: None,
            time: 0,
        };
        if session == 0 {
            return None;
        }
        reset.bare(c).or_else(|| reset.authenticated(c)).or_else(|| reset.encrypted(c))
    }

    /// Whether the packet can have this number: a client's is the first; a server's may be one that it sends again.
    const fn is_number(self, number: u32) -> bool {
        matches!((number, self.is_of_client), (1 | EARLY, _) | (2..=8, false))
    }

    /// What follows the session, if nothing protects it.
    fn bare(self, mut c: Cursor<'_>) -> Option<Self> {
        let answered = match (c.u8()?, self.is_of_client) {
            (0, true) => None,
            (1, false) => {
                // The first packet of the client.
                let (0, session) = (c.u32()?, c.u64()?) else { return None };
                Some(session)
            }
            _ => return None,
        };
        (c.u32()? == 0 && c.is_at_end() && !self.has_key).then_some(Self { answered, ..self })
    }

    /// With tls-auth: a digest, number and time, and the same.
    fn authenticated(self, c: Cursor<'_>) -> Option<Self> {
        let bare = LEAST - 9 + if self.is_of_client { 0 } else { ACKNOWLEDGED };
        let digest = c.remaining().checked_sub(bare + REPLAY).filter(|len| DIGESTS.contains(len))?;
        let mut c = c;
        c.take(digest)?;
        let (number, time) = (c.u32()?, c.u32()?);
        let reset = Self { protection: Protection::Auth, time, ..self };
        (self.is_number(number) && TIMES.contains(&time)).then_some(reset)?.bare(c)
    }

    /// With tls-crypt: number and time, a code, what is encrypted, and perhaps a key behind which is its length.
    fn encrypted(self, mut c: Cursor<'_>) -> Option<Self> {
        let (number, time) = (c.u32()?, c.u32()?);
        let bare = LEAST - 9 + if self.is_of_client { 0 } else { ACKNOWLEDGED };
        let rest = c.remaining().checked_sub(CODE + bare)?;
        let key = match self.has_key {
            false => 0,
            true => c.rest().last_chunk().map(|len| usize::from(u16::from_be_bytes(*len)))?,
        };
        // A wrapped key has a code, and the key of two hundred octets and more inside.
        let fits = rest == key && (!self.has_key || key > 256);
        (fits && self.is_number(number) && TIMES.contains(&time)).then_some(Self {
            protection: Protection::Crypt,
            time,
            ..self
        })
    }

    /// Whether a server's packet answers this one of a client.
    pub(super) fn answers(&self, client: &Self) -> bool {
        let apart = self.time.wrapping_sub(client.time);
        let is_near = apart < MAX_APART || apart.wrapping_neg() < MAX_APART;
        !self.is_of_client
            && self.protection == client.protection
            && (self.operation == SERVER_V1) == (client.operation == CLIENT_V1)
            && self.answered.is_none_or(|session| session == client.session)
            && (self.protection == Protection::None || is_near)
    }
}
