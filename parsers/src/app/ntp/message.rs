// SPDX-License-Identifier: MIT OR Apache-2.0
//! The message of RFC 5905 section 7.3: whether octets are one, and its fields.

use std::{io::Write, ops::Range};

use weir_flow::app::{Ntp, ntp::MAX_TIMESTAMP};

use crate::Cursor;

/// Modes of RFC 5905 figure 10 that carry time.
pub const SYMMETRIC_ACTIVE: u8 = 1;
pub const CLIENT: u8 = 3;
pub const SERVER: u8 = 4;
const BROADCAST: u8 = 5;
/// Modes whose messages have another form: control messages (RFC 9327), and those that programs use among themselves.
pub const CONTROL: u8 = 6;
pub const PRIVATE: u8 = 7;

/// Stratum of a clock that is not synchronised; those above are reserved.
const MAX_STRATUM: u8 = 16;

/// Octets of the key identifier and the digest of a message authentication code: none but the identifier (crypto-NAK), DES
/// of RFC 1305, 128 bits (MD5, AES-CMAC), 160 bits (SHA-1), 256, 384 and 512 bits, the extended authenticator of MS-SNTP.
const MAC_LENGTHS: [usize; 8] = [4, 12, 20, 24, 36, 52, 68, 72];

/// Least octets of an extension field (RFC 7822 section 3).
const MIN_EXTENSION: usize = 16;

/// On an unexpected port: bound of root delay and dispersion, in 1/65536 of a second. 16 s is the most that a clock of use
/// has (MAXDISP of RFC 5905).
const MAX_ROOT: u32 = 16 << 16;

/// On an unexpected port: the longest poll interval, as an exponent (MAXPOLL of RFC 5905).
const MAX_POLL: u8 = 17;

/// On an unexpected port: seconds by which timestamps of one clock may differ, 12 days.
const MAX_APART: u32 = 1 << 20;

/// On an unexpected port: seconds of an era between which no clock is, the years 2053 on and before 2000. Text would be there.
const NO_CLOCK: Range<u32> = 0x2000_0000..0xbc17_c200;

/// A timestamp in the form of the wire: 32 bits of seconds, 32 bits of fraction.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp(u64);

impl Timestamp {
    const fn is_known(self) -> bool {
        self.0 != 0
    }

    const fn seconds(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Whether it differs by less than [`MAX_APART`], also over the end of an era.
    const fn is_near(self, other: Self) -> bool {
        let apart = self.seconds().wrapping_sub(other.seconds());
        apart < MAX_APART || apart.wrapping_neg() < MAX_APART
    }

    /// As text, with nine decimals; nothing if it is not known.
    pub fn text(self) -> Digits {
        let mut octets = [0; MAX_TIMESTAMP];
        let mut room = octets.as_mut_slice();
        if self.is_known() {
            let nanos = ((self.0 & 0xffff_ffff) * 1_000_000_000) >> 32;
            // It fits, whatever the number.
            let _ = write!(room, "{}.{nanos:09}", self.0 >> 32);
        }
        let len = MAX_TIMESTAMP - room.len();
        Digits { octets, len }
    }
}

/// A timestamp as text.
#[derive(Clone, Copy, Debug)]
pub struct Digits {
    octets: [u8; MAX_TIMESTAMP],
    len: usize,
}

impl Digits {
    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}

/// A message, without what follows its header.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    leap: u8,
    version: u8,
    pub mode: u8,
    stratum: u8,
    poll: u8,
    precision: u8,
    root_delay: u32,
    root_dispersion: u32,
    reference_id: [u8; 4],
    reference: Timestamp,
    pub origin: Timestamp,
    receive: Timestamp,
    pub transmit: Timestamp,
}

