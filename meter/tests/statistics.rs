// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flow statistics of packets whose answers are known by hand, and of any sequence of segments against a plain model.

#![expect(clippy::unwrap_used, reason = "a meter without memory fails the test")]

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use weir_flow::{
    FlowRecord, LinkType, Merged, Packet, Statistics, Timestamp, Value,
    app::Fields,
    ledger::Ledger,
    tcp_flags::{ACK, FIN, PSH, SYN},
};
use weir_metering::{Groups, MeterConfig, Share, Worker};

const MICRO: u64 = 1000;
const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const BEGIN: u64 = 1_700_000_000 * SECOND;

const ALL: Groups =
    Groups { packets: 30, histograms: true, bursts: true, entropy: true, tcp: true, ip: true, empty: false };

/// A frame, when it came, how long it was on the wire, and of how many it was merged.
#[derive(Clone, Debug)]
struct Seen {
    frame: Vec<u8>,
    ts: u64,
    wire_octets: u32,
    merged: Merged,
}

impl Seen {
    fn new(frame: Vec<u8>, ts: u64) -> Self {
        let wire_octets = frame.len() as u32;
        Self { frame, ts: BEGIN + ts, wire_octets, merged: Merged::NOT }
    }
}

/// One segment of a connection from 10.0.0.1:40000 to 10.0.0.2:443.
#[derive(Clone, Copy, Debug)]
struct Segment<'a> {
    from_server: bool,
    sequence: u32,
    acknowledgment: u32,
    flags: u16,
    window: u16,
    options: &'a [u8],
    payload: &'a [u8],
}

impl Segment<'_> {
    const CLIENT: Segment<'static> = Segment {
        from_server: false,
        sequence: 1001,
        acknowledgment: 5001,
        flags: ACK,
        window: 502,
        options: &[],
        payload: &[],
    };
    const SERVER: Segment<'static> =
        Segment { from_server: true, sequence: 5001, acknowledgment: 1101, window: 509, ..Self::CLIENT };

    fn at(&self, ts: u64) -> Seen {
        let (src, dst): ([u8; 4], [u8; 4]) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        let (from, to, ttl, ports) = match self.from_server {
            false => (src, dst, 64, [0x9c, 0x40, 0x01, 0xbb]),
            true => (dst, src, 57, [0x01, 0xbb, 0x9c, 0x40]),
        };
        let header = 20 + self.options.len();
        let total = (20 + header + self.payload.len()) as u16;
        let [high, low] = total.to_be_bytes();
        let tos = if self.from_server { 0x28 } else { 0 };
        let mut frame = [&[2; 12][..], &[8, 0, 0x45, tos, high, low, 0, 0, 0x40, 0, ttl, 6, 0, 0], &from, &to].concat();
        frame.extend(ports);
        frame.extend(self.sequence.to_be_bytes());
        frame.extend(self.acknowledgment.to_be_bytes());
        frame.extend(((header as u16 / 4) << 12 | self.flags).to_be_bytes());
        frame.extend(self.window.to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(self.options);
        frame.extend(self.payload);
        Seen::new(frame, ts)
    }
}

/// A datagram of so many octets from a port to port 53.
fn datagram(port: u16, payload: &[u8], ts: u64) -> Seen {
    let octets = |headers: usize| ((headers + payload.len()) as u16).to_be_bytes();
    let mut frame = [&[2; 12][..], &[8, 0, 0x45, 0], &octets(28), &[0, 0, 0, 0, 64, 17, 0, 0]].concat();
    frame.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(port.to_be_bytes());
    frame.extend([0, 53]);
    frame.extend(octets(8));
    frame.extend([0, 0]);
    frame.extend(payload);
    Seen::new(frame, ts)
}

