// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flow records to templates and data records (RFC 7011 section 3.4).
//!
//! A record is written under a template that has just the fields that the record has, so nothing has to stand in for
//! "absent". Which fields those are is the record's `Shape`; each shape gets a template ID on first use and keeps it for
//! the life of the process. Workers share one [`Templates`] and ask it only for shapes that they do not remember.
//!
//! Values go from the record to their place in the message. The mapping tables are the one definition of what is written;
//! they are also expanded to code without loops, since the same rows, looked up one by one, took ten times as long
//! (`weir-bench encode`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use weir_flow::{FlowRecord, Timestamp, Value, app::AppRef};

use crate::{
    AbstractType, Element, FieldSpecifier, Template, VARIABLE, WEIR,
    mapping::{self, flow, stats},
    message::SetWriter,
};

#[cfg(test)]
mod tests;

/// Most templates of one process. Peers choose which fields are present, so the number must not be theirs to choose: a
/// shape beyond these is written under the template that has all fields of its protocol, with empty values.
const MAX_TEMPLATES: usize = 2048;
/// Fields that so many templates may have in the mean: statistics have a long list of their own.
const MEAN_FIELDS: usize = 64;

/// Which fields a record has: a bit for each row of the tables.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Shape {
    flow: u64,
    /// Index into [`mapping::PROTOCOLS`], and the fields present.
    app: Option<(u8, u64)>,
    stats: u64,
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
    /// Fields of all of them.
    fields: usize,
}

impl Inner {
    /// Whether there may be no template of a new kind.
    fn is_full(&self) -> bool {
        self.templates.len() >= MAX_TEMPLATES || self.fields >= MAX_TEMPLATES * MEAN_FIELDS
    }
}

impl Templates {
    /// Octets of memory that all of them take at most, those included that are being announced: a template has
    /// 64 fields of 12 octets in the mean, and its place in tables.
    pub const MEMORY: usize = 2 * MAX_TEMPLATES * 1024;

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

    const fn own(&self) -> Own {
        Own(self.enterprise)
    }

    /// The shape to write under, and its template ID.
    fn id_of(&self, shape: Shape) -> (Shape, u16) {
        let mut inner = self.lock();
        let mut shape = shape;
        if inner.is_full() && !inner.by_shape.contains_key(&shape) {
            shape.app = shape.app.map(|(protocol, _)| (protocol, all_fields(rows(protocol))));
            shape.stats = if shape.stats == 0 { 0 } else { all_fields(stats::ROWS) };
        }
        let next = u16::try_from(256 + inner.templates.len()).unwrap_or(u16::MAX);
        if let Some(&id) = inner.by_shape.get(&shape) {
            return (shape, id);
        }
        inner.by_shape.insert(shape, next);
        let template = self.template(next, shape);
        inner.fields += template.fields.len();
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
            fields.extend(self.specifiers(rows(protocol), present));
        }
        fields.extend(self.specifiers(stats::ROWS, shape.stats));
        Template { id, scope_count: 0, fields }
    }

    /// Specifiers of these rows of a table.
    fn specifiers(&self, rows: &'static [mapping::Row], present: u64) -> impl Iterator<Item = FieldSpecifier> {
        let own = self.own();
        let rows = rows.iter().enumerate().filter(move |(bit, _)| present & (1 << bit) != 0);
        rows.map(move |(_, row)| match row.list {
            true => FieldSpecifier { element: Element::BASIC_LIST, length: VARIABLE },
            false => FieldSpecifier { element: own.element(row.element), length: row.kind.length() },
        })
    }
}

/// The enterprise number in place of [`WEIR`], if any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own(Option<u32>);

impl Own {
    /// The element as it is written.
    pub(crate) const fn element(self, element: Element) -> Element {
        match self.0 {
            Some(enterprise) if element.enterprise == WEIR => Element::new(enterprise, element.id),
            _ => element,
        }
    }
}

fn rows(protocol: u8) -> &'static [mapping::Row] {
    mapping::PROTOCOLS.get(usize::from(protocol)).map_or(&[], |p| p.1)
}

fn all_fields(rows: &[mapping::Row]) -> u64 {
    rows.iter().enumerate().fold(0, |mask, (bit, _)| mask | 1 << bit)
}

