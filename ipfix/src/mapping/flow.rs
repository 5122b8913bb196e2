// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of what every flow record has: key, counters, times, end.
//!
//! [`ROWS`] are what our exporter writes, in the order in which it writes them. [`READ_ONLY`] are what others write for the
//! same fields, and what they write relative to something else; those pass through [`Draft`].

use std::{collections::HashMap, sync::LazyLock};

use weir_flow::{
    Counters, EndReason, ExtraElement, FlowRecord, IpVersion, Statistics, Timestamp, Value, app::AppFields, protocol,
};

use crate::{AbstractType, Element, VARIABLE, encode::Window};

/// A flow record while it is decoded.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// All but the application fields, the statistics, the extra elements and the origin.
    pub record: FlowRecord<'static>,
    /// Application fields.
    pub app: Option<AppFields>,
    /// Statistics.
    pub statistics: Option<Box<Statistics>>,
    /// What has no field.
    pub extra: Vec<ExtraElement>,
    /// First and last packet in milliseconds since the exporter's start, as NetFlow counts.
    pub uptime_millis: [Option<u32>; 2],
    /// When the exporter started (element 160).
    pub started: Option<Timestamp>,
    /// Totals since the flow began, where an exporter sends no deltas.
    totals: [Option<u64>; 4],
    /// Whether a delta counter was there.
    has_deltas: bool,
}

impl Draft {
    /// Makes it as new, keeps the memory of the extra elements.
    pub fn clear(&mut self) {
        self.extra.clear();
        *self = Self { extra: std::mem::take(&mut self.extra), ..Self::default() };
    }

    /// Settles what depends on several elements: totals stand in for missing deltas; times relative to the exporter's
    /// start become absolute, if the start is known from the record or from `started` (the message header, an options
    /// record); a record that says only how many packets it had gets sane times.
    pub fn settle(&mut self, started: Option<Timestamp>) {
        let record = &mut self.record;
        if !self.has_deltas {
            let [packets, octets, reverse_packets, reverse_octets] = self.totals.map(Option::unwrap_or_default);
            (record.forward.packets, record.forward.octets) = (packets, octets);
            (record.reverse.packets, record.reverse.octets) = (reverse_packets, reverse_octets);
        }
        if let Some(started) = self.started.or(started) {
            let absolute =
                |uptime: u32| Timestamp::from_nanos(started.as_nanos().saturating_add(u64::from(uptime) * 1_000_000));
            let [first, last] = self.uptime_millis;
            for counters in [&mut record.forward, &mut record.reverse] {
                if let Some(first) = first {
                    counters.first = absolute(first);
                }
                if let Some(last) = last {
                    counters.last = absolute(last);
                }
            }
        }
        if record.reverse.packets > 0 && record.reverse.last == Timestamp::ZERO {
            (record.reverse.first, record.reverse.last) = (record.forward.first, record.forward.last);
        }
        if record.reverse.packets == 0 {
            record.reverse = Counters::default();
        }
        for counters in [&mut record.forward, &mut record.reverse] {
            counters.last = counters.last.max(counters.first);
        }
    }
}

