// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the standard library does not ask the kernel: to become another user, and to give up capabilities.
//!
//! All of this is for a process that still has one thread: capabilities belong to threads.
#![expect(unsafe_code, reason = "system calls")]

use std::io;

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

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn check_long(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
