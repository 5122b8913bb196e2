// SPDX-License-Identifier: MIT OR Apache-2.0
use std::net::IpAddr;

use weir_flow::{
    FlowRecord,
    app::{AppRef, Dns},
};

use super::{Case, Exchange, Sizes, Sums};
use crate::{AlertState, Config, Figure, PortRange, testkit::*};

const SERVER: &str = "amplification_server";
const VICTIM: &str = "amplification_victim";

fn victim() -> IpAddr {
    v4(0xcc_0001)
}

fn server() -> IpAddr {
    v4(0x35)
}

/// So many queries in flows of their own, 100 a second, each answered with `answer` packets and octets.
fn queries(n: u32, answer: (u64, u64)) -> Vec<Record> {
    (0..n)
        .map(|n| udp(victim(), server(), (1_024 + n as u16 % 50_000, 53), at(u64::from(n) * 10), (1, 64), answer))
        .collect()
}

#[test]
fn an_abused_server_is_found() {
    for records in [queries(4_000, (3, 3_000)), uniflows(&queries(4_000, (3, 3_000)))] {
        let alerts = run(&Config::default(), &records);
        let [alert] = &ended(&alerts, SERVER)[..] else { panic!("{alerts:?}") };
        assert_eq!(ended(&alerts, VICTIM), [], "one server is not distributed");
        assert_eq!((&alert.sources.sample[..], &alert.targets.sample[..]), (&[server()][..], &[victim()][..]));
        assert_eq!((alert.flows, alert.packets, alert.octets), (4_000, 12_000, 12_000_000));
        assert_eq!(alert.measured("query_octets"), Some(&Figure::Count(256_000)));
        assert_eq!(alert.measured("amplification"), Some(&Figure::Ratio(46.875)));
        assert_eq!(alert.measured("service"), Some(&Figure::Text("dns".to_owned())));
        assert_eq!(alert.ports, [PortRange::one(53)]);
        assert_eq!(alert.evidence.filter, "ip 10.0.0.53 and ip 10.204.0.1 and proto udp and port 53");
        assert_eq!((alert.first_time, alert.last_time), (at(0), at(39_990)));
        assert_eq!(alert.sources.roles, ["Backscatter"]);
    }
}

#[test]
fn what_is_small_or_little_or_answered_alike_is_clean() {
    // Below both volumes by one.
    assert_eq!(run(&Config::default(), &queries(999, (3, 3_000))), []);
    assert_ne!(run(&Config::default(), &queries(1_000, (3, 3_000))), []);
    // A busy resolver: much, but small and not amplified.
    assert_eq!(run(&Config::default(), &queries(20_000, (1, 180))), []);
    // Large answers to large queries, as over a tunnel.
    let both: Vec<_> =
        (0..5_000_u32).map(|n| udp(victim(), server(), (2_000, 53), at(u64::from(n)), (1, 900), (1, 1_400))).collect();
    assert_eq!(run(&Config::default(), &both), []);
    // The volume of an attack, spread over a day.
    let slow: Vec<_> = (0..10_000_u32)
        .map(|n| udp(victim(), server(), (2_000, 53), at(u64::from(n) * 8_640), (1, 64), (3, 3_000)))
        .collect();
    assert_eq!(run(&Config::default(), &slow), []);
}

#[test]
fn the_strongest_attack_is_an_attack() {
    // Upstream writes very large answers to a log and raises no alert. One flow, ten packets for each, cut by the active
    // timeout.
    let strong = udp(victim(), server(), (4_444, 53), at(0), (20_000, 1_280_000), (200_000, 280_000_000));
    assert_eq!(ended(&run(&Config::default(), &[strong]), SERVER).len(), 1);
}

#[test]
fn values_of_one_bin_are_summed() {
    // Upstream keeps the last of them.
    let mut sizes = Sizes::default();
    for octets in [1_024, 1_100, 1_200, 1_300, 2_047] {
        sizes.add(&Sums { response_packets: 3, response_octets: 3 * octets, ..Sums::default() });
    }
    assert_eq!(sizes.0[10], 15);
    assert_eq!(sizes.common(), 2_048);
}

