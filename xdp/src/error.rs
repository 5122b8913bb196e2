// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why an interface could not be opened.

use std::{error::Error, fmt, io};

/// Why the sockets of an interface could not be opened. Each says what can be done about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no interface of that name.
    NoSuchInterface(String),
    /// The configuration contradicts what the kernel takes.
    Config(&'static str),
    /// The kernel has not what it takes.
    NotInKernel(&'static str),
    /// This process may not do it.
    NotPermitted {
        /// What it may not do.
        what: &'static str,
        /// The capability that it lacks.
        needs: &'static str,
    },
    /// The frames may not be pinned, for lack of CAP_IPC_LOCK and of room in RLIMIT_MEMLOCK.
    MemoryLock {
        /// Octets that one queue needs.
        wanted_octets: u64,
        /// Octets that all of this user's processes may pin; `None` where that has no limit, and something else is short.
        allowed_octets: Option<u64>,
    },
    /// Something else has the interface already: another XDP program, or an AF_XDP socket.
    Busy {
        /// What is there.
        what: &'static str,
        /// The interface.
        interface: String,
    },
    /// The driver does not take the program, and native mode was asked for.
    NotNative(io::Error),
    /// The kernel does not take the program.
    Program {
        /// What the system says.
        error: io::Error,
        /// What the verifier says; empty if nothing.
        log: String,
    },
    /// Another system call failed.
    System {
        /// What was to be done.
        step: &'static str,
        /// What the system says.
        error: io::Error,
    },
}

impl OpenError {
    /// The error of a step, with the capability that is lacking if it was not permitted.
    pub(crate) fn of(step: &'static str, needs: &'static str, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted { what: step, needs },
            _ => Self::System { step, error },
        }
    }

    /// Its kind, as the system's errors have one.
    pub(crate) const fn kind(&self) -> io::ErrorKind {
        match self {
            Self::NotPermitted { .. } => io::ErrorKind::PermissionDenied,
            Self::MemoryLock { .. } => io::ErrorKind::OutOfMemory,
            Self::Busy { .. } => io::ErrorKind::ResourceBusy,
            _ => io::ErrorKind::Other,
        }
    }

    /// Whether it may be over in a moment: the kernel takes its time to clear up after a process that was killed.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchInterface(name) => write!(f, "there is no interface {name}"),
            Self::Config(what) => write!(f, "AF_XDP: {what}"),
            Self::NotInKernel(what) => write!(f, "this kernel has no {what}"),
            Self::NotPermitted { what, needs } => write!(f, "not permitted to {what}: it takes {needs}"),
            Self::MemoryLock { wanted_octets, allowed_octets: Some(allowed) } => write!(
                f,
                "cannot pin {} KiB of memory for each queue, where this user's processes may pin {} KiB: \
                 give CAP_IPC_LOCK, a higher limit (ulimit -l, LimitMEMLOCK=), or ask for fewer frames",
                wanted_octets / 1024,
                allowed / 1024
            ),
            Self::MemoryLock { wanted_octets, allowed_octets: None } => {
                write!(
                    f,
                    "the system has not {} KiB of memory for each queue: ask for fewer frames",
                    wanted_octets / 1024
                )
            }
            Self::Busy { what, interface } => {
                write!(f, "{interface} has {what} already (see `ip link show dev {interface}`)")
            }
            Self::NotNative(error) => write!(
                f,
                "the driver does not take an XDP program ({error}): ask for generic mode; where it should, see whether the \
                 MTU is too large or queues are too few"
            ),
            Self::Program { error, log } if log.is_empty() => {
                write!(f, "the kernel does not take the XDP program: {error}")
            }
            Self::Program { error, log } => write!(f, "the kernel does not take the XDP program: {error}\n{log}"),
            Self::System { step, error } => write!(f, "cannot {step}: {error}"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotNative(error) | Self::Program { error, .. } | Self::System { error, .. } => Some(error),
            _ => None,
        }
    }
}
