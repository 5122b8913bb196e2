// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. What an AF_PACKET socket asks the kernel (packet(7), linux/if_packet.h), and the ring as memory: blocks that are
//! the kernel's or ours by turns.
#![expect(unsafe_code, reason = "system calls, and memory that the kernel writes")]

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use libc::{c_int, c_void};

use super::Instruction;

/// TPACKET_V3 of `enum tpacket_versions`.
const TPACKET_V3: c_int = 2;
/// Where the status of a block is in it: `tpacket_block_desc.hdr.bh1.block_status`.
const BLOCK_STATUS: usize = 8;

/// Requests of netdevice(7).
const SIOCGIFFLAGS: libc::Ioctl = 0x8913;
const SIOCGIFHWADDR: libc::Ioctl = 0x8927;
const SIOCGIFINDEX: libc::Ioctl = 0x8933;

/// What the system says of an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Device {
    /// Its number, at least one.
    pub index: i32,
    /// Kind of its hardware: an ARPHRD_ number.
    pub hardware: u16,
    /// Whether it is up.
    pub is_up: bool,
}

/// What came of waiting for a socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Waited {
    /// There is something in the ring, or there was a signal.
    Readable,
    /// There was nothing.
    TimedOut,
    /// The socket has an error; it is taken from the socket by this. `None` if there is none after all.
    Error(Option<i32>),
}

/// Counters of a socket since they were read last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    /// Packets that came to the socket, those lost among them.
    pub packets: u32,
    /// Packets lost, mostly since the ring was full.
    pub lost: u32,
}

