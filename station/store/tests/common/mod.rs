// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records for tests.

use std::{future::Future, net::IpAddr};

use proptest::prelude::*;
use weir_flow::{
    Counters, EndReason, ExtraElement, FlowKey, FlowRecord, Origin, Statistics, Timestamp,
    app::{AppFields, Dns, Http, Sip, Smtp},
};
use weir_store::{Filter, Store, StoreWriter, Window, WriterOptions};

/// 2026-11-20T14:05:00Z, the first second of a slot.
pub const T0: u64 = 1_795_183_500;

/// A record with what it borrows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Owned {
    pub record: FlowRecord<'static>,
    pub app: Option<AppFields>,
    pub statistics: Option<Statistics>,
    pub extra: Vec<ExtraElement>,
}

impl Owned {
    pub fn as_record(&self) -> FlowRecord<'_> {
        let app = self.app.as_ref().map(AppFields::borrow);
        FlowRecord { app, statistics: self.statistics.as_ref(), extra: &self.extra, ..self.record }
    }

    pub fn of(record: &FlowRecord<'_>) -> Self {
        Self {
            record: FlowRecord { app: None, statistics: None, extra: &[], ..*record },
            statistics: record.statistics.cloned(),
            app: record.app.map(|a| a.to_owned()),
            extra: record.extra.to_vec(),
        }
    }
}

