// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flow records to templates and data records (RFC 7011 section 3.4).
//!
//! A record is written under a template that has just the fields that the record has, so nothing has to stand in for
//! "absent". Which fields those are is the record's `Shape`; each shape gets a template ID on first use and keeps it for
//! the life of the process. Workers share one [`Templates`] and ask it only for shapes that are new to them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use weir_flow::{FlowRecord, Timestamp, Value};

use crate::{
    AbstractType, Element, FieldSpecifier, Template, VARIABLE, WEIR,
    mapping::{self, flow},
};

/// Most templates of one process. Peers choose which fields are present, so the number must not be theirs to choose: a
/// shape beyond these is written under the template that has all fields of its protocol, with empty values.
const MAX_TEMPLATES: usize = 2048;

/// Which fields a record has: a bit for each row of the tables.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Shape {
    flow: u64,
    /// Index into [`mapping::PROTOCOLS`], and the fields present.
    app: Option<(u8, u64)>,
}

/// The templates of one process, by shape; shared by its workers and its exporting threads.
#[derive(Debug, Default)]
pub struct Templates {
    inner: Mutex<Inner>,
    enterprise: Option<u32>,
}

#[derive(Debug, Default)]
struct Inner {
    by_shape: HashMap<Shape, u16>,
    templates: Vec<Template>,
}

impl Templates {
    /// None yet. Fields without a number of their own go under `enterprise` in place of [`WEIR`].
    #[must_use]
    pub fn new(enterprise: u32) -> Self {
        Self { inner: Mutex::default(), enterprise: Some(enterprise) }
    }

    /// Number of templates so far. Templates are only ever added.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().templates.len()
    }

    /// Copies of the templates from index `first` on, in the order in which they were added.
    #[must_use]
    pub fn from(&self, first: usize) -> Vec<Template> {
        self.lock().templates.get(first..).unwrap_or_default().to_vec()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under this lock can leave it half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own(&self, element: Element) -> Element {
        match self.enterprise {
            Some(enterprise) if element.enterprise == WEIR => Element::new(enterprise, element.id),
            _ => element,
        }
    }

    /// The shape to write under, and its template ID.
    fn id_of(&self, shape: Shape) -> (Shape, u16) {
        let mut inner = self.lock();
        let mut shape = shape;
        if inner.templates.len() >= MAX_TEMPLATES && !inner.by_shape.contains_key(&shape) {
            shape.app = shape.app.map(|(protocol, _)| (protocol, all_fields(protocol)));
        }
        let next = u16::try_from(256 + inner.templates.len()).unwrap_or(u16::MAX);
        if let Some(&id) = inner.by_shape.get(&shape) {
            return (shape, id);
        }
        inner.by_shape.insert(shape, next);
        let template = self.template(next, shape);
        inner.templates.push(template);
        (shape, next)
    }

    fn template(&self, id: u16, shape: Shape) -> Template {
        let mut fields = Vec::new();
        for (bit, row) in flow::ROWS.iter().enumerate() {
            if shape.flow & (1 << bit) != 0 {
                fields.push(FieldSpecifier { element: row.element, length: row.kind.length() });
            }
        }
        if let Some((protocol, present)) = shape.app {
            fields.push(FieldSpecifier { element: flow::APPLICATION_NAME, length: VARIABLE });
            for (bit, row) in rows(protocol).iter().enumerate() {
                if present & (1 << bit) != 0 {
                    fields.push(if row.list {
                        FieldSpecifier { element: Element::BASIC_LIST, length: VARIABLE }
                    } else {
                        FieldSpecifier { element: self.own(row.element), length: row.kind.length() }
                    });
                }
            }
        }
        Template { id, scope_count: 0, fields }
    }
}

fn rows(protocol: u8) -> &'static [mapping::Row] {
    mapping::PROTOCOLS.get(usize::from(protocol)).map_or(&[], |p| p.1)
}

fn all_fields(protocol: u8) -> u64 {
    rows(protocol).iter().enumerate().fold(0, |mask, (bit, _)| mask | 1 << bit)
}

/// Encodes the records of one worker.
#[derive(Debug)]
pub struct RecordEncoder {
    templates: Arc<Templates>,
    known: HashMap<Shape, u16>,
}

impl RecordEncoder {
    /// An encoder that takes its template IDs from `templates`.
    #[must_use]
    pub fn new(templates: Arc<Templates>) -> Self {
        Self { templates, known: HashMap::new() }
    }

