// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting for a descriptor, which the standard library does not do.
#![expect(unsafe_code, reason = "a system call")]

use std::{io, os::fd::AsRawFd, time::Duration};

/// Waits until there is something to read, an error among it, for so long at most: whether there is.
///
/// # Errors
///
/// What poll(2) says; a signal is none, but ends the wait early.
pub(super) fn readable(of: &impl AsRawFd, patience: Duration) -> io::Result<bool> {
    let mut watched = libc::pollfd { fd: of.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let millis = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the pointer is to one local variable, which is the number that is given.
    let ready = unsafe { libc::poll(&raw mut watched, 1, millis) };
    match ready {
        0 => Ok(false),
        1.. => Ok(true),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            error => Err(error),
        },
    }
}