macro_rules! declare {
    ($($name:ident $slug:ident,)*) => {
        /// Index into [`mapping::PROTOCOLS`], and the fields present.
        fn app_shape(app: AppRef<'_>) -> (u8, u64) {
            match app {
                $(AppRef::$name(fields) => (const { index_of(stringify!($slug)) }, mapping::$slug::present(fields)),)*
            }
        }

        /// Writes the name of the protocol and these fields.
        fn write_app(app: AppRef<'_>, present: u64, out: &mut Cursor<'_>) {
            out.variable(app.slug().as_bytes());
            match app {
                $(AppRef::$name(fields) => mapping::$slug::write(fields, present, out),)*
            }
        }
    };
}
weir_flow::app_protocols!(declare);

/// Index of a protocol in [`mapping::PROTOCOLS`].
const fn index_of(slug: &str) -> u8 {
    let mut index = 0;
    while !weir_flow::app::same(mapping::PROTOCOLS[index as usize].0, slug) {
        index += 1;
    }
    index
}

/// What is known of a shape of records without application fields.
#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    /// Template ID; zero: not known yet.
    id: u16,
    /// Octets of the values; zero: not known yet.
    len: u8,
}

/// A shape of records with application fields or statistics that was seen lately.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    /// The shape: of the flow, of the protocol, of its fields, of the statistics.
    key: (u16, u8, u64, u64),
    /// Fields and statistics of the template.
    under: Present,
    /// Template ID; zero: nothing is here.
    id: u16,
}

/// Fields of an application protocol, and statistics: a bit for each row.
#[derive(Clone, Copy, Debug, Default)]
struct Present {
    app: u64,
    stats: u64,
}

/// In place of a protocol where there is none.
const NO_PROTOCOL: u8 = u8::MAX;

/// Places for shapes of records with application fields. More shapes than that are not in use at a time unless peers want
/// it; what is pushed out costs a lock and a look-up.
const RECENT: usize = 512;

/// Encodes the records of one worker.
#[derive(Debug)]
pub struct RecordEncoder {
    templates: Arc<Templates>,
    plans: Box<[Plan; flow::SHAPES]>,
    recent: Box<[Recent; RECENT]>,
}

impl RecordEncoder {
    /// Octets of memory that an encoder takes.
    pub const MEMORY: usize = size_of::<[Plan; flow::SHAPES]>() + size_of::<[Recent; RECENT]>();

    /// An encoder that takes its template IDs from `templates`.
    #[must_use]
    pub fn new(templates: Arc<Templates>) -> Self {
        let (plans, recent) = (Box::new([Plan::default(); _]), Box::new([Recent::default(); _]));
        Self { templates, plans, recent }
    }

    /// Appends the record to the message under construction.
    ///
    /// # Errors
    ///
    /// If it does not fit any more: how many octets it has. The message has not changed.
    pub fn append(&mut self, record: &FlowRecord<'_>, message: &mut SetWriter) -> Result<(), usize> {
        let (plan, present) = self.plan(record);
        let own = self.templates.own();
        message.write(plan.id, |out| write_record(record, plan.len, present, own, out))
    }

    /// Appends the record to `out` and gives the ID of its template.
    pub fn encode(&mut self, record: &FlowRecord<'_>, out: &mut Vec<u8>) -> u16 {
        let (plan, present) = self.plan(record);
        let own = self.templates.own();
        let start = out.len();
        out.resize(start + WINDOW, 0);
        loop {
            let mut cursor = Cursor::new(out, start);
            write_record(record, plan.len, present, own, &mut cursor);
            let end = cursor.at();
            let did_fit = end <= out.len();
            out.resize(end, 0);
            if did_fit {
                return plan.id;
            }
        }
    }

    /// Template and length of the flow's values, and the application fields and statistics to be written.
    fn plan(&mut self, record: &FlowRecord<'_>) -> (Plan, Present) {
        let shape = flow::shape(record);
        let Some(plan) = self.plans.get_mut(shape) else { return (Plan::default(), Present::default()) };
        if plan.len == 0 {
            plan.len = u8::try_from(flow::present(record).1).unwrap_or(u8::MAX);
        }
        let stats = record.statistics.map_or(0, stats::present);
        if record.app.is_none() && stats == 0 {
            if plan.id == 0 {
                let shape = Shape { flow: flow::present(record).0, app: None, stats: 0 };
                plan.id = self.templates.id_of(shape).1;
            }
            return (*plan, Present::default());
        }
        let len = plan.len;
        let (protocol, app) = record.app.map_or((NO_PROTOCOL, 0), app_shape);
        let recent = self.recent(record, shape, protocol, Present { app, stats });
        (Plan { id: recent.id, len }, recent.under)
    }

