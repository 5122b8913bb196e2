// SPDX-License-Identifier: MIT OR Apache-2.0
//! The flow cache against a slow, obvious model of its rules, for any sequence of packets; and that nothing is lost,
//! whatever comes, and however little room there is.

mod oracle;
mod properties;
mod rules;
mod sent;

use std::num::NonZeroUsize;

use weir_flow::{EndReason, FlowRecord, Packet, ledger::Ledger};
use weir_metering::{MeterConfig, Share, Worker};

use oracle::{Flows, Rec, by_flow};
use sent::Sent;

/// What one worker gave: flow identifiers and records.
type Records = Vec<(u64, Rec)>;

fn worker(config: &MeterConfig, share: Share, packets: &[Packet<'_>]) -> (Ledger, Records) {
    let mut records = Records::new();
    let mut worker = Worker::new(config, share, |r: &FlowRecord<'_>| records.push((r.flow_id, Rec::from(r)))).unwrap();
    worker.packets(packets);
    let ledger = worker.finish().0;
    (ledger, records)
}

/// The records of `workers` workers on the same packets, by flow.
fn meter(config: &MeterConfig, workers: usize, sent: &[Sent]) -> (Ledger, Flows) {
    let frames: Vec<_> = sent.iter().map(Sent::frame).collect();
    let packets: Vec<_> = sent.iter().zip(&frames).map(|(sent, frame)| sent.packet(frame)).collect();
    let of = NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN);
    let (mut ledger, mut records) = (Ledger::default(), Records::new());
    for index in 0..workers {
        let part = worker(config, Share { index, of }, &packets);
        ledger.add(&part.0);
        records.extend(part.1);
    }
    (ledger, by_flow(records))
}

/// Every packet is in a record or ignored; every record is counted under its reason.
fn assert_nothing_lost(sent: &[Sent], ledger: &Ledger, records: &Flows) {
    let records: Vec<_> = records.iter().flatten().collect();
    let metered = &ledger.metered;
    let sides = || records.iter().flat_map(|r| r.sides);
    assert!(ledger.closes(), "{ledger:?}");
    assert_eq!(metered.delivered_packets, sent.len() as u64);
    assert_eq!(metered.delivered_octets, sent.iter().map(Sent::wire_octets).sum::<u64>());
    assert_eq!(sides().map(|s| s.packets).sum::<u64>() + ledger.ignored_packets(), metered.delivered_packets);
    assert_eq!(ledger.ignored.not_ip, sent.iter().filter(|s| !s.is_ip).count() as u64);
    assert_eq!(sides().map(|s| s.octets).sum::<u64>(), metered.metered_octets);
    assert_eq!(metered.metered_octets, sent.iter().map(Sent::ip_octets).sum::<u64>());
    let ended = |reason: EndReason| records.iter().filter(|r| r.end_reason == reason).count() as u64;
    assert_eq!(metered.records_created, records.len() as u64);
    assert_eq!(metered.ended_idle, ended(EndReason::IDLE));
    assert_eq!(metered.ended_active, ended(EndReason::ACTIVE));
    assert_eq!(metered.ended_by_protocol, ended(EndReason::END_OF_FLOW));
    assert_eq!(metered.ended_forced, ended(EndReason::FORCED));
    assert_eq!(metered.ended_lack_of_resources, ended(EndReason::LACK_OF_RESOURCES));
}
