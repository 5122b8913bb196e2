// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the system's library says of interfaces and limits.

use std::{
    ffi::{CStr, CString, c_int},
    io,
    net::IpAddr,
    ptr,
};

use super::check;

/// The system's number of an interface.
pub fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: a text with a zero at its end, which lives through the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

/// Whether an interface is up, as far as its administrator goes; `None` if there is none.
pub fn is_up(name: &str) -> Option<bool> {
    let flags = std::fs::read_to_string(format!("/sys/class/net/{name}/flags")).ok()?;
    let flags = c_int::from_str_radix(flags.trim().trim_start_matches("0x"), 16).ok()?;
    Some(flags & libc::IFF_UP != 0)
}

/// Whether this thread has CAP_IPC_LOCK: what it pins does not count.
pub fn may_pin_without_limit() -> bool {
    /// Its number (linux/capability.h).
    const CAP_IPC_LOCK: u32 = 14;
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok())
        .is_some_and(|all| all >> CAP_IPC_LOCK & 1 == 1)
}

/// Most octets that this process may pin without CAP_IPC_LOCK; `None` without a limit.
pub fn memory_lock_limit() -> Option<u64> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes into the struct, which lives through the call.
    check(unsafe { libc::getrlimit64(libc::RLIMIT_MEMLOCK, &raw mut limit) }).ok()?;
    // All bits set is no limit.
    (limit.rlim_cur != u64::MAX).then_some(limit.rlim_cur)
}

/// The IP addresses of an interface.
pub fn addresses(interface: &str) -> io::Result<Vec<IpAddr>> {
    let mut list: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: the library writes the head of the list there.
    check(unsafe { libc::getifaddrs(&raw mut list) })?;
    let mut found = Vec::new();
    let mut next = list;
    // SAFETY: `next` is zero or an entry of the list, which is not freed before the loop has ended.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: each entry has a name, a text with a zero at its end.
        let name = unsafe { CStr::from_ptr(entry.ifa_name) };
        if name.to_bytes() == interface.as_bytes() {
            // SAFETY: the entry's address is zero or an address as its family says.
            found.extend(unsafe { ip_address(entry.ifa_addr) });
        }
        next = entry.ifa_next;
    }
    // SAFETY: the list came from `getifaddrs`, and nothing points into it any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

/// # Safety
///
/// `address` must be zero, or point to an address as its family says.
unsafe fn ip_address(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: the caller answers for it.
    let family = c_int::from(unsafe { address.as_ref() }?.sa_family);
    match family {
        libc::AF_INET => {
            // SAFETY: the family says that it is one of these; unaligned, since nobody promises more.
            let inet = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(IpAddr::V4(u32::from_be(inet.sin_addr.s_addr).into()))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let inet = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(IpAddr::V6(inet.sin6_addr.s6_addr.into()))
        }
        _ => None,
    }
}
