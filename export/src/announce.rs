// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages that announce templates, and the numbers of messages.

use std::sync::Arc;

use weir_ipfix::{
    encode::Templates,
    message::{HEADER_LEN, Header, template_bodies},
};

use crate::{
    channel::{Load, Message},
    clock::Clock,
    spool::disk::Announce,
};

/// Announces the templates of a process.
#[derive(Clone, Debug)]
pub struct Announcer {
    templates: Arc<Templates>,
    max_message: usize,
    /// Of lines, there are none.
    is_for_lines: bool,
}

impl Announcer {
    /// For what travels as such a load.
    pub const fn new(templates: Arc<Templates>, load: Load) -> Self {
        match load {
            Load::Ipfix(max_message) => Self { templates, max_message, is_for_lines: false },
            Load::Lines | Load::PassiveDns => Self { templates, max_message: 0, is_for_lines: true },
        }
    }

    /// From now on in messages of at most so many octets.
    pub const fn limit(&mut self, max_message: usize) {
        self.max_message = max_message;
    }

    /// Whether there is nothing to be announced.
    pub const fn is_for_lines(&self) -> bool {
        self.is_for_lines
    }

    /// Most octets of a message.
    pub const fn max_message(&self) -> usize {
        self.max_message
    }

    /// Templates that are known now.
    pub fn known(&self) -> usize {
        if self.is_for_lines { 0 } else { self.templates.count() }
    }

    /// The templates.
    pub const fn templates(&self) -> &Arc<Templates> {
        &self.templates
    }
}

impl Announce for Announcer {
    /// Their headers are those of the message that they stand before: templates are not counted by sequence numbers.
    fn announce(&self, from: usize, before: &[u8]) -> (Vec<Vec<u8>>, usize) {
        if self.is_for_lines {
            return (Vec::new(), 0);
        }
        let templates = self.templates.from(from);
        let header = Header::parse_claim(before).unwrap_or_default();
        let message = |body: Vec<u8>| {
            let length = u16::try_from(HEADER_LEN + body.len()).unwrap_or(u16::MAX);
            [&Header { length, ..header }.to_bytes(), &body[..]].concat()
        };
        let bodies = template_bodies(&templates, self.max_message);
        (bodies.into_iter().map(message).collect(), from + templates.len())
    }
}

/// Counts records for one destination, in the order in which they are sent.
#[derive(Debug)]
pub struct Numbering {
    domain: u32,
    sequence_number: u32,
    /// Records lost before the destination's thread that are counted already.
    lost: u64,
}

impl Numbering {
    /// From zero.
    pub const fn new(domain: u32) -> Self {
        Self { domain, sequence_number: 0, lost: 0 }
    }

    /// Writes the header of a message, if it is one of IPFIX. `lost`: records for this destination that the queue did not take so
    /// far. They are counted as if they had been sent: whatever does not arrive is a gap that the collector sees.
    pub fn number(&mut self, message: &mut Message, clock: &Clock, lost: u64) {
        if let Message::Ipfix { buffer, .. } = message {
            let lost = lost - std::mem::replace(&mut self.lost, lost);
            #[expect(clippy::cast_possible_truncation, reason = "numbers are modulo 2^32")]
            let before = self.sequence_number.wrapping_add(lost as u32);
            buffer.number(clock.export_time(), before, self.domain);
            self.sequence_number = before.wrapping_add(buffer.records());
        }
    }

    /// A new session: from zero.
    pub const fn begin_again(&mut self) {
        self.sequence_number = 0;
    }
}
