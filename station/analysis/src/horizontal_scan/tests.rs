// SPDX-License-Identifier: MIT OR Apache-2.0
use std::net::IpAddr;

use weir_flow::{FlowRecord, protocol, tcp_flags};

use crate::{Config, Figure, PortRange, Severity, testkit::*};

const KIND: &str = "horizontal_scan";

fn scanner() -> IpAddr {
    v4(0xff_0001)
}

/// One port on `hosts` hosts, ten milliseconds apart: every tenth open, every third closed, the rest silent.
fn sweep(hosts: u32, port: u16, probe: fn(IpAddr, IpAddr, u16, weir_flow::Timestamp, Port) -> Record) -> Vec<Record> {
    let state = |n: u32| match n {
        _ if n.is_multiple_of(10) => Port::Open,
        _ if n.is_multiple_of(3) => Port::Closed,
        _ => Port::Filtered,
    };
    (0..hosts).map(|n| probe(scanner(), v4(n), port, at(u64::from(n) * 10), state(n))).collect()
}

#[test]
fn a_sweep_of_a_network_is_found_with_all_that_it_touched() {
    for probe in [syn, connect] {
        for records in [sweep(256, 22, probe), uniflows(&sweep(256, 22, probe))] {
            let alerts = run(&Config::default(), &records);
            let [alert] = &ended(&alerts, KIND)[..] else { panic!("{alerts:?}") };
            assert_eq!(alerts.len(), 2, "one attack: {alerts:?}");
            assert_eq!(alert.sources.sample, [scanner()]);
            assert_eq!((alert.targets.count, alert.targets.exact), (256, true));
            assert_eq!(alert.targets.sample, (0..16).map(v4).collect::<Vec<_>>());
            assert_eq!(alert.targets.prefixes, ["10.0.0.0/24".parse().unwrap()]);
            assert_eq!(alert.ports, [PortRange::one(22)]);
            assert_eq!((alert.flows, alert.protocol), (256, protocol::TCP));
            assert_eq!((alert.first_time, alert.last_time), (at(0), at(2_550)));
            assert_eq!(alert.measured("answers_open"), Some(&Figure::Count(26)));
            assert_eq!(alert.severity, Severity::Medium);
            let Some(Figure::Text(found)) = alert.measured("open_ports_found") else { panic!("{alert:?}") };
            assert!(found.starts_with("10.0.0.0:22 10.0.0.10:22 "), "{found}");
            assert_eq!(alert.evidence.window, "2023/11/14.22:13:20-2023/11/14.22:13:23");
            assert_eq!(alert.evidence.filter, "src ip 10.255.0.1 and proto tcp and dst port 22 and packets < 6");
        }
    }
}

#[test]
fn one_host_less_is_no_scan() {
    assert_eq!(run(&Config::default(), &sweep(49, 22, syn)), []);
    assert_eq!(ended(&run(&Config::default(), &sweep(50, 22, syn)), KIND).len(), 1);
}

#[test]
fn a_client_with_business_is_no_scanner() {
    // A crawler: 60 of its 1,000 servers are dead.
    let records: Vec<_> = (0..1_000)
        .map(|n| {
            let ts = at(u64::from(n) * 100);
            if n % 16 == 0 {
                syn(scanner(), v4(n), 443, ts, Port::Filtered)
            } else {
                request(scanner(), v4(n), 443, ts)
            }
        })
        .collect();
    assert_eq!(run(&Config::default(), &records), []);
    assert_eq!(run(&Config::default(), &uniflows(&records)), []);
    // A peer-to-peer client: 200 dead peers, each on a port of its own.
    let peers: Vec<_> =
        (0..200).map(|n| syn(scanner(), v4(n), 20_000 + n as u16, at(u64::from(n)), Port::Filtered)).collect();
    assert_eq!(run(&Config::default(), &peers), []);
}

