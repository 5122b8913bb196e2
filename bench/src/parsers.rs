// SPDX-License-Identifier: MIT OR Apache-2.0
//! What each application parser costs, on the flows of captures that it recognises.
//!
//! The packets of those flows are metered again and again, each time when all flows of the time before are over, once with
//! parsers and once without. The difference is what order in the stream, recognition, reading, and the making of transactions' records
//! cost; the records are only counted. All of it is in the processor's caches, and the captures are small, so it is the least a
//! parser costs.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use weir_flow::{BATCH, FlowKey, FlowRecord, LinkType, Merged, Packet, SourceState, Timestamp};
use weir_metering::{MeterConfig, Share, Worker, capture};

use crate::machine::Machine;

/// How long one measurement takes at least.
const LEAST: Duration = Duration::from_millis(50);

/// When the first packet was, in nanoseconds since 1970.
const BEGIN: u64 = 1_700_000_000_000_000_000;
/// Nanoseconds after which all flows are over: longer than the idle timeout.
const PAUSE: u64 = 60_000_000_000;

/// A packet that is kept.
#[derive(Clone, Debug)]
struct Kept {
    data: Vec<u8>,
    wire_octets: u32,
    ts: Timestamp,
    link: LinkType,
}

/// What one parser was measured on.
#[derive(Debug, Default)]
struct Sample {
    captures: usize,
    /// One capture after the other, each begun when all flows of that before it are over.
    packets: Vec<Kept>,
    transactions: u64,
}

/// What a parser costs.
#[derive(Clone, Debug)]
pub struct Cost {
    /// Its slug.
    pub slug: String,
    /// Captures that have flows of it.
    pub captures: usize,
    /// Packets of those flows.
    pub packets: u64,
    /// Transactions in them.
    pub transactions: u64,
    /// Nanoseconds for each packet without parsers, and with them; medians.
    pub ns_per_packet: [f64; 2],
}

impl Cost {
    /// Nanoseconds that parsers add for each packet.
    #[must_use]
    pub fn added(&self) -> f64 {
        self.ns_per_packet[1] - self.ns_per_packet[0]
    }

    /// The same for each transaction.
    #[must_use]
    pub fn per_transaction(&self) -> f64 {
        self.added() * self.packets as f64 / self.transactions.max(1) as f64
    }
}

/// Measures the parsers that recognise something in these captures, each `runs` times, with and without in turn.
///
/// # Errors
///
/// If a capture cannot be read, or there is no memory for a worker.
pub fn measure(captures: &[String], runs: u16) -> Result<Vec<Cost>> {
    let mut samples: BTreeMap<&'static str, Sample> = BTreeMap::new();
    for path in captures {
        let packets = read(path)?;
        for (slug, (keys, transactions)) in recognised(&packets)? {
            let sample = samples.entry(slug).or_default();
            sample.captures += 1;
            sample.transactions += transactions;
            let begin = sample.packets.last().map_or(BEGIN, |last| last.ts.as_nanos() + PAUSE);
            let first = packets.first().map_or(0, |first| first.ts.as_nanos());
            let at = |ts: Timestamp| Timestamp::from_nanos(begin + ts.as_nanos().saturating_sub(first));
            sample.packets.extend(of_flows(&packets, &keys).map(|kept| Kept { ts: at(kept.ts), ..kept }));
        }
    }
    samples.into_iter().map(|(slug, sample)| cost(slug, &sample, runs)).collect()
}

fn cost(slug: &str, sample: &Sample, runs: u16) -> Result<Cost> {
    let mut taken = [Vec::new(), Vec::new()];
    for _ in 0..runs {
        for (app_flows, taken) in [0, MeterConfig::default().app_flows].into_iter().zip(&mut taken) {
            taken.push(ns_per_packet(&sample.packets, app_flows)?);
        }
    }
    Ok(Cost {
        slug: slug.to_owned(),
        captures: sample.captures,
        packets: sample.packets.len() as u64,
        transactions: sample.transactions,
        ns_per_packet: taken.map(|mut taken| {
            taken.sort_by(f64::total_cmp);
            taken.get(taken.len() / 2).copied().unwrap_or(f64::NAN)
        }),
    })
}

fn read(path: &str) -> Result<Vec<Kept>> {
    let mut source = capture::open(path).with_context(|| path.to_owned())?;
    let mut kept = Vec::new();
    loop {
        let state = source.poll(&mut |batch| {
            kept.extend(batch.iter().map(|packet| Kept {
                data: packet.data.to_vec(),
                wire_octets: packet.wire_octets,
                ts: packet.ts,
                link: packet.link,
            }));
        });
        // What is damaged behind some packets is good for those.
        if !matches!(state, Ok(SourceState::More | SourceState::Idle)) {
            return Ok(kept);
        }
    }
}

type Recognised = BTreeMap<&'static str, (HashSet<FlowKey>, u64)>;

