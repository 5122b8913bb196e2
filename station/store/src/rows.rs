// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flow records to columns.
//!
//! Base columns get a value per record. An application column is touched only by records of its protocol, and filled up
//! with nulls when the next such record comes or the batch ends, so that many protocols cost a record nothing.

use std::{fmt::Write, sync::Arc};

use datafusion::arrow::{
    array::{
        ArrayRef, BinaryBuilder, FixedSizeBinaryBuilder, Float64Builder, Int64Builder, ListArray, NullBufferBuilder,
        RecordBatch, StringBuilder, StructArray, TimestampNanosecondBuilder, UInt8Builder, UInt16Builder,
        UInt32Builder, UInt64Builder,
    },
    buffer::OffsetBuffer,
    datatypes::{DataType, Field},
    error::ArrowError,
};

use weir_flow::{FlowRecord, Value};

use crate::schema::{self, APP, BASE, Kind};

/// Octets a record takes in the buffer besides its texts; an estimate.
const RECORD_OCTETS: usize = 256;

enum Cells {
    Float(Float64Builder),
    Ipv6(FixedSizeBinaryBuilder),
    Signed(Int64Builder),
    Text(StringBuilder),
    Time(TimestampNanosecondBuilder),
    Unsigned16(UInt16Builder),
    Unsigned32(UInt32Builder),
    Unsigned64(UInt64Builder),
    Unsigned8(UInt8Builder),
}

/// Octets of a text that is not UTF-8, with its place.
struct RawText {
    column: usize,
    item: u32,
    octets: Vec<u8>,
}

impl Cells {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Float => Self::Float(Float64Builder::new()),
            Kind::Hex | Kind::Ip | Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Ipv4 | Kind::Unsigned32 => Self::Unsigned32(UInt32Builder::new()),
            Kind::Ipv6 => Self::Ipv6(FixedSizeBinaryBuilder::new(16)),
            Kind::Signed => Self::Signed(Int64Builder::new()),
            Kind::Time => Self::Time(TimestampNanosecondBuilder::new().with_data_type(kind.data_type())),
            Kind::Unsigned16 => Self::Unsigned16(UInt16Builder::new()),
            Kind::Unsigned64 => Self::Unsigned64(UInt64Builder::new()),
            Kind::Unsigned8 => Self::Unsigned8(UInt8Builder::new()),
        }
    }

    /// Appends a value; null if there is none or its kind does not fit. Gives back the octets of a text that could not be
    /// kept as they are.
    fn push(&mut self, value: Option<Value<'_>>) -> Option<Vec<u8>> {
        let number = match value {
            Some(Value::Unsigned(v)) => Some(v),
            _ => None,
        };
        match self {
            Self::Float(cells) => cells.append_option(match value {
                Some(Value::Float(v)) => Some(v),
                _ => None,
            }),
            Self::Ipv6(cells) => match value {
                // The width is that of the builder.
                Some(Value::Ipv6(octets)) => drop(cells.append_value(octets)),
                _ => cells.append_null(),
            },
            Self::Signed(cells) => cells.append_option(match value {
                Some(Value::Signed(v)) => Some(v),
                _ => None,
            }),
            Self::Text(cells) => match value {
                Some(Value::Text(octets)) => match std::str::from_utf8(octets) {
                    Ok(text) => cells.append_value(text),
                    Err(_) => {
                        cells.append_value(String::from_utf8_lossy(octets));
                        return Some(octets.to_vec());
                    }
                },
                Some(Value::Octets(octets)) => {
                    let mut text = String::with_capacity(octets.len() * 2);
                    for octet in octets {
                        // Writing to memory cannot fail.
                        let _ = write!(text, "{octet:02x}");
                    }
                    cells.append_value(text);
                }
                Some(value) => cells.append_option(schema::address_text(value)),
                None => cells.append_null(),
            },
            Self::Time(cells) => cells.append_option(match value {
                // Arrow counts in 63 bits: all after the year 2262 is then.
                Some(Value::Time(ts)) => Some(i64::try_from(ts.as_nanos()).unwrap_or(i64::MAX)),
                _ => None,
            }),
            Self::Unsigned16(cells) => cells.append_option(number.and_then(|v| u16::try_from(v).ok())),
            Self::Unsigned32(cells) => cells.append_option(match value {
                Some(Value::Ipv4(octets)) => Some(u32::from_be_bytes(octets)),
                _ => number.and_then(|v| u32::try_from(v).ok()),
            }),
            Self::Unsigned64(cells) => cells.append_option(number),
            Self::Unsigned8(cells) => cells.append_option(number.and_then(|v| u8::try_from(v).ok())),
        }
        None
    }

    fn push_nulls(&mut self, count: usize) {
        match self {
            Self::Float(cells) => cells.append_nulls(count),
            Self::Ipv6(cells) => cells.append_nulls(count),
            Self::Signed(cells) => cells.append_nulls(count),
            Self::Text(cells) => cells.append_nulls(count),
            Self::Time(cells) => cells.append_nulls(count),
            Self::Unsigned16(cells) => cells.append_nulls(count),
            Self::Unsigned32(cells) => cells.append_nulls(count),
            Self::Unsigned64(cells) => cells.append_nulls(count),
            Self::Unsigned8(cells) => cells.append_nulls(count),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Float(cells) => Arc::new(cells.finish()),
            Self::Ipv6(cells) => Arc::new(cells.finish()),
            Self::Signed(cells) => Arc::new(cells.finish()),
            Self::Text(cells) => Arc::new(cells.finish()),
            Self::Time(cells) => Arc::new(cells.finish()),
            Self::Unsigned16(cells) => Arc::new(cells.finish()),
            Self::Unsigned32(cells) => Arc::new(cells.finish()),
            Self::Unsigned64(cells) => Arc::new(cells.finish()),
            Self::Unsigned8(cells) => Arc::new(cells.finish()),
        }
    }
}

