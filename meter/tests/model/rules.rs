// SPDX-License-Identifier: MIT OR Apache-2.0
//! Single rules, mostly such as were once broken.

use std::time::Duration;

use weir_flow::{
    EndReason,
    tcp_flags::{ACK, RST, SYN},
};
use weir_metering::MeterConfig;

use crate::{assert_nothing_lost, meter, sent::Sent};

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
