// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a user may ask of AF_XDP.

use std::time::Duration;

/// Octets of a frame before the packet, which the kernel keeps for programs (XDP_PACKET_HEADROOM, linux/bpf.h).
const HEADROOM: u32 = 256;
/// Octets of a descriptor in the receive ring, of one in the fill ring, and of the heads of both at most.
const RX_ENTRY: usize = 16;
const FILL_ENTRY: usize = 8;
const RING_HEADS: usize = 2 * 4096;

/// Where the program is to be attached.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ModeWish {
    /// In the driver if it can, else above it. The default.
    #[default]
    Auto,
    /// In the driver, or not at all.
    Native,
    /// Above the driver.
    Generic,
}

/// Where the program is attached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// In the driver, before the kernel makes anything of a packet.
    Native,
    /// Above the driver (`xdpgeneric`): any interface can do it, and it costs what a packet costs the kernel anyway. Some
    /// kernels give all packets to the socket of queue 0.
    Generic,
}

/// Whether the driver may write packets into the memory of this program.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ZeroCopy {
    /// Where it is offered, which is in native mode only. The default.
    #[default]
    Auto,
    /// No: each packet is copied once.
    Off,
}

/// What to do while there are no packets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Strategy {
    /// A few short sleeps, during which packets gather, then waiting in `poll` until there is one. Idle costs next to nothing.
    /// The default.
    #[default]
    SleepBatching,
    /// Never sleep: the thread does the driver's receiving by itself, and takes all of its core (SO_PREFER_BUSY_POLL).
    ///
    /// To have the interrupts out of the way, let the interface defer them:
    /// `echo 2 > /sys/class/net/IF/napi_defer_hard_irqs; echo 200000 > /sys/class/net/IF/gro_flush_timeout`.
    BusyPoll {
        /// Most packets that the driver receives in one go (SO_BUSY_POLL_BUDGET), 64 for instance.
        budget: u16,
    },
}

/// What is asked of the sockets of an interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct XdpConfig {
    /// Where the program is to be attached.
    pub mode: ModeWish,
    /// Keeps the interface promiscuous while the sockets live, so that it lets in what is for others, as all of a mirror port is.
    pub promiscuous: bool,
    /// Whether the driver may write packets into the memory of this program.
    pub zero_copy: ZeroCopy,
    /// Octets of a frame, 2048 or 4096. A packet has 256 octets less; what is larger is lost, and counted as
    /// `lost_xdp_dropped`.
    pub frame_octets: u32,
    /// Frames of each queue: a power of two, at least 64. So many packets may wait.
    pub frames: u32,
    /// What to do while there are no packets.
    pub strategy: Strategy,
    /// Longest time that a poll waits for a packet; rounded down to milliseconds.
    pub wait: Duration,
}

impl Default for XdpConfig {
    fn default() -> Self {
        Self {
            mode: ModeWish::default(),
            promiscuous: true,
            zero_copy: ZeroCopy::default(),
            frame_octets: 2048,
            frames: 4096,
            strategy: Strategy::default(),
            wait: Duration::from_millis(100),
        }
    }
}

impl XdpConfig {
    /// Octets of the largest packet that a frame holds, link header included.
    #[must_use]
    pub fn largest_packet(&self) -> u32 {
        self.frame_octets.saturating_sub(HEADROOM)
    }

    /// Octets of memory that the sockets of so many queues take, all of it when they are opened.
    ///
    /// The frames are pinned: without CAP_IPC_LOCK they count towards RLIMIT_MEMLOCK.
    #[must_use]
    pub fn memory_octets(&self, queues: usize) -> usize {
        let frames = self.frames as usize;
        let entry = self.frame_octets as usize + RX_ENTRY + FILL_ENTRY;
        frames.saturating_mul(entry).saturating_add(RING_HEADS).saturating_mul(queues)
    }

    /// Octets of memory that are pinned for one queue.
    pub(crate) fn pinned_octets(&self) -> u64 {
        u64::from(self.frames) * u64::from(self.frame_octets)
    }

    /// What is wrong with it, if anything.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if !matches!(self.frame_octets, 2048 | 4096) {
            return Err("a frame has 2048 or 4096 octets");
        }
        if !self.frames.is_power_of_two() || !(64..=1 << 22).contains(&self.frames) {
            return Err("the number of frames is a power of two, from 64 to 4194304");
        }
        Ok(())
    }
}
