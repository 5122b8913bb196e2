// SPDX-License-Identifier: MIT OR Apache-2.0
//! Seeds: inputs that mean something, cut from captures.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use weir_flow::{FlowKey, FlowRecord, LinkType, RecordSink, SourceState, app::SLUGS, protocol};
use weir_ipfix::{
    WEIR,
    encode::{RecordEncoder, Templates},
    mapping::{PROTOCOLS, rows_of},
    message::{HEADER_LEN, Header, SetWriter, template_bodies},
};
use weir_metering::{MeterConfig, Share, Worker, capture};
use weir_parsers::{app::Transport, packet::decode};

use crate::{
    app::{DATAGRAMS, REVERSE, is_of},
    input::{Piece, join},
    meter::LINKS,
};

/// Most octets of a seed: small ones are tried more often.
const MAX_SEED: usize = 16 * 1024;
/// Packets of one seed of the worker.
const PACKETS: usize = 24;

/// A packet of a capture.
struct Owned {
    data: Vec<u8>,
    link: LinkType,
}

/// The seeds of every target by name, from these captures. The same captures give the same seeds.
///
/// # Errors
///
/// If a capture cannot be read.
pub fn seeds(captures: &[PathBuf]) -> io::Result<HashMap<&'static str, Vec<Vec<u8>>>> {
    let mut seeds: HashMap<&'static str, Vec<Vec<u8>>> = HashMap::new();
    let mut add = |target, seed: Vec<u8>| {
        if seed.len() <= MAX_SEED {
            seeds.entry(target).or_default().push(seed);
        }
    };
    for path in captures {
        add("capture", fs::read(path)?.into_iter().take(MAX_SEED).collect());
        let packets = read(path);
        for packet in packets.iter().step_by(packets.len().div_ceil(8).max(1)) {
            add("packet", [&[number(packet.link), 0], &packet.data[..]].concat());
        }
        // The beginning, and the middle.
        for from in [0, packets.len() / 2] {
            let packets = packets.iter().skip(from).take(PACKETS);
            add("worker", join(0, packets.map(|p| Piece { control: number(p.link) | 1 << 4, bytes: &p.data })));
        }
        for (transport, pieces) in conversations(&packets) {
            let head = if transport == Transport::Stream { 0 } else { DATAGRAMS };
            let input = join(head, pieces.iter().map(|(control, bytes)| Piece { control: *control, bytes }));
            for slug in SLUGS {
                if pieces.iter().take(3).any(|(_, bytes)| is_of(slug, bytes, transport)) {
                    add(slug, input.clone());
                    add("session", input.clone());
                }
            }
        }
        let messages = messages(&packets);
        for message in &messages {
            add("ipfix", message.clone());
        }
        // One peer after the other, all as UDP.
        add("collector", join(0, messages.iter().map(|m| Piece { control: 3, bytes: m })));
    }
    for message in [netflow5(), netflow9()] {
        let messages = [Piece { control: 3, bytes: &message }, Piece { control: 0x13, bytes: &message }];
        add("collector", join(1, messages));
        add("netflow", join(if message[1] == 5 { 2 } else { 0 }, messages));
    }
    for (index, (slug, _)) in PROTOCOLS.iter().enumerate() {
        let index = u8::try_from(index).unwrap_or_default();
        let fields = 0..u8::try_from(rows_of(slug).len()).unwrap_or_default();
        add(
            "record",
            join(index, fields.clone().map(|field| Piece { control: field, bytes: b"\x00a\"\\\n\xff\xc3\xa9" })),
        );
        add("record", join(index, fields.map(|field| Piece { control: field, bytes: &[0x7f; 300] })));
    }
    for seeds in seeds.values_mut() {
        seeds.sort();
        seeds.dedup();
    }
    Ok(seeds)
}

/// Place of a link type in the list of those that targets choose from.
fn number(link: LinkType) -> u8 {
    LINKS.iter().position(|l| *l == link).and_then(|i| u8::try_from(i).ok()).unwrap_or_default()
}

