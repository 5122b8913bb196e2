// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the standard library does not ask the kernel: what a child process has used, children of children, room for
//! datagrams, a file as memory, frames to an interface, and where a thread runs.
#![expect(unsafe_code, reason = "system calls")]

use std::{
    ffi::CString,
    fs::File,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::Duration,
};

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
    wait(-1, 0)
}

/// A child that has ended; `None` while it runs, and if there is none of that number.
#[must_use]
pub fn has_ended(id: u32) -> Option<Ended> {
    wait(i32::try_from(id).ok()?, libc::WNOHANG)
}

/// wait4(2).
fn wait(which: libc::pid_t, flags: libc::c_int) -> Option<Ended> {
    // SAFETY: `rusage` is numbers only, of which zero is one.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let mut status = 0;
    loop {
        // SAFETY: both pointers are to local variables of the types that the call fills.
        let id = unsafe { libc::wait4(which, &raw mut status, flags, &raw mut usage) };
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
        if id == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return None;
        }
    }
}

/// Asks a process to end, or ends it.
pub fn end_process(id: u32, at_once: bool) {
    if let Ok(id) = i32::try_from(id) {
        // SAFETY: takes numbers only.
        unsafe { libc::kill(id, if at_once { libc::SIGKILL } else { libc::SIGTERM }) };
    }
}

/// Moves this thread, and the children that it starts, into a network namespace: a file of `/run/netns`.
///
/// # Errors
///
/// If it is none, or the system refuses: it takes CAP_SYS_ADMIN.
pub fn enter_namespace(file: &File) -> io::Result<()> {
    // SAFETY: takes numbers only; it moves this thread alone.
    checked(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// Keeps this thread, and the children that it starts, on these processors.
///
/// # Errors
///
/// If none of them may be used.
pub fn run_on(cores: &[usize]) -> io::Result<()> {
    // SAFETY: a set of bits, of which zero is one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let most = 8 * size_of::<libc::cpu_set_t>();
    for core in cores.iter().filter(|core| **core < most) {
        // SAFETY: the number is within the set.
        unsafe { libc::CPU_SET(*core, &mut set) };
    }
    // SAFETY: the pointer is to a local set of the length that is given; zero is this thread.
    checked(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) }).map(drop)
}

/// Processors that this thread may run on.
#[must_use]
pub fn cores() -> Vec<usize> {
    // SAFETY: a set of bits, of which zero is one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a local set of the length that is given; zero is this thread.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) } < 0 {
        return Vec::new();
    }
    // SAFETY: the number is within the set.
    (0..8 * size_of::<libc::cpu_set_t>()).filter(|core| unsafe { libc::CPU_ISSET(*core, &set) }).collect()
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

/// Frames that a [`FrameSender`] hands to the kernel at once.
pub const SEND_BATCH: usize = 64;

/// A packet socket (packet(7)) that sends frames to one interface, past its queueing discipline, and receives nothing.
#[derive(Debug)]
pub struct FrameSender(OwnedFd);

impl FrameSender {
    /// Opens one.
    ///
    /// # Errors
    ///
    /// If there is no such interface, or the system refuses: it takes CAP_NET_RAW.
    pub fn new(interface: &str) -> io::Result<Self> {
        let name = CString::new(interface)?;
        // SAFETY: takes numbers only.
        let fd = checked(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
        // SAFETY: the descriptor was made just now, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the pointer is to a text that ends with a zero.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        let on = 1_u32;
        let (value, length) = ((&raw const on).cast(), libc::socklen_t::try_from(size_of::<u32>()).unwrap_or(0));
        let (layer, option) = (libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS);
        // SAFETY: the pointer is to a local variable of the length that is given.
        checked(unsafe { libc::setsockopt(fd.as_raw_fd(), layer, option, value, length) })?;
        // SAFETY: numbers only, of which zero is one. Protocol zero: nothing is received.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or(0);
        address.sll_ifindex = index.cast_signed();
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or(0);
        // SAFETY: the pointer is to a local address of the length that is given.
        checked(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) })?;
        Ok(Self(fd))
    }

    /// Sends at most the first [`SEND_BATCH`] frames; gives how many of them the interface has taken, one after the other.
    ///
    /// # Errors
    ///
    /// If it did not take the first one.
    pub fn send(&self, frames: &[&[u8]]) -> io::Result<usize> {
        // SAFETY: numbers and pointers, which may be zero.
        let mut messages: [libc::mmsghdr; SEND_BATCH] = unsafe { std::mem::zeroed() };
        let mut places = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; SEND_BATCH];
        for (place, frame) in places.iter_mut().zip(frames) {
            *place = libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
        }
        for (message, place) in messages.iter_mut().zip(&mut places) {
            message.msg_hdr.msg_iov = std::ptr::from_mut(place);
            message.msg_hdr.msg_iovlen = 1;
        }
        let count = u32::try_from(frames.len().min(SEND_BATCH)).unwrap_or(0);
        // SAFETY: so many messages are filled; each points to one local place, and that to a frame, which is only read.
        let sent = checked(unsafe { libc::sendmmsg(self.0.as_raw_fd(), messages.as_mut_ptr(), count, 0) })?;
        Ok(usize::try_from(sent).unwrap_or(0))
    }
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
