// SPDX-License-Identifier: MIT OR Apache-2.0
//! The walk over a DNS message: header, names, questions, records. Offsets count from the start of the message.

use super::super::Probe;
use crate::Cursor;

/// Octets of the header.
pub(super) const HEADER: usize = 12;

/// Most questions of a plausible message; multicast DNS asks some twenty at once.
const MAX_QUESTIONS: u16 = 32;

/// Most records of a section in a plausible message: 65535 octets hold no more, at eleven octets each.
const MAX_RECORDS: u16 = 5957;

/// Most octets of a name as it is on the wire (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 255;

/// Most compression pointers of a name.
const MAX_POINTERS: usize = 64;

const RESPONSE: u16 = 0x8000;
/// AA.
pub(super) const AUTHORITATIVE: u16 = 0x0400;
/// TC.
pub(super) const TRUNCATED: u16 = 0x0200;
/// RD.
pub(super) const RECURSION_DESIRED: u16 = 0x0100;
/// RA.
pub(super) const RECURSION_AVAILABLE: u16 = 0x0080;
const RESERVED: u16 = 0x0040;
/// AD (RFC 4035 section 3.2.3).
pub(super) const AUTHENTIC_DATA: u16 = 0x0020;

/// The header (RFC 1035 section 4.1.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) id: u16,
    pub(super) flags: u16,
    pub(super) questions: u16,
    pub(super) answers: u16,
    pub(super) authorities: u16,
    pub(super) additionals: u16,
}

impl Header {
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let mut c = Cursor::new(message);
        Some(Self {
            id: c.u16()?,
            flags: c.u16()?,
            questions: c.u16()?,
            answers: c.u16()?,
            authorities: c.u16()?,
            additionals: c.u16()?,
        })
    }

    pub(super) const fn is_response(self) -> bool {
        self.has(RESPONSE)
    }

    pub(super) const fn response_code(self) -> u8 {
        (self.flags & 0x000f) as u8
    }

    /// Whether the first section names the zone that is to be changed, and asks nothing (RFC 2136 section 2.3).
    pub(super) const fn is_update(self) -> bool {
        self.opcode() == 5
    }

    pub(super) const fn opcode(self) -> u8 {
        (self.flags >> 11 & 0x000f) as u8
    }

    /// Whether one of these flags is set.
    pub(super) const fn has(self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    /// Whether a message may begin so: an assigned operation, and counts that a message can hold.
    pub(super) fn is_plausible(self) -> bool {
        matches!(self.opcode(), 0 | 1 | 2 | 4 | 5 | 6)
            && self.questions <= MAX_QUESTIONS
            && self.answers <= MAX_RECORDS
            && self.authorities <= MAX_RECORDS
            && self.additionals <= MAX_RECORDS
    }

    /// Whether a message begins so where nobody expects one.
    fn is_ordinary(self) -> bool {
        self.is_plausible()
            && matches!(self.opcode(), 0 | 4 | 5)
            && self.questions == 1
            && !self.has(RESERVED)
            && (self.is_response() || (self.response_code() == 0 && (self.opcode() != 0 || self.answers == 0)))
            && self.response_code() <= 11
    }
}

/// A question (RFC 1035 section 4.1.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) name_at: usize,
    pub(super) kind: u16,
    pub(super) class: u16,
    /// Offset of what follows.
    pub(super) end: usize,
}

/// A resource record (RFC 1035 section 4.1.3).
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'m> {
    pub(super) owner_at: usize,
    pub(super) kind: u16,
    pub(super) class: u16,
    pub(super) ttl: u32,
    pub(super) data_at: usize,
    pub(super) data: &'m [u8],
    /// Offset of what follows.
    pub(super) end: usize,
}

/// The question at an offset; `None` if the message ends within.
pub(super) fn question(message: &[u8], name_at: usize) -> Option<Question> {
    let at = end_of_name(message, name_at)?;
    let mut c = Cursor::new(message.get(at..)?);
    Some(Question { name_at, kind: c.u16()?, class: c.u16()?, end: at + c.offset() })
}

