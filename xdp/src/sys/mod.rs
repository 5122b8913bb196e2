// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's side: memory and rings that are shared with it, its socket options, and the `bpf` system call.
//!
//! All unsafe code of this room is here. The layouts are those of linux/if_xdp.h (by way of `libc`) and linux/bpf.h.
#![expect(unsafe_code, reason = "rings that are shared with the kernel, and its system calls")]

pub mod bpf;
pub mod interfaces;
mod rings;
pub mod socket;

use std::{ffi::c_int, io};

/// The last error of this thread's system calls, if `result` says that there was one.
fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