/// Where the lists of a column begin and which of them are there.
struct Offsets {
    ends: Vec<i32>,
    present: NullBufferBuilder,
}

impl Default for Offsets {
    fn default() -> Self {
        Self { ends: vec![0], present: NullBufferBuilder::new(0) }
    }
}

impl Offsets {
    fn push(&mut self, items: usize) {
        let end = self.ends.last().copied().unwrap_or(0);
        self.ends.push(end.saturating_add(i32::try_from(items).unwrap_or(0)));
        self.present.append(items > 0);
    }

    fn push_nulls(&mut self, count: usize) {
        let end = self.ends.last().copied().unwrap_or(0);
        self.ends.resize(self.ends.len() + count, end);
        self.present.append_n_nulls(count);
    }

    fn finish(&mut self, items: ArrayRef) -> Result<ArrayRef, ArrowError> {
        let Self { ends, mut present } = std::mem::take(self);
        let field = Arc::new(Field::new("item", items.data_type().clone(), true));
        Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::new(ends.into()), items, present.finish())?))
    }
}

struct AppCells {
    cells: Cells,
    lists: Option<Offsets>,
    rows: usize,
}

impl AppCells {
    fn fill(&mut self, rows: usize) {
        let missing = rows.saturating_sub(self.rows);
        match &mut self.lists {
            Some(lists) => lists.push_nulls(missing),
            None => self.cells.push_nulls(missing),
        }
        self.rows += missing;
    }
}

/// Records on their way to a file, column by column.
pub(crate) struct RecordBuffer {
    base: Vec<Cells>,
    exporter: StringBuilder,
    application: StringBuilder,
    app: Vec<AppCells>,
    extra: (Offsets, UInt32Builder, UInt16Builder, BinaryBuilder),
    raw: (Offsets, StringBuilder, UInt32Builder, BinaryBuilder),
    raw_of_record: Vec<RawText>,
    rows: usize,
    octets: usize,
}

