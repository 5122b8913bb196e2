// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages of SMB 2: header and what follows it. Numbers are little-endian, offsets count from the header.

use weir_flow::{Memory, Text, app::Smb};

/// Octets of a header (MS-SMB2 section 2.2.1.2).
pub(super) const HEADER: usize = 64;

const NEGOTIATE: u16 = 0;
const SESSION_SETUP: u16 = 1;
const TREE_CONNECT: u16 = 3;
const CREATE: u16 = 5;
const LAST_COMMAND: u16 = 18;

/// The dialect that asks for another NEGOTIATE.
const ANY_SECOND: u16 = 0x02ff;

/// STATUS_MORE_PROCESSING_REQUIRED.
const MORE_PROCESSING: u32 = 0xc000_0016;

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|octets| u16::from_le_bytes(*octets))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|octets| u32::from_le_bytes(*octets))
}

/// What a header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    status: u32,
    command: u16,
    is_response: bool,
    /// Offset of the next message of the chain; zero: there is none.
    next: u32,
}

impl Header {
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let is_it = message.len() >= HEADER && message.starts_with(b"\xfeSMB");
        let header = Self {
            status: u32_at(message, 8)?,
            command: u16_at(message, 12)?,
            is_response: u32_at(message, 16)? & 1 != 0,
            next: u32_at(message, 20)?,
        };
        is_it.then_some(header)
    }

    /// Whether something behind the header is of interest.
    pub(super) const fn is_of_interest(self) -> bool {
        match (self.command, self.is_response) {
            (NEGOTIATE, true) | (SESSION_SETUP | TREE_CONNECT | CREATE, false) => true,
            _ => self.next != 0,
        }
    }

    /// Offset of the next message of the chain.
    pub(super) fn next(self) -> Option<usize> {
        usize::try_from(self.next).ok().filter(|&next| next >= HEADER)
    }
}

/// Takes what one message says; `message` begins with its header.
pub(super) fn take(header: Header, message: &[u8], fields: &mut Smb, scratch: &mut Vec<u8>) {
    if header.command <= LAST_COMMAND {
        fields.commands = Some(fields.commands.unwrap_or(0) | 1 << header.command);
    }
    let body = message.get(HEADER..).unwrap_or_default();
    if header.is_response {
        if header.status >> 30 == 3 && header.status != MORE_PROCESSING {
            fields.status = Some(header.status);
        }
        // Size, security mode, dialect (section 2.2.4).
        if header.command == NEGOTIATE
            && header.status == 0
            && let Some(dialect) = u16_at(body, 4)
            && (fields.dialect.is_none() || fields.dialect == Some(ANY_SECOND))
        {
            fields.dialect = Some(dialect);
            if (0x0300..0xff00).contains(&dialect) {
                fields.version = Some(3);
            }
        }
        return;
    }
    let (at, list) = match header.command {
        SESSION_SETUP => return session_setup(message, body, fields, scratch),
        // Size, flags, offset and length of the path (section 2.2.9).
        TREE_CONNECT => (4, List::Tree),
        // Behind eleven other fields: offset and length of the name (section 2.2.13).
        CREATE => (44, List::File),
        _ => return,
    };
    let Some(name) = buffer(message, body, at) else { return };
    write_utf8(name, scratch);
    if !scratch.is_empty() {
        match list {
            List::Tree => fields.tree.push_new(scratch, &mut fields.memory),
            List::File => fields.file.push_new(scratch, &mut fields.memory),
        }
    }
}

enum List {
    Tree,
    File,
}

/// The octets that an offset and a length at `at` of the body say.
fn buffer<'a>(message: &'a [u8], body: &[u8], at: usize) -> Option<&'a [u8]> {
    let (offset, len) = (usize::from(u16_at(body, at)?), usize::from(u16_at(body, at + 2)?));
    let from = message.get(offset.max(HEADER)..)?;
    // What is cut off is still worth its beginning.
    Some(from.get(..len).unwrap_or(from))
}

/// The last message of an NTLM exchange (MS-NLMP section 2.2.1.3), which may be wrapped in other things (section 2.2.5 of
/// MS-SMB2: offset and length of the buffer behind 12 octets).
fn session_setup(message: &[u8], body: &[u8], fields: &mut Smb, scratch: &mut Vec<u8>) {
    const SIGNATURE: &[u8] = b"NTLMSSP\0\x03\0\0\0";
    const UNICODE: u32 = 1;
    let Some(token) = buffer(message, body, 12) else { return };
    let Some(at) = token.windows(SIGNATURE.len()).position(|window| window == SIGNATURE) else { return };
    let ntlm = token.get(at..).unwrap_or_default();
    let is_unicode = u32_at(ntlm, 60).is_none_or(|flags| flags & UNICODE != 0);
    let mut write = |at, text: &mut Text<256>, memory: &mut Memory| {
        let place = || {
            let (len, offset) = (usize::from(u16_at(ntlm, at)?), usize::try_from(u32_at(ntlm, at + 4)?).ok()?);
            ntlm.get(offset..offset.checked_add(len)?)
        };
        let Some(octets) = place() else { return };
        if is_unicode {
            write_utf8(octets, scratch);
            text.set(scratch, memory);
        } else {
            text.set(octets, memory);
        }
    };
    write(28, &mut fields.domain, &mut fields.memory);
    write(36, &mut fields.user, &mut fields.memory);
    write(44, &mut fields.host, &mut fields.memory);
}

/// Writes UTF-16 as UTF-8; half a pair of surrogates becomes the sign for what cannot be read.
fn write_utf8(octets: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let units = octets.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    for c in char::decode_utf16(units) {
        let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}
