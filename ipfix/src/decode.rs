// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages, templates and data records back to flow records.
//!
//! Lengths on the wire are claims: each is compared with what is there before it is used. An error names the offset of the
//! octet where the bad field begins. Who calls decides what an error costs: a bad set does not end the message, a bad
//! record ends its set.

use weir_flow::{
    ExtraElement, Timestamp, Value,
    app::{AppFields, Fields},
};

use crate::{
    AbstractType, Element, FieldSpecifier, Template, VARIABLE,
    encode::NTP_OFFSET,
    mapping::{self, flow},
    message::{HEADER_LEN, Header, SET_HEADER_LEN, VERSION},
    registry,
};
pub use flow::Draft;

/// Most fields of one template that are accepted.
pub const MAX_FIELDS: usize = 1024;
/// Most octets of one unknown element that are kept.
const MAX_EXTRA: usize = 4096;
/// Most unknown elements of one record that are kept.
const MAX_EXTRAS: usize = 64;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Fewer octets than the structure needs.
    #[error("at octet {offset}: {needed} octets needed, {available} there")]
    TooShort {
        /// Offset of the structure from the start of the input.
        offset: usize,
        /// Octets that it needs.
        needed: usize,
        /// Octets that are there.
        available: usize,
    },
    /// Not the version that was expected.
    #[error("at octet 0: version {found}, expected {VERSION}")]
    Version {
        /// The version found.
        found: u16,
    },
    /// A length that cannot be.
    #[error("at octet {offset}: length {found}, allowed {min} to {max}")]
    Length {
        /// Offset of the length field.
        offset: usize,
        /// The length found.
        found: usize,
        /// Least that is possible.
        min: usize,
        /// Most that is possible.
        max: usize,
    },
    /// A template ID below 256, or a template with impossible fields.
    #[error("at octet {offset}: template {id} cannot be")]
    Template {
        /// Offset of the template.
        offset: usize,
        /// Its ID.
        id: u16,
    },
}

pub(crate) fn bytes_at(input: &[u8], offset: usize, len: usize) -> Result<&[u8], DecodeError> {
    input.get(offset..).and_then(|rest| rest.get(..len)).ok_or(DecodeError::TooShort {
        offset,
        needed: len,
        available: input.len().saturating_sub(offset),
    })
}

pub(crate) fn u16_at(input: &[u8], offset: usize) -> Result<u16, DecodeError> {
    let bytes = bytes_at(input, offset, 2)?;
    Ok(bytes.iter().fold(0, |v, b| v << 8 | u16::from(*b)))
}

pub(crate) fn u32_at(input: &[u8], offset: usize) -> Result<u32, DecodeError> {
    let bytes = bytes_at(input, offset, 4)?;
    Ok(bytes.iter().fold(0, |v, b| v << 8 | u32::from(*b)))
}

impl Header {
    /// Reads the header of the message at the start of `input`. The length is within 16 and the octets there.
    ///
    /// # Errors
    ///
    /// If fewer octets are there than the header, or than it claims, or if it is not of version 10.
    pub fn parse(input: &[u8]) -> Result<Self, DecodeError> {
        let header = Self::parse_claim(input)?;
        bytes_at(input, 0, usize::from(header.length))?;
        Ok(header)
    }

    /// Like [`Self::parse`], for a stream of which only the first octets have come: the length is a claim, at least 16.
    ///
    /// # Errors
    ///
    /// If fewer than 16 octets are there, or if it is not of version 10.
    pub fn parse_claim(input: &[u8]) -> Result<Self, DecodeError> {
        bytes_at(input, 0, HEADER_LEN)?;
        let found = u16_at(input, 0)?;
        if found != VERSION {
            return Err(DecodeError::Version { found });
        }
        let length = u16_at(input, 2)?;
        if usize::from(length) < HEADER_LEN {
            let (min, max) = (HEADER_LEN, usize::from(u16::MAX));
            return Err(DecodeError::Length { offset: 2, found: length.into(), min, max });
        }
        let (export_time, sequence_number, domain) = (u32_at(input, 4)?, u32_at(input, 8)?, u32_at(input, 12)?);
        Ok(Self { length, export_time, sequence_number, domain })
    }
}