/// A TCP or UDP uniflow that began `start` and lasted `millis` milliseconds after [`T0`].
pub fn uniflow(src: &str, dst: &str, ports: (u16, u16), protocol: u8, at: (u64, u64), counts: (u64, u64)) -> Owned {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let first = Timestamp::from_millis(T0 * 1000 + at.0);
    Owned {
        record: FlowRecord {
            key: FlowKey::new(address(src), address(dst), ports.0, ports.1, protocol),
            forward: Counters {
                packets: counts.0,
                octets: counts.1,
                first,
                last: Timestamp::from_millis(T0 * 1000 + at.0 + at.1),
                tcp_flags: 0,
            },
            ..FlowRecord::default()
        },
        ..Owned::default()
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A store with these records in a directory of its own.
pub fn store(records: &[Owned]) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = StoreWriter::open(dir.path(), WriterOptions::default()).unwrap();
    for record in records {
        writer.append(&record.as_record()).unwrap();
    }
    writer.close().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

pub fn read(store: &Store, window: Window, filter: &Filter) -> Vec<Owned> {
    let mut found = Vec::new();
    let count =
        block_on(store.for_each_record(window, filter, &mut |r: &FlowRecord<'_>| found.push(Owned::of(r)))).unwrap();
    assert_eq!(count, found.len() as u64);
    found
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::sample::select(vec![&b"www.example.org"[..], b"example.net", b"a", b"xn--bcher-kva.example"])
            .prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

fn app() -> impl Strategy<Value = Option<AppFields>> {
    let http = (text(), text(), prop::option::of(prop::sample::select(vec![200u16, 302, 404]))).prop_map(
        |(host, target, status)| {
            let mut http = Http::default();
            http.request_host.set(&host, &mut http.memory);
            http.request_target.set(&target, &mut http.memory);
            http.status_code = status;
            AppFields::Http(Box::new(http))
        },
    );
    let dns = (text(), prop::collection::vec(any::<[u8; 4]>(), 0..3), prop::collection::vec(text(), 0..3)).prop_map(
        |(name, addresses, answers)| {
            let mut dns = Dns::default();
            dns.query_name.set(&name, &mut dns.memory);
            dns.query_type = Some(28);
            addresses.into_iter().for_each(|a| dns.answer_ipv4.push(a, &mut dns.memory));
            answers.iter().for_each(|a| dns.answers.push(a, &mut dns.memory));
            AppFields::Dns(Box::new(dns))
        },
    );
    let sip = prop::collection::vec(prop::sample::select(vec![100u16, 180, 200]), 0..3).prop_map(|codes| {
        let mut sip = Sip::default();
        codes.into_iter().for_each(|c| sip.status_code.push(c, &mut sip.memory));
        AppFields::Sip(Box::new(sip))
    });
    let smtp = Just(AppFields::Smtp(Box::<Smtp>::default()));
    prop_oneof![
        2 => Just(None),
        3 => http.prop_map(Some),
        3 => dns.prop_map(Some),
        1 => sip.prop_map(Some),
        1 => smtp.prop_map(Some),
    ]
}

/// Of each kind of field one at least; never nothing, since nothing is not kept.
fn statistics() -> impl Strategy<Value = Statistics> {
    let packets = prop::collection::vec((0..1500_i16, 0..1_000_000_u64, any::<bool>()), 0..5);
    (packets, 1..255_u8, prop::option::of(any::<u16>()), any::<[u8; 3]>(), any::<u64>()).prop_map(
        |(packets, ttl, scale, label, options)| {
            let mut statistics = Statistics { ttl: Some(ttl), reverse_window: scale, ..Statistics::default() };
            statistics.tcp_options = Some(options);
            statistics.mpls_label.set(&label);
            for (length, ts, is_forward) in packets {
                let memory = &mut statistics.memory;
                statistics.packet_lengths.push(length, memory);
                statistics.packet_times.push(Timestamp::from_nanos(T0 * 1_000_000_000 + ts), memory);
                statistics.packet_directions.push(if is_forward { 1 } else { -1 }, memory);
                statistics.size_histogram.push(u32::from(length.unsigned_abs()), memory);
            }
            statistics
        },
    )
}

fn counters() -> impl Strategy<Value = Counters> {
    let count = prop_oneof![Just(0u64), 1u64..2000, Just(5_000_000u64)];
    (count.clone(), count, 0u64..900_000, 0u64..3000, 0u16..256).prop_map(
        |(packets, octets, start, millis, tcp_flags)| {
            let first = T0 * 1000 + start;
            Counters {
                packets,
                octets,
                first: Timestamp::from_millis(first),
                last: Timestamp::from_nanos((first + millis) * 1_000_000 + 17),
                tcp_flags,
            }
        },
    )
}

/// Any record: few hosts and ports, so that they meet.
pub fn record() -> impl Strategy<Value = Owned> {
    let v4 = prop::sample::select(vec!["10.0.0.1", "10.0.0.2", "10.1.2.3", "192.0.2.9", "0.0.0.0"]);
    let v6 = prop::sample::select(vec!["2001:db8::1", "2001:db8:1::2", "fe80::1"]);
    let pair = prop_oneof![3 => (v4.clone(), v4), 1 => (v6.clone(), v6)];
    let port = prop::sample::select(vec![0u16, 53, 80, 443, 60_001]);
    let protocol = prop::sample::select(vec![1u8, 6, 17, 58]);
    let exporter = prop::option::of(prop::sample::select(vec!["192.0.2.254", "2001:db8::fe", "::ffff:192.0.2.254"]));
    let extra = prop::collection::vec((any::<u32>(), 0u16..0x8000, prop::collection::vec(any::<u8>(), 0..5)), 0..3);
    let rest = (any::<u8>(), 0u16..4096, 0u32..5, prop::option::of(any::<u16>()), 0u64..4, 0u8..6, exporter, 0u32..3);
    let fields = (app(), prop::option::of(statistics()));
    (pair, (port.clone(), port, protocol), counters(), prop::option::of(counters()), rest, fields, extra).prop_map(
        |((src, dst), (src_port, dst_port, protocol), forward, reverse, rest, (app, statistics), extra)| {
            let (tos, vlan, interface, icmp_type_code, flow_id, reason, exporter, domain) = rest;
            let address = |text: &str| text.parse::<IpAddr>().unwrap();
            Owned {
                record: FlowRecord {
                    key: FlowKey::new(address(src), address(dst), src_port, dst_port, protocol),
                    forward,
                    reverse: reverse.filter(|r| r.packets > 0).unwrap_or_default(),
                    flow_id,
                    end_reason: EndReason(reason),
                    vlan,
                    class_of_service: tos,
                    ingress_interface: interface,
                    egress_interface: interface / 2,
                    icmp_type_code: icmp_type_code.filter(|_| matches!(protocol, 1 | 58)),
                    app: None,
                    statistics: None,
                    extra: &[],
                    origin: Origin { exporter: exporter.map(address), domain },
                },
                app,
                statistics,
                extra: extra
                    .into_iter()
                    .map(|(enterprise, id, octets)| ExtraElement { enterprise, id, octets })
                    .collect(),
            }
        },
    )
}
