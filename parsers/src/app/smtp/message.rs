// SPDX-License-Identifier: MIT OR Apache-2.0
//! The header section of a message (RFC 5322 section 2.2), line by line.

use weir_flow::{Memory, Text, app::Smtp};

use crate::app::line;

/// A header field that is recorded.
#[derive(Clone, Copy, Debug)]
enum Recorded {
    Cc,
    From,
    MessageId,
    Subject,
    To,
}

/// Where in the header section a message is.
#[derive(Debug, Default)]
pub(super) struct HeaderSection {
    /// The field that a folded line would continue.
    field: Option<Recorded>,
    has_ended: bool,
}

impl HeaderSection {
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Takes the next line, which may be the one that ends the section.
    pub(super) fn line(&mut self, line: &[u8], smtp: &mut Smtp) {
        if self.has_ended {
            return;
        }
        if line::is_folded(line) {
            if let Some(field) = self.field {
                let (text, memory) = field.of(smtp);
                if !text.is_empty() {
                    text.extend(b" ", memory);
                }
                text.extend(line.trim_ascii(), memory);
            }
            return;
        }
        // A line that is no header field belongs to the body of a message that lacks the empty line.
        let Some((name, value)) = line::header(line) else {
            self.has_ended = true;
            self.field = None;
            return;
        };
        // A field that comes again does not replace the first.
        self.field = Recorded::by_name(name).filter(|f| f.of(smtp).0.is_empty());
        if let Some(field) = self.field {
            let (text, memory) = field.of(smtp);
            text.set(value, memory);
        }
    }
}

impl Recorded {
    fn of(self, smtp: &mut Smtp) -> (&mut Text<1024>, &mut Memory) {
        let text = match self {
            Self::Cc => &mut smtp.header_cc,
            Self::From => &mut smtp.header_from,
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
            4 if is(b"from") => Some(Self::From),
            7 if is(b"subject") => Some(Self::Subject),
            10 if is(b"message-id") => Some(Self::MessageId),
            _ => None,
        }
    }
}