    /// Template of a record with application fields or statistics.
    fn recent(&mut self, record: &FlowRecord<'_>, shape: usize, protocol: u8, present: Present) -> Recent {
        let Present { app, stats } = present;
        let key = (u16::try_from(shape).unwrap_or(u16::MAX), protocol, app, stats);
        let mixed = (app ^ stats.rotate_left(23) ^ (shape as u64) << 40 ^ u64::from(protocol) << 56)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = &mut self.recent[(mixed >> 55) as usize % RECENT];
        if place.key != key || place.id == 0 {
            let app = record.app.map(|_| (protocol, app));
            let shape = Shape { flow: flow::present(record).0, app, stats };
            let (under, id) = self.templates.id_of(shape);
            let under = Present { app: under.app.map_or(0, |app| app.1), stats: under.stats };
            *place = Recent { key, under, id };
        }
        *place
    }
}

fn write_record(record: &FlowRecord<'_>, len: u8, present: Present, own: Own, out: &mut Cursor<'_>) {
    out.window(usize::from(len), |window| flow::write(record, window));
    out.own = own;
    if let Some(app) = record.app {
        write_app(app, present.app, out);
    }
    if let Some(statistics) = record.statistics {
        stats::write(statistics, present.stats, out);
    }
}

/// Octets in front of a [`Window`]'s place for the longest value.
const WINDOW_REACH: usize = 256;
/// Octets that must be there for the values of a flow.
pub(crate) const WINDOW: usize = WINDOW_REACH + 16;
const _: () = assert!(flow::MAX_LEN < WINDOW_REACH, "values of a flow fit into a window");

/// Where values of fixed length are written. A place that an octet can name, plus the longest value, is always within:
/// no value needs a check.
#[derive(Debug)]
pub(crate) struct Window<'a> {
    octets: &'a mut [u8; WINDOW],
    at: u8,
}

impl Window<'_> {
    #[inline]
    fn put<const N: usize>(&mut self, octets: [u8; N]) {
        let at = usize::from(self.at);
        self.octets[at..at + N].copy_from_slice(&octets);
        self.at = self.at.wrapping_add(const { N as u8 });
    }

    /// Writes a value of fixed length in full.
    #[inline]
    pub(crate) fn value(&mut self, kind: AbstractType, value: Value<'_>) {
        match (kind, value) {
            (AbstractType::Ipv4Address, Value::Ipv4(octets)) => self.put(octets),
            (AbstractType::Ipv6Address, Value::Ipv6(octets)) => self.put(octets),
            (AbstractType::DateTimeMilliseconds, Value::Time(ts)) => self.put(ts.as_millis().to_be_bytes()),
            (kind, Value::Unsigned(number)) => {
                let [.., e, f, g, h] = number.to_be_bytes();
                match kind.length() {
                    1 => self.put([h]),
                    2 => self.put([g, h]),
                    4 => self.put([e, f, g, h]),
                    _ => self.put(number.to_be_bytes()),
                }
            }
            _ => debug_assert!(false, "the tables of the flow have no such row"),
        }
    }
}

