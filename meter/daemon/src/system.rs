// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the standard library does not ask the kernel: to become another user, to give up capabilities, and what a driver counts.
//!
//! Users and capabilities are changed while the process still has one thread: they belong to threads.
#![expect(unsafe_code, reason = "system calls")]

use std::{
    io,
    os::{fd::AsRawFd, unix::net::UnixStream},
};

/// Version of the structures of capset(2) with 64 bits of capabilities (linux/capability.h).
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
/// More capabilities than any kernel has.
const CAPABILITIES: libc::c_ulong = 64;

/// Head of capset(2), `struct __user_cap_header_struct`.
#[repr(C)]
struct CapabilityHead {
    version: u32,
    pid: i32,
}

/// Half of the capabilities of a thread, `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const _: () = assert!(size_of::<CapabilityHead>() == 8 && size_of::<CapabilityData>() == 12);

/// Whether this process runs as root.
pub fn is_root() -> bool {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// The user that this process runs as.
pub fn user() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// The user that the process at the other end of a connection runs as (unix(7), SO_PEERCRED).
///
/// # Errors
///
/// If the system does not tell.
pub fn peer_user(stream: &UnixStream) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut octets = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most as many octets as the local variable has.
    check(unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut octets,
        )
    })?;
    Ok(peer.uid)
}

/// Becomes another user with one group, for good.
///
/// # Errors
///
/// If the system refuses; then parts of it may have been done.
pub fn become_user(user: u32, group: u32) -> io::Result<()> {
    // SAFETY: no groups are read from the null pointer.
    check(unsafe { libc::setgroups(0, std::ptr::null()) })?;
    // SAFETY: takes numbers only.
    check(unsafe { libc::setresgid(group, group, group) })?;
    // SAFETY: takes numbers only.
    check(unsafe { libc::setresuid(user, user, user) })
}

/// Allows this process to pin as much memory as it wants, or as far as its hard limit goes: with CAP_SYS_RESOURCE the former.
///
/// Frames of AF_XDP are pinned anew when an interface comes back, when there is no CAP_IPC_LOCK any more.
#[cfg(feature = "xdp")]
pub fn pin_without_limit() {
    let unlimited = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the limit is read from a local variable.
    if check(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const unlimited) }).is_ok() {
        return;
    }
    let mut limit = unlimited;
    // SAFETY: the limit is written to a local variable.
    if check(unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) }).is_ok() {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: as the first one. Where even that is refused, what is lacking is said when it is missed.
        unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
    }
}

/// Makes it impossible to get more privileges by executing something.
///
/// # Errors
///
/// If the kernel does not know that.
pub fn no_new_privileges() -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64) })
}

/// Takes all capabilities out of the bounding set, as far as this process may; for a root that must change it before it
/// changes the user.
pub fn empty_bounding_set() {
    for capability in 0..CAPABILITIES {
        // SAFETY: takes numbers only. It fails without CAP_SETPCAP, and beyond the last capability.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0_u64, 0_u64, 0_u64) };
    }
}

