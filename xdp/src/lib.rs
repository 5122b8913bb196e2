// SPDX-License-Identifier: MIT OR Apache-2.0
//! AF_XDP, the kernel's fast way of packets to a program.
//!
//! So far this room says what a machine offers: whether AF_XDP sockets can be made here ([`probe`]), and how many receive
//! queues an interface has ([`receive_queues`]), each of which would get a socket of its own. Rings, the program and the
//! packet source come with live capture.
#![forbid(unsafe_code)]

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