/// The records of a section from an offset on, as far as they can be told apart; the offset behind them, if all of them can.
pub(super) fn records<'m>(
    message: &'m [u8],
    mut at: usize,
    count: u16,
    mut each: impl FnMut(&Record<'m>),
) -> Option<usize> {
    for _ in 0..count {
        let record = record(message, at)?;
        at = record.end;
        each(&record);
    }
    Some(at)
}

/// The record at an offset; `None` if the message ends within. Nothing is said of its owner name or its data.
pub(super) fn record(message: &[u8], owner_at: usize) -> Option<Record<'_>> {
    let at = end_of_name(message, owner_at)?;
    let mut c = Cursor::new(message.get(at..)?);
    let (kind, class, ttl) = (c.u16()?, c.u16()?, c.u32()?);
    let len = usize::from(c.u16()?);
    let data_at = at + c.offset();
    Some(Record { owner_at, kind, class, ttl, data_at, data: c.take(len)?, end: at + c.offset() })
}

/// Offset of what follows a name; what its pointers point to is not looked at.
pub(super) fn end_of_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let len = *message.get(at)?;
        match len {
            0 => return Some(at + 1),
            1..=63 => at += 1 + usize::from(len),
            // The second octet of a pointer must be there as well.
            0xc0.. => return message.get(at + 1).map(|_| at + 2),
            _ => return None,
        }
    }
}

