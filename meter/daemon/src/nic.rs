// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an interface itself counts: `/sys/class/net/NAME/statistics` (Documentation/networking/statistics.rst of the kernel).

use std::fs;

use crate::driver::Driver;

weir_flow::counters! {
    /// Counters of an interface, since capture began.
    pub struct Nic {
        #[doc = "packets that the interface received; the kernel counts a packet that it merged of several as one or as several, as the driver has it"]
        pub rx_packets,
        #[doc = "packets that this machine sent on the interface; except by AF_XDP, they are captured too"]
        pub tx_packets,
        #[doc = "received packets that the kernel dropped for want of memory or of anybody who wants them"]
        pub rx_dropped,
        #[doc = "packets that the interface had no room for, since the kernel did not take those before in time"]
        pub rx_missed_errors,
        #[doc = "packets that the interface lost since its queue was full"]
        pub rx_fifo_errors,
        #[doc = "packets that came damaged: wrong check sum, length or alignment"]
        pub rx_errors,
    }
}

impl Nic {
    /// Packets that were lost before the kernel could hand them to anybody.
    pub const fn lost(&self) -> u64 {
        self.rx_missed_errors + self.rx_fifo_errors
    }

    fn read(name: &str) -> Option<Self> {
        let of = |counter: &str| -> Option<u64> {
            fs::read_to_string(format!("/sys/class/net/{name}/statistics/{counter}")).ok()?.trim().parse().ok()
        };
        Some(Self {
            rx_packets: of("rx_packets")?,
            tx_packets: of("tx_packets")?,
            rx_dropped: of("rx_dropped")?,
            rx_missed_errors: of("rx_missed_errors")?,
            rx_fifo_errors: of("rx_fifo_errors")?,
            rx_errors: of("rx_errors")?,
        })
    }
}

/// Receive queues of an interface, at least one.
pub fn receive_queues(name: &str) -> usize {
    let queues = fs::read_dir(format!("/sys/class/net/{name}/queues")).into_iter().flatten().flatten();
    queues.filter(|queue| queue.file_name().to_string_lossy().starts_with("rx-")).count().max(1)
}

/// An interface whose counters are watched.
#[derive(Debug)]
pub struct Watched {
    name: String,
    driver: Driver,
    last: Nic,
    since_begin: Nic,
}

impl Watched {
    /// Begins now: before packets are captured, so that none of these is missing here.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            driver: Driver::new(name),
            last: Nic::read(name).unwrap_or_default(),
            since_begin: Nic::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the driver counted since that tells of loss, under its own names.
    pub fn read_driver(&mut self) -> Vec<(String, u64)> {
        self.driver.read(&self.name)
    }

    /// What was counted since. An interface that has disappeared counts nothing; one that comes back begins at zero.
    pub fn read(&mut self) -> Nic {
        let Some(now) = Nic::read(&self.name) else {
            self.last = Nic::default();
            return self.since_begin;
        };
        let more = |of: fn(&Nic) -> u64| {
            let (now, last) = (of(&now), of(&self.last));
            now.checked_sub(last).unwrap_or(now)
        };
        self.since_begin.add(&Nic {
            rx_packets: more(|nic| nic.rx_packets),
            tx_packets: more(|nic| nic.tx_packets),
            rx_dropped: more(|nic| nic.rx_dropped),
            rx_missed_errors: more(|nic| nic.rx_missed_errors),
            rx_fifo_errors: more(|nic| nic.rx_fifo_errors),
            rx_errors: more(|nic| nic.rx_errors),
        });
        self.last = now;
        self.since_begin
    }
}