/// One set of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Set<'a> {
    /// Set ID.
    pub id: u16,
    /// Offset of `body` from the start of the message.
    pub offset: usize,
    /// What follows the set header.
    pub body: &'a [u8],
}

/// The sets of a message, of which `first` octets are its header. After an error there is nothing more: where the next set
/// begins is unknown.
pub fn sets(message: &[u8], first: usize) -> impl Iterator<Item = Result<Set<'_>, DecodeError>> {
    let mut at = first;
    std::iter::from_fn(move || {
        if at >= message.len() {
            return None;
        }
        let set = set_at(message, at);
        at = set.map_or(message.len(), |set| set.offset + set.body.len());
        Some(set)
    })
}

fn set_at(message: &[u8], at: usize) -> Result<Set<'_>, DecodeError> {
    bytes_at(message, at, SET_HEADER_LEN)?;
    let (id, length) = (u16_at(message, at)?, usize::from(u16_at(message, at + 2)?));
    let available = message.len() - at;
    if length < SET_HEADER_LEN || length > available {
        return Err(DecodeError::Length { offset: at + 2, found: length, min: SET_HEADER_LEN, max: available });
    }
    let offset = at + SET_HEADER_LEN;
    Ok(Set { id, offset, body: bytes_at(message, offset, length - SET_HEADER_LEN)? })
}

/// Reads the templates of a template set, or of an options template set if `options`. A template without fields is a
/// withdrawal (RFC 7011 section 8.1). Padding at the end is passed over.
///
/// # Errors
///
/// The last item is an error if the set is damaged; the templates before it are good.
pub fn templates(set: Set<'_>, options: bool) -> impl Iterator<Item = Result<Template, DecodeError>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        // Fewer octets than the smallest template are padding.
        if set.body.len().saturating_sub(at) < 4 {
            return None;
        }
        let result = template_at(set, at, options);
        at = match &result {
            Ok((_, end)) => *end,
            Err(_) => set.body.len(),
        };
        Some(result.map(|(template, _)| template))
    })
}

fn template_at(set: Set<'_>, start: usize, options: bool) -> Result<(Template, usize), DecodeError> {
    let (id, count) = (u16_at(set.body, start)?, usize::from(u16_at(set.body, start + 2)?));
    let impossible = DecodeError::Template { offset: set.offset + start, id };
    // A withdrawal of all templates names the set ID.
    if count == 0 {
        return Ok((Template { id, scope_count: 0, fields: Vec::new() }, start + 4));
    }
    if id < 256 || count > MAX_FIELDS {
        return Err(impossible);
    }
    let mut at = start + 4;
    let mut scope_count = 0;
    if options {
        scope_count = u16_at(set.body, at)?;
        at += 2;
        if scope_count == 0 || usize::from(scope_count) > count {
            return Err(impossible);
        }
    }
    let mut fields = Vec::with_capacity(count.min(set.body.len() / 4));
    for _ in 0..count {
        let (field, next) = specifier_at(set.body, at)?;
        fields.push(field);
        at = next;
    }
    let template = Template { id, scope_count, fields };
    // A record of no octets would never end.
    if template.min_record_len() == 0 {
        return Err(impossible);
    }
    Ok((template, at))
}

fn specifier_at(input: &[u8], at: usize) -> Result<(FieldSpecifier, usize), DecodeError> {
    let (id, length) = (u16_at(input, at)?, u16_at(input, at + 2)?);
    if id & 0x8000 == 0 {
        return Ok((FieldSpecifier { element: Element::new(0, id), length }, at + 4));
    }
    let element = Element::new(u32_at(input, at + 4)?, id & 0x7fff);
    Ok((FieldSpecifier { element, length }, at + 8))
}