/// A packet socket that sees no packet before it is bound.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// If the system refuses: it takes CAP_NET_RAW.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes numbers only.
        let fd = checked(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
        // SAFETY: the descriptor was made just now, and nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sets an option of the packet layer whose value is a number.
    pub fn set(&self, option: c_int, value: u32) -> io::Result<()> {
        self.set_option(libc::SOL_PACKET, option, &value)
    }

    /// A value without pointers; the kernel reads no more than its octets.
    fn set_option<T>(&self, level: c_int, option: c_int, value: &T) -> io::Result<()> {
        let length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
        let value = std::ptr::from_ref(value).cast::<c_void>();
        // SAFETY: the pointer is to a value that lives, of the length that is given; the kernel copies it.
        checked(unsafe { libc::setsockopt(self.0.as_raw_fd(), level, option, value, length) })?;
        Ok(())
    }

    /// Fills a value without pointers from an option; all zeros if the kernel has less to say.
    fn option<T: Copy + Default>(&self, level: c_int, option: c_int) -> io::Result<T> {
        let mut value = T::default();
        let mut length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
        let place = (&raw mut value).cast::<c_void>();
        // SAFETY: both pointers are to local variables, of which the first has the length that the second says.
        checked(unsafe { libc::getsockopt(self.0.as_raw_fd(), level, option, place, &raw mut length) })?;
        Ok(value)
    }

    /// What the system says of the interface of this name; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If there is one, and the system does not tell.
    pub fn device(&self, name: &str) -> io::Result<Option<Device>> {
        let Some(mut request) = request_for(name) else { return Ok(None) };
        match self.ask(SIOCGIFINDEX, &mut request) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(None),
            other => other?,
        }
        // SAFETY: the kernel has written this member of the union, a number.
        let index = unsafe { request.ifr_ifru.ifru_ifindex };
        self.ask(SIOCGIFHWADDR, &mut request)?;
        // SAFETY: the kernel has written this member, numbers.
        let hardware = unsafe { request.ifr_ifru.ifru_hwaddr.sa_family };
        self.ask(SIOCGIFFLAGS, &mut request)?;
        // SAFETY: the kernel has written this member, a number.
        let flags = c_int::from(unsafe { request.ifr_ifru.ifru_flags });
        Ok(Some(Device { index, hardware, is_up: flags & libc::IFF_UP != 0 }))
    }

    fn ask(&self, what: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
        // SAFETY: the pointer is to a request as these calls read and fill it.
        checked(unsafe { libc::ioctl(self.0.as_raw_fd(), what, std::ptr::from_mut(request)) })?;
        Ok(())
    }

    /// Binds to an interface: all protocols are received from now on. It may be bound to another one later.
    pub fn bind(&self, interface: i32) -> io::Result<()> {
        // SAFETY: numbers only, of which zero is one.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or(0);
        address.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or(0).to_be();
        address.sll_ifindex = interface;
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or(0);
        // SAFETY: the pointer is to a local address of the length that is given.
        checked(unsafe { libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), length) })?;
        Ok(())
    }

    /// Number of the interface that it is bound to; none has that of a socket whose interface is gone.
    pub fn bound_to(&self) -> io::Result<i32> {
        // SAFETY: numbers only, of which zero is one.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        let mut length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or(0);
        let place = (&raw mut address).cast();
        // SAFETY: both pointers are to local variables, of which the first has the length that the second says.
        checked(unsafe { libc::getsockname(self.0.as_raw_fd(), place, &raw mut length) })?;
        Ok(address.sll_ifindex)
    }

    /// Keeps an interface promiscuous for as long as this socket lives, and others keep it so for themselves.
    pub fn make_promiscuous(&self, interface: i32) -> io::Result<()> {
        let request = libc::packet_mreq {
            mr_ifindex: interface,
            mr_type: u16::try_from(libc::PACKET_MR_PROMISC).unwrap_or(0),
            mr_alen: 0,
            mr_address: [0; 8],
        };
        self.set_option(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
    }

    /// Attaches a filter in place of the one that there is.
    pub fn attach_filter(&self, program: &[Instruction]) -> io::Result<()> {
        self.set_program(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, program)
    }

    /// Gives the group of this socket a program that chooses among its sockets.
    pub fn set_fanout_program(&self, program: &[Instruction]) -> io::Result<()> {
        self.set_program(libc::SOL_PACKET, libc::PACKET_FANOUT_DATA, program)
    }

    fn set_program(&self, level: c_int, option: c_int, program: &[Instruction]) -> io::Result<()> {
        let mut program: Vec<_> =
            program.iter().map(|&Instruction { code, jt, jf, k }| libc::sock_filter { code, jt, jf, k }).collect();
        let len = u16::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // The pointer within is to a vector that lives until the kernel has copied it.
        let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
        self.set_option(level, option, &program)
    }

    /// Takes the filter away.
    pub fn detach_filter(&self) -> io::Result<()> {
        self.set_option(libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0_u32)
    }

    /// Joins a fanout group; `type_flags` is a PACKET_FANOUT_ mode with its flags. `members` is the most that the group may
    /// have, if it is this socket that makes it; zero for the kernel's own 256.
    pub fn join(&self, group: u16, type_flags: u16, members: u32) -> io::Result<()> {
        if members == 0 {
            // As `struct fanout_args` lies in memory.
            let [id, flags] = [u32::from(group), u32::from(type_flags)];
            return self.set(
                libc::PACKET_FANOUT,
                if cfg!(target_endian = "little") { id | flags << 16 } else { flags | id << 16 },
            );
        }
        // Since Linux 5.13.
        let arguments = libc::fanout_args { id: group, type_flags, max_num_members: members };
        self.set_option(libc::SOL_PACKET, libc::PACKET_FANOUT, &arguments)
    }

    /// Counters since the last call.
    pub fn statistics(&self) -> io::Result<Statistics> {
        // As `struct tpacket_stats_v3`.
        let [packets, lost, _freezes] = self.option::<[u32; 3]>(libc::SOL_PACKET, libc::PACKET_STATISTICS)?;
        Ok(Statistics { packets, lost })
    }

    /// Waits until a block of the ring is ours, or the socket has an error, or time is up.
    pub fn wait(&self, timeout: Duration) -> io::Result<Waited> {
        let mut waited = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let millis = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the pointer is to one local entry, and one is given as their number.
        match checked(unsafe { libc::poll(&raw mut waited, 1, millis) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Waited::Readable),
            Ok(0) => return Ok(Waited::TimedOut),
            other => other?,
        };
        if waited.revents & libc::POLLERR == 0 {
            return Ok(Waited::Readable);
        }
        let error: c_int = self.option(libc::SOL_SOCKET, libc::SO_ERROR)?;
        Ok(Waited::Error((error != 0).then_some(error)))
    }
}

