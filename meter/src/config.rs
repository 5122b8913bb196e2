// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an operator may decide about metering.

use std::time::Duration;

use crate::{apps::Apps, cache, statistics::Groups, table::MAX_FLOWS, worker};

/// Least octets of application state that are of any use.
const LEAST_APP_OCTETS: usize = 2 << 20;

/// Settings of the metering process. The defaults are those of the command line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MeterConfig {
    /// Most flows in the cache, over all workers. Address space for all is reserved at start.
    pub flows: usize,
    /// Most flows, over all workers, that may have application state at a time; zero looks at no payload.
    pub app_flows: usize,
    /// Octets of memory that application state may take, over all workers.
    pub app_octets: usize,
    /// Octets by which the heap of the process may grow while it meters, for all that is allocated meanwhile; `None` if only
    /// what is in use counts. It keeps application state smaller than `app_octets` where an allocator cannot use again what was
    /// given back.
    pub heap_octets: Option<usize>,
    /// A record is closed when its flow had no packet for this long.
    pub idle_timeout: Duration,
    /// A record is closed when it was open for this long; its flow goes on.
    pub active_timeout: Duration,
    /// One record for each direction, in place of biflows.
    pub uniflow: bool,
    /// What the key has beside addresses, ports and protocol.
    pub key: KeyFields,
    /// Most transactions of one flow that become records of their own within a second of packet time.
    pub max_transactions: u32,
    /// Which flow statistics are measured.
    pub statistics: Groups,
    /// Most flows, over all workers, that may have statistics at a time.
    pub statistics_flows: usize,
    /// Seed of the flow table's hash; `None` draws one for this process.
    pub hash_seed: Option<u64>,
}

/// Optional fields of the flow key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyFields {
    /// Identifier of the outermost VLAN.
    pub vlan: bool,
    /// Type of service or traffic class.
    pub class_of_service: bool,
    /// Ingress interface.
    pub interface: bool,
}

impl Default for MeterConfig {
    fn default() -> Self {
        Self {
            flows: 1 << 18,
            app_flows: 1 << 16,
            app_octets: 64 << 20,
            heap_octets: None,
            idle_timeout: Duration::from_secs(30),
            active_timeout: Duration::from_secs(300),
            uniflow: false,
            key: KeyFields { vlan: true, class_of_service: false, interface: false },
            max_transactions: 1000,
            statistics: Groups::default(),
            statistics_flows: 1 << 16,
            hash_seed: None,
        }
    }
}

/// The budget is too small for what is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{flows} flows over {workers} workers take {needed} octets of memory with what belongs to them, and {available} are there"
)]
pub struct TooLittleMemory {
    /// Flows that there should be room for.
    pub flows: usize,
    /// Workers that share them.
    pub workers: usize,
    /// Octets that they need.
    pub needed: usize,
    /// Octets that metering may take.
    pub available: usize,
}

impl MeterConfig {
    /// Least flows of a table.
    pub const MIN_FLOWS: usize = 16;

    /// The share of one of `workers` workers; the heap is that of all.
    #[must_use]
    pub fn share(&self, workers: usize) -> Self {
        let workers = workers.max(1);
        let share = |whole: usize| whole.div_ceil(workers);
        let (app_flows, app_octets) = (share(self.app_flows), self.app_octets / workers);
        // What all workers reserve at start is not what the heap grows by while they meter.
        let reserved = workers * Apps::reserved(app_flows, app_octets);
        Self {
            flows: share(self.flows),
            app_flows,
            app_octets,
            statistics_flows: share(self.statistics_flows),
            heap_octets: self.heap_octets.map(|octets| octets.saturating_sub(reserved)),
            ..*self
        }
    }

    /// Octets of memory that `workers` workers take at most: flow tables, fragments, batches, application state.
    #[must_use]
    pub fn memory(&self, workers: usize) -> usize {
        let share = self.share(workers);
        let statistics = share.statistics.memory(share.flows, share.statistics_flows.min(share.flows));
        workers.max(1) * (worker::FIXED_OCTETS + cache::octets(share.flows) + statistics + share.app_octets)
    }

