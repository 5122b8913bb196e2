// SPDX-License-Identifier: MIT OR Apache-2.0
//! Single rules, mostly such as were once broken.

use std::time::Duration;

use weir_flow::{
    EndReason, FlowRecord,
    tcp_flags::{ACK, RST, SYN},
};
use weir_metering::{MeterConfig, Share, Worker};

use crate::{
    assert_nothing_lost, meter,
    sent::{Part, Sent},
};

const SECOND: u64 = 1_000_000_000;

/// End reasons of the records that these packets give, by flow.
fn reasons(config: &MeterConfig, sent: &[Sent]) -> Vec<Vec<EndReason>> {
    let (_, flows) = meter(config, 1, sent);
    flows.iter().map(|records| records.iter().map(|r| r.end_reason).collect()).collect()
}

#[test]
fn a_record_that_was_due_when_the_run_ended_has_its_own_end_reason() {
    // Due 0.4 s before the end, within the same second.
    let sent = [Sent::udp(1, 1_500_000_000), Sent::udp(2, 31_900_000_000)];
    assert_eq!(reasons(&MeterConfig::default(), &sent), [[EndReason::IDLE], [EndReason::FORCED]]);
}

#[test]
fn a_record_that_was_due_before_a_syn_came_has_its_own_end_reason() {
    let config = MeterConfig { active_timeout: Duration::from_secs(5), ..MeterConfig::default() };
    // Open from 1.0 s; due at 6.0 s by the active timeout, or at 6.5 s by CLOSE_WAIT.
    let sent = [(ACK, SECOND), (RST, 4_500_000_000), (SYN, 6_200_000_000)].map(|(f, ts)| Sent::tcp(false, f, ts));
    assert_eq!(reasons(&config, &sent), [[EndReason::FORCED], [EndReason::ACTIVE]]);
}

/// The number of records after each packet.
fn records_so_far(config: &MeterConfig, sent: &[Sent]) -> Vec<u64> {
    let mut worker = Worker::new(config, Share::ALL, |_: &FlowRecord<'_>| {}).unwrap();
    let after = sent.iter().map(|sent| {
        worker.packets(&[sent.packet(&sent.frame())]);
        worker.ledger().metered.records_created
    });
    after.collect()
}

#[test]
fn a_record_that_begins_after_a_cut_is_closed_in_time() {
    let config = MeterConfig { active_timeout: Duration::from_secs(5), ..MeterConfig::default() };
    // Cut at 6 s, goes on at 8 s, is cut at 13 s.
    let sent = [(1, 1), (2, 7), (1, 8), (2, 9), (3, 14)].map(|(port, second)| Sent::udp(port, second * SECOND));
    assert_eq!(records_so_far(&config, &sent), [0, 1, 1, 1, 3]);
}

#[test]
fn an_ended_flow_is_cut_in_time() {
    let config = MeterConfig { active_timeout: Duration::from_secs(5), ..MeterConfig::default() };
    // Due at 6.0 s by the active timeout, before CLOSE_WAIT is over.
    let [begin, end] = [(ACK, SECOND), (RST, 5_900_000_000)].map(|(flags, ts)| Sent::tcp(false, flags, ts));
    assert_eq!(records_so_far(&config, &[begin, end, Sent::udp(1, 7 * SECOND)]), [0, 0, 1]);
}

#[test]
fn tcp_from_a_well_known_port_is_an_answer_even_where_its_flags_are_cut_off() {
    let sent = Sent { cut: Some(4), ..Sent::tcp(true, ACK, SECOND) };
    let question = Sent::tcp(false, ACK, 2 * SECOND);
    let (_, flows) = meter(&MeterConfig::default(), 1, &[sent, question]);
    let ports: Vec<_> = flows.iter().flatten().map(|r| (r.key.src_port, r.key.dst_port)).collect();
    assert_eq!(ports, [(40_000, 80)]);
}

#[test]
fn a_first_fragment_is_remembered_by_the_clock() {
    let part = |part, second| Sent { part, ..Sent::udp(7, second * SECOND) };
    // The clock stands at 200 s; the fragments have timestamps out of order, and more than a minute apart.
    let sent = [part(Part::Whole, 200), part(Part::First(1), 50), part(Part::Later(1), 150)];
    let (ledger, _) = meter(&MeterConfig::default(), 1, &sent);
    assert_eq!((ledger.metered.flows_created, ledger.metered.fragments_without_ports), (1, 0));
}

#[test]
fn a_full_cache_gives_its_oldest_records_with_end_reason_5() {
    let config = MeterConfig { flows: 16, ..MeterConfig::default() };
    let sent: Vec<_> = (0..100).map(|port| Sent::udp(1000 + port, u64::from(port) * 1_000)).collect();
    let (ledger, flows) = meter(&config, 1, &sent);
    assert_nothing_lost(&sent, &ledger, &flows);
    assert_eq!(ledger.metered.flows_created, 100);
    assert_eq!(ledger.metered.ended_forced, 16);
    assert_eq!(ledger.metered.ended_lack_of_resources, 84);
}

#[test]
fn a_connection_is_counted_by_the_directions_that_were_seen_of_it() {
    let whole = [(false, SYN), (true, SYN | ACK), (false, ACK), (true, ACK)];
    let of = |seen: &dyn Fn(bool) -> bool| {
        let packets = whole.iter().zip(1..).filter(|((is_answer, _), _)| seen(*is_answer));
        let sent: Vec<_> =
            packets.map(|(&(is_answer, flags), second)| Sent::tcp(is_answer, flags, second * SECOND)).collect();
        let counts = |uniflow| {
            let metered = meter(&MeterConfig { uniflow, ..MeterConfig::default() }, 1, &sent).0.metered;
            [metered.connections_both_ways, metered.connections_client_only, metered.connections_server_only]
        };
        assert_eq!(counts(true), counts(false));
        counts(true)
    };
    assert_eq!(of(&|_| true), [1, 0, 0]);
    assert_eq!(of(&|is_answer| !is_answer), [0, 1, 0]);
    assert_eq!(of(&|is_answer| is_answer), [0, 0, 1]);
    assert_eq!(of(&|_| false), [0, 0, 0]);
    // A scan, and an answer that is sent again.
    let scan = [1, 2].map(|second| Sent::tcp(false, SYN, second * SECOND));
    let metered = meter(&MeterConfig::default(), 1, &scan).0.metered;
    assert_eq!((metered.connections_client_only, metered.connections_server_only), (0, 0));
}