/// Value of one element in a record to be written; `None`: the record does not have it.
pub type Get = fn(&FlowRecord<'_>) -> Option<Value<'static>>;
/// Takes over a decoded value; a value of the wrong kind changes nothing.
pub type Set = fn(&mut Draft, Value<'_>);

/// One element of every record.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// IANA's name, with `reverse` in front for a reverse element: also the name in JSON records.
    pub name: &'static str,
    /// The element.
    pub element: Element,
    /// Its type.
    pub kind: AbstractType,
    /// For the exporter.
    pub get: Get,
    /// For the collector.
    pub set: Set,
}

fn unsigned(value: u64) -> Option<Value<'static>> {
    Some(Value::Unsigned(value))
}
fn if_set(value: impl Into<u64>) -> Option<Value<'static>> {
    let value = value.into();
    (value != 0).then_some(Value::Unsigned(value))
}
fn has_ports(record: &FlowRecord<'_>) -> bool {
    protocol::has_ports(record.key.protocol) || record.key.src_port != 0 || record.key.dst_port != 0
}
fn is_biflow(record: &FlowRecord<'_>) -> bool {
    record.reverse.packets > 0
}
fn v4(record: &FlowRecord<'_>, octets: &[u8; 16]) -> Option<Value<'static>> {
    let [a, b, c, d, ..] = *octets;
    (record.key.version == IpVersion::V4).then_some(Value::Ipv4([a, b, c, d]))
}
fn v6(record: &FlowRecord<'_>, octets: &[u8; 16]) -> Option<Value<'static>> {
    (record.key.version == IpVersion::V6).then_some(Value::Ipv6(*octets))
}
fn set_v4(draft: &mut Draft, value: Value<'_>, place: fn(&mut Draft) -> &mut [u8; 16]) {
    if let Value::Ipv4([a, b, c, d]) = value {
        set_address(draft, IpVersion::V4, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], place);
    }
}
fn set_v6(draft: &mut Draft, value: Value<'_>, place: fn(&mut Draft) -> &mut [u8; 16]) {
    if let Value::Ipv6(octets) = value {
        set_address(draft, IpVersion::V6, octets, place);
    }
}
/// Some exporters fill both families and leave one all zero: zeros are an address only if the other family has none.
fn set_address(draft: &mut Draft, version: IpVersion, octets: [u8; 16], place: fn(&mut Draft) -> &mut [u8; 16]) {
    let key = &mut draft.record.key;
    let other_is_set = key.version != version && (key.src != [0; 16] || key.dst != [0; 16]);
    if octets != [0; 16] || !other_is_set {
        key.version = version;
        *place(draft) = octets;
    }
}
fn number(value: Value<'_>) -> u64 {
    match value {
        Value::Unsigned(v) => v,
        Value::Signed(v) => v.cast_unsigned(),
        _ => 0,
    }
}
fn small<T: TryFrom<u64> + Default>(value: Value<'_>) -> T {
    T::try_from(number(value)).unwrap_or_default()
}
fn time(value: Value<'_>) -> Timestamp {
    match value {
        Value::Time(ts) => ts,
        _ => Timestamp::ZERO,
    }
}
fn delta(draft: &mut Draft, place: fn(&mut Draft) -> &mut u64, value: Value<'_>) {
    draft.has_deltas = true;
    *place(draft) = number(value);
}
fn total(draft: &mut Draft, index: usize, value: Value<'_>) {
    if let Some(total) = draft.totals.get_mut(index) {
        *total = Some(number(value));
    }
}

macro_rules! rows {
    ($(#[$doc:meta])* $table:ident: $($name:literal $enterprise:literal / $id:literal $kind:ident, $get:expr, $set:expr;)*) => {
        $(#[$doc])*
        pub const $table: &[Row] = &[$(Row {
            name: $name,
            element: Element::new($enterprise, $id),
            kind: AbstractType::$kind,
            get: $get,
            set: $set,
        }),*];
    };
}

/// The table of what is written, and the same as code without a loop, in which each row's type is known to the compiler.
macro_rules! written_rows {
    ($(#[$doc:meta])* $table:ident: $($name:literal $enterprise:literal / $id:literal $kind:ident, $get:expr, $set:expr;)*) => {
        rows! { $(#[$doc])* $table: $($name $enterprise / $id $kind, $get, $set;)* }

        /// Writes the values of all rows that the record has, in the order of the table.
        pub(crate) fn write(record: &FlowRecord<'_>, out: &mut Window<'_>) {
            $({
                let get: Get = $get;
                if let Some(value) = get(record) {
                    out.value(AbstractType::$kind, value);
                }
            })*
        }
    };
}

/// Number of [`shape`]s.
pub(crate) const SHAPES: usize = 1 << 9;

/// Which rows a record has, in few bits: one for each reason that a row may be missing. Records of one shape have the same
/// rows of [`ROWS`], all of fixed length.
pub(crate) fn shape(record: &FlowRecord<'_>) -> usize {
    let reasons = [
        record.key.version == IpVersion::V6,
        has_ports(record),
        record.key.protocol == protocol::TCP,
        is_biflow(record),
        record.flow_id != 0,
        record.icmp_type_code.is_some(),
        record.vlan != 0,
        record.ingress_interface != 0,
        record.egress_interface != 0,
    ];
    reasons.iter().rev().fold(0, |shape, reason| shape << 1 | usize::from(*reason))
}

/// Most octets of the values of all rows.
pub(crate) const MAX_LEN: usize = {
    let (mut sum, mut row) = (0, 0);
    while row < ROWS.len() {
        assert!(ROWS[row].kind.length() != VARIABLE, "a window takes values of fixed length only");
        sum += ROWS[row].kind.length() as usize;
        row += 1;
    }
    sum
};

/// The rows that a record has, a bit for each, and the octets of their values. For the first record of a shape.
pub(crate) fn present(record: &FlowRecord<'_>) -> (u64, usize) {
    let present = ROWS.iter().enumerate().filter(|(_, row)| (row.get)(record).is_some());
    present.fold((0, 0), |(rows, len), (bit, row)| (rows | 1 << bit, len + usize::from(row.kind.length())))
}

written_rows! {
    /// What the exporter writes, in this order, as far as a record has it.
    ROWS:
    "sourceIPv4Address" 0/8 Ipv4Address, |r| v4(r, &r.key.src), |d, v| set_v4(d, v, |d| &mut d.record.key.src);
    "destinationIPv4Address" 0/12 Ipv4Address, |r| v4(r, &r.key.dst), |d, v| set_v4(d, v, |d| &mut d.record.key.dst);
    "sourceIPv6Address" 0/27 Ipv6Address, |r| v6(r, &r.key.src), |d, v| set_v6(d, v, |d| &mut d.record.key.src);
    "destinationIPv6Address" 0/28 Ipv6Address, |r| v6(r, &r.key.dst), |d, v| set_v6(d, v, |d| &mut d.record.key.dst);
    "sourceTransportPort" 0/7 Unsigned16, |r| has_ports(r).then_some(Value::Unsigned(r.key.src_port.into())),
        |d, v| d.record.key.src_port = small(v);
    "destinationTransportPort" 0/11 Unsigned16, |r| has_ports(r).then_some(Value::Unsigned(r.key.dst_port.into())),
        |d, v| d.record.key.dst_port = small(v);
    "protocolIdentifier" 0/4 Unsigned8, |r| unsigned(r.key.protocol.into()), |d, v| d.record.key.protocol = small(v);
    "vlanId" 0/58 Unsigned16, |r| if_set(r.vlan), |d, v| d.record.vlan = small(v);
    "ipClassOfService" 0/5 Unsigned8, |r| unsigned(r.class_of_service.into()),
        |d, v| d.record.class_of_service = small(v);
    "icmpTypeCodeIPv4" 0/32 Unsigned16,
        |r| if r.key.version == IpVersion::V4 { r.icmp_type_code.and_then(|t| unsigned(t.into())) } else { None },
        set_icmp;
    "icmpTypeCodeIPv6" 0/139 Unsigned16,
        |r| if r.key.version == IpVersion::V6 { r.icmp_type_code.and_then(|t| unsigned(t.into())) } else { None },
        set_icmp;
    "ingressInterface" 0/10 Unsigned32, |r| if_set(r.ingress_interface),
        |d, v| d.record.ingress_interface = small(v);
    "egressInterface" 0/14 Unsigned32, |r| if_set(r.egress_interface), |d, v| d.record.egress_interface = small(v);
    "flowStartMilliseconds" 0/152 DateTimeMilliseconds, |r| Some(Value::Time(r.forward.first)),
        |d, v| d.record.forward.first = time(v);
    "flowEndMilliseconds" 0/153 DateTimeMilliseconds, |r| Some(Value::Time(r.forward.last)),
        |d, v| d.record.forward.last = time(v);
    "packetDeltaCount" 0/2 Unsigned64, |r| unsigned(r.forward.packets),
        |d, v| delta(d, |d| &mut d.record.forward.packets, v);
    "octetDeltaCount" 0/1 Unsigned64, |r| unsigned(r.forward.octets),
        |d, v| delta(d, |d| &mut d.record.forward.octets, v);
    "tcpControlBits" 0/6 Unsigned16,
        |r| (r.key.protocol == protocol::TCP).then_some(Value::Unsigned(r.forward.tcp_flags.into())),
        |d, v| d.record.forward.tcp_flags = small(v);
    "biflowDirection" 0/239 Unsigned8, |r| is_biflow(r).then_some(Value::Unsigned(1)), |_, _| ();
    "reverseFlowStartMilliseconds" 29305/152 DateTimeMilliseconds,
        |r| is_biflow(r).then_some(Value::Time(r.reverse.first)), |d, v| d.record.reverse.first = time(v);
    "reverseFlowEndMilliseconds" 29305/153 DateTimeMilliseconds,
        |r| is_biflow(r).then_some(Value::Time(r.reverse.last)), |d, v| d.record.reverse.last = time(v);
    "reversePacketDeltaCount" 29305/2 Unsigned64, |r| is_biflow(r).then_some(Value::Unsigned(r.reverse.packets)),
        |d, v| delta(d, |d| &mut d.record.reverse.packets, v);
    "reverseOctetDeltaCount" 29305/1 Unsigned64, |r| is_biflow(r).then_some(Value::Unsigned(r.reverse.octets)),
        |d, v| delta(d, |d| &mut d.record.reverse.octets, v);
    "reverseTcpControlBits" 29305/6 Unsigned16,
        |r| (is_biflow(r) && r.key.protocol == protocol::TCP).then_some(Value::Unsigned(r.reverse.tcp_flags.into())),
        |d, v| d.record.reverse.tcp_flags = small(v);
    "flowEndReason" 0/136 Unsigned8, |r| unsigned(r.end_reason.0.into()),
        |d, v| d.record.end_reason = EndReason(small(v));
    "flowId" 0/148 Unsigned64, |r| if_set(r.flow_id), |d, v| d.record.flow_id = number(v);
}

rows! {
    /// What others write for the same.
    READ_ONLY:
    "octetTotalCount" 0/85 Unsigned64, |_| None, |d, v| total(d, 1, v);
    "packetTotalCount" 0/86 Unsigned64, |_| None, |d, v| total(d, 0, v);
    "reverseOctetTotalCount" 29305/85 Unsigned64, |_| None, |d, v| total(d, 3, v);
    "reversePacketTotalCount" 29305/86 Unsigned64, |_| None, |d, v| total(d, 2, v);
    "initiatorOctets" 0/231 Unsigned64, |_| None, |d, v| delta(d, |d| &mut d.record.forward.octets, v);
    "responderOctets" 0/232 Unsigned64, |_| None, |d, v| delta(d, |d| &mut d.record.reverse.octets, v);
    "initiatorPackets" 0/298 Unsigned64, |_| None, |d, v| delta(d, |d| &mut d.record.forward.packets, v);
    "responderPackets" 0/299 Unsigned64, |_| None, |d, v| delta(d, |d| &mut d.record.reverse.packets, v);
    "flowStartSeconds" 0/150 DateTimeSeconds, |_| None, |d, v| d.record.forward.first = time(v);
    "flowEndSeconds" 0/151 DateTimeSeconds, |_| None, |d, v| d.record.forward.last = time(v);
    "flowStartMicroseconds" 0/154 DateTimeMicroseconds, |_| None, |d, v| d.record.forward.first = time(v);
    "flowEndMicroseconds" 0/155 DateTimeMicroseconds, |_| None, |d, v| d.record.forward.last = time(v);
    "flowStartNanoseconds" 0/156 DateTimeNanoseconds, |_| None, |d, v| d.record.forward.first = time(v);
    "flowEndNanoseconds" 0/157 DateTimeNanoseconds, |_| None, |d, v| d.record.forward.last = time(v);
    "flowStartSysUpTime" 0/22 Unsigned32, |_| None, |d, v| d.uptime_millis[0] = Some(small(v));
    "flowEndSysUpTime" 0/21 Unsigned32, |_| None, |d, v| d.uptime_millis[1] = Some(small(v));
    "systemInitTimeMilliseconds" 0/160 DateTimeMilliseconds, |_| None, |d, v| d.started = Some(time(v));
    "dot1qVlanId" 0/243 Unsigned16, |_| None, |d, v| d.record.vlan = small(v);
    "icmpTypeIPv4" 0/176 Unsigned8, |_| None, |d, v| set_icmp_half(d, v, 8);
    "icmpCodeIPv4" 0/177 Unsigned8, |_| None, |d, v| set_icmp_half(d, v, 0);
    "icmpTypeIPv6" 0/178 Unsigned8, |_| None, |d, v| set_icmp_half(d, v, 8);
    "icmpCodeIPv6" 0/179 Unsigned8, |_| None, |d, v| set_icmp_half(d, v, 0);
    "ipVersion" 0/60 Unsigned8, |_| None, |_, _| ();
    "applicationName" 0/96 String, |_| None, set_application;
}

fn set_icmp(draft: &mut Draft, value: Value<'_>) {
    draft.record.icmp_type_code = Some(small(value));
}

fn set_icmp_half(draft: &mut Draft, value: Value<'_>, shift: u32) {
    let half = u16::from(small::<u8>(value)) << shift;
    draft.record.icmp_type_code = Some(draft.record.icmp_type_code.unwrap_or(0) | half);
}

/// A record without any field of its protocol still says which one it was.
fn set_application(draft: &mut Draft, value: Value<'_>) {
    if let (None, Value::Text(name)) = (&draft.app, value) {
        draft.app = std::str::from_utf8(name).ok().and_then(AppFields::new);
    }
}

/// applicationName: the slug of the application protocol.
pub const APPLICATION_NAME: Element = Element::new(0, 96);

/// The row that an element belongs to, if any.
#[must_use]
pub fn lookup(element: Element) -> Option<&'static Row> {
    static BY_ELEMENT: LazyLock<HashMap<Element, &'static Row>> =
        LazyLock::new(|| ROWS.iter().chain(READ_ONLY).map(|row| (row.element, row)).collect());
    BY_ELEMENT.get(&element).copied()
}