/// A request about the interface of this name; `None` if no interface can have it.
fn request_for(name: &str) -> Option<libc::ifreq> {
    // SAFETY: numbers and a union of such and of a pointer that nobody follows, of all of which zero is one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let name = CString::new(name).ok()?;
    let octets = name.as_bytes_with_nul();
    let place = request.ifr_name.get_mut(..octets.len())?;
    for (to, from) in place.iter_mut().zip(octets) {
        *to = from.cast_signed() as libc::c_char;
    }
    (octets.len() > 1).then_some(request)
}

fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The ring: blocks of memory that the kernel fills, each the kernel's or ours.
#[derive(Debug)]
pub struct Blocks {
    start: NonNull<u8>,
    octets_each: usize,
    count: usize,
}

// SAFETY: it owns its memory, as a vector does; the kernel writes only into blocks that are its own.
unsafe impl Send for Blocks {}

impl Blocks {
    /// Makes the ring of a socket that has none: `count` blocks of `octets_each`, a multiple of the page size, each closed
    /// after `timeout_millis` if there is anything in it.
    ///
    /// # Errors
    ///
    /// If the kernel has not so much memory, or does not take these numbers.
    pub fn new(socket: &Socket, octets_each: u32, count: u32, timeout_millis: u32) -> io::Result<Self> {
        /// Means nothing to TPACKET_V3 but that blocks must be a multiple of it.
        const FRAME: u32 = 2048;
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        socket.set(libc::PACKET_VERSION, TPACKET_V3.cast_unsigned())?;
        let request = libc::tpacket_req3 {
            tp_block_size: octets_each,
            tp_block_nr: count,
            tp_frame_size: FRAME,
            tp_frame_nr: (octets_each / FRAME).checked_mul(count).ok_or_else(invalid)?,
            tp_retire_blk_tov: timeout_millis,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        socket.set_option(libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let (octets_each, count) = (octets_each as usize, count as usize);
        let octets = octets_each.checked_mul(count).ok_or_else(invalid)?;
        let (access, fd) = (libc::PROT_READ | libc::PROT_WRITE, socket.0.as_raw_fd());
        // SAFETY: asks for a new map at any place, of the ring just made.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), octets, access, libc::MAP_SHARED, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast::<u8>()).ok_or_else(invalid)?;
        Ok(Self { start, octets_each, count })
    }

    /// Number of blocks.
    pub fn count(&self) -> usize {
        self.count
    }

    fn status(&self, index: usize) -> Option<&AtomicU32> {
        if index >= self.count {
            return None;
        }
        // SAFETY: the block is within the map, by the comparison above.
        let place = unsafe { self.start.add(index * self.octets_each + BLOCK_STATUS) };
        // SAFETY: aligned, since blocks begin at pages; mapped as long as `self` lives; and the kernel, too, reads and writes
        // it whole. No slice of the block is lent meanwhile, since that borrows `self` alone.
        Some(unsafe { AtomicU32::from_ptr(place.as_ptr().cast()) })
    }

    /// Whether a block is ours.
    pub fn is_ours(&self, index: usize) -> bool {
        // What the kernel wrote before it gave the block is seen after this.
        self.status(index).is_some_and(|status| status.load(Ordering::Acquire) & libc::TP_STATUS_USER != 0)
    }

    /// The octets of a block; `None` if it is not ours.
    pub fn ours(&mut self, index: usize) -> Option<&mut [u8]> {
        if !self.is_ours(index) {
            return None;
        }
        // SAFETY: within the map, since the block has a status.
        let start = unsafe { self.start.add(index * self.octets_each) };
        // SAFETY: mapped as long as `self` lives, all of it octets. The kernel does not touch a block that is ours, and it stays
        // so, since to give it back borrows `self` alone.
        Some(unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.octets_each) })
    }

    /// Gives a block back to the kernel.
    pub fn give_back(&mut self, index: usize) {
        if let Some(status) = self.status(index) {
            // What was read from the block was read before this.
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
        }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        // SAFETY: this map was made with these numbers, and nothing borrows it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.octets_each * self.count) };
    }
}
