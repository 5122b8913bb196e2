// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records for tests: what scans and answers look like as biflows, and the same as uniflows.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex},
};

use weir_flow::{Counters, FlowKey, FlowRecord, RecordSink, Timestamp, protocol, tcp_flags::*};

use crate::{Alert, AlertState, Config, Engine};

pub type Record = FlowRecord<'static>;

/// Where the tests' time begins, in seconds.
pub const START: u64 = 1_700_000_000;

/// Time in milliseconds since [`START`].
pub fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(START * 1_000 + millis)
}

pub fn v4(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n))
}

pub fn v6(n: u32) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) + u128::from(n)))
}

/// Packets, octets, control bits.
pub type Side = (u64, u64, u16);

pub fn flow(
    src: IpAddr,
    dst: IpAddr,
    ports: (u16, u16),
    proto: u8,
    ts: Timestamp,
    forward: Side,
    reverse: Side,
) -> Record {
    let counters = |(packets, octets, tcp_flags)| match packets {
        0 => Counters::default(),
        _ => Counters { packets, octets, first: ts, last: ts, tcp_flags },
    };
    FlowRecord {
        key: FlowKey::new(src, dst, ports.0, ports.1, proto),
        forward: counters(forward),
        reverse: counters(reverse),
        ..FlowRecord::default()
    }
}

/// What a SYN scan meets.
#[derive(Clone, Copy)]
pub enum Port {
    Filtered,
    Closed,
    Open,
}

/// One probe of `nmap -sS`.
pub fn syn(src: IpAddr, dst: IpAddr, port: u16, ts: Timestamp, state: Port) -> Record {
    let (forward, reverse) = match state {
        Port::Filtered => ((1, 44, SYN), (0, 0, 0)),
        Port::Closed => ((1, 44, SYN), (1, 40, RST | ACK)),
        Port::Open => ((2, 84, SYN | RST), (1, 44, SYN | ACK)),
    };
    flow(src, dst, (40_000, port), protocol::TCP, ts, forward, reverse)
}

/// One probe of `nmap -sT`.
pub fn connect(src: IpAddr, dst: IpAddr, port: u16, ts: Timestamp, state: Port) -> Record {
    let (forward, reverse) = match state {
        Port::Filtered => ((2, 120, SYN), (0, 0, 0)),
        Port::Closed => ((1, 60, SYN), (1, 40, RST | ACK)),
        Port::Open => ((3, 164, SYN | ACK | RST), (1, 60, SYN | ACK)),
    };
    flow(src, dst, (50_000 + port % 10_000, port), protocol::TCP, ts, forward, reverse)
}

/// A request and its answer.
pub fn request(src: IpAddr, dst: IpAddr, port: u16, ts: Timestamp) -> Record {
    let all = SYN | ACK | PSH | FIN;
    flow(src, dst, (51_000, port), protocol::TCP, ts, (6, 900, all), (8, 9_000, all))
}

/// Datagrams and their answers.
pub fn udp(
    src: IpAddr,
    dst: IpAddr,
    ports: (u16, u16),
    ts: Timestamp,
    forward: (u64, u64),
    reverse: (u64, u64),
) -> Record {
    flow(src, dst, ports, protocol::UDP, ts, (forward.0, forward.1, 0), (reverse.0, reverse.1, 0))
}

/// The same traffic from an exporter of uniflows: the initiator's record first.
pub fn uniflows(records: &[Record]) -> Vec<Record> {
    let mut out = Vec::new();
    for record in records {
        out.push(FlowRecord { reverse: Counters::default(), ..*record });
        if record.reverse.packets > 0 {
            let key = record.key.reversed();
            out.push(FlowRecord { key, forward: record.reverse, reverse: Counters::default(), ..*record });
        }
    }
    out
}

/// An engine whose alerts are collected.
pub fn engine(config: &Config) -> (Engine, Arc<Mutex<Vec<Alert>>>) {
    let alerts = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&alerts);
    (Engine::new(config, Box::new(move |alert: &Alert| sink.lock().unwrap().push(alert.clone()))), alerts)
}

/// All alerts of the records, to the end of the input.
pub fn run(config: &Config, records: &[Record]) -> Vec<Alert> {
    let (mut engine, alerts) = engine(config);
    records.iter().for_each(|r| engine.record(r));
    engine.finish();
    let alerts = std::mem::take(&mut *alerts.lock().unwrap());
    assert_life(&alerts);
    alerts
}

/// The last alerts of all attacks of a kind.
pub fn ended(alerts: &[Alert], kind: &str) -> Vec<Alert> {
    alerts.iter().filter(|a| a.state == AlertState::Ended && a.kind == kind).cloned().collect()
}

/// Every attack is new once, first; ended once, last; and its sequence has no gap.
pub fn assert_life(alerts: &[Alert]) {
    let mut ids: Vec<_> = alerts.iter().map(|a| a.id).collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        let life: Vec<_> = alerts.iter().filter(|a| a.id == id).collect();
        for (i, alert) in life.iter().enumerate() {
            let expected = match i {
                0 => AlertState::New,
                _ if i + 1 == life.len() => AlertState::Ended,
                _ => AlertState::Update,
            };
            assert_eq!((alert.sequence as usize, alert.state), (i, expected), "{id}");
            assert!(alert.first_time <= alert.last_time, "{alert:?}");
            assert!((0.0..=1.0).contains(&alert.confidence), "{alert:?}");
        }
        assert!(life.len() >= 2, "{id} was never ended");
    }
}
