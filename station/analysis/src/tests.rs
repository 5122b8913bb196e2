// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the engine with all detectors.

use std::{
    net::IpAddr,
    panic::{set_hook, take_hook},
    sync::{Arc, Mutex},
};

use proptest::prelude::*;
use weir_flow::{Counters, FlowKey, FlowRecord, RecordSink, Timestamp};

use crate::{
    Activity, Alert, AlertState, Config, Detector, Engine, Lines, clock::ClockConfig, engine::Config as EngineConfig,
    testkit::*,
};

/// A scan of every kind, an amplification, and clean traffic.
fn mixed() -> Vec<Record> {
    let mut records = Vec::new();
    for n in 0..300 {
        let ts = at(u64::from(n) * 30);
        records.push(syn(v4(0xff_0001), v4(n), 22, ts, Port::Closed));
        records.push(connect(v4(0xff_0002), v4(1), n as u16, ts, Port::Filtered));
        records.push(request(v4(0xff_0003), v4(n), 443, ts));
        for k in 0..5 {
            records.push(udp(v4(0xff_0004), v4(0x35), (n as u16 * 5 + k, 53), ts, (1, 64), (3, 3_600)));
        }
    }
    records
}

fn lines(records: &[Record]) -> String {
    let out = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&out);
    let mut engine = Engine::new(
        &Config::default(),
        Box::new(move |alert: &Alert| serde_json::to_writer(&mut *sink.lock().unwrap(), alert).unwrap()),
    );
    records.iter().for_each(|r| engine.record(r));
    engine.finish();
    String::from_utf8(std::mem::take(&mut *out.lock().unwrap())).unwrap()
}

#[test]
fn a_replay_gives_the_same_octets() {
    let first = lines(&mixed());
    assert_eq!(first.matches(r#""state":"new""#).count(), 3, "{first}");
    assert_eq!(first, lines(&mixed()));
}

#[test]
fn an_engine_starts_anew_after_an_input() {
    let (mut engine, alerts) = engine(&Config::default());
    for _ in 0..2 {
        mixed().iter().for_each(|r| engine.record(r));
        engine.finish();
    }
    let alerts = std::mem::take(&mut *alerts.lock().unwrap());
    assert_eq!(alerts.len() % 2, 0);
    assert_eq!(alerts[..alerts.len() / 2], alerts[alerts.len() / 2..]);
    assert!(engine.status().iter().all(|s| s.entries == 0 && s.running));
}

#[test]
fn alerts_reach_writers_of_both_forms() {
    let mut engine = Engine::new(&Config::default(), Box::new(Lines::idea(std::io::sink(), "org.example.weir")));
    mixed().iter().for_each(|r| engine.record(r));
    engine.finish();
    let sum: u64 = engine.status().iter().map(|s| s.activity.alerts_new + s.activity.alerts_ended).sum();
    assert_eq!((sum, engine.counters().alerts), (6, 6));
    let counters = engine.counters();
    assert_eq!(counters.records, counters.judged + counters.without_packets + counters.off_wall + counters.off_clock);
}

struct Bomb(u32);

impl Detector for Bomb {
    fn slug(&self) -> &'static str {
        "bomb"
    }
    fn record(&mut self, _: &FlowRecord<'_>, _: Timestamp, _: &mut Vec<Alert>) {
        self.0 += 1;
        assert!(self.0 < 100, "as planned");
    }
    fn tick(&mut self, _: Timestamp, _: &mut Vec<Alert>) {}
    fn finish(&mut self, _: Timestamp, _: &mut Vec<Alert>) {}
    fn entries(&self) -> usize {
        7
    }
    fn activity(&self) -> Activity {
        Activity { entries_created: 7, ..Activity::default() }
    }
}

#[test]
fn a_detector_that_panics_harms_no_other() {
    let config = EngineConfig::default();
    let expected = run(&config, &mixed());
    let alerts = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&alerts);
    let mut detectors: Vec<Box<dyn Detector>> = vec![Box::new(Bomb(0))];
    detectors.extend(config.detectors());
    let mut engine = Engine::with_detectors(
        config.clock,
        detectors,
        Box::new(move |alert: &Alert| sink.lock().unwrap().push(alert.clone())),
    );
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    mixed().iter().for_each(|r| engine.record(r));
    engine.finish();
    set_hook(hook);
    assert_eq!(*alerts.lock().unwrap(), expected);
    let bomb = &engine.status()[0];
    assert_eq!((bomb.running, bomb.entries), (false, 0));
    let expected = Activity { records_seen: 100, panics: 1, entries_created: 7, ..Activity::default() };
    assert_eq!(bomb.activity, expected);
}

