// SPDX-License-Identifier: MIT OR Apache-2.0
//! The datagram service (RFC 1002 section 4.4).
//!
//! ```text
//!   type 1, flags 1, identifier 2, source address 4, source port 2
//!     0x10 to 0x12, to one, to a group, to all:    length 2, offset 2, name of the source, name of the destination, data
//!     0x13, an error:                              code 1
//!     0x14 to 0x16, a query and both its answers:  name of the destination
//! ```

use std::ops::RangeInclusive;

use weir_flow::app::Netbios;

use super::{name, text};
use crate::{Cursor, app::Transactions};

/// Datagrams: to one, to a group, to all.
const DIRECT_UNIQUE: u8 = 0x10;
const BROADCAST: u8 = 0x12;
const ERROR: u8 = 0x13;
/// The last one: a name is not there.
const NEGATIVE: u8 = 0x16;

/// Codes of errors (section 4.4.3).
const ERRORS: RangeInclusive<u8> = 0x82..=0x84;

/// Bits of the flags that are zero.
const RESERVED: u8 = 0xf0;

/// A name: 15 octets, and the suffix.
type Name = [u8; 16];

/// What one datagram says, data left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram {
    kind: u8,
    id: u16,
    address: [u8; 4],
    source: Option<Name>,
    destination: Option<Name>,
    error: Option<u8>,
}

impl Datagram {
    /// Reads a datagram; `None` if the octets are none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut c = Cursor::new(bytes);
        let (kind, flags) = (c.u8()?, c.u8()?);
        if flags & RESERVED != 0 || !(DIRECT_UNIQUE..=NEGATIVE).contains(&kind) {
            return None;
        }
        let (id, address, _port) = (c.u16()?, c.array()?, c.u16()?);
        let read = Self { kind, id, address, source: None, destination: None, error: None };
        match kind {
            DIRECT_UNIQUE..=BROADCAST => {
                let (_length, _offset) = (c.u16()?, c.u16()?);
                let (source, destination) = (name(&mut c)?, name(&mut c)?);
                Some(Self { source: Some(source), destination: Some(destination), ..read })
            }
            ERROR => {
                let error = c.u8().filter(|code| ERRORS.contains(code) && c.is_at_end())?;
                Some(Self { error: Some(error), ..read })
            }
            _ => Some(Self { destination: Some(name(&mut c)?), ..read }),
        }
    }

    /// Whether the octets alone tell that it is one, wherever they go: an error has no name.
    pub(super) const fn is_certain(&self) -> bool {
        self.destination.is_some()
    }

    /// Puts it into a transaction: of its own, unless it says the same as the one before, as those of an announcement do, and
    /// pieces of a datagram.
    pub(super) fn file(&self, transactions: &mut Transactions<Netbios>) {
        let is_the_same = transactions
            .last_completed()
            .and_then(|index| transactions.fields_mut(index))
            .is_some_and(|fields| self.is_told_by(fields));
        if is_the_same {
            return;
        }
        let (index, fields) = transactions.open();
        self.write(fields);
        transactions.complete(index);
    }

    fn is_told_by(&self, fields: &Netbios) -> bool {
        let memory = &fields.memory;
        let is = |name: Option<Name>, text: &[u8], suffix: Option<u8>| match name {
            Some(name) => (parts(&name).0, Some(parts(&name).1)) == (text, suffix),
            None => suffix.is_none(),
        };
        fields.datagram_type.get() == Some(self.kind)
            && fields.response_code.get() == self.error
            && is(self.source, fields.source_name.as_bytes(memory), fields.source_suffix.get())
            && is(self.destination, fields.name.as_bytes(memory), fields.suffix)
            && fields.address.iter(memory).eq([self.address])
    }

    fn write(&self, fields: &mut Netbios) {
        let memory = &mut fields.memory;
        fields.datagram_type.set(self.kind);
        fields.transaction_id = Some(self.id);
        self.error.into_iter().for_each(|error| fields.response_code.set(error));
        fields.address.push(self.address, memory);
        if let Some(name) = &self.destination {
            let (name, suffix) = parts(name);
            fields.name.set(name, memory);
            fields.suffix = Some(suffix);
        }
        if let Some(name) = &self.source {
            let (name, suffix) = parts(name);
            fields.source_name.set(name, memory);
            fields.source_suffix.set(suffix);
        }
    }
}

/// A name without the spaces at its end, and its suffix.
fn parts(name: &Name) -> (&[u8], u8) {
    let [rest @ .., suffix] = name;
    (text(rest), *suffix)
}
