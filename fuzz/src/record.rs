// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attacks on the writers: whatever a record holds, it is valid JSON, and IPFIX that reads back as the same.

use std::sync::Arc;

use weir_flow::{FlowRecord, Value, app::AppFields, app::SLUGS};
use weir_ipfix::{
    AbstractType, WEIR,
    decode::{Draft, Plan},
    encode::{RecordEncoder, Templates},
    json,
    mapping::rows_of,
};

use crate::input::pieces;

/// Writes records in both forms and reads them back.
#[derive(Debug)]
pub(crate) struct Checker {
    templates: Arc<Templates>,
    encoder: RecordEncoder,
    draft: Draft,
}

impl Default for Checker {
    fn default() -> Self {
        let templates = Arc::new(Templates::new(WEIR));
        Self { encoder: RecordEncoder::new(Arc::clone(&templates)), templates, draft: Draft::default() }
    }
}

impl Checker {
    /// Holds that a record is one line of valid JSON, and the same after its way through IPFIX. Elements without a field
    /// are not written.
    pub fn check(&mut self, record: &FlowRecord<'_>) {
        let line = self.check_json(record);
        let mut octets = Vec::new();
        let id = self.encoder.encode(record, &mut octets);
        let templates = self.templates.from(usize::from(id) - 256);
        let template = templates.first().expect("the template was just made");
        assert_eq!(template.id, id);
        let plan = Plan::new(template, WEIR);
        assert!(octets.len() >= plan.min_record_len());
        let end = plan.decode(&octets, 0, &mut self.draft);
        assert_eq!(end, Ok(octets.len()), "octets of the record");
        self.draft.settle(None);
        let read = FlowRecord {
            app: self.draft.app.as_ref().map(AppFields::borrow),
            statistics: self.draft.statistics.as_deref(),
            ..self.draft.record
        };
        assert_eq!(line, self.check_json(&read), "written, then read");
    }

    /// Holds that a record is one line of valid JSON, and gives it.
    pub fn check_json(&self, record: &FlowRecord<'_>) -> String {
        let mut line = Vec::new();
        json::write_line(record, &mut line);
        let line = String::from_utf8(line).expect("JSON is UTF-8");
        let value: serde_json::Value = serde_json::from_str(&line).expect("valid JSON");
        assert!(value.is_object());
        assert_eq!(line.find('\n'), Some(line.len() - 1), "one line");
        line
    }
}

/// The fields of one protocol with any values. Head: the protocol. Control of a piece: the field; its octets: the value.
pub fn record(data: &[u8]) {
    let (head, pieces) = pieces(data);
    let slug = SLUGS[usize::from(head) % SLUGS.len()];
    let mut fields = AppFields::new(slug).expect("a slug of the list");
    let count = rows_of(slug).len();
    for piece in &pieces {
        let bytes = piece.bytes;
        let number = bytes.iter().take(8).fold(0, |number, octet| number << 8 | u64::from(*octet));
        let address = |i: usize| bytes.get(i).copied().unwrap_or_default();
        let values = [
            Value::Text(bytes),
            Value::Unsigned(number),
            Value::Signed(number.cast_signed()),
            Value::Ipv4(std::array::from_fn(address)),
            Value::Ipv6(std::array::from_fn(address)),
        ];
        let field = usize::from(piece.control) % count;
        if rows_of(slug)[field].kind == AbstractType::MacAddress && bytes.len() != 6 {
            // A parser sets no others.
            continue;
        }
        // The first kind of value that the field takes.
        for value in values {
            if fields.assign(field, value) {
                break;
            }
        }
    }
    assert!(!fields.assign(count, Value::Unsigned(0)), "a field has no row");
    Checker::default().check(&FlowRecord { app: Some(fields.borrow()), ..FlowRecord::default() });
}
