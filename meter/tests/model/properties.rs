// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds for any sequence of packets.

use proptest::{prelude::*, sample::Index};
use weir_flow::{FlowRecord, RecordSink};
use weir_metering::{MeterConfig, Share, Worker};

use crate::{
    assert_nothing_lost, meter,
    oracle::Model,
    sent::{Sent, configs, payloads, sequences, wrong_timestamps},
};

const SECOND: u64 = 1_000_000_000;

/// Packets that the clock holds back at most.
const HELD_BACK: usize = 6;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_cache_agrees_with_the_model(config in configs(), sent in sequences(4, 0..60)) {
        let mut model = Model::new(&config);
        sent.iter().for_each(|sent| model.packet(sent));
        let expected = model.finish();
        for workers in 1..=3 {
            let (ledger, flows) = meter(&config, workers, &sent);
            prop_assert_eq!(&flows, &expected.flows, "{} workers", workers);
            assert_nothing_lost(&sent, &ledger, &flows);
            prop_assert_eq!(ledger.metered.flows_created, expected.flows_created);
            prop_assert_eq!(ledger.metered.fragments_without_ports, expected.fragments_without_ports);
            prop_assert_eq!(ledger.metered.without_transport_header, expected.without_transport_header);
            prop_assert_eq!(ledger.metered.snapped_packets, expected.snapped_packets);
        }
    }

    /// A record is handed over when the clock has passed the second in which it was due, and not before it is due.
    #[test]
    fn records_come_in_time(config in configs(), sent in sequences(4, 0..60)) {
        let mut model = Model::new(&config);
        let mut worker = Worker::new(&config, Share::ALL, Count(0)).unwrap();
        let mut clocks = vec![0; HELD_BACK];
        for (index, sent) in sent.iter().enumerate() {
            model.packet(sent);
            clocks.push(model.clock());
            worker.packets(&[sent.packet(&sent.frame())]);
            let second = clocks[index] / SECOND * SECOND;
            let came = worker.sink_mut().0;
            let (must, may) = (model.closed_before(second), model.closed_before(u64::MAX));
            prop_assert!((must..=may).contains(&came), "{came} records, not {must} to {may}");
        }
    }

    /// It may be first after silence; and last, if it is of the past: silence before the last packet is believed.
    #[test]
    fn a_wrong_timestamp_changes_no_record_but_its_own(
        config in configs(),
        right in sequences(6, 1..60),
        at in any::<Index>(),
        ts in wrong_timestamps(),
    ) {
        let right: Vec<_> = right.into_iter().filter(|sent| !sent.is_wrong).collect();
        prop_assume!(right[0].ts > SECOND);
        let is_past = ts < right[0].ts;
        prop_assume!(is_past || right.len() > 1);
        let at = 1 + at.index(right.len() - usize::from(!is_past));
        let mut sent = right.clone();
        sent.insert(at, Sent { protocol: 200, ..Sent::udp(0, ts) });
        let expected = meter(&config, 1, &right).1;
        for workers in [1, 2, 3, 8] {
            let (ledger, mut flows) = meter(&config, workers, &sent);
            assert_nothing_lost(&sent, &ledger, &flows);
            flows.retain(|records| records[0].key.protocol != 200);
            prop_assert_eq!(&flows, &expected, "{} workers, {} at {}", workers, ts, at);
        }
    }

    #[test]
    fn nothing_is_lost_where_there_is_no_room(config in configs(), sent in sequences(60, 60..120), workers in 1..4_usize) {
        let config = MeterConfig { flows: 1, app_flows: 5, ..config };
        let (ledger, records) = meter(&config, workers, &sent);
        assert_nothing_lost(&sent, &ledger, &records);
    }

    #[test]
    fn nothing_is_lost_whatever_the_payload(config in configs(), mut sent in sequences(4, 0..60), payloads in payloads()) {
        for (index, sent) in sent.iter_mut().enumerate() {
            if let Some(payload) = payloads.get(index) {
                sent.payload.clone_from(payload);
            }
        }
        let (ledger, records) = meter(&config, 1, &sent);
        assert_nothing_lost(&sent, &ledger, &records);
        let (shared_ledger, shared) = meter(&config, 2, &sent);
        prop_assert_eq!(shared, records);
        prop_assert_eq!(shared_ledger, ledger);
    }
}

/// Counts records.
struct Count(u64);

impl RecordSink for Count {
    fn record(&mut self, _: &FlowRecord<'_>) {
        self.0 += 1;
    }
}
