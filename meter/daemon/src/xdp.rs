// SPDX-License-Identifier: MIT OR Apache-2.0
//! AF_XDP, where this program was built with it (feature `xdp`).

pub use there::{open, serves, support};

#[cfg(feature = "xdp")]
mod there {
    use anyhow::{Context, bail};
    use weir_metering::live::Source;
    use weir_xdp::{Strategy, XdpConfig};

    use crate::{backends::PATIENCE, options::live::LiveSettings, say::say};

    /// Octets of a frame: packets of an Ethernet MTU fit.
    const FRAME: u32 = 2048;

    /// What this machine offers of it.
    pub fn support() -> String {
        weir_xdp::probe().to_string()
    }

    /// Whether it can be had here with so many workers, on an interface that nothing else uses.
    pub fn serves(name: &str, workers: usize) -> bool {
        weir_xdp::receive_queues(name).is_ok_and(|queues| queues == workers)
            && matches!(weir_xdp::probe(), weir_xdp::Support::Available)
            && weir_xdp::in_use(name).is_none()
    }

    /// Opens an interface, a socket for each receive queue.
    ///
    /// # Errors
    ///
    /// If the system itself uses the interface, or something cannot be had.
    pub fn open(live: &LiveSettings, name: &str, workers: usize) -> anyhow::Result<Vec<Source>> {
        if live.filter.is_some() {
            bail!("filter: AF_XDP has none: use --capture packet");
        }
        if live.hardware_time {
            bail!("hardware-time: AF_XDP has none: use --capture packet");
        }
        let queues = weir_xdp::receive_queues(name).with_context(|| format!("there is no interface {name}"))?;
        if queues != workers {
            bail!(
                "workers: {name} has {queues} receive queue(s), and AF_XDP takes a worker for each: give --workers {queues}, or leave it out"
            );
        }
        if let (Some(use_of_it), false) = (weir_xdp::in_use(name), live.steal) {
            bail!(
                "{name}: {use_of_it}: AF_XDP would take its packets away from the system; --steal does so, --capture packet does not"
            );
        }
        crate::system::pin_without_limit();
        let sockets = weir_xdp::open(name, &xdp_config(live)).with_context(|| format!("cannot capture on {name}"))?;
        // It may have changed just now.
        if sockets.len() != workers {
            bail!("workers: {name} has {} receive queues, and AF_XDP takes a worker for each", sockets.len());
        }
        if let Some(first) = sockets.first() {
            let way = if first.zero_copy() { "without a copy" } else { "with a copy of each packet" };
            say!("weir-meter: {name}: AF_XDP, {:?} mode, {way}", first.mode());
        }
        Ok(sockets.into_iter().map(|socket| Box::new(socket) as Source).collect())
    }

    fn xdp_config(live: &LiveSettings) -> XdpConfig {
        let frames = u32::try_from(live.buffer_octets).unwrap_or(u32::MAX) / FRAME;
        let strategy = if live.busy_poll { Strategy::BusyPoll { budget: 64 } } else { Strategy::SleepBatching };
        // A power of two, at least as many as a batch of the driver takes.
        let frames = 1 << frames.max(512).ilog2();
        XdpConfig {
            frame_octets: FRAME,
            frames,
            strategy,
            wait: PATIENCE,
            promiscuous: live.promiscuous,
            ..XdpConfig::default()
        }
    }
}

#[cfg(not(feature = "xdp"))]
mod there {
    use anyhow::bail;
    use weir_metering::live::Source;

    use crate::options::live::LiveSettings;

    /// Not in this program.
    pub fn support() -> String {
        "not in this program (feature xdp)".to_owned()
    }

    /// Not here.
    pub fn serves(_name: &str, _workers: usize) -> bool {
        false
    }

    /// Says that it is not there.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn open(_live: &LiveSettings, name: &str, _workers: usize) -> anyhow::Result<Vec<Source>> {
        bail!("{name}: this program was built without AF_XDP (feature xdp): use --capture packet")
    }
}