#[test]
fn targets_must_be_within_the_window() {
    // One host per minute: 50 within 50 minutes. One per two minutes: never more than 30 in an hour.
    let slow = |secs: u64| -> Vec<_> {
        (0..200).map(|n| syn(scanner(), v4(n), 23, at(u64::from(n) * secs * 1_000), Port::Closed)).collect()
    };
    assert_eq!(ended(&run(&Config::default(), &slow(60)), KIND).len(), 1);
    assert_eq!(run(&Config::default(), &slow(120)), []);
    // Slower than the idle timeout.
    assert_eq!(run(&Config::default(), &slow(301)), []);
}

#[test]
fn a_threshold_above_255_fires() {
    // Upstream counts targets in eight bits.
    let mut config = Config::default();
    config.horizontal_scan.min_targets = 300;
    assert_eq!(run(&config, &sweep(299, 22, syn)), []);
    let alerts = ended(&run(&config, &sweep(300, 22, syn)), KIND);
    assert_eq!(alerts.len(), 1);
}

#[test]
fn a_repeated_sweep_reports_each_host_once() {
    // Upstream forgets the targets at each alert, and reports 200.
    let mut config = Config::default();
    config.horizontal_scan.min_targets = 30;
    let records: Vec<_> =
        (0..200).map(|n| syn(scanner(), v4(n % 40), 22, at(u64::from(n) * 20), Port::Closed)).collect();
    let alerts = ended(&run(&config, &records), KIND);
    assert_eq!(alerts.iter().map(|a| (a.targets.count, a.flows)).collect::<Vec<_>>(), [(40, 200)]);
}

#[test]
fn a_long_scan_is_updated_and_a_pause_ends_it() {
    let mut records: Vec<_> =
        (0..700).map(|n| syn(scanner(), v4(n), 22, at(u64::from(n) * 1_000), Port::Closed)).collect();
    records.extend((0..60).map(|n| syn(scanner(), v4(n), 22, at(1_200_000 + u64::from(n) * 1_000), Port::Closed)));
    let alerts = run(&Config::default(), &records);
    let states: Vec<_> = alerts.iter().map(|a| (a.state, a.sequence)).collect();
    use crate::AlertState::{Ended, New, Update};
    assert_eq!(states, [(New, 0), (Update, 1), (Update, 2), (Ended, 3), (New, 0), (Ended, 1)]);
    assert_ne!(alerts[0].id, alerts[5].id);
    let (count, exact) = (alerts[3].targets.count, alerts[3].targets.exact);
    assert!(!exact && (650..750).contains(&count), "{count}");
    assert_eq!(alerts[3].targets.prefixes, ["10.0.0.0/23".parse().unwrap()]);
}

#[test]
fn two_ports_on_many_hosts_are_two_scans_and_a_block() {
    let records: Vec<_> = (0..512)
        .map(|n| syn(scanner(), v4(n / 2), [80, 443][n as usize % 2], at(u64::from(n)), Port::Filtered))
        .collect();
    let alerts = run(&Config::default(), &records);
    let ports: Vec<_> = ended(&alerts, KIND).iter().map(|a| a.ports[0].first).collect();
    assert_eq!(ports, [80, 443]);
    let [block] = &ended(&alerts, "block_scan")[..] else { panic!("{alerts:?}") };
    assert_eq!((block.targets.count, block.port_count), (256, 2));
    assert_eq!(block.evidence.filter, "src ip 10.255.0.1 and proto tcp and packets < 6");
}

#[test]
fn a_scan_of_many_ports_does_not_flood_the_analyst() {
    let records: Vec<_> = (0..60 * 100)
        .map(|n| syn(scanner(), v4(n % 60), (n / 60) as u16 + 1, at(u64::from(n)), Port::Closed))
        .collect();
    let alerts = run(&Config::default(), &records);
    assert_eq!(ended(&alerts, KIND).len(), 8);
    let [block] = &ended(&alerts, "block_scan")[..] else { panic!("{alerts:?}") };
    assert_eq!((block.port_count, block.targets.count, block.flows), (100, 60, 6_000));
}