fn read(path: &Path) -> Vec<Owned> {
    let mut packets = Vec::new();
    let Some(mut source) = path.to_str().and_then(|path| capture::open(path).ok()) else { return packets };
    let mut keep = |batch: &[weir_flow::Packet<'_>]| {
        packets.extend(batch.iter().map(|p| Owned { data: p.data.to_vec(), link: p.link }));
    };
    while let Ok(SourceState::More) = source.poll(&mut keep) {}
    packets
}

type Pieces = Vec<(u8, Vec<u8>)>;

/// The payloads of each flow in the order of the packets, up to the size of a seed. Nothing is put into order.
fn conversations(packets: &[Owned]) -> Vec<(Transport, Pieces)> {
    let mut flows: Vec<(FlowKey, Pieces)> = Vec::new();
    let mut by_key: HashMap<FlowKey, usize> = HashMap::new();
    for owned in packets {
        let packet = packet(owned);
        let Ok(decoded) = decode(&packet) else { continue };
        let key = decoded.key;
        if decoded.payload.is_empty() || !matches!(key.protocol, protocol::TCP | protocol::UDP) {
            continue;
        }
        let (index, control) = match (by_key.get(&key), by_key.get(&key.reversed())) {
            (Some(index), _) => (*index, 0),
            (_, Some(index)) => (*index, REVERSE),
            _ => {
                by_key.insert(key, flows.len());
                flows.push((key, Vec::new()));
                (flows.len() - 1, 0)
            }
        };
        let pieces = &mut flows[index].1;
        let octets: usize = pieces.iter().map(|(_, bytes)| bytes.len() + 3).sum();
        if octets + decoded.payload.len() + 4 <= MAX_SEED / 2 {
            pieces.push((control, decoded.payload.to_vec()));
        }
    }
    let transport = |key: FlowKey| if key.protocol == protocol::TCP { Transport::Stream } else { Transport::Datagram };
    flows.into_iter().map(|(key, pieces)| (transport(key), pieces)).collect()
}

fn packet(owned: &Owned) -> weir_flow::Packet<'_> {
    let wire_octets = u32::try_from(owned.data.len()).unwrap_or(u32::MAX);
    let ts = weir_flow::Timestamp::from_secs(1_700_000_000);
    weir_flow::Packet {
        data: &owned.data,
        wire_octets,
        ts,
        interface: 0,
        link: owned.link,
        merged: weir_flow::Merged::NOT,
    }
}

/// Writes records into the bodies of messages.
struct Encode {
    encoder: RecordEncoder,
    writer: SetWriter,
    bodies: Vec<Vec<u8>>,
}

impl RecordSink for Encode {
    fn record(&mut self, record: &FlowRecord<'_>) {
        let mut octets = Vec::new();
        let id = self.encoder.encode(record, &mut octets);
        if !self.writer.push(id, &octets) {
            self.bodies.push(self.writer.take().0);
            self.writer.push(id, &octets);
        }
    }
}

/// Messages with templates and records of a few of these packets.
fn messages(packets: &[Owned]) -> Vec<Vec<u8>> {
    const MAX_MESSAGE: usize = 1400;
    let templates = Arc::new(Templates::new(WEIR));
    let encoder = RecordEncoder::new(Arc::clone(&templates));
    let sink = Encode { encoder, writer: SetWriter::new(MAX_MESSAGE), bodies: Vec::new() };
    let config = MeterConfig { flows: 1024, app_flows: 1024, hash_seed: Some(1), ..MeterConfig::default() };
    let mut worker = Worker::new(&config, Share::ALL, sink).expect("memory");
    for owned in packets.iter().take(4 * PACKETS) {
        worker.packets(&[packet(owned)]);
    }
    let (_, mut sink) = worker.finish();
    sink.bodies.push(sink.writer.take().0);
    // All templates in front of the first records, so that this message can be read by itself.
    let mut first = template_bodies(&templates.from(0), 4 * MAX_MESSAGE).concat();
    if let Some(body) = sink.bodies.first_mut() {
        first.append(body);
        *body = first;
    }
    let message = |body: &Vec<u8>| {
        let length = u16::try_from(HEADER_LEN + body.len()).unwrap_or(u16::MAX);
        let header = Header { length, export_time: 1_700_000_000, sequence_number: 0, domain: 1 };
        [&header.to_bytes(), &body[..]].concat()
    };
    sink.bodies.iter().map(message).collect()
}