    /// Settings with which `workers` workers take no more than `octets` of memory: as many flows as are asked for, and the
    /// rest for application state; or half for each. Of what is not for application state, half is for statistics, if they are
    /// measured and need so much.
    ///
    /// # Errors
    ///
    /// If that is too little.
    pub fn within(self, octets: usize, flows: Option<usize>, workers: usize) -> Result<Self, TooLittleMemory> {
        let workers = workers.max(1);
        let for_each = (octets / workers).saturating_sub(worker::FIXED_OCTETS);
        let has_apps = self.app_flows > 0;
        let for_apps = if has_apps { LEAST_APP_OCTETS.max(for_each / 2) } else { 0 };
        let for_flows = for_each.saturating_sub(for_apps);
        let for_table = if self.statistics.is_on() { for_flows / 2 } else { for_flows };
        // As many as fit, in whole lines of the index, and no more than there can be.
        let fitting = (for_table / self.tables(8) * 8).saturating_mul(workers).min(MAX_FLOWS);
        let flows = flows.unwrap_or(fitting.max(Self::MIN_FLOWS * workers));
        let share = flows.div_ceil(workers);
        let tables = self.tables(share);
        let least_states = if self.statistics.is_on() { share.min(Self::MIN_FLOWS) } else { 0 };
        let least = tables + self.statistics.octets() * least_states + if has_apps { LEAST_APP_OCTETS } else { 0 };
        if for_each < least {
            let needed = workers * (worker::FIXED_OCTETS + least);
            return Err(TooLittleMemory { flows, workers, needed, available: octets });
        }
        let states = self.states_within(for_each - least, has_apps, least_states, share);
        let taken = tables + self.statistics.octets() * states;
        let app_octets = if has_apps { workers * (for_each - taken) } else { 0 };
        Ok(Self { flows, app_octets, statistics_flows: states * workers, ..self })
    }

    /// Octets of memory for the tables of so many flows of one worker.
    fn tables(&self, flows: usize) -> usize {
        cache::octets(flows) + self.statistics.memory(flows, 0)
    }

    /// How many of the flows of one worker get statistics, beyond the least with `octets` of memory, or half of that if there
    /// is application state.
    fn states_within(&self, octets: usize, has_apps: bool, least: usize, flows: usize) -> usize {
        let octets = if has_apps { octets / 2 } else { octets };
        let more = octets.checked_div(self.statistics.octets()).unwrap_or(0);
        (least + more).min(flows).min(if self.statistics.is_on() { flows } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_a_budget_takes_no_more_and_not_much_less() {
        for workers in [1, 3] {
            for octets in [12 << 20, 64 << 20, 1 << 30_usize] {
                for app_flows in [0, 1 << 16] {
                    let config = MeterConfig { app_flows, ..MeterConfig::default() };
                    let fitted = config.within(octets, None, workers).unwrap();
                    assert!(fitted.memory(workers) <= octets, "{fitted:?}");
                    assert!(fitted.memory(workers) > octets - octets / 50, "{fitted:?}");
                    let few = config.within(octets, Some(1000), workers).unwrap();
                    assert!(few.flows == 1000 && few.memory(workers) <= octets, "{few:?}");
                    let statistics =
                        Groups { packets: 30, histograms: true, bursts: true, tcp: true, ..Groups::default() };
                    let measured = MeterConfig { statistics, ..config }.within(octets, None, workers).unwrap();
                    assert!(measured.memory(workers) <= octets, "{measured:?}");
                    assert!(measured.memory(workers) > octets - octets / 50, "{measured:?}");
                    assert!(
                        measured.statistics_flows > 0 && measured.statistics_flows <= measured.flows,
                        "{measured:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn too_little_is_said() {
        let error = MeterConfig::default().within(64 << 20, Some(1_000_000), 2).unwrap_err();
        assert_eq!((error.flows, error.workers, error.available), (1_000_000, 2, 64 << 20));
        assert!(error.needed > 180_000_000, "{error}");
        assert!(MeterConfig::default().within(1000, None, 1).is_err());
    }
}