#[test]
fn udp_and_ping_sweeps_are_found_and_answered_ones_are_not() {
    let sweep = |answer: fn(u32) -> (u64, u64)| -> Vec<_> {
        (0..100).map(|n| udp(scanner(), v4(n), (40_000, 161), at(u64::from(n)), (1, 60), answer(n))).collect()
    };
    let silent = sweep(|n| if n % 8 == 0 { (1, 90) } else { (0, 0) });
    for records in [silent.clone(), uniflows(&silent)] {
        let alerts = ended(&run(&Config::default(), &records), KIND);
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        assert!(alerts[0].confidence < 0.7);
    }
    // A resolver asks 1,000 servers, of which every tenth is dead.
    let resolver: Vec<_> = (0..1_000)
        .map(|n| {
            let answer = if n % 10 == 0 { (0, 0) } else { (1, 200) };
            udp(scanner(), v4(n), (40_000 + n as u16, 53), at(u64::from(n)), (1, 70), answer)
        })
        .collect();
    assert_eq!(run(&Config::default(), &resolver), []);
    assert_eq!(run(&Config::default(), &uniflows(&resolver)), []);

    let ping = |n: u32| {
        let reverse = if n.is_multiple_of(4) { (1, 84, 0) } else { (0, 0, 0) };
        let flow = flow(scanner(), v4(n), (0, 0), protocol::ICMP, at(u64::from(n)), (1, 28, 0), reverse);
        FlowRecord { icmp_type_code: Some(0x0800), ..flow }
    };
    let alerts = ended(&run(&Config::default(), &(0..100).map(ping).collect::<Vec<_>>()), KIND);
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].measured("answers_open"), Some(&Figure::Count(25)));
    assert_eq!((alerts[0].port_count, alerts[0].ports.len()), (0, 0));
}

#[test]
fn fin_and_xmas_scans_are_found() {
    use tcp_flags::{FIN, PSH, URG};
    for flags in [FIN, FIN | PSH | URG] {
        let records: Vec<_> = (0..50)
            .map(|n| flow(scanner(), v4(n), (40_000, 80), protocol::TCP, at(n.into()), (1, 40, flags), (0, 0, 0)))
            .collect();
        assert_eq!(ended(&run(&Config::default(), &records), KIND).len(), 1);
    }
}

#[test]
fn ipv6_is_no_different_and_a_scanner_that_changes_addresses_is_one() {
    let one: Vec<_> = (0..60).map(|n| syn(v6(0xffff), v6(n), 22, at(n.into()), Port::Closed)).collect();
    let alert = &ended(&run(&Config::default(), &one), KIND)[0];
    assert_eq!(alert.targets.count, 60);
    assert!(alert.evidence.filter.starts_with("src ip 2001:db8::ffff and"), "{}", alert.evidence.filter);

    let many: Vec<_> = (0..60).map(|n| syn(v6(0xffff_0000 + n), v6(n), 22, at(n.into()), Port::Closed)).collect();
    let alert = &ended(&run(&Config::default(), &many), KIND)[0];
    assert!(alert.evidence.filter.starts_with("src net 2001:db8::/64 and"), "{}", alert.evidence.filter);
    assert_eq!((alert.sources.count, alert.sources.exact), (16, false));
    let mut config = Config::default();
    config.horizontal_scan.v6_source_prefix = 128;
    assert_eq!(run(&config, &many), []);
}

#[test]
fn what_is_allowed_is_counted_and_left_out() {
    let mut config = Config::default();
    config.horizontal_scan.allow.sources = vec!["10.255.0.0/16".parse().unwrap()];
    let (mut engine, alerts) = engine(&config);
    sweep(100, 22, syn).iter().for_each(|r| weir_flow::RecordSink::record(&mut engine, r));
    engine.finish();
    assert!(alerts.lock().unwrap().is_empty());
    let status = engine.status();
    assert_eq!(status.iter().find(|s| s.slug == KIND).map(|s| s.activity.records_allowed), Some(100));
}