#[test]
fn spoofed_sources_stay_under_the_cap_and_a_scan_among_them_is_seen() {
    let mut config = Config::default();
    let caps = [
        &mut config.horizontal_scan.limits.max_entries,
        &mut config.vertical_scan.limits.max_entries,
        &mut config.dns_amplification.limits.max_entries,
    ];
    for cap in caps {
        *cap = 1_000;
    }
    let (mut engine, alerts) = engine(&config);
    for n in 0..100_000_u32 {
        let ts = at(u64::from(n) / 10);
        engine.record(&syn(v4(0x10_0000 + n), v4(1), 80, ts, Port::Filtered));
        if n % 200 == 0 {
            engine.record(&syn(v4(0xff_0001), v4(n / 200), 22, ts, Port::Closed));
        }
        // Two tables of horizontal scans.
        assert!(engine.status().iter().all(|s| s.entries <= 2_000) || n % 1_000 != 0);
    }
    engine.finish();
    let alerts = alerts.lock().unwrap();
    assert_eq!(
        ended(&alerts, "horizontal_scan").iter().map(|a| a.sources.sample[0]).collect::<Vec<_>>(),
        [v4(0xff_0001)]
    );
    assert_eq!(alerts.iter().filter(|a| a.state == AlertState::New).count(), 1);
    for status in engine.status() {
        let a = status.activity;
        assert_eq!(a.entries_created, a.entries_evicted + a.entries_expired, "{}", status.slug);
    }
    assert!(engine.status().iter().any(|s| s.activity.entries_evicted > 90_000));
}

#[test]
fn an_attack_that_is_evicted_is_judged_first() {
    let mut config = Config::default();
    config.horizontal_scan.limits.max_entries = 10;
    let mut records: Vec<_> = (0..60).map(|n| syn(v4(0xff_0001), v4(n), 22, at(0), Port::Closed)).collect();
    // All within one tick.
    records.extend((0..20).map(|n| syn(v4(0x10_0000 + n), v4(1), 80, at(1), Port::Closed)));
    assert_eq!(ended(&run(&config, &records), "horizontal_scan").len(), 1);
}

#[test]
fn wrong_times_do_not_end_attacks_and_gaps_do() {
    let scan = |start: u64, hosts: std::ops::Range<u32>| -> Vec<_> {
        hosts.map(|n| syn(v4(0xff_0001), v4(n), 22, at(start + u64::from(n)), Port::Closed)).collect()
    };
    let (mut engine, alerts) = engine(&Config::default());
    scan(0, 0..60).iter().for_each(|r| engine.record(r));
    engine.record(&syn(v4(9), v4(8), 22, at(86_400_000 * 365), Port::Closed));
    scan(0, 60..100).iter().for_each(|r| engine.record(r));
    assert_eq!((engine.counters().off_clock, engine.counters().clock_moves), (1, 0));
    // A day later, and a day before: each is a stream of its own.
    scan(86_400_000, 0..60).iter().for_each(|r| engine.record(r));
    let (now, day) = (engine.now(), std::time::Duration::from_secs(86_400));
    assert_eq!(now, at(86_400_059));
    let before: Vec<_> = scan(0, 0..60).iter().map(|r| shifted(r, day)).collect();
    before.iter().for_each(|r| engine.record(r));
    engine.finish();
    let alerts = ended(&alerts.lock().unwrap(), "horizontal_scan");
    assert_eq!(alerts.iter().map(|a| a.targets.count).collect::<Vec<_>>(), [100, 60, 60]);
    assert_eq!((engine.counters().off_clock, engine.counters().clock_moves), (1, 2));
}

/// The record, earlier by a time.
fn shifted(record: &Record, by: std::time::Duration) -> Record {
    let back = |c: &Counters| {
        let ts = Timestamp::from_nanos(c.first.as_nanos() - u64::try_from(by.as_nanos()).unwrap());
        Counters { first: ts, last: ts, ..*c }
    };
    FlowRecord { forward: back(&record.forward), reverse: back(&record.reverse), ..*record }
}

#[test]
fn a_timer_ends_attacks_in_a_silent_stream() {
    let (mut engine, alerts) = engine(&Config::default());
    engine.tick(at(0));
    assert_eq!(engine.counters().ticks, 0, "nothing before the first record");
    (0..60).for_each(|n| engine.record(&syn(v4(0xff_0001), v4(n), 22, at(0), Port::Closed)));
    engine.tick(at(200_000));
    assert_eq!(alerts.lock().unwrap().len(), 1);
    engine.tick(at(400_000));
    assert_eq!(alerts.lock().unwrap().last().map(|a| a.state), Some(AlertState::Ended));
}

