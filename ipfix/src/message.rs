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
//! A [`SetWriter`] fills the body of a message; the header is made apart ([`Header::to_bytes`]), because one body goes to
//! several destinations, each of which counts for itself.

use crate::{Template, encode::write_specifier};

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

/// Writes the body of one message: data sets, one after the other.
#[derive(Debug)]
pub struct SetWriter {
    body: Vec<u8>,
    max_len: usize,
    /// Where the open set begins, and its ID.
    open: Option<(usize, u16)>,
    records: u32,
}

impl SetWriter {
    /// An empty body of at most `max_message` octets, header included; at least 512, at most [`MAX_MESSAGE`].
    #[must_use]
    pub fn new(max_message: usize) -> Self {
        let max_len = max_message.clamp(512, MAX_MESSAGE) - HEADER_LEN;
        Self { body: Vec::with_capacity(max_len), max_len, open: None, records: 0 }
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Most octets that a record can have to fit into an empty body.
    #[must_use]
    pub const fn max_record(&self) -> usize {
        self.max_len - SET_HEADER_LEN
    }

    /// Appends a data record. False, and nothing changed, if it does not fit any more.
    pub fn push(&mut self, template_id: u16, record: &[u8]) -> bool {
        let same_set = self.open.is_some_and(|(_, id)| id == template_id);
        let needed = record.len() + if same_set { 0 } else { SET_HEADER_LEN };
        if self.body.len() + needed > self.max_len {
            return false;
        }
        if !same_set {
            self.close_set();
            self.open = Some((self.body.len(), template_id));
            self.body.extend(template_id.to_be_bytes());
            self.body.extend([0, 0]);
        }
        self.body.extend_from_slice(record);
        self.records += 1;
        true
    }

    /// Takes the body and the number of its records; the writer is empty afterwards.
    pub fn take(&mut self) -> (Vec<u8>, u32) {
        self.close_set();
        let body = std::mem::replace(&mut self.body, Vec::with_capacity(self.max_len));
        (body, std::mem::take(&mut self.records))
    }

    fn close_set(&mut self) {
        if let Some((start, _)) = self.open.take() {
            patch_length(&mut self.body, start);
        }
    }
}

/// Bodies of messages that announce `templates`, each at most `max_message` octets with its header.
#[must_use]
pub fn template_bodies(templates: &[Template], max_message: usize) -> Vec<Vec<u8>> {
    let max_len = max_message.clamp(512, MAX_MESSAGE) - HEADER_LEN;
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    for template in templates {
        let mut encoded = Vec::new();
        encoded.extend(template.id.to_be_bytes());
        encoded.extend(u16::try_from(template.fields.len()).unwrap_or(u16::MAX).to_be_bytes());
        if template.scope_count > 0 {
            encoded.extend(template.scope_count.to_be_bytes());
        }
        for field in &template.fields {
            write_specifier(*field, &mut encoded);
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
