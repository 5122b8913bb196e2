// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. The kernel's side: memory and rings that are shared with it, its socket options, and the `bpf` system call.
//!
//! All unsafe code of this room is here. The layouts are those of linux/if_xdp.h (by way of `libc`) and linux/bpf.h.
//!
//! A [`Queue`] is one socket with its frames and its two rings. Each frame belongs to the kernel (it is in the fill ring, or a
//! packet in it waits in the receive ring) or to this program (it is *held*). Held frames alone can be looked at, and giving
//! them back takes the queue mutably, so that no look outlives it.
#![expect(unsafe_code, reason = "rings that are shared with the kernel, and its system calls")]

use std::{
    ffi::{CStr, CString, c_int, c_long, c_void},
    io,
    mem::{offset_of, zeroed},
    net::IpAddr,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use weir_flow::BATCH;

/// The last error of this thread's system calls, if `result` says that there was one.
fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

// ---------------------------------------------------------------------------------------------------------------- memory

/// Memory that came from `mmap`, and goes with this value.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping owns its memory, as a vector does.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Memory of this process, all zeros.
    fn anonymous(len: usize) -> io::Result<Self> {
        Self::new(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    }

    /// A ring of a socket: `page_offset` is one of XDP_PGOFF_ and XDP_UMEM_PGOFF_ of linux/if_xdp.h.
    fn ring(socket: &OwnedFd, len: usize, page_offset: u64) -> io::Result<Self> {
        Self::new(len, libc::MAP_SHARED | libc::MAP_POPULATE, socket.as_raw_fd(), page_offset)
    }

    fn new(len: usize, flags: c_int, fd: c_int, offset: u64) -> io::Result<Self> {
        let offset = i64::try_from(offset).map_err(|_| invalid("offset of a mapping"))?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place that the kernel chooses touches no memory of this program. The 64-bit call, since
        // the offset of the fill ring takes 33 bits.
        let start = unsafe { libc::mmap64(ptr::null_mut(), len, access, flags, fd, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast::<u8>()).ok_or_else(|| invalid("a mapping at address zero"))?;
        Ok(Self { start, len })
    }

    /// Pointer to `count` values of `T` from `offset` on, if they lie within and are aligned.
    fn place<T>(&self, offset: u64, count: usize) -> io::Result<NonNull<T>> {
        let wrong = || invalid("the kernel places a ring outside of its mapping");
        let offset = usize::try_from(offset).map_err(|_| wrong())?;
        let len = count.checked_mul(size_of::<T>()).ok_or_else(wrong)?;
        let end = offset.checked_add(len).ok_or_else(wrong)?;
        if end > self.len || offset % align_of::<T>() != 0 {
            return Err(wrong());
        }
        // SAFETY: `offset` is at most `len`, the length of the mapping.
        Ok(unsafe { self.start.add(offset) }.cast())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is exactly this, and whoever points into it owns this value.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

// ----------------------------------------------------------------------------------------------------------------- rings

/// A type of which any octets are a value.
///
/// # Safety
///
/// Any octets must be a valid value.
unsafe trait Plain: Copy + Default {}

// SAFETY: a number.
unsafe impl Plain for u64 {}
// SAFETY: made of numbers.
unsafe impl Plain for Descriptor {}

/// A packet in the receive ring: `struct xdp_desc` of linux/if_xdp.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Descriptor {
    address: u64,
    len: u32,
    options: u32,
}

const _: () = assert!(size_of::<Descriptor>() == size_of::<libc::xdp_desc>());
const _: () = assert!(offset_of!(Descriptor, len) == offset_of!(libc::xdp_desc, len));

/// One ring: the kernel is at one end of it, this program at the other.
///
/// The two positions count on without end; an entry lies at its position modulo the number of entries, which is a power of
/// two. Whatever number the kernel writes, an entry is looked up under the mask, and never more than all entries are counted.
#[derive(Debug)]
struct Ring<T> {
    /// Owns what the pointers point into.
    _mapping: Mapping,
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    mask: u32,
    /// The position of this program's end.
    own: u32,
}

// SAFETY: a ring owns its mapping; the other end is the kernel's, which does not care which thread is at this one.
unsafe impl<T: Send> Send for Ring<T> {}

impl<T: Plain> Ring<T> {
    /// Octets of a ring of `entries` entries.
    fn octets(offsets: &libc::xdp_ring_offset, entries: u32) -> io::Result<usize> {
        let entries = u64::from(entries) * size_of::<T>() as u64;
        let len = offsets.desc.checked_add(entries).and_then(|len| usize::try_from(len).ok());
        len.ok_or_else(|| invalid("offset of a ring"))
    }

    /// The ring of `entries` entries, a power of two, that lies in `mapping`.
    fn over(mapping: Mapping, offsets: &libc::xdp_ring_offset, entries: u32) -> io::Result<Self> {
        if !entries.is_power_of_two() {
            return Err(invalid("the size of a ring is no power of two"));
        }
        Ok(Self {
            producer: mapping.place(offsets.producer, 1)?,
            consumer: mapping.place(offsets.consumer, 1)?,
            flags: mapping.place(offsets.flags, 1)?,
            entries: mapping.place(offsets.desc, entries as usize)?,
            mask: entries - 1,
            own: 0,
            _mapping: mapping,
        })
    }

    fn size(&self) -> u32 {
        self.mask + 1
    }

    fn position(&self, of: NonNull<AtomicU32>, order: Ordering) -> u32 {
        // SAFETY: `over` has seen that it lies within the mapping, aligned, and both ends use it as an atomic number.
        unsafe { of.as_ref() }.load(order)
    }

    fn publish(&self, of: NonNull<AtomicU32>) {
        // SAFETY: as in `position`. Release: what was written or read before is done when the kernel sees the position.
        unsafe { of.as_ref() }.store(self.own, Ordering::Release);
    }

    /// Of a ring that this program consumes: entries that can be read.
    fn filled(&self) -> u32 {
        // Acquire: the entries are read after the position that says that they are there.
        self.position(self.producer, Ordering::Acquire).wrapping_sub(self.own).min(self.size())
    }

    /// Of a ring that this program fills: entries that can be written.
    fn free(&self) -> u32 {
        let taken = self.own.wrapping_sub(self.position(self.consumer, Ordering::Acquire));
        self.size().saturating_sub(taken)
    }

    fn read(&self, position: u32) -> T {
        let index = (position & self.mask) as usize;
        // SAFETY: `index` is below the number of entries, all of which `over` has seen within the mapping; any octets are a
        // value. Volatile, since the kernel writes here.
        unsafe { self.entries.add(index).read_volatile() }
    }

    fn write(&mut self, position: u32, value: T) {
        let index = (position & self.mask) as usize;
        // SAFETY: as in `read`.
        unsafe { self.entries.add(index).write_volatile(value) };
    }

    /// Of a ring that this program fills: writes as many of these values as there is room for.
    fn put(&mut self, values: impl Iterator<Item = T>) {
        for value in values.take(self.free() as usize) {
            self.write(self.own, value);
            self.own = self.own.wrapping_add(1);
        }
        self.publish(self.producer);
    }

    /// Of a ring that this program fills: whether the kernel waits for a call before it looks at it again.
    fn needs_wakeup(&self) -> bool {
        self.position(self.flags, Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

// --------------------------------------------------------------------------------------------------------------- sockets

/// One socket that receives, its frames and its rings.
#[derive(Debug)]
pub struct Queue {
    // Before the memory: fields go in this order, and the kernel writes into the frames until the socket is closed.
    socket: OwnedFd,
    rx: Ring<Descriptor>,
    fill: Ring<u64>,
    frames: Mapping,
    frame_octets: u32,
    held: [Descriptor; BATCH],
    held_count: usize,
    zero_copy: bool,
}

/// A socket of AF_XDP that is not bound to anything yet. This is what takes CAP_NET_RAW.
pub fn socket() -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor is new, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl Queue {
    /// Gives `socket` memory and rings, with all frames in the fill ring. It is not bound to an interface yet.
    ///
    /// The system's error says ENOBUFS where the memory may not be pinned (RLIMIT_MEMLOCK).
    pub fn new(socket: OwnedFd, frames: u32, frame_octets: u32) -> io::Result<Self> {
        let too_large = || io::Error::from(io::ErrorKind::OutOfMemory);
        let memory = Mapping::anonymous((frames as usize).checked_mul(frame_octets as usize).ok_or_else(too_large)?)?;
        register(&socket, &memory, frame_octets)?;
        let (rx, fill) = rings(&socket, frames)?;
        let mut queue = Self {
            socket,
            rx,
            fill,
            frames: memory,
            frame_octets,
            held: [Descriptor::default(); BATCH],
            held_count: 0,
            zero_copy: false,
        };
        queue.fill.put((0..frames).map(|frame| u64::from(frame) * u64::from(frame_octets)));
        Ok(queue)
    }

    /// Has it receive from a queue of an interface; with `copy` without zero-copy, also where the driver offers it.
    pub fn bind(&mut self, interface: u32, queue: u32, copy: bool) -> io::Result<()> {
        let address = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            // Without either flag the kernel takes zero-copy where it is offered, else copies.
            sxdp_flags: libc::XDP_USE_NEED_WAKEUP | if copy { libc::XDP_COPY } else { 0 },
            sxdp_ifindex: interface,
            sxdp_queue_id: queue,
            sxdp_shared_umem_fd: 0,
        };
        let len = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the address lives through the call, and has that length.
        check(unsafe { libc::bind(self.socket.as_raw_fd(), (&raw const address).cast(), len) })?;
        let options: libc::xdp_options = option(&self.socket, libc::SOL_XDP, libc::XDP_OPTIONS)?;
        self.zero_copy = options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0;
        Ok(())
    }

    /// Whether the driver writes into the frames by itself.
    pub fn zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Packets that wait in the receive ring.
    pub fn waiting(&self) -> u32 {
        self.rx.filled()
    }

    /// Takes up to [`BATCH`] packets out of the receive ring, and holds them. What was held before goes back.
    pub fn take(&mut self) -> usize {
        self.give_back();
        let count = (self.rx.filled() as usize).min(BATCH);
        for held in self.held.iter_mut().take(count) {
            *held = self.rx.read(self.rx.own);
            self.rx.own = self.rx.own.wrapping_add(1);
        }
        // The descriptors are copies, so their places in the ring are free again, before anybody looks at the packets.
        self.rx.publish(self.rx.consumer);
        self.held_count = count;
        count
    }

    /// The octets of packet `index` of those held; `None` if there are not so many, or if the kernel says that it lies
    /// outside of its frame.
    pub fn packet(&self, index: usize) -> Option<&[u8]> {
        let held = self.held.get(..self.held_count)?.get(index)?;
        let offset = held.address & u64::from(self.frame_octets - 1);
        if offset + u64::from(held.len) > u64::from(self.frame_octets) {
            return None;
        }
        let first = self.frames.place::<u8>(held.address, held.len as usize).ok()?;
        // SAFETY: `place` has seen that the octets lie within the mapping, which lives as long as `self`. They were written
        // before `take` saw the descriptor (acquire), and the kernel writes there again only after `give_back`, which takes
        // `self` mutably. Octets have no invalid values.
        Some(unsafe { std::slice::from_raw_parts(first.as_ptr(), held.len as usize) })
    }

    /// Gives what is held back to the kernel, for other packets.
    pub fn give_back(&mut self) {
        let count = std::mem::take(&mut self.held_count);
        if count == 0 {
            return;
        }
        let frame = !u64::from(self.frame_octets - 1);
        self.fill.put(self.held.iter().take(count).map(|held| held.address & frame));
        if self.fill.needs_wakeup() {
            self.wake();
        }
    }

    /// Has the driver look at the fill ring; with busy polling, has the kernel look for packets.
    pub fn wake(&self) {
        let (fd, flags) = (self.socket.as_raw_fd(), libc::MSG_DONTWAIT);
        // SAFETY: no octets are asked for, so none are written. What it returns says nothing: there is nothing to read.
        unsafe { libc::recvfrom(fd, ptr::null_mut(), 0, flags, ptr::null_mut(), ptr::null_mut()) };
    }

    /// Waits until there is a packet, for at most so long (rounded to milliseconds).
    pub fn wait(&self, at_most: Duration) -> io::Result<()> {
        let mut poll = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let millis = c_int::try_from(at_most.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: one entry, which lives through the call.
        match check(unsafe { libc::poll(&raw mut poll, 1, millis) }) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the interface has gone away under the socket (ENETDOWN, once).
    pub fn interface_gone(&self) -> bool {
        option::<c_int>(&self.socket, libc::SOL_SOCKET, libc::SO_ERROR).is_ok_and(|error| error != 0)
    }

    /// The kernel's counters, since the socket was made.
    pub fn statistics(&self) -> io::Result<libc::xdp_statistics> {
        option(&self.socket, libc::SOL_XDP, libc::XDP_STATISTICS)
    }

    /// Has this thread, in [`Self::wake`], do the driver's receiving, up to `budget` packets a time.
    pub fn prefer_busy_poll(&self, budget: u16) -> io::Result<()> {
        let options = [
            (libc::SO_PREFER_BUSY_POLL, 1),
            (libc::SO_BUSY_POLL, 20), // Microseconds, for calls that would block; ours do not.
            (libc::SO_BUSY_POLL_BUDGET, c_int::from(budget)),
        ];
        options.into_iter().try_for_each(|(name, value)| set(&self.socket, libc::SOL_SOCKET, name, &value))
    }

    /// Enters the socket into a map of sockets under the number of its queue.
    pub fn enter(&self, map: &OwnedFd, queue: u32) -> io::Result<()> {
        map_update(map, queue, u32::try_from(self.socket.as_raw_fd()).unwrap_or(u32::MAX))
    }
}

fn register(socket: &OwnedFd, frames: &Mapping, frame_octets: u32) -> io::Result<()> {
    // SAFETY: numbers, of which zero is a value; also of those that later kernels know.
    let mut memory: libc::xdp_umem_reg = unsafe { zeroed() };
    memory.addr = frames.start.as_ptr().addr() as u64;
    memory.len = frames.len as u64;
    memory.chunk_size = frame_octets;
    set(socket, libc::SOL_XDP, libc::XDP_UMEM_REG, &memory)
}

fn rings(socket: &OwnedFd, entries: u32) -> io::Result<(Ring<Descriptor>, Ring<u64>)> {
    set(socket, libc::SOL_XDP, libc::XDP_UMEM_FILL_RING, &entries)?;
    // Nothing is sent, so nothing completes; but without a completion ring nothing can be bound.
    set(socket, libc::SOL_XDP, libc::XDP_UMEM_COMPLETION_RING, &1_u32)?;
    set(socket, libc::SOL_XDP, libc::XDP_RX_RING, &entries)?;
    let offsets: libc::xdp_mmap_offsets = option(socket, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS)?;
    let len = Ring::<Descriptor>::octets(&offsets.rx, entries)?;
    let rx = Ring::over(Mapping::ring(socket, len, libc::XDP_PGOFF_RX_RING as u64)?, &offsets.rx, entries)?;
    let len = Ring::<u64>::octets(&offsets.fr, entries)?;
    let fill = Ring::over(Mapping::ring(socket, len, libc::XDP_UMEM_PGOFF_FILL_RING)?, &offsets.fr, entries)?;
    Ok((rx, fill))
}

fn set<T: Copy>(socket: &OwnedFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value lives through the call, and has that length.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, ptr::from_ref(value).cast(), len) })?;
    Ok(())
}

/// A type of socket option: numbers only.
trait OptionValue: Copy {}
impl OptionValue for c_int {}
impl OptionValue for libc::xdp_mmap_offsets {}
impl OptionValue for libc::xdp_options {}
impl OptionValue for libc::xdp_statistics {}

fn option<T: OptionValue>(socket: &OwnedFd, level: c_int, name: c_int) -> io::Result<T> {
    // SAFETY: made of numbers, of which zero is a value.
    let mut value: T = unsafe { zeroed() };
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value has room for that many octets, all of which may have any value.
    check(unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len) })?;
    if len as usize == size_of::<T>() {
        Ok(value)
    } else {
        // Before Linux 5.4 some were shorter; links of XDP programs are younger (5.9).
        Err(io::ErrorKind::Unsupported.into())
    }
}

// ------------------------------------------------------------------------------------------------------------------- bpf

/// Commands, types and flags of linux/bpf.h and linux/if_link.h.
mod bpf {
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
        instruction(0x85, 0, 0, 0, bpf::FUNC_REDIRECT_MAP),
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
        map_type: bpf::MAP_TYPE_XSKMAP,
        key_size: 4,
        value_size: 4,
        max_entries: entries,
        map_name: *b"weir_sockets\0\0\0\0",
        ..MapCreate::default()
    };
    // SAFETY: those are its attributes, and there are no addresses in them.
    unsafe { call_for_descriptor(bpf::MAP_CREATE, &mut attributes) }
}

fn map_update(map: &OwnedFd, key: u32, value: u32) -> io::Result<()> {
    let mut attributes =
        MapUpdate { map_fd: number(map), padding: 0, key: address(&key), value: address(&value), flags: 0 };
    // SAFETY: key and value have the four octets that `socket_map` has told, and live through the call.
    unsafe { call(bpf::MAP_UPDATE_ELEM, &mut attributes) }?;
    Ok(())
}

/// Loads the program that gives each packet to the socket of its receive queue.
///
/// The error comes with what the kernel's verifier says, if anything.
pub fn program(map: &OwnedFd) -> Result<OwnedFd, (io::Error, String)> {
    let instructions = redirect_by_queue(map.as_raw_fd());
    // With this flag a driver also takes the program where packets may be larger than a page (Linux 5.18); without, the older.
    load(&instructions, bpf::PROG_FLAG_HAS_FRAGS).or_else(|_| load(&instructions, 0))
}

fn load(instructions: &[Instruction], flags: u32) -> Result<OwnedFd, (io::Error, String)> {
    // No function of the program asks for another licence.
    const LICENSE: &CStr = c"MIT";
    let mut log = vec![0_u8; 1 << 14];
    let mut attributes = ProgLoad {
        prog_type: bpf::PROG_TYPE_XDP,
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
        expected_attach_type: bpf::ATTACH_TYPE_XDP,
    };
    // SAFETY: those are its attributes; the instructions, the text and the log live through the call, with the lengths told.
    let loaded = unsafe { call_for_descriptor(bpf::PROG_LOAD, &mut attributes) };
    loaded.map_err(|error| {
        let end = log.iter().position(|octet| *octet == 0).unwrap_or(log.len());
        (error, String::from_utf8_lossy(log.get(..end).unwrap_or_default()).trim().to_owned())
    })
}

/// Attaches a program to an interface for as long as the descriptor returned is open: until the process ends, however it ends.
pub fn link(program: &OwnedFd, interface: u32, native: bool) -> io::Result<OwnedFd> {
    let flags = if native { bpf::LINK_FLAG_NATIVE } else { bpf::LINK_FLAG_GENERIC };
    let mut attributes =
        LinkCreate { prog_fd: number(program), target_ifindex: interface, attach_type: bpf::ATTACH_TYPE_XDP, flags };
    // SAFETY: those are its attributes, and there are no addresses in them.
    unsafe { call_for_descriptor(bpf::LINK_CREATE, &mut attributes) }
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
    unsafe { call(bpf::OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    // SAFETY: a number. Volatile, since the compiler did not see the kernel write it.
    Ok(unsafe { (&raw const info.ifindex).read_volatile() })
}

// ------------------------------------------------------------------------------------------------------------ interfaces

/// The system's number of an interface.
pub fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: a text with a zero at its end, which lives through the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
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

#[cfg(test)]
mod tests {
    use super::*;

    const OFFSETS: libc::xdp_ring_offset = libc::xdp_ring_offset { producer: 0, consumer: 64, desc: 192, flags: 128 };

    fn ring<T: Plain>(entries: u32) -> Ring<T> {
        let len = Ring::<T>::octets(&OFFSETS, entries).unwrap();
        Ring::over(Mapping::anonymous(len).unwrap(), &OFFSETS, entries).unwrap()
    }

    /// What the kernel would do at its end.
    fn kernel_sets(position: NonNull<AtomicU32>, to: u32) {
        // SAFETY: a position of a ring that the test has.
        unsafe { position.as_ref() }.store(to, Ordering::Release);
    }

    #[test]
    fn whatever_the_kernel_says_no_more_than_all_entries_are_there() {
        let (mut rx, mut fill) = (ring::<Descriptor>(8), ring::<u64>(8));
        for own in [0, 7, u32::MAX - 3] {
            (rx.own, fill.own) = (own, own);
            for position in [0, 1, 7, 8, 9, 1 << 31, u32::MAX - 1, u32::MAX, own.wrapping_add(3)] {
                kernel_sets(rx.producer, position);
                kernel_sets(fill.consumer, position);
                assert!(rx.filled() <= 8 && fill.free() <= 8);
                let _ = rx.read(position);
                fill.write(position, u64::MAX);
            }
            kernel_sets(rx.producer, own.wrapping_add(3));
            kernel_sets(fill.consumer, own.wrapping_sub(3));
            assert_eq!((rx.filled(), fill.free()), (3, 5));
        }
    }

    #[test]
    fn a_ring_that_does_not_fit_into_its_mapping_is_refused() {
        let wrong = [
            libc::xdp_ring_offset { producer: u64::MAX, ..OFFSETS },
            libc::xdp_ring_offset { producer: 2, ..OFFSETS },
            libc::xdp_ring_offset { consumer: 4094, ..OFFSETS },
            libc::xdp_ring_offset { flags: 1 << 20, ..OFFSETS },
            libc::xdp_ring_offset { desc: 4096 - 8 * 16 + 8, ..OFFSETS },
        ];
        for offsets in wrong {
            assert!(Ring::<Descriptor>::over(Mapping::anonymous(4096).unwrap(), &offsets, 8).is_err(), "{offsets:?}");
        }
        assert!(Ring::<Descriptor>::over(Mapping::anonymous(4096).unwrap(), &OFFSETS, 7).is_err());
        assert!(Ring::<u64>::octets(&libc::xdp_ring_offset { desc: u64::MAX, ..OFFSETS }, 8).is_err());
    }

    /// A queue whose socket is none, and whose rings no kernel looks at.
    fn queue() -> Queue {
        Queue {
            socket: std::fs::File::open("/dev/null").unwrap().into(),
            rx: ring(8),
            fill: ring(8),
            frames: Mapping::anonymous(8 * 2048).unwrap(),
            frame_octets: 2048,
            held: [Descriptor::default(); BATCH],
            held_count: 0,
            zero_copy: false,
        }
    }

    #[test]
    fn packets_lie_in_their_frames_and_frames_go_back() {
        let mut queue = queue();
        queue.rx.write(0, Descriptor { address: 2048 + 256, len: 60, options: 0 });
        queue.rx.write(1, Descriptor { address: 2 * 2048 + 256, len: 1793, options: 0 }); // beyond its frame
        queue.rx.write(2, Descriptor { address: 8 * 2048, len: 1, options: 0 }); // beyond the memory
        queue.rx.write(3, Descriptor { address: u64::MAX, len: u32::MAX, options: 0 });
        kernel_sets(queue.rx.producer, 4);
        assert_eq!(queue.take(), 4);
        assert_eq!(queue.packet(0).map(<[u8]>::len), Some(60));
        for index in [1, 2, 3, 4, 64, usize::MAX] {
            assert!(queue.packet(index).is_none(), "{index}");
        }
        assert_eq!(queue.rx.position(queue.rx.consumer, Ordering::Relaxed), 4);
        queue.give_back();
        assert!(queue.packet(0).is_none());
        assert_eq!(queue.fill.position(queue.fill.producer, Ordering::Relaxed), 4);
        assert_eq!((queue.fill.read(0), queue.fill.read(1)), (2048, 4096));
    }
}
