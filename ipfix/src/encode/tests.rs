// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is written is octet for octet what the mapping tables say, read row by row.

use proptest::prelude::*;
use weir_flow::{
    Counters, EndReason, FlowKey, IpVersion, Statistics,
    app::{AppFields, Fields, SLUGS},
    protocol,
};

use super::*;
use crate::message::{HEADER_LEN, MAX_MESSAGE, SET_HEADER_LEN};

/// The record as the tables say, without a thought of speed.
fn reference(templates: &Templates, record: &FlowRecord<'_>) -> (u16, Vec<u8>) {
    let mut out = Vec::new();
    let mut shape = Shape { flow: 0, app: None, stats: 0 };
    for (bit, row) in flow::ROWS.iter().enumerate() {
        if let Some(value) = (row.get)(record) {
            shape.flow |= 1 << bit;
            write(row.kind, Some(value), &mut out);
        }
    }
    if let Some(app) = record.app {
        let protocol = SLUGS.iter().position(|slug| *slug == app.slug()).unwrap() as u8;
        let rows = rows(protocol).iter().enumerate();
        let present = rows.fold(0, |mask, (bit, row)| mask | u64::from(app.value(row.field).is_some()) << bit);
        shape.app = Some((protocol, present));
    }
    if let Some(statistics) = record.statistics {
        let rows = stats::ROWS.iter().enumerate();
        shape.stats = rows.fold(0, |mask, (bit, row)| mask | u64::from(statistics.value(row.field).is_some()) << bit);
    }
    let (shape, id) = templates.id_of(shape);
    let field = |row: &mapping::Row, value: Option<Value<'_>>, out: &mut Vec<u8>| match row.list {
        true => write_list(templates.own().element(row.element), row.kind, value, out),
        false => write(row.kind, value, out),
    };
    if let (Some(app), Some((protocol, present))) = (record.app, shape.app) {
        write(AbstractType::String, Some(Value::Text(app.slug().as_bytes())), &mut out);
        for (_, row) in rows(protocol).iter().enumerate().filter(|(bit, _)| present & (1 << bit) != 0) {
            field(row, app.value(row.field), &mut out);
        }
    }
    if let Some(statistics) = record.statistics {
        for (_, row) in stats::ROWS.iter().enumerate().filter(|(bit, _)| shape.stats & (1 << bit) != 0) {
            field(row, statistics.value(row.field), &mut out);
        }
    }
    (id, out)
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
        (AbstractType::MacAddress, Some(Value::Octets(octets))) if octets.len() == 6 => out.extend(octets),
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
        for item in list.iter() {
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
fn write_specifier(field: FieldSpecifier, out: &mut Vec<u8>) {
    let enterprise_bit = if field.element.enterprise == 0 { 0 } else { 0x8000 };
    out.extend((field.element.id | enterprise_bit).to_be_bytes());
    out.extend(field.length.to_be_bytes());
    if field.element.enterprise != 0 {
        out.extend(field.element.enterprise.to_be_bytes());
    }
}

fn any_counters(n: [u64; 4], tcp_flags: u16) -> Counters {
    Counters {
        packets: n[0],
        octets: n[1],
        first: Timestamp::from_nanos(n[2]),
        last: Timestamp::from_nanos(n[3]),
        tcp_flags,
    }
}

/// A record of any shape: each bit of `has` is one reason for a row.
fn any_record(has: usize, protocol: u8, addresses: [[u8; 16]; 2], n: [u64; 8], small: [u16; 4]) -> FlowRecord<'static> {
    let bit = |bit: u32, value: u64| if has >> bit & 1 == 0 { 0 } else { value };
    let version = if bit(0, 1) == 0 { IpVersion::V4 } else { IpVersion::V6 };
    let [src, dst] = addresses;
    let [a, b, c, d, e, f, g, h] = n;
    let mut record = FlowRecord {
        key: FlowKey { src, dst, protocol, version, ..FlowKey::default() },
        forward: any_counters([a, b, c, d], small[0]),
        reverse: any_counters([bit(1, e), f, g, h], small[1]),
        flow_id: bit(2, a),
        end_reason: EndReason(small[2] as u8),
        class_of_service: small[3] as u8,
        vlan: bit(3, b) as u16,
        ingress_interface: bit(4, c) as u32,
        egress_interface: bit(5, d) as u32,
        icmp_type_code: (bit(6, 1) != 0).then_some(small[0]),
        ..FlowRecord::default()
    };
    (record.key.src_port, record.key.dst_port) = (bit(7, e) as u16, bit(8, f) as u16);
    record
}

