// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the standard library does not ask the kernel: what a child process has used, children of children, room for
//! datagrams, and a file as memory.
#![expect(unsafe_code, reason = "system calls")]

use std::{fs::File, io, os::fd::AsRawFd, time::Duration};

use memmap2::{Advice, Mmap};

/// What a process has used, with those of its children that it waited for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// On a processor, in the program.
    pub user: Duration,
    /// On a processor, in the kernel.
    pub system: Duration,
    /// Most octets of memory of one process, pages of mapped files among them.
    pub max_resident: u64,
}

/// A child process that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Its number.
    pub id: u32,
    /// Its exit status; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it has used.
    pub usage: Usage,
}

/// Children of a child that ends become children of this process, so that what daemons use is known too.
pub fn adopt_orphans() {
    // SAFETY: takes numbers only; where the kernel does not know it, nothing happens.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1_u64, 0_u64, 0_u64, 0_u64) };
}

/// Waits until any child ends; `None` if there is none.
#[must_use]
pub fn wait_any() -> Option<Ended> {
    // SAFETY: `rusage` is numbers only, of which zero is one.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let mut status = 0;
    loop {
        // SAFETY: both pointers are to local variables of the types that the call fills.
        let id = unsafe { libc::wait4(-1, &raw mut status, 0, &raw mut usage) };
        if id > 0 {
            let duration = |time: libc::timeval| {
                let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
                Duration::from_micros(seconds * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0))
            };
            return Some(Ended {
                id: id.cast_unsigned(),
                code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
                usage: Usage {
                    user: duration(usage.ru_utime),
                    system: duration(usage.ru_stime),
                    // In KiB.
                    max_resident: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
                },
            });
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return None;
        }
    }
}

/// Ends all processes of the group that a child leads.
pub fn kill_group(leader: u32) {
    if let Ok(group) = i32::try_from(leader) {
        // SAFETY: takes numbers only.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
}

/// Asks for more room for datagrams that wait to be read than is usual; only root gets it.
pub fn enlarge_receive_buffer(socket: &impl AsRawFd, octets: i32) {
    let length = libc::socklen_t::try_from(size_of::<i32>()).unwrap_or(0);
    let value = (&raw const octets).cast();
    // SAFETY: the pointer is to a local variable of the length that is given; a refusal changes nothing.
    unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, value, length) };
}

/// A file as memory, to be read from the beginning to the end.
///
/// # Errors
///
/// If it cannot be mapped.
pub fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: octets of any value are octets; a file that is cut short meanwhile ends this process.
    let map = unsafe { Mmap::map(file) }?;
    // A hint.
    let _ = map.advise(Advice::Sequential);
    Ok(map)
}
