// SPDX-License-Identifier: MIT OR Apache-2.0
//! Decoding of hand-made octets, and the round trip of any record.

use std::{net::IpAddr, sync::Arc};

use proptest::prelude::*;
use weir_flow::{Counters, EndReason, FlowKey, FlowRecord, Statistics, protocol};

use super::*;
use crate::{
    WEIR,
    encode::{RecordEncoder, Templates},
    message::{SetWriter, TEMPLATE_SET, template_bodies},
};

#[test]
fn a_header_that_claims_too_much_is_refused() {
    let good = Header { length: 16, export_time: 1, sequence_number: 2, domain: 3 };
    assert_eq!(Header::parse(&good.to_bytes()), Ok(good));
    let long = Header { length: 17, ..good }.to_bytes();
    assert_eq!(Header::parse(&long), Err(DecodeError::TooShort { offset: 0, needed: 17, available: 16 }));
    let short = Header { length: 15, ..good }.to_bytes();
    assert_eq!(Header::parse(&short), Err(DecodeError::Length { offset: 2, found: 15, min: 16, max: 65_535 }));
    assert_eq!(Header::parse(&[0, 9]), Err(DecodeError::TooShort { offset: 0, needed: 16, available: 2 }));
}

#[test]
fn a_set_that_claims_too_much_ends_the_message_but_not_what_came_before() {
    let message = [
        1, 0, 0, 6, 0xaa, 0xbb, // set 256 with two octets
        1, 1, 0, 9, 0xcc, // set 257 claims nine octets, five are there
    ];
    let found: Vec<_> = sets(&message, 0).collect();
    assert_eq!(
        found,
        [
            Ok(Set { id: 256, offset: 4, body: &[0xaa, 0xbb] }),
            Err(DecodeError::Length { offset: 8, found: 9, min: 4, max: 5 }),
        ]
    );
}

#[test]
fn templates_with_impossible_fields_are_refused_and_padding_is_not() {
    let set = |body| Set { id: TEMPLATE_SET, offset: 20, body };
    // Template 256, one field: element 8, four octets; then three octets of padding.
    let good = [1, 0, 0, 1, 0, 8, 0, 4, 0, 0, 0];
    let read: Vec<_> = templates(set(&good), false).collect();
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].as_ref().unwrap().fields[0].element, Element::new(0, 8));
    // Template 255; a template whose record has no octets; one whose fields are cut off.
    for bad in [&[0, 255, 0, 1, 0, 8, 0, 4][..], &[1, 0, 0, 1, 0, 8, 0, 0], &[1, 0, 0, 2, 0, 8, 0, 4]] {
        assert!(templates(set(bad), false).all(|t| t.is_err()), "{bad:?}");
    }
    // A withdrawal.
    assert_eq!(templates(set(&[1, 0, 0, 0]), false).next().unwrap().unwrap().fields, []);
}

#[test]
fn unknown_elements_are_kept_and_shortened_integers_are_read() {
    let field = |enterprise, id, length| FieldSpecifier { element: Element::new(enterprise, id), length };
    let fields = vec![field(0, 1, 3), field(4711, 5, VARIABLE), field(0, 210, 2), field(0, 4, 1)];
    let plan = Plan::new(&Template { id: 256, scope_count: 0, fields }, WEIR);
    let mut draft = Draft::default();
    let record = [1, 0, 0, 2, 0xab, 0xcd, 0, 0, 17, 99];
    assert_eq!(plan.decode(&record, 0, &mut draft), Ok(9));
    draft.settle(None);
    assert_eq!((draft.record.forward.octets, draft.record.key.protocol), (65_536, 17));
    assert_eq!(draft.extra, [ExtraElement { enterprise: 4711, id: 5, octets: vec![0xab, 0xcd] }]);
    // The variable length claims more than there is.
    let error = plan.decode(&[1, 0, 0, 200, 1], 0, &mut draft);
    assert_eq!(error, Err(DecodeError::TooShort { offset: 4, needed: 200, available: 1 }));
}

fn counters(tcp: bool) -> impl Strategy<Value = Counters> {
    let millis = 0..4_000_000_000_000_u64;
    (1..u64::MAX, any::<u64>(), millis, 0..100_000_000_u64, any::<u16>()).prop_map(
        move |(packets, octets, first, duration, flags)| Counters {
            packets,
            octets,
            first: Timestamp::from_millis(first),
            last: Timestamp::from_millis(first + duration),
            tcp_flags: if tcp { flags } else { 0 },
        },
    )
}