/// Where a decoded value goes.
#[derive(Clone, Copy, Debug)]
enum Target {
    Flow(AbstractType, flow::Set),
    App(AbstractType, &'static str, &'static mapping::Row),
    Stats(AbstractType, &'static mapping::Row),
    /// The element stands in the list itself.
    List,
    Padding,
    Extra,
}

impl Target {
    /// `weir` is the enterprise number under which the peer keeps [`crate::WEIR`]'s elements.
    fn of(element: Element, weir: u32) -> Self {
        const PADDING: Element = Element::new(0, 210);
        let known = if element.enterprise == weir { Element::new(crate::WEIR, element.id) } else { element };
        if element == PADDING {
            Self::Padding
        } else if element == Element::BASIC_LIST {
            Self::List
        } else if let Some(row) = flow::lookup(element) {
            Self::Flow(row.kind, row.set)
        } else if let Some((slug, row)) = mapping::lookup(known) {
            // An alias may have another type than the element that we write.
            let kind = registry::lookup(element).map_or(row.kind, |r| r.1);
            Self::App(kind, slug, row)
        } else if let Some(row) = mapping::lookup_stats(known) {
            let kind = registry::lookup(element).map_or(row.kind, |r| r.1);
            Self::Stats(kind, row)
        } else {
            Self::Extra
        }
    }
}

/// How the data records of one template are decoded: made once for each template.
#[derive(Clone, Debug)]
pub struct Plan {
    fields: Vec<(FieldSpecifier, Target)>,
    min_record_len: usize,
    weir: u32,
}

impl Plan {
    /// The plan for a template. Fields without a number of their own are looked for under `enterprise`.
    #[must_use]
    pub fn new(template: &Template, enterprise: u32) -> Self {
        let fields = template.fields.iter().map(|f| (*f, Target::of(f.element, enterprise))).collect();
        Self { fields, min_record_len: template.min_record_len(), weir: enterprise }
    }

    /// Fewest octets of a record: what is shorter at the end of a set is padding.
    #[must_use]
    pub const fn min_record_len(&self) -> usize {
        self.min_record_len
    }

    /// Decodes the record at offset `at` of `body` into `draft`, which is cleared first. Gives the offset behind it.
    ///
    /// # Errors
    ///
    /// If the record is longer than what is there.
    pub fn decode(&self, body: &[u8], at: usize, draft: &mut Draft) -> Result<usize, DecodeError> {
        draft.clear();
        let mut at = at;
        for (field, target) in &self.fields {
            let octets;
            (octets, at) = field_at(body, at, field.length)?;
            match target {
                Target::Padding => {}
                Target::Flow(kind, set) => {
                    if let Some(value) = value(*kind, octets, field.length) {
                        set(draft, value);
                    }
                }
                Target::App(kind, slug, row) => {
                    if let Some(value) = value(*kind, octets, field.length) {
                        assign(draft, slug, row, value);
                    }
                }
                Target::Stats(kind, row) => {
                    if let Some(value) = value(*kind, octets, field.length) {
                        assign_stats(draft, row, value);
                    }
                }
                Target::List => self.list(octets, draft),
                Target::Extra => keep(draft, field.element, octets),
            }
        }
        Ok(at)
    }