fn fields(slug: &str, present: u64, seed: u64, text: &[u8]) -> AppFields {
    let mut app = AppFields::new(slug).unwrap();
    for (bit, row) in mapping::rows_of(slug).iter().enumerate().filter(|(bit, _)| present & (1 << bit) != 0) {
        let number = seed.rotate_left(bit as u32);
        for n in 0..if row.list { 1 + number % 5 } else { 1 } {
            let number = number.wrapping_add(n);
            let octets = number.to_be_bytes();
            let of_kind = [
                Value::Text(text),
                Value::Unsigned(number & 0xff),
                Value::Ipv4(octets[4..].try_into().unwrap()),
                Value::Ipv6([octets, octets].concat().try_into().unwrap()),
            ];
            assert!(of_kind.iter().any(|value| app.assign(row.field, *value)), "{slug}.{}", row.name);
        }
    }
    app
}

fn statistics(present: u64, seed: u64) -> Statistics {
    let mut statistics = Statistics::default();
    for (bit, row) in stats::ROWS.iter().enumerate().filter(|(bit, _)| present & (1 << bit) != 0) {
        let number = seed.rotate_left(bit as u32);
        for n in 0..if row.list { 1 + number % 5 } else { 1 } {
            let number = number.wrapping_add(n);
            let of_kind = [
                Value::Octets(&number.to_be_bytes()[..3]),
                Value::Unsigned(number & 0xff),
                Value::Signed((number & 0x7f).cast_signed()),
                Value::Time(Timestamp::from_millis(number & 0xffff_ffff)),
            ];
            assert!(of_kind.iter().any(|value| statistics.assign(row.field, *value)), "{}", row.name);
        }
    }
    statistics
}

/// The data records of a message: template and octets of all records in each set.
fn sets_of(message: &[u8]) -> Vec<(u16, Vec<u8>)> {
    crate::decode::sets(&message[HEADER_LEN..], 0).map(|set| set.unwrap()).map(|s| (s.id, s.body.to_vec())).collect()
}

proptest! {
    /// Whatever a record holds, and wherever in a message it stands.
    #[test]
    fn what_is_written_is_what_the_tables_say(
        shapes in prop::collection::vec((0_usize..512, prop::sample::select(vec![6_u8, 17, 1, 58, 0, 132])), 1..4),
        addresses: [[u8; 16]; 2],
        n: [u64; 8],
        small: [u16; 4],
        app in prop::option::of((prop::sample::select(SLUGS), any::<u64>(), any::<u64>())),
        measured in prop::option::of((any::<u64>(), any::<u64>())),
        text in prop::collection::vec(any::<u8>(), 1..400),
        max_message in prop::sample::select(vec![512_usize, 1400, MAX_MESSAGE]),
    ) {
        let templates = Arc::new(Templates::new(4711));
        let mut encoder = RecordEncoder::new(templates.clone());
        let app = app.map(|(slug, present, seed)| fields(slug, present, seed, &text));
        let measured = measured.map(|(present, seed)| statistics(present, seed));
        let mut message = SetWriter::new(max_message);
        let mut expected: Vec<(u16, Vec<u8>)> = Vec::new();
        let mut len = HEADER_LEN;
        for (has, protocol) in shapes {
            let record = any_record(has, protocol, addresses, n, small);
            let app = app.as_ref().map(AppFields::borrow);
            let record = FlowRecord { app, statistics: measured.as_ref(), ..record };
            let (id, octets) = reference(&templates, &record);
            let mut alone = vec![7];
            prop_assert_eq!(encoder.encode(&record, &mut alone), id);
            prop_assert_eq!(&alone[1..], &octets);

            let is_new = expected.last().is_none_or(|set| set.0 != id);
            let needed = octets.len() + if is_new { SET_HEADER_LEN } else { 0 };
            let does_fit = len + needed <= max_message;
            prop_assert_eq!(encoder.append(&record, &mut message), if does_fit { Ok(()) } else { Err(octets.len()) });
            if does_fit {
                len += needed;
                match expected.last_mut() {
                    Some((_, body)) if !is_new => body.extend(octets),
                    _ => expected.push((id, octets)),
                }
            }
        }
        let buffer = message.finish();
        prop_assert_eq!(sets_of(buffer.message()), expected);
    }
}

