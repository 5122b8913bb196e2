// SPDX-License-Identifier: MIT OR Apache-2.0
//! Header compression of HTTP/2 (RFC 7541), as far as wanted fields need it.
//!
//! A decoder must follow every change of the dynamic table. Of an entry it keeps which wanted name it has, its size, and the
//! value if the name is wanted; nothing else, credentials least of all, except as long as they are being read.

use std::collections::VecDeque;

use weir_flow::allocated;

use super::{
    huffman,
    lines::Found,
    names::{self, Name},
};

/// Largest dynamic table, as the standard counts (section 4.1). Browsers ask for as much; who asks for more is not followed.
const MAX_TABLE: usize = 64 << 10;
/// Size of the table until it is changed (RFC 9113 section 6.5.2).
const FIRST_TABLE: usize = 4096;
/// What an entry counts for beside its octets (section 4.1).
const ENTRY: usize = 32;
/// Most octets of the values of one message that are kept.
const MAX_VALUES: usize = 64 << 10;

/// The static table (appendix A): which wanted name, and the value if it has one.
#[rustfmt::skip]
const STATIC: [(Name, &[u8]); 61] = {
    use Name::*;
    [
        (Authority, b""), (Method, b"GET"), (Method, b"POST"), (Path, b"/"), (Path, b"/index.html"), (Scheme, b"http"),
        (Scheme, b"https"), (Status, b"200"), (Status, b"204"), (Status, b"206"), (Status, b"304"), (Status, b"400"),
        (Status, b"404"), (Status, b"500"),
        // accept-charset, accept-encoding, accept-language, accept-ranges, accept, access-control-allow-origin, age, allow
        (Unwanted, b""), (Unwanted, b""), (Unwanted, b""), (Unwanted, b""), (Unwanted, b""), (Unwanted, b""), (Unwanted, b""), (Unwanted, b""),
        (Authorization, b""),
        // cache-control, content-disposition, content-encoding, content-language
        (Unwanted, b""), (Unwanted, b""), (Unwanted, b""), (Unwanted, b""),
        (ContentLength, b""),
        // content-location, content-range
        (Unwanted, b""), (Unwanted, b""),
        (ContentType, b""), (Cookie, b""),
        // date, etag, expect, expires, from
        (Unwanted, b""), (Unwanted, b""), (Unwanted, b""), (Unwanted, b""), (Unwanted, b""),
        (Host, b""),
        // if-match, if-modified-since, if-none-match, if-range, if-unmodified-since, last-modified, link
        (Unwanted, b""), (Unwanted, b""), (Unwanted, b""), (Unwanted, b""), (Unwanted, b""), (Unwanted, b""), (Unwanted, b""),
        (Location, b""),
        // max-forwards
        (Unwanted, b""),
        (ProxyAuthenticate, b""), (ProxyAuthorization, b""),
        // range
        (Unwanted, b""),
        (Referer, b""),
        // refresh, retry-after
        (Unwanted, b""), (Unwanted, b""),
        (Server, b""), (SetCookie, b""),
        // strict-transport-security
        (Unwanted, b""),
        (TransferEncoding, b""), (UserAgent, b""),
        // vary
        (Unwanted, b""),
        (Via, b""), (WwwAuthenticate, b""),
    ]
};

/// An entry of the dynamic table.
#[derive(Debug)]
struct Entry {
    name: Name,
    /// Octets of the name, which is not kept.
    name_len: u32,
    /// As the standard counts.
    size: usize,
    /// Empty if the name is not wanted.
    value: Box<[u8]>,
}

/// The dynamic table of one direction.
#[derive(Debug)]
pub(super) struct Table {
    /// The latest first.
    entries: VecDeque<Entry>,
    size: usize,
    max: usize,
    /// Bytes that the values take.
    values: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self { entries: VecDeque::new(), size: 0, max: FIRST_TABLE, values: 0 }
    }
}

/// What a field is called, where only its name comes from a table.
#[derive(Clone, Copy)]
struct Known {
    name: Name,
    len: usize,
}

/// A block, or a message, that breaks the rules: what follows in its direction cannot be read any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Broken;

impl Table {
    /// Bytes of memory that it takes beside itself.
    pub(super) fn held(&self) -> usize {
        allocated(self.entries.capacity() * size_of::<Entry>()) + self.values
    }