/// Statistics of the records in the order in which they came.
fn measured(config: &MeterConfig, seen: &[Seen]) -> (Vec<Option<Statistics>>, Ledger) {
    let mut records = Vec::new();
    let sink = |record: &FlowRecord<'_>| records.push(record.statistics.cloned());
    let mut worker = Worker::new(config, Share::ALL, sink).unwrap();
    for Seen { frame, ts, wire_octets, merged } in seen {
        worker.packets(&[Packet {
            data: frame,
            wire_octets: *wire_octets,
            ts: Timestamp::from_nanos(*ts),
            interface: 1,
            link: LinkType::ETHERNET,
            merged: *merged,
        }]);
    }
    let (ledger, _) = worker.finish();
    (records, ledger)
}

fn config(statistics: Groups) -> MeterConfig {
    MeterConfig { flows: 1000, app_flows: 0, statistics, hash_seed: Some(1), ..MeterConfig::default() }
}

/// The only record.
fn one(statistics: Groups, seen: &[Seen]) -> Statistics {
    let (records, _) = measured(&config(statistics), seen);
    let [Some(statistics)] = &records[..] else { unreachable!("{records:?}") };
    statistics.clone()
}

/// What is set, by name.
fn values(statistics: &Statistics) -> BTreeMap<&'static str, String> {
    let values = Statistics::FIELDS.iter().enumerate();
    values.filter_map(|(field, name)| Some((*name, format!("{:?}", statistics.value(field)?)))).collect()
}

/// Times of a list, in microseconds after [`BEGIN`].
fn micros(value: Option<Value<'_>>) -> Vec<u64> {
    let Some(Value::List(list)) = value else { return Vec::new() };
    let since = |value| match value {
        Value::Time(ts) => (ts.as_nanos() - BEGIN) / MICRO,
        other => unreachable!("{other:?}"),
    };
    list.iter().map(since).collect()
}

/// A connection with something of everything.
fn connection() -> Vec<Seen> {
    let (client, server) = (Segment::CLIENT, Segment::SERVER);
    // MSS 1460, SACK permitted, timestamps, no operation, window scale 7.
    let of_client = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
    // MSS 1400, no operation, window scale 9.
    let of_server = [2, 4, 5, 0x78, 1, 3, 3, 9];
    let data = |sequence: u32, ts: u64| {
        let payload: Vec<u8> = (0..1000_u32).map(|i| (sequence - 5001 + i) as u8).collect();
        Segment { sequence, payload: &payload, flags: ACK | PSH, ..server }.at(ts)
    };
    let syn = Segment { sequence: 1000, acknowledgment: 0, flags: SYN, window: 64_240, ..client };
    let syn_ack = Segment { sequence: 5000, acknowledgment: 1001, flags: SYN | ACK, window: 65_160, ..server };
    let request = Segment { payload: &[b'a'; 100], flags: ACK | PSH, ..client };
    let ack = |acknowledgment: u32, window: u16| Segment { sequence: 1101, acknowledgment, window, ..client };
    let fin = Segment { sequence: 8001, flags: FIN | ACK, ..server };
    vec![
        Segment { options: &of_client, ..syn }.at(0),
        Segment { options: &of_server, ..syn_ack }.at(10 * MILLI),
        client.at(12_500 * MICRO),
        request.at(13 * MILLI),
        server.at(23 * MILLI),
        data(5001, 40 * MILLI),
        // 6001 is missing.
        data(7001, 40_100 * MICRO),
        ack(6001, 501).at(40_200 * MICRO),
        // The same once more: a duplicate acknowledgment.
        ack(6001, 501).at(40_300 * MICRO),
        // Within a round trip: it was only late.
        data(6001, 41 * MILLI),
        // Everybody had it.
        data(6001, 60 * MILLI),
        // No room.
        ack(8001, 0).at(61 * MILLI),
        // A probe.
        Segment { sequence: 8000, payload: &[0], ..server }.at(1061 * MILLI),
        fin.at(1062 * MILLI),
        Segment { flags: FIN | ACK, ..ack(8002, 501) }.at(1063 * MILLI),
    ]
}