    /// A list of unknown elements, or one that is damaged, is kept whole.
    fn list(&self, octets: &[u8], draft: &mut Draft) {
        const HEADER: usize = 1;
        let Ok((field, mut at)) = specifier_at(octets, HEADER) else {
            return keep(draft, Element::BASIC_LIST, octets);
        };
        let target = Target::of(field.element, self.weir);
        let (Target::App(kind, ..) | Target::Stats(kind, ..)) = target else {
            return keep(draft, Element::BASIC_LIST, octets);
        };
        if field.length == 0 {
            return;
        }
        while at < octets.len() {
            let Ok((item, next)) = field_at(octets, at, field.length) else {
                return keep(draft, Element::BASIC_LIST, octets);
            };
            match (target, value(kind, item, field.length)) {
                (Target::App(_, slug, row), Some(value)) => assign(draft, slug, row, value),
                (Target::Stats(_, row), Some(value)) => assign_stats(draft, row, value),
                _ => {}
            }
            at = next;
        }
    }
}

fn assign(draft: &mut Draft, slug: &'static str, row: &mapping::Row, value: Value<'_>) {
    let same = draft.app.as_ref().is_some_and(|app| app.borrow().slug() == slug);
    // A record carries one protocol; a second one in the same record, which we never write, is passed over.
    if draft.app.is_none() {
        draft.app = AppFields::new(slug);
    } else if !same {
        return;
    }
    if let Some(app) = &mut draft.app {
        app.assign(row.field, value);
    }
}

fn assign_stats(draft: &mut Draft, row: &mapping::Row, value: Value<'_>) {
    draft.statistics.get_or_insert_default().assign(row.field, value);
}

fn keep(draft: &mut Draft, element: Element, octets: &[u8]) {
    if draft.extra.len() < MAX_EXTRAS {
        let octets = octets.iter().copied().take(MAX_EXTRA).collect();
        draft.extra.push(ExtraElement { enterprise: element.enterprise, id: element.id, octets });
    }
}

/// The octets of a field, and where the next begins.
fn field_at(body: &[u8], at: usize, length: u16) -> Result<(&[u8], usize), DecodeError> {
    let (start, length) = match length {
        VARIABLE => match bytes_at(body, at, 1)? {
            [255] => (at + 3, usize::from(u16_at(body, at + 1)?)),
            short => (at + 1, short.first().map_or(0, |&l| usize::from(l))),
        },
        fixed => (at, usize::from(fixed)),
    };
    Ok((bytes_at(body, start, length)?, start + length))
}

/// The value of encoded octets; `None` if their number does not suit the type. Integers may be shortened (RFC 7011
/// section 6.2); a string of fixed length loses its padding.
fn value(kind: AbstractType, octets: &[u8], length: u16) -> Option<Value<'_>> {
    let unsigned = || (1..=8).contains(&octets.len()).then(|| octets.iter().fold(0, |v, b| v << 8 | u64::from(*b)));
    Some(match kind {
        AbstractType::Unsigned8
        | AbstractType::Unsigned16
        | AbstractType::Unsigned32
        | AbstractType::Unsigned64
        | AbstractType::Boolean => Value::Unsigned(unsigned()?),
        AbstractType::Signed8 | AbstractType::Signed16 | AbstractType::Signed32 | AbstractType::Signed64 => {
            let value = unsigned()?;
            let unused = 64 - 8 * u32::try_from(octets.len()).ok()?;
            Value::Signed((value << unused).cast_signed() >> unused)
        }
        AbstractType::Float32 => Value::Float(f32::from_be_bytes(octets.try_into().ok()?).into()),
        AbstractType::Float64 => Value::Float(f64::from_be_bytes(octets.try_into().ok()?)),
        AbstractType::DateTimeSeconds => Value::Time(Timestamp::from_secs(unsigned()?)),
        AbstractType::DateTimeMilliseconds => Value::Time(Timestamp::from_millis(unsigned()?)),
        AbstractType::DateTimeMicroseconds | AbstractType::DateTimeNanoseconds => {
            let ntp = u64::from_be_bytes(octets.try_into().ok()?);
            let seconds = (ntp >> 32).saturating_sub(NTP_OFFSET);
            let nanos = ((ntp & 0xffff_ffff) * 1_000_000_000) >> 32;
            Value::Time(Timestamp::from_nanos(seconds * 1_000_000_000 + nanos))
        }
        AbstractType::Ipv4Address => Value::Ipv4(octets.try_into().ok()?),
        AbstractType::Ipv6Address => Value::Ipv6(octets.try_into().ok()?),
        AbstractType::String if length != VARIABLE => {
            let end = octets.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
            Value::Text(octets.get(..end)?)
        }
        AbstractType::String => Value::Text(octets),
        AbstractType::MacAddress
        | AbstractType::OctetArray
        | AbstractType::BasicList
        | AbstractType::SubTemplateList
        | AbstractType::SubTemplateMultiList => Value::Octets(octets),
    })
}

#[cfg(test)]
mod tests;