/// Where a record is written. What does not fit is only counted, so that one attempt says how much room it needs.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    octets: &'a mut [u8],
    at: usize,
    own: Own,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(octets: &'a mut [u8], at: usize) -> Self {
        Self { octets, at, own: Own(None) }
    }

    /// Where the next octet goes: beyond the memory if something did not fit.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Writes `len` octets with a window; nothing if it would end beyond the memory.
    #[inline]
    fn window(&mut self, len: usize, write: impl FnOnce(&mut Window<'_>)) {
        if let Some(octets) = self.octets.get_mut(self.at..).and_then(<[u8]>::first_chunk_mut) {
            let mut window = Window { octets, at: 0 };
            write(&mut window);
            debug_assert_eq!(usize::from(window.at), len, "records of one shape have one length");
        }
        self.at += len;
    }

    /// Writes octets.
    #[inline]
    pub(crate) fn extend(&mut self, octets: &[u8]) {
        let end = self.at.saturating_add(octets.len());
        if let Some(place) = self.octets.get_mut(self.at..end) {
            place.copy_from_slice(octets);
        }
        self.at = end;
    }

    /// Writes octets behind their length (RFC 7011 section 7); more than 65,535 are cut off.
    fn variable(&mut self, octets: &[u8]) {
        let length = u16::try_from(octets.len()).unwrap_or(u16::MAX);
        match u8::try_from(length) {
            Ok(short) if short < 255 => self.extend(&[short]),
            _ => {
                let [high, low] = length.to_be_bytes();
                self.extend(&[255, high, low]);
            }
        }
        self.extend(octets.get(..usize::from(length)).unwrap_or_default());
    }

    /// Writes a value in full length; what is absent or of another kind is zero, or empty.
    #[inline]
    pub(crate) fn value(&mut self, kind: AbstractType, value: Option<Value<'_>>) {
        match (kind, value) {
            (AbstractType::Ipv4Address, Some(Value::Ipv4(octets))) => self.extend(&octets),
            (AbstractType::Ipv6Address, Some(Value::Ipv6(octets))) => self.extend(&octets),
            (AbstractType::MacAddress, Some(Value::Octets(octets))) if octets.len() == 6 => self.extend(octets),
            (AbstractType::DateTimeSeconds, Some(Value::Time(ts))) => {
                self.extend(&u32::try_from(ts.as_secs()).unwrap_or(u32::MAX).to_be_bytes());
            }
            (AbstractType::DateTimeMilliseconds, Some(Value::Time(ts))) => self.extend(&ts.as_millis().to_be_bytes()),
            (AbstractType::DateTimeMicroseconds | AbstractType::DateTimeNanoseconds, Some(Value::Time(ts))) => {
                self.extend(&ntp_time(ts).to_be_bytes());
            }
            (AbstractType::Float32, Some(Value::Float(v))) => {
                #[expect(clippy::cast_possible_truncation, reason = "the element is of that width")]
                self.extend(&(v as f32).to_be_bytes());
            }
            (AbstractType::Float64, Some(Value::Float(v))) => self.extend(&v.to_be_bytes()),
            (kind, value) if kind.length() == VARIABLE => self.variable(match value {
                Some(Value::Text(octets) | Value::Octets(octets)) => octets,
                _ => &[],
            }),
            (kind, value) => self.number(usize::from(kind.length()), value),
        }
    }

    /// Writes the last octets of a number, with zeros in front if it has fewer.
    #[inline]
    fn number(&mut self, length: usize, value: Option<Value<'_>>) {
        let number = match value {
            Some(Value::Unsigned(v)) => v,
            Some(Value::Signed(v)) => v.cast_unsigned(),
            _ => 0,
        };
        // The longest element is an IPv6 address.
        let octets = u128::from(number).to_be_bytes();
        self.extend(octets.get(octets.len().saturating_sub(length)..).unwrap_or_default());
    }

    /// Writes a basicList (RFC 6313 section 4.5.1): semantic "allOf", element, length of each value, values; those that
    /// make it longer than 65,535 octets are left out.
    pub(crate) fn list(&mut self, element: Element, kind: AbstractType, value: Option<Value<'_>>) {
        const ALL_OF: u8 = 3;
        // The long form of the length, since the content is not known yet.
        let length_at = self.at + 1;
        self.extend(&[255, 0, 0]);
        let start = self.at;
        let (specifier, len) = specifier(FieldSpecifier { element: self.own.element(element), length: kind.length() });
        self.extend(&[ALL_OF]);
        self.extend(specifier.get(..len).unwrap_or_default());
        if let Some(Value::List(list)) = value {
            for item in list.iter() {
                let before = self.at;
                self.value(kind, Some(item));
                if self.at - start > usize::from(u16::MAX) {
                    self.at = before;
                    break;
                }
            }
        }
        let length = u16::try_from(self.at - start).unwrap_or(u16::MAX);
        if let Some(place) = self.octets.get_mut(length_at..start) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }
}

/// A field specifier (RFC 7011 section 3.2), and how many of these octets it has.
pub(crate) fn specifier(field: FieldSpecifier) -> ([u8; 8], usize) {
    let is_iana = field.element.enterprise == 0;
    let [a, b] = (field.element.id | if is_iana { 0 } else { 0x8000 }).to_be_bytes();
    let [c, d] = field.length.to_be_bytes();
    let [e, f, g, h] = field.element.enterprise.to_be_bytes();
    ([a, b, c, d, e, f, g, h], if is_iana { 4 } else { 8 })
}

/// Seconds from the NTP era (1900) to the epoch (1970).
pub(crate) const NTP_OFFSET: u64 = 2_208_988_800;

/// NTP timestamp format (RFC 7011 section 6.1.9); rounded up, so that reading it gives the same nanosecond.
fn ntp_time(ts: Timestamp) -> u64 {
    let fraction = ((ts.as_nanos() % 1_000_000_000) << 32).div_ceil(1_000_000_000);
    ((ts.as_secs() + NTP_OFFSET) << 32) | fraction
}