/// Header of NetFlow of either version: version, count, uptime, seconds, and what follows in each.
fn netflow_header(version: u8, count: u8) -> Vec<u8> {
    let mut message = vec![0, version, 0, count];
    for field in [1_000_000_u32, 1_700_000_000] {
        message.extend(field.to_be_bytes());
    }
    message
}

fn netflow5() -> Vec<u8> {
    let mut message = netflow_header(5, 2);
    // Nanoseconds, sequence number, engine, sampling 1 in 10.
    message.extend([0, 0, 0, 0, 0, 0, 0, 7, 1, 2, 0x40, 10]);
    for last in [1, 2] {
        message.extend([192, 0, 2, last, 192, 0, 2, 9, 0, 0, 0, 0, 0, 3, 0, 4]);
        for field in [5_u32, 500, 990_000, 995_000] {
            message.extend(field.to_be_bytes());
        }
        message.extend([0x30, 0x39, 0, 80, 0, 0x1b, 6, 0, 0, 0, 0xfd, 0xe8, 24, 24, 0, 0]);
    }
    message
}

fn netflow9() -> Vec<u8> {
    let mut message = netflow_header(9, 4);
    // Sequence number, source ID.
    message.extend([0, 0, 0, 7, 0, 0, 0, 1]);
    // Template 256: addresses, ports, protocol, packets, octets, first and last in uptime.
    let fields = [(8_u16, 4_u16), (12, 4), (7, 2), (11, 2), (4, 1), (2, 4), (1, 4), (22, 4), (21, 4), (210, 3)];
    message.extend([0, 0, 0, 48, 1, 0, 0, 10]);
    for (field, length) in fields {
        message.extend(field.to_be_bytes());
        message.extend(length.to_be_bytes());
    }
    // Options template 257: scope system, sampling interval.
    message.extend([0, 1, 0, 20, 1, 1, 0, 4, 0, 4, 0, 1, 0, 4, 0, 34, 0, 4, 0, 0]);
    message.extend([1, 1, 0, 12, 0, 0, 0, 1, 0, 0, 0, 10]);
    message.extend([1, 0, 0, 36, 192, 0, 2, 1, 192, 0, 2, 2, 0x30, 0x39, 0, 80, 6, 0, 0, 0, 5, 0, 0, 1, 0xf4]);
    message.extend([0, 0, 0x10, 0, 0, 0, 0x20, 0, 0, 0, 0]);
    message
}

#[cfg(test)]
mod tests {
    use weir_collector::{Decoder, Limits, Peer};
    use weir_flow::Timestamp;

    use super::*;

    fn records(messages: &[Vec<u8>]) -> usize {
        let mut decoder = Decoder::new(Limits::default(), WEIR);
        let mut records = 0;
        for message in messages {
            decoder.message(Peer::File, message, Timestamp::ZERO, &mut |_: &FlowRecord<'_>| records += 1);
        }
        assert_eq!(decoder.counters().records_damaged + decoder.counters().sets_damaged, 0);
        records
    }

    #[test]
    fn seeds_of_messages_are_whole() {
        assert_eq!(records(&[netflow5()]), 2);
        assert_eq!(records(&[netflow9()]), 1);
        for path in weir_pcaps::bundled() {
            assert!(records(&messages(&read(&path))) > 0, "{}", path.display());
        }
    }

    #[test]
    fn every_target_has_seeds_and_every_protocol_conversations() {
        let seeds = seeds(&weir_pcaps::bundled()).unwrap();
        for target in crate::targets() {
            assert!(seeds.get(target.name).is_some_and(|seeds| seeds.len() > 1), "{}", target.name);
        }
    }
}
