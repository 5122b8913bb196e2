// SPDX-License-Identifier: MIT OR Apache-2.0
//! A message (RFC 5322 section 2.2): its header section and those of its parts (RFC 2045 section 3), line by line.

use weir_flow::{Memory, Text, allocated, app::Smtp};

use super::mime::{self, Boundaries, Delimiter, Kind};
use crate::app::line;

/// Most octets of a field that tells of the structure of the message.
const MAX_STRUCTURE: usize = 2048;

/// A header field that is recorded as it is.
#[derive(Clone, Copy, Debug)]
enum Recorded {
    Bcc,
    Cc,
    From,
    Mailer,
    MessageId,
    Subject,
    To,
}

/// The header field that a folded line would continue.
#[derive(Clone, Copy, Debug, Default)]
enum Field {
    ContentDisposition,
    ContentType,
    #[default]
    Other,
    Recorded(Recorded),
}

/// Where in a message its reader is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    field: Field,
    is_body: bool,
    /// In the header section of a part, or of a message within the message.
    is_inner: bool,
    /// The body that comes is a message with a header section of its own.
    encloses_message: bool,
}

/// What is known of the message beside the fields: kept while the connection lasts, since the next message needs it too.
#[derive(Debug, Default)]
pub(super) struct Structure {
    boundaries: Boundaries,
    /// The field that is being read, if it tells of the structure.
    field: Vec<u8>,
    /// The beginning of a line that goes on in the next chunk.
    pub(super) carry: Vec<u8>,
}

impl Structure {
    /// For the next message.
    pub(super) fn clear(&mut self) {
        self.boundaries.clear();
        self.field.clear();
        self.carry.clear();
    }

    /// Whether any line of a body can be a delimiter.
    pub(super) const fn has_parts(&self) -> bool {
        self.boundaries.is_open()
    }

    pub(super) const fn held(&self) -> usize {
        allocated(self.field.capacity()) + allocated(self.carry.capacity())
    }
}

impl Position {
    pub(super) const fn is_body(&self) -> bool {
        self.is_body
    }

    /// Octets are missing: what was begun is not complete.
    pub(super) fn lose(&mut self, structure: &mut Structure) {
        structure.field.clear();
        *self = Self { is_body: true, ..Self::default() };
    }

    /// Takes the next line: of a header section, which it may end, or one of a body that begins with hyphens.
    pub(super) fn line(&mut self, line: &[u8], structure: &mut Structure, smtp: &mut Smtp, text: &mut mime::Text) {
        if self.is_body {
            self.delimiter(line, structure);
        } else if line::is_folded(line) {
            self.fold(line, structure, smtp);
        } else {
            self.end_field(structure, smtp, text);
            self.begin_field(line, structure, smtp);
        }
    }

    /// Ends the field that is being read, if any.
    pub(super) fn end_field(&mut self, structure: &mut Structure, smtp: &mut Smtp, text: &mut mime::Text) {
        let name: &[u8] = match std::mem::take(&mut self.field) {
            Field::ContentDisposition => b"filename",
            Field::ContentType => {
                match mime::content_type(&structure.field, &mut structure.boundaries, text) {
                    Kind::Leaf => {}
                    Kind::Message => self.encloses_message = true,
                    Kind::Parts => return,
                }
                b"name"
            }
            Field::Other | Field::Recorded(_) => return,
        };
        if mime::parameter(&structure.field, name, text) {
            smtp.attachment.push_new(&text.decoded, &mut smtp.memory);
        }
    }

    fn delimiter(&mut self, line: &[u8], structure: &mut Structure) {
        if structure.boundaries.line(line) == Delimiter::Part {
            *self = Self { is_inner: true, ..Self::default() };
        }
    }

    fn fold(&mut self, line: &[u8], structure: &mut Structure, smtp: &mut Smtp) {
        match self.field {
            Field::ContentDisposition | Field::ContentType => {
                let field = &mut structure.field;
                field.push(b' ');
                let room = MAX_STRUCTURE.saturating_sub(field.len());
                let line = line.trim_ascii();
                field.extend_from_slice(line.get(..room).unwrap_or(line));
            }
            Field::Recorded(recorded) => {
                let (text, memory) = recorded.of(smtp);
                if !text.is_empty() {
                    text.extend(b" ", memory);
                }
                text.extend(line.trim_ascii(), memory);
            }
            Field::Other => {}
        }
    }

    fn begin_field(&mut self, line: &[u8], structure: &mut Structure, smtp: &mut Smtp) {
        // A line that is no header field belongs to the body of a message that lacks the empty line.
        let Some((name, value)) = line::header(line) else {
            let encloses_message = self.encloses_message && line.is_empty();
            *self = Self { is_body: !encloses_message, is_inner: true, ..Self::default() };
            return;
        };
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        self.field = match name.len() {
            12 if is(b"content-type") => Field::ContentType,
            19 if is(b"content-disposition") => Field::ContentDisposition,
            _ if self.is_inner => return,
            // A field that comes again does not replace the first.
            _ => match Recorded::by_name(name).filter(|f| f.of(smtp).0.is_empty()) {
                Some(recorded) => Field::Recorded(recorded),
                None => return,
            },
        };
        if let Field::Recorded(recorded) = self.field {
            let (text, memory) = recorded.of(smtp);
            text.set(value, memory);
        } else {
            structure.field.clear();
            structure.field.extend_from_slice(value.get(..MAX_STRUCTURE).unwrap_or(value));
        }
    }
}

impl Recorded {
    fn of(self, smtp: &mut Smtp) -> (&mut Text<1024>, &mut Memory) {
        let text = match self {
            Self::Bcc => &mut smtp.header_bcc,
            Self::Cc => &mut smtp.header_cc,
            Self::From => &mut smtp.header_from,
            Self::Mailer => &mut smtp.mailer,
            Self::MessageId => &mut smtp.message_id,
            Self::Subject => &mut smtp.subject,
            Self::To => &mut smtp.header_to,
        };
        (text, &mut smtp.memory)
    }

    fn by_name(name: &[u8]) -> Option<Self> {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        match name.len() {
            2 if is(b"cc") => Some(Self::Cc),
            2 if is(b"to") => Some(Self::To),
            3 if is(b"bcc") => Some(Self::Bcc),
            4 if is(b"from") => Some(Self::From),
            7 if is(b"subject") => Some(Self::Subject),
            8 if is(b"x-mailer") => Some(Self::Mailer),
            10 if is(b"message-id") => Some(Self::MessageId),
            10 if is(b"user-agent") => Some(Self::Mailer),
            _ => None,
        }
    }
}