#[test]
fn a_victim_sees_responses_that_it_never_asked_for() {
    // 40 reflectors, each with too little to be noticed alone.
    let responses = |servers: u32| -> Vec<_> {
        (0..4_000).map(|n| udp(v4(n % servers), victim(), (53, 80), at(u64::from(n) * 5), (2, 2_900), (0, 0))).collect()
    };
    let alerts = run(&Config::default(), &responses(40));
    assert_eq!(ended(&alerts, SERVER), []);
    let [alert] = &ended(&alerts, VICTIM)[..] else { panic!("{alerts:?}") };
    assert_eq!((alert.sources.count, alert.sources.sample.len()), (40, 16));
    assert_eq!(alert.measured("query_packets"), Some(&Figure::Count(0)));
    assert!(alert.description.contains("unsolicited"), "{}", alert.description);
    assert_eq!(alert.evidence.filter, "ip 10.204.0.1 and proto udp and port 53");
    assert_eq!(ended(&run(&Config::default(), &responses(19)), VICTIM), []);
    let one = run(&Config::default(), &responses(1));
    assert_eq!((ended(&one, SERVER).len(), ended(&one, VICTIM).len()), (1, 0));
}

#[test]
fn other_services_and_ipv6_are_seen_and_own_networks_restrict() {
    let ntp: Vec<_> = (0..100)
        .map(|n| udp(v6(1), v6(2), (123, 123), at(n * 100), (100, 46_800), (0, 0)))
        .chain([udp(v6(2), v6(1), (123, 123), at(0), (100, 23_400), (0, 0))])
        .collect();
    let alerts = ended(&run(&Config::default(), &ntp), SERVER);
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0].sources.sample, [v6(1)]);
    assert!(alerts[0].description.starts_with("NTP amplification of 2001:db8::2"), "{}", alerts[0].description);

    let mut config = Config::default();
    config.dns_amplification.networks = vec!["2001:db8::2".parse().unwrap()];
    assert_eq!(ended(&run(&config, &ntp), SERVER), [], "the server is not ours");
    config.dns_amplification.networks = vec!["2001:db8::1".parse().unwrap()];
    assert_eq!(ended(&run(&config, &ntp), SERVER).len(), 1);
}

#[test]
fn dns_fields_say_what_was_asked() {
    let mut dns = Dns { query_type: Some(255), ..Dns::default() };
    dns.query_name.set(b"isc.org", &mut dns.memory);
    let mut other = Dns { query_type: Some(1), ..Dns::default() };
    other.query_name.set(b"www.example.com", &mut other.memory);
    let (mut engine, alerts) = engine(&Config::default());
    for (n, record) in queries(2_000, (3, 3_000)).iter().enumerate() {
        let app = Some(AppRef::Dns(if n % 5 == 0 { &other } else { &dns }));
        weir_flow::RecordSink::record(&mut engine, &FlowRecord { app, ..*record });
    }
    engine.finish();
    let alert = ended(&alerts.lock().unwrap(), SERVER).remove(0);
    assert_eq!(alert.measured("query_name"), Some(&Figure::Text("isc.org".to_owned())));
    assert_eq!(alert.measured("amplifying_query_types"), Some(&Figure::Ratio(0.8)));
    assert_eq!(alert.confidence, 0.8);
}

#[test]
fn an_attack_ends_when_it_calms_though_traffic_goes_on() {
    let mut records = queries(4_000, (3, 3_000));
    records.extend((0..1_200_u32).map(|n| {
        udp(victim(), server(), (2_000 + n as u16, 53), at(60_000 + u64::from(n) * 1_000), (1, 64), (1, 200))
    }));
    let alerts = run(&Config::default(), &records);
    let states: Vec<_> = alerts.iter().map(|a| a.state).collect();
    assert_eq!(states, [AlertState::New, AlertState::Ended]);
    assert!(alerts[1].detect_time < at(400_000), "{}", alerts[1].detect_time.as_secs() - START);
}

#[test]
fn a_flow_over_minutes_is_spread_with_its_exact_sum() {
    let sums =
        |n| Sums { query_flows: 1, query_octets: n, response_packets: 7, response_octets: 1_003, ..Sums::default() };
    for (first, last, kept) in [(59, 61, 2), (0, 299, 5), (0, 3_600, 5), (61, 61, 1), (100, 90, 1)] {
        let mut case = Case::default();
        let exchange = Exchange {
            server: server(),
            client: victim(),
            port: 53,
            sums: sums(11),
            first: weir_flow::Timestamp::from_secs(first),
            last: weir_flow::Timestamp::from_secs(last),
            rate: 1,
        };
        case.spread(&exchange, 5);
        assert_eq!(case.minutes.len(), kept, "{first} {last}");
        let mut total = Sums::default();
        case.minutes.iter().for_each(|b| total.add(&b.sums));
        if last < 300 {
            assert_eq!(total, sums(11));
        } else {
            // Of 61 minutes, 56 are before the window.
            assert_eq!(total.response_octets, 1_003 - 1_003 / 61 * 56);
        }
        assert_eq!(total.query_flows, 1, "a flow is counted in the minute in which it ended");
    }
}