fn key() -> impl Strategy<Value = FlowKey> {
    let address = |v6| {
        if v6 {
            any::<[u8; 16]>().prop_map(IpAddr::from).boxed()
        } else {
            any::<[u8; 4]>().prop_map(IpAddr::from).boxed()
        }
    };
    (any::<bool>(), any::<u8>()).prop_flat_map(move |(v6, protocol)| {
        (address(v6), address(v6), any::<u16>(), any::<u16>())
            .prop_map(move |(src, dst, src_port, dst_port)| FlowKey::new(src, dst, src_port, dst_port, protocol))
    })
}

/// Any value that suits the row, as a decoder would give it.
fn assign_any(app: &mut AppFields, row: &mapping::Row, seed: u64, text: &[u8]) {
    let item = |n: u64| match row.kind {
        AbstractType::Ipv4Address => Value::Ipv4(seed.wrapping_add(n).to_be_bytes()[4..].try_into().unwrap()),
        AbstractType::Ipv6Address => {
            Value::Ipv6([seed.wrapping_add(n).to_be_bytes(), [7; 8]].concat().try_into().unwrap())
        }
        AbstractType::String => Value::Text(text),
        AbstractType::OctetArray => Value::Octets(text),
        AbstractType::Signed8 => Value::Signed(i64::from(seed.to_be_bytes()[7].cast_signed())),
        AbstractType::Unsigned8 => Value::Unsigned(seed & 0xff),
        AbstractType::Unsigned16 => Value::Unsigned(seed & 0xffff),
        AbstractType::Unsigned32 => Value::Unsigned(seed & 0xffff_ffff),
        _ => Value::Unsigned(seed),
    };
    for n in 0..if row.list { 1 + seed % 5 } else { 1 } {
        app.assign(row.field, item(n));
    }
}

#[test]
fn zeros_are_an_address_unless_the_other_family_has_one() {
    let read = |addresses: &[(u16, u8)]| {
        let length = |id| if id < 27 { 4 } else { 16 };
        let field = |id| FieldSpecifier { element: Element::new(0, id), length: length(id) };
        let fields = addresses.iter().map(|(id, _)| field(*id)).collect();
        let body: Vec<u8> = addresses.iter().flat_map(|(id, octet)| vec![*octet; length(*id).into()]).collect();
        let mut draft = Draft::default();
        Plan::new(&Template { id: 256, scope_count: 0, fields }, WEIR).decode(&body, 0, &mut draft).unwrap();
        (draft.record.key.source().to_string(), draft.record.key.destination().to_string())
    };
    let (src4, dst4, src6, dst6) = (8, 12, 27, 28);
    let pair = |src: &str, dst: &str| (src.to_owned(), dst.to_owned());
    assert_eq!(read(&[(src6, 0), (dst6, 0)]), pair("::", "::"));
    assert_eq!(read(&[(src4, 0), (dst4, 255)]), pair("0.0.0.0", "255.255.255.255"));
    let full = "101:101:101:101:101:101:101:101";
    // Both families, one of them all zero, in any order.
    for order in [[0, 1, 2, 3], [2, 3, 0, 1], [0, 2, 1, 3], [2, 0, 3, 1]] {
        let four = [(src4, 0), (dst4, 1), (src6, 0), (dst6, 0)];
        let six = [(src4, 0), (dst4, 0), (src6, 0), (dst6, 1)];
        assert_eq!(read(&order.map(|i| four[i])), pair("0.0.0.0", "1.1.1.1"), "{order:?}");
        assert_eq!(read(&order.map(|i| six[i])), pair("::", full), "{order:?}");
    }
}

/// Statistics as a decoder would give them.
fn any_statistics(present: u64, seed: u64) -> Statistics {
    let mut statistics = Statistics::default();
    for (bit, row) in mapping::stats::ROWS.iter().enumerate().filter(|(bit, _)| present & (1 << bit) != 0) {
        let seed = seed.rotate_left(bit as u32);
        for n in 0..if row.list { 1 + seed % 8 } else { 1 } {
            let [a, b, c, d, e, f, ..] = seed.wrapping_add(n).to_be_bytes();
            let value = match row.kind {
                AbstractType::Signed8 => Value::Signed(a.cast_signed().into()),
                AbstractType::Signed16 => Value::Signed(i16::from_be_bytes([a, b]).into()),
                AbstractType::DateTimeMilliseconds => Value::Time(Timestamp::from_millis(seed & 0xff_ffff_ffff)),
                AbstractType::MacAddress => Value::Octets(&[a, b, c, d, e, f]),
                AbstractType::OctetArray => Value::Octets(&[a, b, c]),
                AbstractType::Unsigned8 => Value::Unsigned(a.into()),
                AbstractType::Unsigned16 => Value::Unsigned(u16::from_be_bytes([e, f]).into()),
                AbstractType::Unsigned32 => Value::Unsigned(u32::from_be_bytes([a, b, c, d]).into()),
                _ => Value::Unsigned(seed),
            };
            assert!(statistics.assign(row.field, value), "{}", row.name);
        }
    }
    statistics
}