#[test]
fn a_wrong_key_in_the_configuration_is_refused() {
    let good =
        r#"{"vertical_scan":{"min_ports":10,"window":"5m","allow":{"sources":["192.0.2.0/24"],"ports":["1-9"]}}}"#;
    let config: Config = serde_json::from_str(good).unwrap();
    assert_eq!(config.vertical_scan.min_ports, 10);
    for bad in [r#"{"vertical_scan":{"min_port":10}}"#, r#"{"vertical":{}}"#, r#"{"clock":{"tick":"10"}}"#] {
        assert!(serde_json::from_str::<Config>(bad).is_err(), "{bad}");
    }
    let text = serde_json::to_string(&Config::default()).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), Config::default());
}

#[test]
fn the_documentation_names_every_parameter_with_its_default() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/detectors.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut checked = 0;
    let config = serde_json::to_value(Config::default()).unwrap();
    let mut sections: Vec<_> = config.as_object().unwrap().iter().collect();
    while let Some((section, value)) = sections.pop() {
        for (name, value) in value.as_object().unwrap() {
            if value.is_object() {
                sections.push((name, value));
                continue;
            }
            let default = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let row = format!("| `{name}` | {default} |");
            // Lists and switches have no row with a default.
            let known = if value.is_array() || value.is_boolean() { text.contains(name) } else { text.contains(&row) };
            assert!(known, "{section}: {row}");
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked}");
}

fn counters() -> impl Strategy<Value = Counters> {
    let number = || prop_oneof![0..4_u64, 0..10_000_u64, any::<u64>()];
    let time = || prop_oneof![8 => (0..7_200_000_u64).prop_map(at), 1 => any::<u64>().prop_map(Timestamp::from_nanos)];
    (number(), number(), time(), time(), 0..0x200_u16).prop_map(|(packets, octets, first, last, tcp_flags)| Counters {
        packets,
        octets,
        first,
        last,
        tcp_flags,
    })
}

fn record() -> impl Strategy<Value = Record> {
    let address = || prop_oneof![(0..6_u32).prop_map(v4), (0..6_u32).prop_map(v6), any::<IpAddr>()];
    let port = || prop_oneof![Just(53), Just(123), 0..40_u16, any::<u16>()];
    let proto = prop_oneof![Just(6), Just(17), Just(1), Just(58), any::<u8>()];
    (address(), address(), port(), port(), proto, counters(), counters(), any::<Option<u16>>()).prop_map(
        |(src, dst, src_port, dst_port, proto, forward, reverse, icmp_type_code)| FlowRecord {
            key: FlowKey::new(src, dst, src_port, dst_port, proto),
            forward,
            reverse,
            icmp_type_code,
            ..FlowRecord::default()
        },
    )
}

/// So low that arbitrary records make attacks, and so small that they are evicted.
fn touchy() -> Config {
    let mut config = Config { clock: ClockConfig::default(), ..Config::default() };
    config.horizontal_scan.min_targets = 2;
    config.vertical_scan.min_ports = 2;
    config.dns_amplification.min_response_packets = 1;
    config.dns_amplification.min_servers = 2;
    for limits in
        [&mut config.horizontal_scan.limits, &mut config.vertical_scan.limits, &mut config.dns_amplification.limits]
    {
        limits.max_entries = 8;
        limits.max_open_attacks = 4;
    }
    config
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_records_are_survived_and_attacks_live_their_life(records in proptest::collection::vec(record(), 0..400)) {
        let (mut engine, alerts) = engine(&touchy());
        records.iter().for_each(|r| engine.record(r));
        engine.finish();
        assert_life(&alerts.lock().unwrap());
        prop_assert!(engine.status().iter().all(|s| s.running && s.entries == 0));
        let c = engine.counters();
        prop_assert_eq!(c.records, c.judged + c.without_packets + c.off_wall + c.off_clock);
    }

    #[test]
    fn the_order_within_a_tick_does_not_matter(seed in Just(mixed()).prop_shuffle()) {
        // All in one tick: judged together at the end.
        let now: Vec<_> = seed.iter().map(|r| {
            let set = |c: &Counters| Counters { first: at(1), last: at(1), ..*c };
            FlowRecord { forward: set(&r.forward), reverse: set(&r.reverse), ..*r }
        }).collect();
        let mut sorted = now.clone();
        sorted.sort_by_key(|r| r.key);
        prop_assert_eq!(lines(&now), lines(&sorted));
    }
}