    /// Appends the record to `out` and gives the ID of its template.
    pub fn encode(&mut self, record: &FlowRecord<'_>, out: &mut Vec<u8>) -> u16 {
        let mut values = [None; flow::ROWS.len()];
        let mut shape = Shape { flow: 0, app: None };
        for (bit, (row, value)) in flow::ROWS.iter().zip(&mut values).enumerate() {
            *value = (row.get)(record);
            shape.flow |= u64::from(value.is_some()) << bit;
        }
        if let Some(app) = record.app
            && let Some(protocol) = mapping::PROTOCOLS.iter().position(|p| p.0 == app.slug())
        {
            let protocol = u8::try_from(protocol).unwrap_or(u8::MAX);
            let present = rows(protocol).iter().enumerate();
            let present = present.fold(0, |mask, (bit, row)| mask | u64::from(app.value(row.field).is_some()) << bit);
            shape.app = Some((protocol, present));
        }
        let templates = &self.templates;
        let (shape, id) = match self.known.get(&shape) {
            Some(&id) => (shape, id),
            None => {
                let (under, id) = templates.id_of(shape);
                // A shape that got no template of its own is not remembered: there may be any number of them.
                if under == shape {
                    self.known.insert(shape, id);
                }
                (under, id)
            }
        };
        for (row, value) in flow::ROWS.iter().zip(values) {
            if let Some(value) = value {
                write(row.kind, Some(value), out);
            }
        }
        if let (Some(app), Some((protocol, present))) = (record.app, shape.app) {
            write(AbstractType::String, Some(Value::Text(app.slug().as_bytes())), out);
            for (bit, row) in rows(protocol).iter().enumerate() {
                if present & (1 << bit) != 0 {
                    let value = app.value(row.field);
                    if row.list {
                        write_list(self.templates.own(row.element), row.kind, value, out);
                    } else {
                        write(row.kind, value, out);
                    }
                }
            }
        }
        id
    }
}

/// Appends a value in full length; what is absent or of another kind is zero, or empty.
fn write(kind: AbstractType, value: Option<Value<'_>>, out: &mut Vec<u8>) {
    let number = match value {
        Some(Value::Unsigned(v)) => v,
        Some(Value::Signed(v)) => v.cast_unsigned(),
        _ => 0,
    };
    match (kind, value) {
        (AbstractType::Ipv4Address, Some(Value::Ipv4(octets))) => out.extend(octets),
        (AbstractType::Ipv6Address, Some(Value::Ipv6(octets))) => out.extend(octets),
        (AbstractType::DateTimeSeconds, Some(Value::Time(ts))) => {
            out.extend(u32::try_from(ts.as_secs()).unwrap_or(u32::MAX).to_be_bytes());
        }
        (AbstractType::DateTimeMilliseconds, Some(Value::Time(ts))) => out.extend(ts.as_millis().to_be_bytes()),
        (AbstractType::DateTimeMicroseconds | AbstractType::DateTimeNanoseconds, Some(Value::Time(ts))) => {
            out.extend(ntp_time(ts).to_be_bytes());
        }
        (AbstractType::Float32, Some(Value::Float(v))) => {
            #[expect(clippy::cast_possible_truncation, reason = "the element is of that width")]
            out.extend((v as f32).to_be_bytes());
        }
        (AbstractType::Float64, Some(Value::Float(v))) => out.extend(v.to_be_bytes()),
        (kind, value) if kind.length() == VARIABLE => {
            let octets = match value {
                Some(Value::Text(octets) | Value::Octets(octets)) => octets,
                _ => &[],
            };
            write_variable(octets, out);
        }
        (kind, _) => {
            let length = usize::from(kind.length());
            let octets = number.to_be_bytes();
            out.resize(out.len() + length.saturating_sub(octets.len()), 0);
            out.extend(octets.get(octets.len().saturating_sub(length)..).unwrap_or_default());
        }
    }
}

/// Appends octets behind their length (RFC 7011 section 7); more than 65,535 are cut off.
fn write_variable(octets: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(octets.len()).unwrap_or(u16::MAX);
    match u8::try_from(length) {
        Ok(short) if short < 255 => out.push(short),
        _ => {
            out.push(255);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend(octets.iter().take(usize::from(length)));
}

/// Appends a basicList (RFC 6313 section 4.5.1): semantic "allOf", element, length of each value, values.
fn write_list(element: Element, kind: AbstractType, value: Option<Value<'_>>, out: &mut Vec<u8>) {
    const ALL_OF: u8 = 3;
    // The long form of the length, since the content is not known yet.
    out.push(255);
    let length_at = out.len();
    out.extend([0, 0]);
    let start = out.len();
    out.push(ALL_OF);
    write_specifier(FieldSpecifier { element, length: kind.length() }, out);
    if let Some(Value::List(list)) = value {
        for item in (0..list.count()).filter_map(|i| list.at(i)) {
            let before = out.len();
            write(kind, Some(item), out);
            if out.len() - start > usize::from(u16::MAX) {
                out.truncate(before);
                break;
            }
        }
    }
    let length = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
    if let Some(place) = out.get_mut(length_at..start) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends a field specifier (RFC 7011 section 3.2).
pub(crate) fn write_specifier(field: FieldSpecifier, out: &mut Vec<u8>) {
    let enterprise_bit = if field.element.enterprise == 0 { 0 } else { 0x8000 };
    out.extend((field.element.id | enterprise_bit).to_be_bytes());
    out.extend(field.length.to_be_bytes());
    if field.element.enterprise != 0 {
        out.extend(field.element.enterprise.to_be_bytes());
    }
}

/// Seconds from the NTP era (1900) to the epoch (1970).
pub(crate) const NTP_OFFSET: u64 = 2_208_988_800;

/// NTP timestamp format (RFC 7011 section 6.1.9); rounded up, so that reading it gives the same nanosecond.
fn ntp_time(ts: Timestamp) -> u64 {
    let fraction = ((ts.as_nanos() % 1_000_000_000) << 32).div_ceil(1_000_000_000);
    ((ts.as_secs() + NTP_OFFSET) << 32) | fraction
}
