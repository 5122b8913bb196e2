// SPDX-License-Identifier: MIT OR Apache-2.0
//! AF_XDP, the kernel's fast way of packets to a program.
//!
//! [`open`] gives one packet source, an [`Xsk`], for each receive queue of an interface. [`probe`] says whether this machine
//! has AF_XDP at all, [`in_use()`] what else lives on an interface: **AF_XDP takes the packets away**, the kernel's own network
//! stack sees none of those that a socket is given.
//!
//! # How packets come
//!
//! A program of six instructions at the interface gives each packet to the socket of its receive queue (`attach.rs`); where
//! there is none, packets go on to the kernel. The packet lies in a frame of memory that program and kernel share, and is
//! borrowed from there; the frame goes back to the kernel after the visit. A packet is its octets from the Ethernet header on,
//! all of them; its length on the wire is that of its descriptor.
//!
//! - **Time**: AF_XDP has no timestamps in general. The system's clock is read once for each batch, so packets are late by what
//!   they waited: with [`Strategy::SleepBatching`] up to a quarter of a millisecond commonly, more for a ring that was full.
//! - **Packets to others** come too: a packet socket keeps the interface promiscuous ([`XdpConfig::promiscuous`]), and as the program
//!   it goes with the process.
//! - **VLAN**: tags are in the packet, but for one that the interface itself takes off, which is not there:
//!   `ethtool -K IF rxvlan off`.
//! - **Merged packets**: an XDP program stops the kernel's merging (GRO, LRO) on its interface. What a virtual interface is
//!   given unsegmented by its peer, in generic mode, is larger than a frame and lost: `ethtool -K PEER tso off gso off`.
//! - **Queues** are those that the interface has when it is opened. Packets of queues that come later go to the kernel.
//!
//! # What is lost
//!
//! The kernel counts by socket (`XDP_STATISTICS`, linux/if_xdp.h; net/xdp/xsk.c):
//!
//! | here | there | it means | it helps |
//! |---|---|---|---|
//! | `lost_xdp_ring_full` | `rx_ring_full` | the receive ring was full. It has an entry for each frame, so this is rare | more frames, faster metering |
//! | `lost_xdp_fill_empty` | the part of `rx_dropped` that `rx_fill_ring_empty_descs` has too | all frames held packets; copy mode | more frames, faster metering |
//! | `lost_xdp_dropped` | the rest of `rx_dropped` | the packet was larger than a frame | frames of 4096 octets, a smaller MTU |
//!
//! In copy mode these are packets, each counted once, and `offered = handed over + lost + waiting` is exact from the socket on.
//! With zero-copy a driver that finds no frame leaves the packet to the hardware, which counts it (`ethtool -S`):
//! [`Xsk::starvations`] says that it happened. What an interface lost before its program saw it, only its own counters know. In
//! native mode an interface may count what a socket has lost once more as its own (veth: `rx_dropped`); in generic mode it does
//! not.
//!
//! # When an interface goes
//!
//! Down and up again: the sockets stay, there are just no packets, and it is counted if it is down while nothing comes. Gone: [`Xsk::interruption`] says so, the source is idle,
//! and when an interface of the name is back, it goes on; its counters too. That needs no capability, eight times for each
//! queue: sockets with their memory are made in advance (without CAP_IPC_LOCK their memory is pinned when they are used, as far as
//! RLIMIT_MEMLOCK goes). What fails is tried again, after five
//! seconds at most; [`PacketSource::refusal`](weir_flow::PacketSource::refusal) says why.
//!
//! # What it takes
//!
//! Linux 5.9. CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF when it is opened, none afterwards; CAP_IPC_LOCK or a limit (RLIMIT_MEMLOCK)
//! of [`XdpConfig::memory_octets`]. System calls afterwards: `poll` (`ppoll`), `clock_nanosleep`, `recvfrom`, `getsockopt`, and for
//! an interface that comes back `socket`, `setsockopt`, `ioctl`, `mmap`, `munmap`, `bind`, `bpf`, `close`.

#[cfg(target_os = "linux")]
mod attach;
#[cfg(target_os = "linux")]
mod config;
#[cfg(target_os = "linux")]
mod error;
#[cfg(target_os = "linux")]
mod in_use;
#[cfg(target_os = "linux")]
mod routes;
#[cfg(target_os = "linux")]
mod source;
#[cfg(target_os = "linux")]
mod sys;

#[cfg(target_os = "linux")]
pub use self::{
    config::{Mode, ModeWish, Strategy, XdpConfig, ZeroCopy},
    error::OpenError,
    in_use::{InUse, in_use},
    source::{Xsk, open},
};

use std::{fmt, fs, io};

use socket2::{Domain, Socket, Type};

/// Address family of AF_XDP (linux/socket.h).
const AF_XDP: i32 = 44;
/// Address family not supported by protocol (asm-generic/errno.h).
const EAFNOSUPPORT: i32 = 97;

/// Whether AF_XDP sockets can be made.
#[derive(Debug)]
pub enum Support {
    /// They can.
    Available,
    /// The kernel was built without XDP_SOCKETS.
    NotInKernel,
    /// This process lacks CAP_NET_RAW.
    NotPermitted,
    /// Something else stands in the way.
    Failed(io::Error),
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Available => write!(f, "available"),
            Self::NotInKernel => write!(f, "not in this kernel (XDP_SOCKETS)"),
            Self::NotPermitted => write!(f, "not permitted to this process (CAP_NET_RAW)"),
            Self::Failed(error) => write!(f, "not available: {error}"),
        }
    }
}

/// Tries to make an AF_XDP socket, and closes it again.
#[must_use]
pub fn probe() -> Support {
    match Socket::new(Domain::from(AF_XDP), Type::RAW, None) {
        Ok(_) => Support::Available,
        Err(error) if error.raw_os_error() == Some(EAFNOSUPPORT) => Support::NotInKernel,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Support::NotPermitted,
        Err(error) => Support::Failed(error),
    }
}

/// Number of receive queues of an interface, at least one.
///
/// # Errors
///
/// If there is no such interface.
pub fn receive_queues(interface: &str) -> io::Result<usize> {
    if interface.contains('/') {
        return Err(io::ErrorKind::NotFound.into());
    }
    let entries = fs::read_dir(format!("/sys/class/net/{interface}/queues"))?;
    let is_rx = |name: std::ffi::OsString| name.to_string_lossy().starts_with("rx-");
    Ok(entries.flatten().filter(|entry| is_rx(entry.file_name())).count().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_queues_and_nonsense_has_none() {
        if fs::exists("/sys/class/net/lo").unwrap_or(false) {
            assert!(receive_queues("lo").unwrap() >= 1);
        } else {
            println!("skipped: no loopback interface in /sys");
        }
        for name in ["no such interface", "../net/lo", ""] {
            assert!(receive_queues(name).is_err() || name.is_empty(), "{name}");
        }
    }

    #[test]
    fn the_answer_of_the_kernel_is_understood() {
        assert!(!matches!(probe(), Support::Failed(_)), "{}", probe());
    }
}
