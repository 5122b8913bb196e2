// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages and sets (RFC 7011 section 3).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+-------------------------------+
//! |          version 10           |   length, header included     |
//! +-------------------------------+-------------------------------+
//! |                  export time, seconds since 1970              |
//! |            sequence number: data records sent before          |
//! |                     observation domain ID                     |
//! +---------------------------------------------------------------+  then sets:
//! |        set ID                 |   length, header included     |  2: templates, 3: options templates,
//! +-------------------------------+-------------------------------+  256 and above: data of that template
//! ```
//!
//! A [`SetWriter`] fills the body of a message in a [`Buffer`], leaving room for the header, which whoever sends it writes
//! ([`Buffer::number`]): records are counted in the order in which messages are sent.

use crate::{
    Template,
    encode::{Cursor, WINDOW, specifier},
};

/// Octets of the message header.
pub const HEADER_LEN: usize = 16;
/// Octets of a set header.
pub const SET_HEADER_LEN: usize = 4;
/// Most octets of a message.
pub const MAX_MESSAGE: usize = 65_535;
/// Set ID of templates.
pub const TEMPLATE_SET: u16 = 2;
/// Set ID of options templates.
pub const OPTIONS_TEMPLATE_SET: u16 = 3;
/// First set ID of data.
pub const FIRST_DATA_SET: u16 = 256;
/// Version number of IPFIX.
pub const VERSION: u16 = 10;

/// Message header.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Header {
    /// Octets of the message, header included.
    pub length: u16,
    /// Seconds since 1970.
    pub export_time: u32,
    /// Data records sent before this message in this transport session and observation domain, modulo 2^32.
    pub sequence_number: u32,
    /// Observation domain.
    pub domain: u32,
}

impl Header {
    /// The header as it goes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let fields = VERSION.to_be_bytes().into_iter().chain(self.length.to_be_bytes());
        let fields = fields.chain(self.export_time.to_be_bytes()).chain(self.sequence_number.to_be_bytes());
        for (place, octet) in bytes.iter_mut().zip(fields.chain(self.domain.to_be_bytes())) {
            *place = octet;
        }
        bytes
    }
}

/// Memory of one message, and the message in it, its header included.
///
/// One is made for each message that may be under way at a time, and used again and again.
#[derive(Debug, Default)]
pub struct Buffer {
    /// Room for the longest message, and behind it for a window; nothing if the buffer was left empty-handed.
    octets: Box<[u8]>,
    len: usize,
    records: u32,
}

impl Buffer {
    /// An empty message of at most `max_message` octets, header included; at least 512, at most [`MAX_MESSAGE`].
    #[must_use]
    pub fn new(max_message: usize) -> Self {
        Self { octets: vec![0; Self::memory(max_message)].into(), len: HEADER_LEN, records: 0 }
    }

    /// Octets of memory that a buffer for such messages takes.
    #[must_use]
    pub const fn memory(max_message: usize) -> usize {
        let max_message = if max_message < MIN_MESSAGE { MIN_MESSAGE } else { max_message };
        let max_message = if max_message > MAX_MESSAGE { MAX_MESSAGE } else { max_message };
        max_message + SLACK
    }

    /// The message with its header, which means nothing before [`Buffer::number`].
    #[must_use]
    pub fn message(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }

    /// Data records in it.
    #[must_use]
    pub const fn records(&self) -> u32 {
        self.records
    }

    /// Writes the header: all but the length is the caller's.
    pub fn number(&mut self, export_time: u32, sequence_number: u32, domain: u32) {
        let length = u16::try_from(self.len).unwrap_or(u16::MAX);
        if let Some(place) = self.octets.first_chunk_mut() {
            *place = Header { length, export_time, sequence_number, domain }.to_bytes();
        }
    }

    const fn max_len(&self) -> usize {
        self.octets.len().saturating_sub(SLACK)
    }
}

/// Fewest octets that the longest message must be allowed to have.
const MIN_MESSAGE: usize = 512;
/// Octets of a buffer behind the longest message: a window that begins within the message ends within the buffer.
const SLACK: usize = SET_HEADER_LEN + WINDOW;

/// Writes one message: data sets, one after the other.
#[derive(Debug)]
pub struct SetWriter {
    buffer: Buffer,
    max_message: usize,
    /// Where the open set begins, and its ID.
    open: Option<(usize, u16)>,
}

impl SetWriter {
    /// An empty message of at most `max_message` octets, header included; at least 512, at most [`MAX_MESSAGE`].
    #[must_use]
    pub fn new(max_message: usize) -> Self {
        Self { buffer: Buffer::new(max_message), max_message, open: None }
    }

