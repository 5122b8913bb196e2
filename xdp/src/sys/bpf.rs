// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `bpf` system call: a map of sockets, the program, and the link that attaches it.

use std::{
    ffi::{CStr, c_int, c_long, c_void},
    io,
    mem::offset_of,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
};

use super::check;

/// Commands, types and flags of linux/bpf.h and linux/if_link.h.
mod uapi {
    pub const MAP_CREATE: u32 = 0;
    pub const MAP_UPDATE_ELEM: u32 = 2;
    pub const PROG_LOAD: u32 = 5;
    pub const OBJ_GET_INFO_BY_FD: u32 = 15;
    pub const LINK_CREATE: u32 = 28;

    pub const MAP_TYPE_XSKMAP: u32 = 17;
    pub const PROG_TYPE_XDP: u32 = 6;
    pub const ATTACH_TYPE_XDP: u32 = 37;
    pub const FUNC_REDIRECT_MAP: i32 = 51;
    pub const PROG_FLAG_HAS_FRAGS: u32 = 1 << 5;

    pub const LINK_FLAG_GENERIC: u32 = 1 << 1;
    pub const LINK_FLAG_NATIVE: u32 = 1 << 2;
}

/// One instruction: `struct bpf_insn` of linux/bpf.h.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: u8,
    /// Two bit fields of four bits; which is first depends on the byte order.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const _: () = assert!(size_of::<Instruction>() == 8);

const fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    let registers = if cfg!(target_endian = "little") { source << 4 | destination } else { destination << 4 | source };
    Instruction { code, registers, offset, immediate }
}

/// The program: a packet goes to the socket that the map has for its receive queue, and on to the kernel's own network stack
/// where there is none.
fn redirect_by_queue(map: c_int) -> [Instruction; 6] {
    /// XDP_PASS (linux/bpf.h): what `bpf_redirect_map` returns where the map has nothing, if these are its flags.
    const PASS: i32 = 2;
    /// Offset of `rx_queue_index` in `struct xdp_md`.
    const RX_QUEUE_INDEX: i16 = 16;
    /// BPF_PSEUDO_MAP_FD: the number is a file descriptor of a map.
    const MAP_FD: u8 = 1;
    [
        // r2 = context.rx_queue_index; the context is in r1.
        instruction(0x61, 2, 1, RX_QUEUE_INDEX, 0),
        // r1 = map, 64 bits in two instructions.
        instruction(0x18, 1, MAP_FD, 0, map),
        instruction(0x00, 0, 0, 0, 0),
        // r3 = PASS
        instruction(0xb7, 3, 0, 0, PASS),
        // r0 = bpf_redirect_map(r1, r2, r3)
        instruction(0x85, 0, 0, 0, uapi::FUNC_REDIRECT_MAP),
        // return r0
        instruction(0x95, 0, 0, 0, 0),
    ]
}

/// Of `union bpf_attr`, the part of BPF_MAP_CREATE that is used.
#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
}

/// Of `union bpf_attr`, the part of BPF_MAP_UPDATE_ELEM.
#[repr(C)]
struct MapUpdate {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Of `union bpf_attr`, the part of BPF_PROG_LOAD that is used.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// Of `union bpf_attr`, the part of BPF_LINK_CREATE that is used.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// Of `union bpf_attr`, the part of BPF_OBJ_GET_INFO_BY_FD.
#[repr(C)]
struct ObjectInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The begin of `struct bpf_link_info`, for a link of an XDP program.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    link_type: u32,
    id: u32,
    prog_id: u32,
    padding: u32,
    ifindex: u32,
    padding_at_end: u32,
}

const _: () = assert!(offset_of!(MapUpdate, key) == 8 && size_of::<MapUpdate>() == 32);
const _: () = assert!(offset_of!(ProgLoad, log_buf) == 32 && offset_of!(ProgLoad, expected_attach_type) == 68);
const _: () = assert!(offset_of!(LinkInfo, ifindex) == 16 && size_of::<MapCreate>() == 44);

/// An address as the kernel takes it.
fn address<T: ?Sized>(of: &T) -> u64 {
    ptr::from_ref(of).cast::<u8>().addr() as u64
}

fn number(fd: &OwnedFd) -> u32 {
    u32::try_from(fd.as_raw_fd()).unwrap_or(u32::MAX)
}

/// The `bpf` system call.
///
/// # Safety
///
/// `attributes` must be what `command` takes, and the addresses in it those of memory that may be used so.
unsafe fn call<T>(command: u32, attributes: &mut T) -> io::Result<c_int> {
    let attributes: *mut T = attributes;
    // SAFETY: the attributes live through the call and have that length; the kernel takes what is beyond it as zeros. What they
    // point to, the caller answers for.
    let result: c_long = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.cast::<c_void>(), size_of::<T>()) };
    check(c_int::try_from(result).unwrap_or(-1))
}

