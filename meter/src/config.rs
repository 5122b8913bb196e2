// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an operator may decide about metering.

use std::time::Duration;

/// Settings of the metering process. The defaults are those of the command line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MeterConfig {
    /// Most flows in the cache, over all workers. All their memory is reserved at start.
    pub flows: usize,
    /// Most flows, over all workers, that may have application state at a time; zero looks at no payload.
    pub app_flows: usize,
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
            idle_timeout: Duration::from_secs(30),
            active_timeout: Duration::from_secs(300),
            uniflow: false,
            key: KeyFields { vlan: true, class_of_service: false, interface: false },
            max_transactions: 1000,
            hash_seed: None,
        }
    }
}

impl MeterConfig {
    /// The share of one of `workers` workers.
    #[must_use]
    pub fn share(&self, workers: usize) -> Self {
        let share = |whole: usize| whole.div_ceil(workers.max(1));
        Self { flows: share(self.flows), app_flows: share(self.app_flows), ..*self }
    }
}