    /// Reads the header block of one message: appends the values to `out` and notes them.
    pub(super) fn decode(&mut self, block: &[u8], out: &mut Vec<u8>, found: &mut Found) -> Result<(), Broken> {
        found.clear();
        out.clear();
        let mut reader = Reader { rest: block };
        while let Some(&first) = reader.rest.first() {
            match first {
                // Section 6.1: an entry as it is.
                0x80.. => {
                    let index = reader.integer(7)?;
                    self.indexed(index, out, found)?;
                }
                // Section 6.2.1: a literal that becomes an entry.
                0x40.. => {
                    let (known, value) = self.literal(&mut reader, 6, out)?;
                    self.insert(known, value, out);
                    finish(known, value, out, found);
                }
                // Section 6.3: the size of the table.
                0x20.. => {
                    let size = usize::try_from(reader.integer(5)?).map_err(|_| Broken)?;
                    if size > MAX_TABLE {
                        return Err(Broken);
                    }
                    self.max = size;
                    self.evict(0);
                }
                // Sections 6.2.2 and 6.2.3: a literal that does not.
                _ => {
                    let (known, value) = self.literal(&mut reader, 4, out)?;
                    finish(known, value, out, found);
                }
            }
        }
        Ok(())
    }

    /// Appends the value of an entry and notes it.
    fn indexed(&self, index: u32, out: &mut Vec<u8>, found: &mut Found) -> Result<(), Broken> {
        let index = (index as usize).checked_sub(1).ok_or(Broken)?;
        let (name, value) = match STATIC.get(index) {
            Some(&entry) => entry,
            None => self.entries.get(index - STATIC.len()).map(|e| (e.name, &*e.value)).ok_or(Broken)?,
        };
        if name != Name::Unwanted && out.len() + value.len() <= MAX_VALUES {
            let start = out.len();
            out.extend_from_slice(value);
            found.note(name, start..out.len());
        }
        Ok(())
    }

    /// Reads name and value of a literal; appends the value, and says where it begins.
    fn literal(&self, reader: &mut Reader<'_>, bits: u32, out: &mut Vec<u8>) -> Result<(Known, usize), Broken> {
        let known = match (reader.integer(bits)? as usize).checked_sub(1) {
            Some(index) => self.name(index)?,
            None => {
                let start = out.len();
                reader.string(out)?;
                let name = out.get(start..).unwrap_or_default();
                let known = Known { name: names::exact(name), len: name.len() };
                out.truncate(start);
                known
            }
        };
        let start = out.len();
        reader.string(out)?;
        Ok((known, start))
    }

    fn name(&self, index: usize) -> Result<Known, Broken> {
        if let Some((name, _)) = STATIC.get(index) {
            return Ok(Known { name: *name, len: STATIC_NAMES.get(index).copied().unwrap_or(0).into() });
        }
        let entry = self.entries.get(index - STATIC.len()).ok_or(Broken)?;
        Ok(Known { name: entry.name, len: entry.name_len as usize })
    }

    /// Makes an entry (section 4.4).
    fn insert(&mut self, known: Known, start: usize, out: &[u8]) {
        let value = out.get(start..).unwrap_or_default();
        let size = known.len + value.len() + ENTRY;
        self.evict(size);
        if size > self.max {
            return;
        }
        let value = if known.name == Name::Unwanted { &[] } else { value };
        self.size += size;
        self.values += allocated(value.len());
        self.entries.push_front(Entry { name: known.name, name_len: known.len as u32, size, value: value.into() });
    }

    /// Drops the oldest until there is room for so much more.
    fn evict(&mut self, more: usize) {
        while self.size + more > self.max
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size;
            self.values -= allocated(oldest.value.len());
        }
    }
}

/// Notes a literal that is wanted; forgets it if it is not.
fn finish(known: Known, start: usize, out: &mut Vec<u8>, found: &mut Found) {
    if known.name == Name::Unwanted || out.len() > MAX_VALUES {
        out.truncate(start);
    } else {
        found.note(known.name, start..out.len());
    }
}

/// Octets of the names of the static table (appendix A).
#[rustfmt::skip]
const STATIC_NAMES: [u8; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14, 16, 13, 12, 6, 4, 4, 6, 7, 4, 4, 8,
    17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10, 25, 17, 10, 4, 3, 16,
];

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn octet(&mut self) -> Result<u8, Broken> {
        let (&first, rest) = self.rest.split_first().ok_or(Broken)?;
        self.rest = rest;
        Ok(first)
    }

    /// An integer whose first octet has this many bits of it (section 5.1).
    fn integer(&mut self, bits: u32) -> Result<u32, Broken> {
        let most = (1_u32 << bits) - 1;
        let mut value = u32::from(self.octet()?) & most;
        if value < most {
            return Ok(value);
        }
        // Four octets say more than any number here can be.
        for shift in [0, 7, 14, 21] {
            let octet = self.octet()?;
            value += u32::from(octet & 0x7f) << shift;
            if octet < 0x80 {
                return Ok(value);
            }
        }
        Err(Broken)
    }

    /// Appends a string (section 5.2).
    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        let is_coded = self.rest.first().is_some_and(|first| first & 0x80 != 0);
        let len = self.integer(7)? as usize;
        let (string, rest) = self.rest.split_at_checked(len).ok_or(Broken)?;
        self.rest = rest;
        if is_coded {
            return huffman::decode(string, out).ok_or(Broken);
        }
        out.extend_from_slice(string);
        Ok(())
    }
}