impl RecordBuffer {
    pub(crate) fn new() -> Self {
        let app = |c: &schema::AppColumn| AppCells {
            cells: Cells::new(c.kind),
            lists: c.row.list.then(Offsets::default),
            rows: 0,
        };
        Self {
            base: BASE.iter().map(|c| Cells::new(c.kind)).collect(),
            exporter: StringBuilder::new(),
            application: StringBuilder::new(),
            app: APP.iter().map(app).collect(),
            extra: (Offsets::default(), UInt32Builder::new(), UInt16Builder::new(), BinaryBuilder::new()),
            raw: (Offsets::default(), StringBuilder::new(), UInt32Builder::new(), BinaryBuilder::new()),
            raw_of_record: Vec::new(),
            rows: 0,
            octets: 0,
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Octets in memory, roughly.
    pub(crate) fn octets(&self) -> usize {
        self.octets
    }

    pub(crate) fn push(&mut self, record: &FlowRecord<'_>) {
        for (cells, column) in self.base.iter_mut().zip(BASE) {
            cells.push((column.get)(record));
        }
        self.exporter.append_option(record.origin.exporter.map(|a| a.to_string()));
        self.application.append_option(record.app.map(|a| a.slug()));
        if record.app.is_some() || record.statistics.is_some() {
            let columns = self.app.iter_mut().zip(APP.iter()).enumerate();
            for (index, (column, known)) in columns {
                let Some(value) = known.value(record) else { continue };
                column.fill(self.rows);
                column.rows += 1;
                let mut cell = |cells: &mut Cells, item: u32, value: Value<'_>| {
                    if let Value::Text(octets) | Value::Octets(octets) = value {
                        self.octets += octets.len();
                    }
                    if let Some(octets) = cells.push(Some(value)) {
                        self.raw_of_record.push(RawText { column: index, item, octets });
                    }
                };
                match (&mut column.lists, value) {
                    (Some(lists), Value::List(list)) => {
                        let mut items = 0;
                        for value in list.iter() {
                            cell(&mut column.cells, items, value);
                            items += 1;
                        }
                        lists.push(items as usize);
                    }
                    (Some(lists), _) => lists.push(0),
                    (None, value) => cell(&mut column.cells, 0, value),
                }
            }
        }
        for element in record.extra {
            self.extra.1.append_value(element.enterprise);
            self.extra.2.append_value(element.id);
            self.extra.3.append_value(&element.octets);
            self.octets += element.octets.len();
        }
        self.extra.0.push(record.extra.len());
        self.raw.0.push(self.raw_of_record.len());
        for raw in self.raw_of_record.drain(..) {
            self.raw.1.append_value(APP.get(raw.column).map_or("", |c| &c.name));
            self.raw.2.append_value(raw.item);
            self.raw.3.append_value(&raw.octets);
        }
        self.rows += 1;
        self.octets += RECORD_OCTETS;
    }

    /// All records as one batch; the buffer is empty afterwards.
    pub(crate) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let mut columns: Vec<ArrayRef> = self.base.iter_mut().map(Cells::finish).collect();
        columns.push(Arc::new(self.exporter.finish()));
        columns.push(Arc::new(self.application.finish()));
        for column in &mut self.app {
            column.fill(self.rows);
            column.rows = 0;
            let cells = column.cells.finish();
            columns.push(match &mut column.lists {
                Some(lists) => lists.finish(cells)?,
                None => cells,
            });
        }
        let (lists, enterprise, element, octets) = &mut self.extra;
        let parts: Vec<ArrayRef> =
            vec![Arc::new(enterprise.finish()), Arc::new(element.finish()), Arc::new(octets.finish())];
        columns.push(lists.finish(Arc::new(StructArray::try_new(schema::extra_fields(), parts, None)?))?);
        let (lists, column, item, octets) = &mut self.raw;
        let parts: Vec<ArrayRef> = vec![Arc::new(column.finish()), Arc::new(item.finish()), Arc::new(octets.finish())];
        columns.push(lists.finish(Arc::new(StructArray::try_new(schema::raw_text_fields(), parts, None)?))?);
        (self.rows, self.octets) = (0, 0);
        debug_assert!(columns.iter().all(|c| *c.data_type() != DataType::Null));
        RecordBatch::try_new(schema::schema(), columns)
    }
}
