// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. One socket with its frames and its two rings.
//!
//! Each frame belongs to the kernel (it is in the fill ring, or a packet in it waits in the receive ring) or to this program
//! (it is *held*). Held frames alone can be looked at, and giving them back takes the queue mutably, so that no look outlives
//! it.

use std::{
    ffi::c_int,
    io,
    mem::zeroed,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
    sync::Arc,
    time::Duration,
};

use weir_flow::BATCH;

use super::{
    bpf, check,
    rings::{Descriptor, Mapping, Ring},
};

/// One socket that receives, its frames and its rings.
#[derive(Debug)]
pub struct Queue {
    // Before the memory: fields go in this order, and the kernel writes into the frames until the socket is closed.
    socket: OwnedFd,
    rx: Ring<Descriptor>,
    fill: Ring<u64>,
    frames: Arc<Mapping>,
    frame_octets: u32,
    held: [Descriptor; BATCH],
    held_count: usize,
    zero_copy: bool,
}

/// Memory for packets, which several sockets have, one after the other.
#[derive(Debug)]
pub struct Frames {
    memory: Arc<Mapping>,
    count: u32,
    frame_octets: u32,
}

impl Frames {
    /// Takes memory for so many frames.
    pub fn new(count: u32, frame_octets: u32) -> io::Result<Self> {
        let octets = (count as usize).checked_mul(frame_octets as usize);
        let memory = Mapping::anonymous(octets.ok_or(io::ErrorKind::OutOfMemory)?)?;
        Ok(Self { memory: Arc::new(memory), count, frame_octets })
    }

    /// Registers them with a socket, which pins them. A socket that was refused may be tried again.
    ///
    /// The system's error says ENOBUFS where the memory may not be pinned (RLIMIT_MEMLOCK).
    pub fn register(&self, socket: &OwnedFd) -> io::Result<()> {
        // SAFETY: numbers, of which zero is a value; also of those that later kernels know.
        let mut memory: libc::xdp_umem_reg = unsafe { zeroed() };
        (memory.addr, memory.len) = self.memory.extent();
        memory.chunk_size = self.frame_octets;
        set(socket, libc::SOL_XDP, libc::XDP_UMEM_REG, &memory)
    }
}

/// A socket of AF_XDP that is not bound to anything yet. This is what takes CAP_NET_RAW.
pub fn socket() -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor is new, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Has a thread, in [`Queue::wake`], do the driver's receiving, up to `budget` packets a time. Takes CAP_NET_ADMIN.
pub fn prefer_busy_poll(socket: &OwnedFd, budget: u16) -> io::Result<()> {
    let options = [
        (libc::SO_PREFER_BUSY_POLL, 1),
        (libc::SO_BUSY_POLL, 20), // Microseconds, for calls that would block; ours do not.
        (libc::SO_BUSY_POLL_BUDGET, c_int::from(budget)),
    ];
    options.into_iter().try_for_each(|(name, value)| set(socket, libc::SOL_SOCKET, name, &value))
}

/// A packet socket (packet(7)) that receives nothing: it is there for [`make_promiscuous`]. This takes CAP_NET_RAW too.
pub fn packet_socket() -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor is new, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Keeps an interface, told by its number, promiscuous for as long as a packet socket lives.
pub fn make_promiscuous(socket: &OwnedFd, interface: u32) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: c_int::try_from(interface).unwrap_or(0),
        mr_type: u16::try_from(libc::PACKET_MR_PROMISC).unwrap_or(0),
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set(socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
}

impl Queue {
    /// Gives `socket`, with which the frames were registered, its rings, with all frames in the fill ring. It is not bound to an
    /// interface yet. Of all sockets that have the same frames, only one may be bound.
    pub fn new(socket: OwnedFd, frames: &Frames) -> io::Result<Self> {
        let Frames { memory, count, frame_octets } = frames;
        let (frame_octets, frames) = (*frame_octets, *count);
        let (rx, fill) = rings(&socket, frames)?;
        let mut queue = Self {
            socket,
            rx,
            fill,
            frames: Arc::clone(memory),
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
        // The descriptors are copies, so their places in the ring are free again, before anybody looks at the packets.
        self.held_count = self.rx.take(&mut self.held);
        self.held_count
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

    /// Enters the socket into a map of sockets under the number of its queue.
    pub fn enter(&self, map: &OwnedFd, queue: u32) -> io::Result<()> {
        bpf::map_update(map, queue, u32::try_from(self.socket.as_raw_fd()).unwrap_or(u32::MAX))
    }
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

/// A type of socket option.
///
/// # Safety
///
/// Any octets must be a valid value.
unsafe trait OptionValue: Copy {}
// SAFETY: a number.
unsafe impl OptionValue for c_int {}
// SAFETY: made of numbers.
unsafe impl OptionValue for libc::xdp_mmap_offsets {}
// SAFETY: made of numbers.
unsafe impl OptionValue for libc::xdp_options {}
// SAFETY: made of numbers.
unsafe impl OptionValue for libc::xdp_statistics {}

fn option<T: OptionValue>(socket: &OwnedFd, level: c_int, name: c_int) -> io::Result<T> {
    // SAFETY: any octets are a value, so zeros are.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::rings::tests::ring;

    /// A queue whose socket is none, and whose rings no kernel looks at.
    fn queue() -> Queue {
        Queue {
            socket: std::fs::File::open("/dev/null").unwrap().into(),
            rx: ring(8),
            fill: ring(8),
            frames: Arc::new(Mapping::anonymous(8 * 2048).unwrap()),
            frame_octets: 2048,
            held: [Descriptor::default(); BATCH],
            held_count: 0,
            zero_copy: false,
        }
    }

    #[test]
    fn packets_lie_in_their_frames_and_frames_go_back() {
        let mut queue = queue();
        queue.rx.kernel_puts(&[
            Descriptor { address: 2048 + 256, len: 60, options: 0 },
            Descriptor { address: 2 * 2048 + 256, len: 1793, options: 0 }, // beyond its frame
            Descriptor { address: 8 * 2048, len: 1, options: 0 },          // beyond the memory
            Descriptor { address: u64::MAX, len: u32::MAX, options: 0 },
        ]);
        assert_eq!((queue.waiting(), queue.take(), queue.waiting()), (4, 4, 0));
        assert_eq!(queue.packet(0).map(<[u8]>::len), Some(60));
        for index in [1, 2, 3, 4, 64, usize::MAX] {
            assert!(queue.packet(index).is_none(), "{index}");
        }
        queue.give_back();
        assert!(queue.packet(0).is_none());
        assert_eq!((queue.fill.seen_by_kernel(0), queue.fill.seen_by_kernel(1)), ((2048, 4), (4096, 4)));
    }
}