/// Gives up all capabilities.
///
/// # Errors
///
/// If the system refuses, or afterwards there still are some.
pub fn drop_capabilities() -> io::Result<()> {
    // SAFETY: takes numbers only. A kernel without ambient capabilities has none to clear.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0_u64, 0_u64, 0_u64) };
    let mut head = CapabilityHead { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [CapabilityData::default(); 2];
    // SAFETY: both pointers are to local variables of the layout that this version has, asserted above.
    check_long(unsafe { libc::syscall(libc::SYS_capset, &raw mut head, data.as_ptr()) })?;
    // SAFETY: as above; the kernel writes two halves.
    check_long(unsafe { libc::syscall(libc::SYS_capget, &raw mut head, data.as_mut_ptr()) })?;
    let are_gone = data.iter().all(|half| half.effective | half.permitted | half.inheritable == 0);
    if are_gone { Ok(()) } else { Err(io::Error::other("capabilities are left")) }
}

/// Asks a driver something (linux/ethtool.h). Takes no privileges.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSTATS: u32 = 0x1d;
const ETH_SS_STATS: u32 = 1;
/// Octets of the name of a counter.
const NAME: usize = 32;
/// Counters for which there is more room than the driver said that it has: it may have got more queues since.
const MORE: usize = 4096;
/// More counters than any driver has.
const MOST: usize = 1 << 16;

/// Names of the counters of an interface's driver, in the order of [`driver_counters`].
///
/// # Errors
///
/// If there is no such interface, or its driver counts nothing.
pub fn driver_counter_names(socket: &impl AsRawFd, interface: &str) -> io::Result<Vec<String>> {
    let room = number_of_counters(socket, interface)? + MORE;
    // The command, the set, the number of names, the names.
    let mut request = vec![0_u32; 3 + room * NAME / 4];
    request[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, ETH_SS_STATS, 0]);
    ask_driver(socket, interface, &mut request)?;
    let count = (request[2] as usize).min(room);
    let octets: Vec<u8> = request.iter().skip(3).flat_map(|word| word.to_ne_bytes()).collect();
    let name = |octets: &[u8]| {
        let len = octets.iter().position(|octet| *octet == 0).unwrap_or(octets.len());
        String::from_utf8_lossy(octets.get(..len).unwrap_or_default()).trim().to_owned()
    };
    Ok(octets.chunks(NAME).take(count).map(name).collect())
}

/// The counters of an interface's driver.
///
/// # Errors
///
/// If there is no such interface, or its driver counts nothing.
pub fn driver_counters(socket: &impl AsRawFd, interface: &str) -> io::Result<Vec<u64>> {
    let room = number_of_counters(socket, interface)? + MORE;
    // The command, the number of values, the values.
    let mut request = vec![0_u32; 2 + 2 * room];
    request[0] = ETHTOOL_GSTATS;
    ask_driver(socket, interface, &mut request)?;
    let count = (request[1] as usize).min(room);
    let value = |words: &[u32; 2]| {
        let [a, b] = words.map(u32::to_ne_bytes);
        u64::from_ne_bytes([a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]])
    };
    Ok(request[2..].as_chunks::<2>().0.iter().take(count).map(value).collect())
}

fn number_of_counters(socket: &impl AsRawFd, interface: &str) -> io::Result<usize> {
    // `struct ethtool_drvinfo`: n_stats is its 46th word of 49.
    let mut request = [0_u32; 64];
    request[0] = ETHTOOL_GDRVINFO;
    ask_driver(socket, interface, &mut request)?;
    match request[45] as usize {
        0 => Err(io::ErrorKind::Unsupported.into()),
        count if count > MOST => Err(io::ErrorKind::InvalidData.into()),
        count => Ok(count),
    }
}

/// Sends a request, whose first word is the command, and takes the answer in its place: it must have room for all of it.
fn ask_driver(socket: &impl AsRawFd, interface: &str, request: &mut [u32]) -> io::Result<()> {
    /// `struct ifreq`, of which the kernel reads the name and a pointer.
    #[repr(C)]
    struct Asked {
        name: [u8; libc::IFNAMSIZ],
        data: *mut u32,
        rest: [u8; 16],
    }
    let mut name = [0; libc::IFNAMSIZ];
    match name.get_mut(..interface.len()) {
        // The last octet stays zero.
        Some(place) if interface.len() < libc::IFNAMSIZ => place.copy_from_slice(interface.as_bytes()),
        _ => return Err(io::ErrorKind::NotFound.into()),
    }
    let mut asked = Asked { name, data: request.as_mut_ptr(), rest: [0; 16] };
    // SAFETY: `asked` is at least as long as the kernel's structure, and lives for the call. What it points to has room for the
    // answer: of names and values for thousands more than the driver had a moment ago.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut asked) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn check_long(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
