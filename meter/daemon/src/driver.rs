// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a driver counts by itself (`ethtool -S`), as far as it tells of loss.
//!
//! Names are the driver's own, and no standard says what they mean: those that speak of loss on receipt are shown as they are, and
//! are in no sum.

use std::os::unix::net::UnixDatagram;

use crate::system::{driver_counter_names, driver_counters};

/// Parts of names that speak of loss.
const LOSS: &[&str] =
    &["drop", "miss", "discard", "no_buf", "nobuf", "out_of_buf", "no_desc", "fifo", "overrun", "overflow", "full"];

/// Most counters that are shown of an interface.
const MOST: usize = 256;

/// The counters of an interface's driver.
#[derive(Debug)]
pub struct Driver {
    socket: Option<UnixDatagram>,
    /// Index and name of those that are shown; empty if the driver has none.
    shown: Vec<(usize, String)>,
    /// How many there were when names were read: a driver has others when its queues change.
    count: usize,
    last: Vec<u64>,
    since_begin: Vec<u64>,
}

impl Driver {
    /// Begins now. An interface whose driver counts nothing has no counters.
    pub fn new(interface: &str) -> Self {
        let socket = UnixDatagram::unbound().ok();
        let mut driver = Self { socket, shown: Vec::new(), count: 0, last: Vec::new(), since_begin: Vec::new() };
        driver.begin(interface);
        driver
    }

    fn begin(&mut self, interface: &str) {
        let Some(socket) = &self.socket else { return };
        let names = driver_counter_names(socket, interface).unwrap_or_default();
        self.count = names.len();
        self.shown = names.into_iter().enumerate().filter(|(_, name)| tells_of_loss(name)).take(MOST).collect();
        self.since_begin = vec![0; self.shown.len()];
        self.last = self.values(interface).unwrap_or_else(|| self.since_begin.clone());
    }

    fn values(&self, interface: &str) -> Option<Vec<u64>> {
        let all = driver_counters(self.socket.as_ref()?, interface).ok().filter(|all| all.len() == self.count)?;
        Some(self.shown.iter().map(|(index, _)| all.get(*index).copied().unwrap_or(0)).collect())
    }

    /// Names and what was counted since the beginning; only of those that counted something.
    pub fn read(&mut self, interface: &str) -> Vec<(String, u64)> {
        match self.values(interface) {
            Some(now) => {
                for ((sum, now), last) in self.since_begin.iter_mut().zip(&now).zip(&self.last) {
                    // An interface that comes back begins at zero.
                    *sum += now.checked_sub(*last).unwrap_or(*now);
                }
                self.last = now;
            }
            // It is away, or has other queues.
            None => self.begin(interface),
        }
        let counted = self.shown.iter().zip(&self.since_begin).filter(|(_, sum)| **sum > 0);
        counted.map(|((_, name), sum)| (name.clone(), *sum)).collect()
    }
}

fn tells_of_loss(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !name.contains("tx") && LOSS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_speak_of_loss_on_receipt_are_told() {
        for name in
            ["rx_queue_0_drops", "rx_missed_errors", "rx_out_of_buffer", "port.rx_discards", "rx_no_buffer_count"]
        {
            assert!(tells_of_loss(name), "{name}");
        }
        for name in ["tx_dropped", "rx_packets", "rx_queue_0_xdp_packets", "peer_ifindex"] {
            assert!(!tells_of_loss(name), "{name}");
        }
    }

    #[test]
    fn an_interface_without_driver_or_without_being_has_no_counters() {
        for name in ["lo", "no such interface", "a name that is longer than any interface has", ""] {
            assert_eq!(Driver::new(name).read(name), [], "{name}");
        }
    }
}
