// SPDX-License-Identifier: MIT OR Apache-2.0
use std::net::IpAddr;

use weir_flow::{FlowRecord, Timestamp, protocol};

use crate::{Config, Figure, PortRange, Severity, testkit::*};

const KIND: &str = "vertical_scan";

fn scanner() -> IpAddr {
    v4(0xff_0001)
}

/// Ports from 1 on, a millisecond apart; 22 and 80 are open, above 500 filtered, the rest closed.
fn scan(target: IpAddr, ports: u16, probe: fn(IpAddr, IpAddr, u16, Timestamp, Port) -> Record) -> Vec<Record> {
    let source = if target.is_ipv6() { v6(0xffff) } else { scanner() };
    let state = |port| match port {
        22 | 80 => Port::Open,
        501.. => Port::Filtered,
        _ => Port::Closed,
    };
    (1..=ports).map(|p| probe(source, target, p, at(p.into()), state(p))).collect()
}

#[test]
fn a_scan_of_a_host_is_found_with_its_open_ports() {
    for target in [v4(1), v6(1)] {
        for probe in [syn, connect] {
            for records in [scan(target, 1_000, probe), uniflows(&scan(target, 1_000, probe))] {
                let alerts = run(&Config::default(), &records);
                let [alert] = &ended(&alerts, KIND)[..] else { panic!("{alerts:?}") };
                assert_eq!(alerts.len(), 2);
                assert_eq!((alert.port_count, alert.flows), (1_000, 1_000));
                assert_eq!(alert.ports, [PortRange { first: 1, last: 1_000 }]);
                assert_eq!(alert.targets.sample, [target]);
                assert_eq!(alert.measured("open_ports_found"), Some(&Figure::Text("22 80".to_owned())));
                assert_eq!(alert.measured("answers_closed"), Some(&Figure::Count(498)));
                assert_eq!(alert.severity, Severity::Medium);
                assert_eq!((alert.first_time, alert.last_time), (at(1), at(1_000)));
            }
        }
    }
    let alert = &ended(&run(&Config::default(), &scan(v4(1), 60, syn)), KIND)[0];
    assert_eq!(alert.evidence.filter, "src ip 10.255.0.1 and dst ip 10.0.0.1 and proto tcp and packets < 6");
}

#[test]
fn one_port_less_is_no_scan() {
    assert_eq!(run(&Config::default(), &scan(v4(1), 49, syn)), []);
    assert_eq!(ended(&run(&Config::default(), &scan(v4(1), 50, syn)), KIND).len(), 1);
}

#[test]
fn every_probe_sent_twice_is_still_a_scan() {
    // Upstream strikes out a port that comes again.
    for times in 2..=4_u32 {
        let records: Vec<_> = (0..600 * times)
            .map(|n| syn(scanner(), v4(1), (n / times) as u16 + 1, at(u64::from(n) * 20), Port::Filtered))
            .collect();
        let alerts = ended(&run(&Config::default(), &records), KIND);
        assert_eq!(alerts.iter().map(|a| a.port_count).collect::<Vec<_>>(), [600]);
        assert_eq!(alerts[0].measured("repeated"), Some(&Figure::Count(600 * u64::from(times) - 600)));
    }
}

#[test]
fn a_client_that_repeats_itself_is_no_scanner() {
    // 60 ports of a dead host, tried over and over within the five minutes.
    let records: Vec<_> = (0..3_000_u32)
        .map(|n| {
            syn(
                scanner(),
                v4(1),
                n as u16 % 10 + if n % 50 == 49 { n as u16 / 50 + 100 } else { 0 },
                at(u64::from(n) * 2),
                Port::Filtered,
            )
        })
        .collect();
    assert_eq!(run(&Config::default(), &records), []);
    // Many requests to many ports of a busy server.
    let busy: Vec<_> = (0..500_u16).map(|n| request(scanner(), v4(1), n, at(n.into()))).collect();
    assert_eq!(run(&Config::default(), &busy), []);
    assert_eq!(run(&Config::default(), &uniflows(&busy)), []);
}

#[test]
fn ports_must_be_within_the_window() {
    let slow = |secs: u64| -> Vec<_> {
        (1..=200).map(|p| syn(scanner(), v4(1), p, at(u64::from(p) * secs * 1_000), Port::Closed)).collect()
    };
    assert_eq!(ended(&run(&Config::default(), &slow(5)), KIND).len(), 1);
    assert_eq!(run(&Config::default(), &slow(7)), []);
}

#[test]
fn a_resolver_and_a_traceroute_are_no_scanners() {
    // Answers of a server go to a new port each time.
    let resolver: Vec<_> =
        (0..500_u16).map(|n| udp(scanner(), v4(1), (30_000 + n, 53), at(n.into()), (1, 70), (1, 200))).collect();
    assert_eq!(run(&Config::default(), &resolver), []);
    assert_eq!(run(&Config::default(), &uniflows(&resolver)), []);
    // The same with a server above the system ports.
    let game: Vec<_> =
        (0..500_u16).map(|n| udp(scanner(), v4(1), (30_000 + n, 9_987), at(n.into()), (1, 70), (1, 200))).collect();
    assert_eq!(run(&Config::default(), &uniflows(&game)), []);
    let traceroute: Vec<_> =
        (0..90).map(|n| udp(scanner(), v4(1), (40_000 + n, 33_434 + n), at(n.into()), (1, 60), (0, 0))).collect();
    assert_eq!(run(&Config::default(), &traceroute), []);
}

#[test]
fn a_udp_scan_is_found_with_what_answered_and_what_refused() {
    let mut records = Vec::new();
    for port in 1..=200_u16 {
        let answer = if port == 161 { (1, 90) } else { (0, 0) };
        records.push(udp(scanner(), v4(1), (40_000, port), at(u64::from(port) * 10), (1, 28), answer));
        if port < 100 {
            let ts = at(u64::from(port) * 10);
            let icmp = flow(v4(1), scanner(), (0, 0), protocol::ICMP, ts, (1, 56, 0), (0, 0, 0));
            records.push(FlowRecord { icmp_type_code: Some(0x0303), ..icmp });
        }
    }
    let alerts = ended(&run(&Config::default(), &records), KIND);
    assert_eq!(alerts.len(), 1);
    // The port that answered is not among those counted, but it was found.
    assert_eq!(alerts[0].port_count, 199);
    assert_eq!(alerts[0].measured("open_ports_found"), Some(&Figure::Text("161".to_owned())));
    // The first refusal may come before there is a case.
    assert_eq!(alerts[0].measured("answers_closed"), Some(&Figure::Count(99)));
}

#[test]
fn a_scan_of_many_hosts_does_not_flood_the_analyst() {
    let records: Vec<_> =
        (0..40 * 60_u32).map(|n| syn(scanner(), v4(n / 60), (n % 60) as u16 + 1, at(n.into()), Port::Closed)).collect();
    let alerts = run(&Config::default(), &records);
    assert_eq!(ended(&alerts, KIND).len(), 32);
    assert_eq!(ended(&alerts, "block_scan").len(), 0, "40 hosts are below the threshold of hosts");
}
