// SPDX-License-Identifier: MIT OR Apache-2.0
//! The flow cache against a slow, obvious model of its rules, for any sequence of packets; and that nothing is lost,
//! whatever comes, and however little room there is.

#![expect(clippy::unwrap_used, reason = "a meter without memory fails the test")]

mod measured;
mod oracle;
mod properties;
mod rules;
mod sent;

use weir_flow::{
    BATCH, EndReason, FlowRecord, Packet, PacketSource, RecordSink, SourceError, SourceState, ledger::Ledger,
};
use weir_metering::MeterConfig;

use oracle::{Flows, Rec, by_flow};
use sent::Sent;

/// What one worker gave: flow identifiers and records.
#[derive(Default)]
struct Records(Vec<(u64, Rec)>);

impl RecordSink for Records {
    fn record(&mut self, record: &FlowRecord<'_>) {
        self.0.push((record.flow_id, Rec::from(record)));
    }
}

/// Packets in memory, some at a time.
struct Memory<'a> {
    packets: &'a [Packet<'a>],
    at_a_time: usize,
}

impl PacketSource for Memory<'_> {
    fn poll(&mut self, visit: &mut dyn FnMut(&[Packet<'_>])) -> Result<SourceState, SourceError> {
        if self.packets.is_empty() {
            return Ok(SourceState::End);
        }
        let (now, later) = self.packets.split_at(self.at_a_time.min(self.packets.len()));
        self.packets = later;
        now.chunks(BATCH).for_each(visit);
        Ok(SourceState::More)
    }
}

/// The records of `workers` workers on the same packets, by flow.
fn meter(config: &MeterConfig, workers: usize, sent: &[Sent]) -> (Ledger, Flows) {
    let frames: Vec<_> = sent.iter().map(Sent::frame).collect();
    let packets: Vec<_> = sent.iter().zip(&frames).map(|(sent, frame)| sent.packet(frame)).collect();
    let mut source = Memory { packets: &packets, at_a_time: 7 };
    let sinks = (0..workers).map(|_| Records::default()).collect();
    let outcome = weir_metering::meter(&mut source, config, sinks).unwrap();
    assert!(outcome.damage.is_none());
    (outcome.ledger, by_flow(outcome.sinks.into_iter().flat_map(|sink| sink.0).collect()))
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