    /// Whether no record was written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.buffer.records == 0
    }

    /// Most octets that a record can have to fit into an empty message.
    #[must_use]
    pub const fn max_record(&self) -> usize {
        Buffer::memory(self.max_message) - SLACK - HEADER_LEN - SET_HEADER_LEN
    }

    /// Appends a data record. False, and nothing changed, if it does not fit any more.
    pub fn push(&mut self, template_id: u16, record: &[u8]) -> bool {
        self.write(template_id, |out| out.extend(record)).is_ok()
    }

    /// Appends what `write` writes as one data record.
    ///
    /// # Errors
    ///
    /// If it does not fit any more: how many octets it has. Nothing has changed.
    pub(crate) fn write(&mut self, template_id: u16, write: impl FnOnce(&mut Cursor<'_>)) -> Result<(), usize> {
        let is_new = self.open.is_none_or(|(_, id)| id != template_id);
        let start = self.buffer.len + if is_new { SET_HEADER_LEN } else { 0 };
        let max_len = self.buffer.max_len();
        let mut cursor = Cursor::new(&mut self.buffer.octets, start);
        write(&mut cursor);
        let end = cursor.at();
        if end > max_len {
            return Err(end - start);
        }
        if is_new {
            self.close_set();
            self.open = Some((self.buffer.len, template_id));
        }
        self.buffer.len = end;
        self.buffer.records += 1;
        Ok(())
    }

    /// Takes the message. Until [`SetWriter::begin`] gives memory for another, no record fits.
    pub fn finish(&mut self) -> Buffer {
        self.close_set();
        std::mem::take(&mut self.buffer)
    }

    /// Begins an empty message in this memory; if that is of another size, in new memory.
    pub fn begin(&mut self, buffer: Buffer) {
        let is_ours = buffer.octets.len() == Buffer::memory(self.max_message);
        let octets = if is_ours { buffer.octets } else { Buffer::new(self.max_message).octets };
        self.buffer = Buffer { octets, len: HEADER_LEN, records: 0 };
    }

    /// Takes a copy of the message without its header, and the number of its records; the writer is empty afterwards.
    pub fn take(&mut self) -> (Vec<u8>, u32) {
        let buffer = self.finish();
        let taken = (buffer.message().get(HEADER_LEN..).unwrap_or_default().to_vec(), buffer.records);
        self.begin(buffer);
        taken
    }

    /// Writes the header of the open set, now that its length is known.
    fn close_set(&mut self) {
        if let Some((start, id)) = self.open.take() {
            let length = u16::try_from(self.buffer.len - start).unwrap_or(u16::MAX);
            let [[a, b], [c, d]] = [id.to_be_bytes(), length.to_be_bytes()];
            if let Some(place) = self.buffer.octets.get_mut(start..start + SET_HEADER_LEN) {
                place.copy_from_slice(&[a, b, c, d]);
            }
        }
    }
}

/// Bodies of messages that announce `templates`, each at most `max_message` octets with its header.
#[must_use]
pub fn template_bodies(templates: &[Template], max_message: usize) -> Vec<Vec<u8>> {
    let max_len = max_message.clamp(MIN_MESSAGE, MAX_MESSAGE) - HEADER_LEN;
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    for template in templates {
        let mut encoded = Vec::new();
        encoded.extend(template.id.to_be_bytes());
        encoded.extend(u16::try_from(template.fields.len()).unwrap_or(u16::MAX).to_be_bytes());
        if template.scope_count > 0 {
            encoded.extend(template.scope_count.to_be_bytes());
        }
        for field in &template.fields {
            let (octets, len) = specifier(*field);
            encoded.extend(octets.iter().take(len));
        }
        let set = if template.scope_count > 0 { OPTIONS_TEMPLATE_SET } else { TEMPLATE_SET };
        match bodies.last_mut() {
            Some(body) if body.starts_with(&set.to_be_bytes()) && body.len() + encoded.len() <= max_len => {
                body.extend(encoded);
            }
            _ => {
                let mut body = Vec::from(set.to_be_bytes());
                body.extend([0, 0]);
                body.extend(encoded);
                bodies.push(body);
            }
        }
    }
    for body in &mut bodies {
        patch_length(body, 0);
    }
    bodies
}

/// Writes the length of the set that begins at `start` and ends with `body`.
fn patch_length(body: &mut [u8], start: usize) {
    let length = u16::try_from(body.len() - start).unwrap_or(u16::MAX);
    if let Some(place) = body.get_mut(start + 2..start + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}