impl Message {
    /// Reads a message that carries time. `None` if the octets are none: what a program cannot send is refused everywhere,
    /// what it need not send on an unexpected port only, where `hinted` is false. There a cut message is refused, too, since
    /// its length is part of the evidence.
    pub fn read(bytes: &[u8], hinted: bool, snapped: bool) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let first = cursor.u8()?;
        // Most datagrams that are none end here.
        if !(1..=4).contains(&(first >> 3 & 7)) || !(SYMMETRIC_ACTIVE..=BROADCAST).contains(&(first & 7)) {
            return None;
        }
        let message = Self {
            leap: first >> 6,
            version: first >> 3 & 7,
            mode: first & 7,
            stratum: cursor.u8()?,
            poll: cursor.u8()?,
            precision: cursor.u8()?,
            root_delay: cursor.u32()?,
            root_dispersion: cursor.u32()?,
            reference_id: cursor.array()?,
            reference: Timestamp(cursor.u64()?),
            origin: Timestamp(cursor.u64()?),
            receive: Timestamp(cursor.u64()?),
            transmit: Timestamp(cursor.u64()?),
        };
        let tail_is_read = if snapped { hinted } else { ends_well(cursor) };
        (message.is_plausible() && tail_is_read && (hinted || message.is_likely())).then_some(message)
    }

    fn is_plausible(&self) -> bool {
        self.stratum <= MAX_STRATUM
    }

    /// Whether the values are those of a clock. Chrony's clients give a precision of 32.
    fn is_likely(&self) -> bool {
        let logarithm = self.precision.cast_signed();
        self.poll <= MAX_POLL
            && ((-32..=0).contains(&logarithm) || logarithm == 32)
            && self.root_delay <= MAX_ROOT
            && self.root_dispersion <= MAX_ROOT
            && self.transmit.is_known()
            && (self.is_bare() || !NO_CLOCK.contains(&self.transmit.seconds()))
            && (!self.reference.is_known() || self.reference.is_near(self.transmit))
            && (self.mode != SERVER || self.receive.is_near(self.transmit))
    }

    /// Whether it is of a client that says nothing of its clock. Its transmit timestamp may be a random number.
    fn is_bare(&self) -> bool {
        self.mode == CLIENT
            && (self.root_delay, self.root_dispersion, self.reference_id) == (0, 0, [0; 4])
            && !self.reference.is_known()
    }

    /// Writes all fields.
    pub fn write(&self, fields: &mut Ntp) {
        fields.leap = Some(self.leap);
        fields.version = Some(self.version);
        fields.mode = Some(self.mode);
        fields.stratum = Some(self.stratum);
        fields.poll = Some(self.poll);
        fields.precision = Some(self.precision);
        fields.root_delay = Some(self.root_delay);
        fields.root_dispersion = Some(self.root_dispersion);
        fields.reference_id.set(&[]);
        match self.code() {
            Some(code) => fields.reference_id.set(code),
            None => {
                let [a, b, c, d] = self.reference_id;
                let mut octets = [0; 15];
                let mut room = octets.as_mut_slice();
                // It fits, whatever the numbers.
                let _ = write!(room, "{a}.{b}.{c}.{d}");
                let len = 15 - room.len();
                fields.reference_id.set(octets.get(..len).unwrap_or_default());
            }
        }
        fields.reference_time.set(self.reference.text().as_bytes());
        fields.origin_time.set(self.origin.text().as_bytes());
        fields.receive_time.set(self.receive.text().as_bytes());
        fields.transmit_time.set(self.transmit.text().as_bytes());
    }

    /// The reference identifier, if it is a kiss code or the name of a clock: left-justified, padded with zeros.
    fn code(&self) -> Option<&[u8]> {
        let len = self.reference_id.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
        let code = self.reference_id.get(..len)?;
        (self.stratum <= 1 && code.iter().all(|octet| matches!(octet, b' '..=b'~'))).then_some(code)
    }
}

/// Whether what follows a header is nothing, or extension fields and a message authentication code to the last octet.
fn ends_well(mut cursor: Cursor<'_>) -> bool {
    loop {
        if cursor.is_at_end() || MAC_LENGTHS.contains(&cursor.remaining()) {
            return true;
        }
        let Some((_, len)) = cursor.u16().zip(cursor.u16()) else { return false };
        let len = usize::from(len);
        if len < MIN_EXTENSION || len % 4 != 0 || cursor.take(len - 4).is_none() {
            return false;
        }
    }
}