/// # Safety
///
/// As of [`call`], and `command` must return a descriptor.
unsafe fn call_for_descriptor<T>(command: u32, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller answers for it.
    let fd = unsafe { call(command, attributes) }?;
    // SAFETY: the descriptor is new, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A map of `entries` sockets (XSKMAP), without any so far.
pub fn socket_map(entries: u32) -> io::Result<OwnedFd> {
    let mut attributes = MapCreate {
        map_type: uapi::MAP_TYPE_XSKMAP,
        key_size: 4,
        value_size: 4,
        max_entries: entries,
        map_name: *b"weir_sockets\0\0\0\0",
        ..MapCreate::default()
    };
    // SAFETY: those are its attributes, and there are no addresses in them.
    unsafe { call_for_descriptor(uapi::MAP_CREATE, &mut attributes) }
}

/// Enters a value under a key.
pub fn map_update(map: &OwnedFd, key: u32, value: u32) -> io::Result<()> {
    let mut attributes =
        MapUpdate { map_fd: number(map), padding: 0, key: address(&key), value: address(&value), flags: 0 };
    // SAFETY: key and value have the four octets that `socket_map` has told, and live through the call.
    unsafe { call(uapi::MAP_UPDATE_ELEM, &mut attributes) }?;
    Ok(())
}

/// Loads the program that gives each packet to the socket of its receive queue.
///
/// The error comes with what the kernel's verifier says, if anything.
pub fn program(map: &OwnedFd) -> Result<OwnedFd, (io::Error, String)> {
    let instructions = redirect_by_queue(map.as_raw_fd());
    // With this flag a driver also takes the program where packets may be larger than a page (Linux 5.18); without, the older.
    load(&instructions, uapi::PROG_FLAG_HAS_FRAGS).or_else(|_| load(&instructions, 0))
}

fn load(instructions: &[Instruction], flags: u32) -> Result<OwnedFd, (io::Error, String)> {
    // No function of the program asks for another licence.
    const LICENSE: &CStr = c"MIT";
    let mut log = vec![0_u8; 1 << 14];
    let mut attributes = ProgLoad {
        prog_type: uapi::PROG_TYPE_XDP,
        insn_cnt: u32::try_from(instructions.len()).unwrap_or(0),
        insns: address(instructions),
        license: address(LICENSE),
        log_level: 1,
        log_size: u32::try_from(log.len()).unwrap_or(0),
        log_buf: log.as_mut_ptr().addr() as u64,
        kern_version: 0,
        prog_flags: flags,
        prog_name: *b"weir_capture\0\0\0\0",
        prog_ifindex: 0,
        expected_attach_type: uapi::ATTACH_TYPE_XDP,
    };
    // SAFETY: those are its attributes; the instructions, the text and the log live through the call, with the lengths told.
    let loaded = unsafe { call_for_descriptor(uapi::PROG_LOAD, &mut attributes) };
    loaded.map_err(|error| {
        let end = log.iter().position(|octet| *octet == 0).unwrap_or(log.len());
        (error, String::from_utf8_lossy(log.get(..end).unwrap_or_default()).trim().to_owned())
    })
}

/// Attaches a program to an interface for as long as the descriptor returned is open: until the process ends, however it ends.
pub fn link(program: &OwnedFd, interface: u32, native: bool) -> io::Result<OwnedFd> {
    let flags = if native { uapi::LINK_FLAG_NATIVE } else { uapi::LINK_FLAG_GENERIC };
    let mut attributes =
        LinkCreate { prog_fd: number(program), target_ifindex: interface, attach_type: uapi::ATTACH_TYPE_XDP, flags };
    // SAFETY: those are its attributes, and there are no addresses in them.
    unsafe { call_for_descriptor(uapi::LINK_CREATE, &mut attributes) }
}

/// Index of the interface that a link is at; zero when that has gone away.
pub fn linked_interface(link: &OwnedFd) -> io::Result<u32> {
    let mut info = LinkInfo::default();
    let mut attributes = ObjectInfo {
        bpf_fd: number(link),
        info_len: size_of::<LinkInfo>() as u32,
        info: (&raw mut info).addr() as u64,
    };
    // SAFETY: the kernel writes at most as many octets as told into memory of that size, which lives through the call.
    unsafe { call(uapi::OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    // SAFETY: a number. Volatile, since the compiler did not see the kernel write it.
    Ok(unsafe { (&raw const info.ifindex).read_volatile() })
}
