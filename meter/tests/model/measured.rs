// SPDX-License-Identifier: MIT OR Apache-2.0
//! Statistics as their definitions say, of the packets of one record in a list.

use std::collections::BTreeMap;

use weir_flow::{Statistics, Value, app::Fields, protocol, statistics::MAX_BURSTS};
use weir_metering::Groups;

use crate::sent::{Part, Sent};

/// Values of statistics by name.
pub type Measured = BTreeMap<&'static str, Vec<i64>>;

/// What is compared: TCP has a model of its own, since packets here have no sequence.
const COMPARED: [&str; 23] = [
    "packet_lengths",
    "packet_times",
    "packet_flags",
    "packet_directions",
    "size_histogram",
    "time_histogram",
    "reverse_size_histogram",
    "reverse_time_histogram",
    "burst_packets",
    "burst_octets",
    "burst_starts",
    "burst_ends",
    "reverse_burst_packets",
    "reverse_burst_octets",
    "reverse_burst_starts",
    "reverse_burst_ends",
    "ttl",
    "ttl_min",
    "ttl_max",
    "reverse_ttl",
    "reverse_ttl_min",
    "reverse_ttl_max",
    "reverse_tos",
];

/// What a record says.
pub fn said(statistics: &Statistics) -> Measured {
    let number = |value: Value<'_>| match value {
        Value::Unsigned(v) => v.cast_signed(),
        Value::Signed(v) => v,
        Value::Time(ts) => ts.as_nanos().cast_signed(),
        other => unreachable!("{other:?}"),
    };
    let names = Statistics::FIELDS.iter().enumerate().filter(|(_, name)| COMPARED.contains(name));
    let values = names.filter_map(|(field, name)| {
        let numbers = match statistics.value(field)? {
            Value::List(list) => list.iter().map(number).collect(),
            value => vec![number(value)],
        };
        Some((*name, numbers))
    });
    values.collect()
}

/// Octets of payload that the headers claim.
fn payload(sent: &Sent) -> i64 {
    let behind = sent.payload.len() as i64 + i64::from(sent.missing);
    match (sent.part, sent.protocol) {
        // It has no header of its own, which is payload for whoever does not look into it.
        (Part::Later(_), _) => behind,
        // Its header is too short to say where the payload begins.
        (_, protocol::TCP) if sent.transport_octets() < 14 => 0,
        // Four octets of eight are taken for the header.
        (_, protocol::ICMP | protocol::ICMPV6) => behind + 4,
        _ => behind,
    }
}

fn flags(sent: &Sent) -> i64 {
    let is_read = sent.protocol == protocol::TCP && sent.transport_octets() >= 14;
    if is_read { i64::from(sent.flags & 0xff) } else { 0 }
}

/// What a record says of the packets of both directions in order of observation, each with whether it is of the forward one; a
/// uniflow only of those. Of a biflow, `reverse_tos` is that of the first packet of the other direction.
pub fn expected(groups: Groups, uniflow: bool, packets: &[(bool, Sent)], reverse_tos: Option<u8>) -> Measured {
    let mut measured = Measured::new();
    let mut put = |name: &'static str, values: Vec<i64>| {
        if !values.is_empty() {
            measured.insert(name, values);
        }
    };
    let of_side = |is_forward: bool| {
        let of_side = packets.iter().filter(move |packet| packet.0 == is_forward && (is_forward || !uniflow));
        of_side.map(|packet| &packet.1)
    };
    let is_counted = |sent: &&Sent| groups.empty || payload(sent) > 0;
    let first = packets.iter().filter(|packet| is_counted(&&packet.1)).take(groups.packets.into());
    let first: Vec<_> = first.filter(|packet| packet.0 || !uniflow).collect();
    put("packet_lengths", first.iter().map(|packet| payload(&packet.1)).collect());
    put("packet_times", first.iter().map(|packet| packet.1.ts.cast_signed()).collect());
    put("packet_flags", first.iter().map(|packet| flags(&packet.1)).collect());
    put("packet_directions", first.iter().map(|packet| if packet.0 { 1 } else { -1 }).collect());
    for (is_forward, [sizes, times]) in
        [(true, ["size_histogram", "time_histogram"]), (false, ["reverse_size_histogram", "reverse_time_histogram"])]
    {
        let of: Vec<_> = of_side(is_forward).filter(is_counted).collect();
        if groups.histograms && !of.is_empty() {
            put(sizes, histogram(of.iter().map(|sent| payload(sent))));
            let gaps = of.windows(2).map(|pair| (pair[1].ts.saturating_sub(pair[0].ts) / 1_000_000).cast_signed());
            put(times, histogram(gaps));
        }
    }
    for (is_forward, names) in [
        (true, ["burst_packets", "burst_octets", "burst_starts", "burst_ends"]),
        (false, ["reverse_burst_packets", "reverse_burst_octets", "reverse_burst_starts", "reverse_burst_ends"]),
    ] {
        let bursts = if groups.bursts { bursts(of_side(is_forward)) } else { Vec::new() };
        for (index, name) in names.into_iter().enumerate() {
            put(name, bursts.iter().map(|burst| burst[index]).collect());
        }
    }
    for (is_forward, names) in
        [(true, ["ttl", "ttl_min", "ttl_max"]), (false, ["reverse_ttl", "reverse_ttl_min", "reverse_ttl_max"])]
    {
        if groups.ip && of_side(is_forward).count() > 0 {
            names.into_iter().for_each(|name| put(name, vec![64]));
        }
    }
    if let Some(tos) = reverse_tos.filter(|_| groups.ip && of_side(false).count() > 0) {
        put("reverse_tos", vec![tos.into()]);
    }
    measured
}

fn histogram(values: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut bins = vec![0; 8];
    for value in values {
        let bin = [16, 32, 64, 128, 256, 512, 1024].iter().position(|bound| value < *bound).unwrap_or(7);
        bins[bin] += 1;
    }
    bins
}

/// Packets, octets, start and end of each burst.
fn bursts<'a>(packets: impl Iterator<Item = &'a Sent>) -> Vec<[i64; 4]> {
    let mut bursts: Vec<[u64; 4]> = Vec::new();
    for sent in packets.filter(|sent| payload(sent) > 0) {
        let (ts, octets) = (sent.ts, payload(sent).cast_unsigned());
        match bursts.last_mut() {
            Some([packets, sum, start, end]) if ts.saturating_sub(*end) < 1_000_000_000 => {
                *packets += 1;
                *sum += octets;
                *start = ts.min(*start);
                *end = ts.max(*end);
            }
            _ => bursts.push([1, octets, ts, ts]),
        }
    }
    bursts.retain(|burst| burst[0] >= 3);
    bursts.truncate(MAX_BURSTS);
    bursts.into_iter().map(|burst| burst.map(u64::cast_signed)).collect()
}