#[test]
fn records_of_one_shape_have_the_same_rows() {
    let mut rows_of_shape = HashMap::new();
    for has in 0..512 {
        for protocol in 0..=255 {
            let record = any_record(has, protocol, [[1; 16]; 2], [1 << 32 | 1; 8], [1; 4]);
            let present = flow::present(&record);
            let known = *rows_of_shape.entry(flow::shape(&record)).or_insert(present);
            assert_eq!(known, present, "{record:?}");
            assert!(flow::shape(&record) < flow::SHAPES && present.1 <= flow::MAX_LEN);
        }
    }
    // TCP always has ports, ports may be there without: three of four combinations.
    assert_eq!(rows_of_shape.len(), flow::SHAPES / 4 * 3);
}

#[test]
fn a_message_is_filled_to_the_last_octet_and_begun_anew() {
    let mut encoder = RecordEncoder::new(Arc::default());
    let record = any_record(0, protocol::TCP, [[1; 16]; 2], [1; 8], [1; 4]);
    let mut octets = Vec::new();
    encoder.encode(&record, &mut octets);
    let records = 14;
    let max_message = HEADER_LEN + SET_HEADER_LEN + records * octets.len();
    let mut message = SetWriter::new(max_message);
    for _ in 0..3 {
        let written = (0..100).take_while(|_| encoder.append(&record, &mut message).is_ok()).count();
        assert_eq!(written, records);
        let mut full = message.finish();
        assert_eq!((full.message().len(), full.records() as usize), (max_message, records));
        full.number(1, 2, 3);
        let header = crate::message::Header::parse(full.message()).unwrap();
        assert_eq!(
            (header.length as usize, header.export_time, header.sequence_number, header.domain),
            (max_message, 1, 2, 3)
        );
        assert_eq!(encoder.append(&record, &mut message), Err(octets.len()), "no memory");
        message.begin(full);
        assert!(message.is_empty());
    }
}

/// More shapes than there may be templates: those beyond are written with all fields, each time the same.
#[test]
fn shapes_beyond_the_bound_share_a_template() {
    let templates = Arc::new(Templates::default());
    let mut encoder = RecordEncoder::new(templates.clone());
    let all = rows(index_of("http")).len();
    for _ in 0..2 {
        for present in 0..1 << all.min(10) {
            for has in [0, 1, 2, 3] {
                let app = fields("http", present, 200, b"x");
                let record = any_record(has, protocol::TCP, [[1; 16]; 2], [1; 8], [1; 4]);
                let record = FlowRecord { app: Some(app.borrow()), ..record };
                let (id, octets) = reference(&templates, &record);
                let mut out = Vec::new();
                assert_eq!(encoder.encode(&record, &mut out), id);
                assert_eq!(out, octets);
            }
        }
    }
    assert!((MAX_TEMPLATES..MAX_TEMPLATES + 8).contains(&templates.count()), "{}", templates.count());
}