fn bare<'a>(record: &FlowRecord<'a>) -> FlowRecord<'a> {
    FlowRecord { app: None, ..*record }
}

proptest! {
    #[test]
    fn encode_then_decode_is_identity(
        key in key(),
        both in (counters(true), counters(true)),
        biflow: bool,
        numbers: (u64, u8, u16, u8, u32, u32, u16),
        slug in prop::sample::select(weir_flow::app::SLUGS),
        present: u64,
        seed: u64,
        measured: u64,
        text in prop::collection::vec(any::<u8>(), 1..400),
    ) {
        let mut app = AppFields::new(slug).unwrap();
        for (bit, row) in mapping::rows_of(slug).iter().enumerate().filter(|(bit, _)| present & (1 << bit) != 0) {
            assign_any(&mut app, row, seed.rotate_left(bit as u32), &text);
        }
        // Half of the records have none.
        let measured = measured & measured.rotate_left(1) & 0u64.wrapping_sub(seed & 1) & ((1 << mapping::stats::ROWS.len()) - 1);
        let statistics = any_statistics(measured, seed);
        let (flow_id, end_reason, vlan, class_of_service, ingress_interface, egress_interface, icmp) = numbers;
        let mut record = FlowRecord {
            key,
            forward: both.0,
            reverse: if biflow { both.1 } else { Counters::default() },
            flow_id,
            end_reason: EndReason(end_reason),
            vlan,
            class_of_service,
            ingress_interface,
            egress_interface,
            icmp_type_code: matches!(key.protocol, protocol::ICMP | protocol::ICMPV6).then_some(icmp),
            app: Some(app.borrow()),
            statistics: Some(&statistics).filter(|_| measured != 0),
            ..FlowRecord::default()
        };
        if key.protocol != protocol::TCP {
            record.forward.tcp_flags = 0;
            record.reverse.tcp_flags = 0;
        }

        let shapes = Arc::new(Templates::new(4711));
        let mut octets = Vec::new();
        let id = RecordEncoder::new(shapes.clone()).encode(&record, &mut octets);
        let mut writer = SetWriter::new(65_535);
        prop_assert!(writer.push(id, &octets));
        let (data, records) = writer.take();
        prop_assert_eq!(records, 1);

        let announced = template_bodies(&shapes.from(0), 65_535);
        let set = sets(&announced[0], 0).next().unwrap().unwrap();
        let template = templates(set, false).next().unwrap().unwrap();
        prop_assert_eq!(&template, &shapes.from(0)[0]);
        let plan = Plan::new(&template, 4711);
        let set = sets(&data, 0).next().unwrap().unwrap();
        prop_assert_eq!(set.id, id);
        let mut draft = Draft::default();
        prop_assert_eq!(plan.decode(set.body, 0, &mut draft), Ok(set.body.len()));
        draft.settle(None);
        let app = draft.app.as_ref().map(AppFields::borrow);
        let decoded = FlowRecord { app, statistics: draft.statistics.as_deref(), ..draft.record };
        prop_assert_eq!(&draft.extra, &[]);
        // A text that was cut to its bound is the same text, but no longer known to be cut.
        prop_assert_eq!(bare(&decoded), bare(&record));
        for row in mapping::rows_of(slug) {
            let of = |app: Option<weir_flow::app::AppRef<'_>>| {
                let mut out = Vec::new();
                let record = FlowRecord { app, ..FlowRecord::default() };
                crate::json::write_line(&record, &mut out);
                String::from_utf8(out).unwrap()
            };
            prop_assert_eq!(of(decoded.app), of(record.app), "{}", row.name);
        }
    }

    #[test]
    fn no_octets_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Header::parse(&bytes);
        let mut draft = Draft::default();
        for set in sets(&bytes, 0).flatten() {
            for options in [false, true] {
                for template in templates(set, options).flatten() {
                    let plan = Plan::new(&template, WEIR);
                    let mut at = 0;
                    while let Ok(next) = plan.decode(&bytes, at, &mut draft) {
                        draft.settle(Some(Timestamp::from_secs(1)));
                        prop_assert!(next > at || template.fields.is_empty());
                        if next <= at { break }
                        at = next;
                    }
                }
            }
        }
    }
}