#[test]
fn a_connection_is_measured_as_by_hand() {
    let statistics = one(ALL, &connection());
    let mut values = values(&statistics);
    let names = ["packet_times", "reverse_burst_starts", "reverse_burst_ends"];
    let times = names.map(|name| {
        values.remove(name).unwrap();
        micros(statistics.value(Statistics::field(name)))
    });
    assert_eq!(times, [vec![13_000, 40_000, 40_100, 41_000, 60_000, 1_061_000], vec![40_000], vec![60_000]]);
    let expected = [
        ("packet_lengths", "[100, 1000, 1000, 1000, 1000, 1]"),
        // PSH and ACK; ACK.
        ("packet_flags", "[24, 24, 24, 24, 24, 16]"),
        ("packet_directions", "[1, -1, -1, -1, -1, -1]"),
        // 100 is from 64 to 127.
        ("size_histogram", "[0, 0, 0, 1, 0, 0, 0, 0]"),
        ("time_histogram", "[0, 0, 0, 0, 0, 0, 0, 0]"),
        // 1; four times 1000, which is from 512 to 1023.
        ("reverse_size_histogram", "[1, 0, 0, 0, 0, 0, 4, 0]"),
        // 0.1 and 0.9; 19; 1001 milliseconds.
        ("reverse_time_histogram", "[2, 1, 0, 0, 0, 0, 1, 0]"),
        // The probe came more than a second after it.
        ("reverse_burst_packets", "[4]"),
        ("reverse_burst_octets", "[4000]"),
        ("entropy", "0"),
        ("entropy_octets", "100"),
        // Each octet once: eight bits.
        ("reverse_entropy", "8000"),
        ("reverse_entropy_octets", "256"),
        ("server_round_trip", "10000"),
        ("client_round_trip", "2500"),
        ("handshake_time", "12500"),
        // From 13 to 40 milliseconds; the acknowledgment at 23 is no response.
        ("response_time", "27000"),
        ("retransmissions", "0"),
        ("reverse_retransmissions", "1"),
        ("out_of_order", "0"),
        ("reverse_out_of_order", "1"),
        ("duplicate_acks", "1"),
        ("reverse_duplicate_acks", "0"),
        ("zero_windows", "1"),
        ("reverse_zero_windows", "0"),
        ("window", "64240"),
        ("reverse_window", "65160"),
        ("mss", "1460"),
        ("reverse_mss", "1400"),
        ("window_scale", "7"),
        ("reverse_window_scale", "9"),
        // Kinds 1, 2, 3, 4 and 8; 1, 2 and 3.
        ("tcp_options", "286"),
        ("reverse_tcp_options", "14"),
        // 20 of IP, 20 of TCP, 20 of options.
        ("syn_octets", "60"),
        ("ttl", "64"),
        ("ttl_min", "64"),
        ("ttl_max", "64"),
        ("reverse_ttl", "57"),
        ("reverse_ttl_min", "57"),
        ("reverse_ttl_max", "57"),
        ("ip_flags", "64"),
        ("reverse_ip_flags", "64"),
        ("reverse_tos", "40"),
        ("source_mac", r#""\x02\x02\x02\x02\x02\x02""#),
        ("destination_mac", r#""\x02\x02\x02\x02\x02\x02""#),
    ];
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    assert_eq!(values, expected);
}

#[test]
fn nothing_is_measured_unless_asked_for() {
    let (records, ledger) = measured(&config(Groups::default()), &connection());
    assert_eq!((records, ledger.metered.flows_without_statistics), (vec![None], 0));
    let tcp = values(&one(Groups { tcp: true, ..Groups::default() }, &connection()));
    assert!(tcp.len() == 21 && tcp.contains_key("mss") && !tcp.contains_key("ttl"), "{tcp:?}");
    let packets = one(Groups { packets: 3, empty: true, ..Groups::default() }, &connection());
    let lengths = Statistics::field("packet_lengths");
    assert_eq!(format!("{:?}", packets.value(lengths)), "Some([0, 0, 0])");
}

#[test]
fn of_other_protocols_there_is_nothing_of_tcp() {
    let tcp = Groups { tcp: true, ..Groups::default() };
    let config = MeterConfig { statistics_flows: 1, ..config(tcp) };
    let seen: Vec<_> = [datagram(1, b"a", 0), datagram(2, b"a", 0)].into_iter().chain(connection()).collect();
    let (records, ledger) = measured(&config, &seen);
    // Nor does it take any memory.
    assert_eq!(records.iter().filter(|record| record.is_some()).count(), 1);
    assert_eq!(ledger.metered.flows_without_statistics, 0);
}

/// Who sends in which direction is the same whatever the record is called.
#[test]
fn uniflows_have_the_statistics_of_their_direction() {
    let biflow = values(&one(ALL, &connection()));
    let (records, _) = measured(&MeterConfig { uniflow: true, ..config(ALL) }, &connection());
    let [Some(forward), Some(back)] = &records[..] else { unreachable!("{records:?}") };
    let (forward, back) = (values(forward), values(back));
    for (name, value) in biflow.iter().filter(|(name, _)| !name.starts_with("packet_")) {
        let of_both = ["server_round_trip", "client_round_trip", "handshake_time", "response_time", "syn_octets"];
        match name.strip_prefix("reverse_") {
            Some("tos") => {}
            Some(name) => assert_eq!(back.get(name), Some(value), "{name}"),
            None => assert_eq!(forward.get(name), Some(value), "{name}"),
        }
        assert!(!of_both.contains(name) || !back.contains_key(name), "{name}");
    }
    assert_eq!(forward["packet_lengths"], "[100]");
    assert_eq!(back["packet_lengths"], "[1000, 1000, 1000, 1000, 1]");
    assert_eq!(back["packet_directions"], "[1, 1, 1, 1, 1]");
    assert!(forward.keys().chain(back.keys()).all(|name| !name.starts_with("reverse_")));
}

#[test]
fn a_record_has_the_statistics_of_its_own_time() {
    let config = MeterConfig { active_timeout: Duration::from_millis(500), ..config(ALL) };
    let (records, _) = measured(&config, &connection());
    let [Some(first), Some(second)] = &records[..] else { unreachable!("{records:?}") };
    let (first, second) = (values(first), values(second));
    assert_eq!(
        (first["packet_lengths"].as_str(), second["packet_lengths"].as_str()),
        ("[100, 1000, 1000, 1000, 1000]", "[1]")
    );
    assert_eq!((first["reverse_retransmissions"].as_str(), second["reverse_retransmissions"].as_str()), ("1", "0"));
    assert_eq!((first["reverse_entropy_octets"].as_str(), second.get("reverse_entropy_octets")), ("256", None));
    assert_eq!((first["window"].as_str(), second["window"].as_str()), ("64240", "501"));
    for name in ["handshake_time", "mss", "syn_octets", "response_time", "entropy"] {
        assert!(first.contains_key(name) && !second.contains_key(name), "{name}");
    }
    // What was seen is remembered: the probe is known as one.
    assert_eq!(second["reverse_time_histogram"], "[0, 0, 0, 0, 0, 0, 0, 0]");
}

#[test]
fn a_repeated_syn_gives_no_round_trip() {
    let (client, server) = (Segment::CLIENT, Segment::SERVER);
    let syn = Segment { sequence: 1000, flags: SYN, ..client };
    let syn_ack = Segment { sequence: 5000, acknowledgment: 1001, flags: SYN | ACK, ..server };
    let tcp = Groups { tcp: true, ..Groups::default() };
    let seen = [syn.at(0), syn.at(SECOND), syn_ack.at(SECOND + MILLI), client.at(SECOND + 3 * MILLI)];
    let statistics = one(tcp, &seen);
    assert_eq!((statistics.server_round_trip, statistics.handshake_time), (None, None));
    assert_eq!((statistics.client_round_trip, statistics.retransmissions), (Some(2000), Some(1)));
    // And the other way round.
    let seen = [syn.at(0), syn_ack.at(MILLI), syn_ack.at(2 * MILLI), client.at(3 * MILLI)];
    let statistics = one(tcp, &seen);
    assert_eq!((statistics.server_round_trip, statistics.handshake_time), (Some(1000), None));
    assert_eq!((statistics.client_round_trip, statistics.reverse_retransmissions), (None, Some(1)));
    // A capture that begins within the handshake.
    let statistics = one(tcp, &[syn_ack.at(0), client.at(4 * MILLI)]);
    assert_eq!((statistics.client_round_trip, statistics.handshake_time), (Some(4000), None));
    assert_eq!(statistics.syn_octets, None);
}

#[test]
fn a_merged_packet_is_measured_as_those_that_it_was() {
    let payload: Vec<u8> = (0..40_000_u32).map(|i| (i / 7) as u8).collect();
    let segment = |at: usize, len: usize| {
        let sequence = 5001 + at as u32;
        Segment { sequence, payload: &payload[at..at + len], flags: ACK | PSH, ..Segment::SERVER }
    };
    for segments in [2, 4, 29, 40] {
        let single: Vec<_> = (0..segments).map(|i| segment(i * 1000, 1000).at(7)).collect();
        let mut merged = segment(0, segments * 1000).at(7);
        let further_packets = segments as u16 - 1;
        merged.merged = Merged { further_packets, header_octets: 54 };
        merged.wire_octets += merged.merged.repeated_octets();
        assert_eq!(one(ALL, &[merged]), one(ALL, &single), "{segments}");
    }
    // 10 octets in four packets: shares are as equal as is possible.
    let mut merged = segment(0, 10).at(7);
    merged.merged = Merged { further_packets: 3, header_octets: 54 };
    merged.wire_octets += merged.merged.repeated_octets();
    assert_eq!(values(&one(ALL, &[merged]))["packet_lengths"], "[3, 3, 2, 2]");
}

#[test]
fn of_a_snapped_packet_lengths_are_those_on_the_wire() {
    let mut seen = Segment { payload: &[b'x'; 1000], ..Segment::CLIENT }.at(0);
    seen.frame.truncate(54 + 10);
    let whole = values(&one(ALL, &[seen.clone()]));
    assert_eq!((whole["packet_lengths"].as_str(), whole["entropy_octets"].as_str()), ("[1000]", "10"));
    assert_eq!(whole["window"], "502");
    // The window is cut off: what needs it is unset, and order is told all the same.
    seen.frame.truncate(14 + 20 + 14);
    let cut = values(&one(ALL, &[seen.clone(), seen]));
    assert_eq!((cut["packet_lengths"].as_str(), cut.get("window"), cut.get("entropy")), ("[1000, 1000]", None, None));
    assert_eq!((cut["retransmissions"].as_str(), cut["ttl"].as_str()), ("1", "64"));
}

#[test]
fn flows_beyond_the_memory_have_no_statistics_and_are_counted() {
    let config = MeterConfig { statistics_flows: 2, idle_timeout: Duration::from_secs(1), ..config(ALL) };
    let seen: Vec<_> = (0..5).map(|port| datagram(port, b"abcd", 0)).collect();
    let (records, ledger) = measured(&config, &seen);
    assert_eq!(records.iter().filter(|record| record.is_some()).count(), 2);
    assert_eq!((records.len(), ledger.metered.flows_without_statistics), (5, 3));
    // What is over makes room, and leaves nothing behind.
    let seen: Vec<_> = (0..5).map(|port| datagram(port, b"abcd", u64::from(port) * 3 * SECOND)).collect();
    let (records, ledger) = measured(&config, &seen);
    assert_eq!(ledger.metered.flows_without_statistics, 0);
    let first = values(records[0].as_ref().unwrap());
    assert_eq!(first["entropy"], "2000");
    for record in &records {
        let mut values = values(record.as_ref().unwrap());
        values.insert("packet_times", first["packet_times"].clone());
        assert_eq!(values, first);
    }
}

/// What one direction does, in plain words: which hundreds of octets were seen, and since when others are missing.
#[derive(Default)]
struct Direction {
    end: u64,
    missing: BTreeMap<u64, u64>,
    retransmissions: u32,
    out_of_order: u32,
    /// More ranges were missing at a time than are remembered.
    had_many: bool,
}

impl Direction {
    const PATIENCE: u64 = 3 * MILLI;

    fn segment(&mut self, unit: u64, ts: u64) {
        if self.end == 0 || unit >= self.end {
            let from = if self.end == 0 { unit } else { self.end };
            self.missing.extend((from..unit).map(|unit| (unit, ts)));
            self.end = unit + 1;
        } else if self.missing.remove(&unit).is_some_and(|since| ts - since <= Self::PATIENCE) {
            self.out_of_order += 1;
        } else {
            self.retransmissions += 1;
        }
        let ranges = self.missing.iter().filter(|(unit, since)| self.missing.get(&(*unit + 1)) != Some(since)).count();
        self.had_many |= ranges > 2;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Wherever sequence numbers begin, and across their end.
    #[test]
    fn order_agrees_with_a_plain_model(
        first in prop_oneof![any::<u32>(), Just(u32::MAX - 500), Just(0)],
        segments in prop::collection::vec((1..12_u64, any::<bool>(), 0..2 * MILLI), 1..40),
    ) {
        let (mut now, mut seen, mut models) = (0, Vec::new(), [Direction::default(), Direction::default()]);
        for (unit, from_server, step) in segments {
            now += step;
            let sequence = first.wrapping_add(unit as u32 * 100);
            seen.push(Segment { from_server, sequence, payload: &[7; 100], ..Segment::CLIENT }.at(now));
            models[usize::from(from_server)].segment(unit, now);
        }
        // The first segment is of the initiator, unless that is the server's port.
        let tcp = Groups { tcp: true, ..Groups::default() };
        let (records, _) = measured(&config(tcp), &seen);
        let statistics = records[0].clone().unwrap();
        let of = |retransmissions: Option<u32>, late: Option<u32>| (retransmissions.unwrap_or(0), late.unwrap_or(0));
        let forward = of(statistics.retransmissions, statistics.out_of_order);
        let back = of(statistics.reverse_retransmissions, statistics.reverse_out_of_order);
        let is_turned = models[0].end == 0;
        for (model, (retransmissions, late)) in models.iter().zip(if is_turned { [back, forward] } else { [forward, back] }) {
            prop_assert_eq!(retransmissions + late, model.retransmissions + model.out_of_order);
            if !model.had_many {
                prop_assert_eq!((retransmissions, late), (model.retransmissions, model.out_of_order));
            }
        }
    }

    /// Any octets in place of headers and options.
    #[test]
    fn nothing_breaks_it(
        sent in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..90), any::<u64>(), 0..2000_u16), 0..30),
        groups in any::<[bool; 7]>(),
    ) {
        let [histograms, bursts, entropy, tcp, ip, empty, packets] = groups;
        let groups = Groups { packets: u8::from(packets) * 120, histograms, bursts, entropy, tcp, ip, empty };
        let seen: Vec<_> = sent.into_iter().map(|(octets, ts, further_packets)| {
            let mut seen = Segment::CLIENT.at(0);
            let header = seen.frame.len() - 20;
            seen.frame.truncate(header + 12);
            seen.frame.extend(octets);
            seen.ts = ts;
            seen.merged = Merged { further_packets, header_octets: 54 };
            seen.wire_octets = seen.frame.len() as u32 + seen.merged.repeated_octets();
            seen
        }).collect();
        let (_, ledger) = measured(&config(groups), &seen);
        prop_assert!(ledger.closes());
    }
}