/// Flows of each protocol that is recognised in a capture, and how many transactions they have.
fn recognised(packets: &[Kept]) -> Result<Recognised> {
    let mut found = Recognised::new();
    let sink = |record: &FlowRecord<'_>| {
        let Some(app) = record.app else { return };
        let (keys, transactions) = found.entry(app.slug()).or_default();
        keys.insert(either_way(record.key));
        let has_fields = (0..64).any(|field| app.value(field).is_some());
        *transactions += u64::from(has_fields);
    };
    let mut worker = Worker::new(&MeterConfig { flows: 1 << 16, ..MeterConfig::default() }, Share::ALL, sink)?;
    replay(packets, 0, &mut |batch| worker.packets(batch));
    let (_, _) = worker.finish();
    Ok(found)
}

/// The same key for both directions.
fn either_way(key: FlowKey) -> FlowKey {
    if (key.src, key.src_port) <= (key.dst, key.dst_port) { key } else { key.reversed() }
}

/// The packets whose flows are among `keys`.
fn of_flows<'a>(packets: &'a [Kept], keys: &'a HashSet<FlowKey>) -> impl Iterator<Item = Kept> {
    packets.iter().filter(|kept| flow_of(kept).is_some_and(|key| keys.contains(&key))).cloned()
}

fn flow_of(kept: &Kept) -> Option<FlowKey> {
    let mut found = None;
    let sink = |record: &FlowRecord<'_>| found = Some(either_way(record.key));
    let mut worker =
        Worker::new(&MeterConfig { flows: 1, app_flows: 0, ..MeterConfig::default() }, Share::ALL, sink).ok()?;
    replay(std::slice::from_ref(kept), 0, &mut |batch| worker.packets(batch));
    let (_, _) = worker.finish();
    found
}

/// Hands over packets, so many nanoseconds later than they were.
fn replay(packets: &[Kept], later: u64, visit: &mut dyn FnMut(&[Packet<'_>])) {
    let packet = |kept: &Kept| Packet {
        data: &[],
        wire_octets: kept.wire_octets,
        ts: Timestamp::from_nanos(kept.ts.as_nanos() + later),
        interface: 0,
        link: kept.link,
        merged: Merged::NOT,
    };
    for chunk in packets.chunks(BATCH) {
        let batch: Vec<_> = chunk.iter().map(|kept| Packet { data: &kept.data, ..packet(kept) }).collect();
        visit(&batch);
    }
}

/// Meters packets again and again. Time for each; that of making batches is in it, with parsers and without.
fn ns_per_packet(packets: &[Kept], app_flows: usize) -> Result<f64> {
    let config = MeterConfig { flows: 1 << 16, app_flows, ..MeterConfig::default() };
    let times = packets.iter().map(|kept| kept.ts.as_nanos());
    let span = times.clone().max().unwrap_or(0) - times.min().unwrap_or(0);
    let step = span + PAUSE;
    let mut worker = Worker::new(&config, Share::ALL, |record: &FlowRecord<'_>| {
        black_box(record);
    })?;
    let mut pass = 0;
    let mut go = |least: Duration| {
        let (begin, first) = (Instant::now(), pass);
        while begin.elapsed() < least {
            replay(packets, pass * step, &mut |batch| worker.packets(batch));
            pass += 1;
        }
        begin.elapsed().as_nanos() as f64 / ((pass - first) * packets.len() as u64) as f64
    };
    // The first takes the memory that the others use.
    go(LEAST / 4);
    Ok(go(LEAST))
}

/// A table to read.
#[must_use]
pub fn table(machine: &Machine, costs: &[Cost]) -> String {
    let mut out = format!("{}\n\n", machine.line());
    // Writing into a string does not fail.
    let _ = writeln!(
        out,
        "{:<12} {:>8} {:>8} {:>12} {:>11} {:>11} {:>11} {:>15}",
        "", "captures", "packets", "transactions", "ns without", "ns with", "ns added", "ns/transaction"
    );
    for cost in costs {
        let Cost { slug, captures, packets, transactions, ns_per_packet: [without, with] } = cost;
        let (added, each) = (cost.added(), cost.per_transaction());
        let _ = writeln!(
            out,
            "{slug:<12} {captures:>8} {packets:>8} {transactions:>12} {without:>11.0} {with:>11.0} {added:>11.0} {each:>15.0}"
        );
    }
    out
}

/// The same for programs.
#[must_use]
pub fn to_json(machine: &Machine, costs: &[Cost]) -> Value {
    let parsers: Vec<_> = costs
        .iter()
        .map(|cost| {
            json!({
                "slug": cost.slug,
                "captures": cost.captures,
                "packets": cost.packets,
                "transactions": cost.transactions,
                "ns_per_packet_without": cost.ns_per_packet[0],
                "ns_per_packet_with": cost.ns_per_packet[1],
                "ns_added_per_packet": cost.added(),
                "ns_per_transaction": cost.per_transaction(),
            })
        })
        .collect();
    json!({ "machine": machine.json(), "parsers": parsers })
}