/// Hands over each label of a name. `None` if the name is too long, ends early, or has a pointer that does not point
/// backwards (RFC 1035 section 4.1.4: to a prior occurrence), so that a loop cannot be.
fn labels<'m>(message: &'m [u8], mut at: usize, mut each: impl FnMut(&'m [u8])) -> Option<()> {
    let mut before = at;
    let mut octets = 1;
    let mut pointers = 0;
    loop {
        let len = *message.get(at)?;
        match len {
            0 => return Some(()),
            1..=63 => {
                let end = at + 1 + usize::from(len);
                octets += 1 + usize::from(len);
                if octets > MAX_NAME {
                    return None;
                }
                each(message.get(at + 1..end)?);
                at = end;
            }
            0xc0.. => {
                let target = usize::from(len & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                pointers += 1;
                if target >= before || target < HEADER || pointers > MAX_POINTERS {
                    return None;
                }
                before = target;
                at = target;
            }
            _ => return None,
        }
    }
}

/// Appends a name in presentation form. False if it is bad; some of it may have been appended then.
pub(super) fn write_name(message: &[u8], at: usize, out: &mut Vec<u8>) -> bool {
    let mut is_root = true;
    let read = labels(message, at, |label| {
        if !is_root {
            out.push(b'.');
        }
        is_root = false;
        if label.iter().fold(true, |all, &b| all & matches!(b, b' '..=b'~') & (b != b'.') & (b != b'\\')) {
            out.extend_from_slice(label);
            return;
        }
        for &octet in label {
            if matches!(octet, b'.' | b'\\') {
                out.push(b'\\');
            }
            write_octet(octet, out);
        }
    });
    if is_root {
        out.push(b'.');
    }
    read.is_some()
}

/// The same where a space ends the name, as in a record: one within is escaped.
pub(super) fn write_name_in_record(message: &[u8], at: usize, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let read = write_name(message, at, out);
    escape_spaces(start, out);
    read
}

/// Escapes the spaces in what was appended from `start` on.
#[inline]
pub(super) fn escape_spaces(start: usize, out: &mut Vec<u8>) {
    if out.get(start..).is_some_and(|name| name.contains(&b' ')) {
        escape_those_there_are(start, out);
    }
}

#[cold]
fn escape_those_there_are(start: usize, out: &mut Vec<u8>) {
    for octet in out.split_off(start) {
        match octet {
            b' ' => out.extend_from_slice(b"\\032"),
            octet => out.push(octet),
        }
    }
}

/// Appends an octet, or its three decimal digits after a backslash if it is not printable.
pub(super) fn write_octet(octet: u8, out: &mut Vec<u8>) {
    if matches!(octet, b' '..=b'~') {
        out.push(octet);
    } else {
        out.extend([b'\\', b'0' + octet / 100, b'0' + octet / 10 % 10, b'0' + octet % 10]);
    }
}

/// Whether a message begins with these octets, as far as header and first question tell. Strict where none is expected.
pub(super) fn begins(bytes: &[u8], strict: bool) -> Probe {
    // What is not there yet of the header is taken to be as good as can be.
    let mut start = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    start.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    let Some(header) = Header::read(&start) else { return Probe::No };
    if !header.is_plausible() || (strict && !header.is_ordinary()) {
        return Probe::No;
    }
    if bytes.len() < HEADER {
        return Probe::More;
    }
    if header.questions == 0 {
        return Probe::Yes;
    }
    let Some(question) = question(bytes, HEADER) else {
        let too_long = bytes.len() > HEADER + MAX_NAME + 4;
        return if too_long || !could_be_name(bytes, HEADER) { Probe::No } else { Probe::More };
    };
    let mut sane = true;
    let mut netbios = false;
    let mut first = true;
    let read = labels(bytes, HEADER, |label| {
        sane &= label.iter().all(u8::is_ascii_graphic);
        netbios |= first && label.len() == 32 && label.iter().all(|b| matches!(b, b'A'..=b'P'));
        first = false;
    });
    let class = question.class & 0x7fff;
    let ordinary = sane && !netbios && question.kind != 0 && matches!(class, 1 | 3 | 4 | 254 | 255);
    if read.is_some() && (ordinary || !strict) { Probe::Yes } else { Probe::No }
}

/// Whether what there is of a name has no label of an unassigned type.
fn could_be_name(bytes: &[u8], mut at: usize) -> bool {
    while let Some(&len) = bytes.get(at) {
        match len {
            1..=63 => at += 1 + usize::from(len),
            0 | 0xc0.. => return true,
            _ => return false,
        }
    }
    true
}

/// Whether a message over TCP begins with these octets, which is no longer than `most`, whole, and good from the first octet
/// to the last: for where none is expected.
pub(super) fn begins_stream(bytes: &[u8], most: usize) -> Probe {
    let Some((len, rest)) = split_length(bytes) else { return Probe::More };
    if !(HEADER..=most).contains(&len) {
        return Probe::No;
    }
    let message = rest.get(..len);
    match begins(message.unwrap_or(rest), true) {
        // The whole message is there, yet the question is not.
        Probe::More if message.is_some() => Probe::No,
        Probe::Yes => match message {
            Some(message) if walks(message) => Probe::Yes,
            Some(_) => Probe::No,
            None => Probe::More,
        },
        answer => answer,
    }
}

/// The same, for what is asked at every octet: mostly there is no message, which the count of questions tells at once.
pub(super) fn begins_somewhere(bytes: &[u8], most: usize) -> Probe {
    const AT: usize = 6;
    const ONE: [u8; 2] = [0, 1];
    let count = bytes.get(AT..).unwrap_or_default();
    if count.iter().zip(ONE).all(|(octet, wanted)| *octet == wanted) { begins_stream(bytes, most) } else { Probe::No }
}

/// Whether what follows a length begins as messages mostly do.
pub(super) fn has_ordinary_header(bytes: &[u8]) -> bool {
    split_length(bytes).and_then(|(_, message)| Header::read(message)).is_some_and(Header::is_ordinary)
}

/// The length before a message over TCP, and what follows it.
pub(super) fn split_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    Some((usize::from(u16::from_be_bytes(*len)), rest))
}

/// Whether the octets are one message from the first to the last, whatever its names point to.
pub(super) fn fits(message: &[u8]) -> bool {
    end_of_message(message, |_| true) == Some(message.len())
}

/// Whether the octets are one message from the first to the last, with good names: for where none is expected.
pub(super) fn walks(message: &[u8]) -> bool {
    begins(message, true) == Probe::Yes
        && end_of_message(message, |r| labels(message, r.owner_at, |_| ()).is_some()) == Some(message.len())
}

/// Offset behind the last record; `None` if the message ends before, or one of its records is not good.
fn end_of_message(message: &[u8], is_good: impl Fn(&Record<'_>) -> bool) -> Option<usize> {
    let header = Header::read(message)?;
    let mut at = HEADER;
    for _ in 0..header.questions {
        at = question(message, at)?.end;
    }
    for _ in 0..u32::from(header.answers) + u32::from(header.authorities) + u32::from(header.additionals) {
        let record = record(message, at).filter(&is_good)?;
        at = record.end;
    }
    Some(at)
}
