// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. Packets of an interface, through a ring that the kernel shares with us (AF_PACKET, TPACKET_V3).
//!
//! The kernel writes packets into blocks of memory and gives them to us one by one; packets are borrowed from there, and the
//! block goes back when they were visited. Nothing is copied, and no system call is made for a packet: one waits (poll(2), for a
//! bounded time) only when there is no block.
//!
//! - **Both directions** are seen, as on a router; of the loopback interface each packet once, when it comes in.
//! - **Several sockets** share an interface as a [`Fanout`] group: see [`FanoutMode`] for what stays together.
//! - **VLAN tags** that the interface or the kernel took off are put back into the packet, within the ring.
//! - **Merged packets** (generic receive and segmentation offload) say what they were on the wire ([`Packet::merged`]), if the
//!   kernel tells ([`Ring::recognises_merged`]). Those of a kind that it cannot describe (SCTP) it drops, and counts as lost.
//! - **Time** is the kernel's, in nanoseconds; the interface's if asked for and there ([`Ring::hardware_timed_packets`]).
//! - **The link** may go down, and the interface may disappear: the source goes on, idle, and takes up the interface that comes
//!   back under that name ([`Ring::link`]).
//!
//! Devices without Ethernet headers (tunnels, PPP) yield packets from their IP header on.
//!
//! It needs CAP_NET_RAW to open, and then no more; but for a ring in a fanout group, whose interface goes away and comes back for
//! the ninth time.

mod block;
pub mod filter;
mod sys;
#[cfg(test)]
mod tests;

use std::{
    io, thread,
    time::{Duration, Instant},
};

use thiserror::Error;
use weir_flow::{BATCH, LinkType, Packet, PacketSource, SourceError, SourceState, ledger::Captured};

use self::block::{Found, Framing, Next, Shape, Walk};
pub use self::filter::Instruction;
use self::sys::{Blocks, Device, Socket, Waited};

/// Fewest octets of a packet that a snap length leaves: all headers of most packets.
pub const MIN_SNAP: u32 = 64;

/// Blocks after which the kernel's counters are read at the latest: they have 32 bits.
const BLOCKS_UNTIL_COUNTED: u32 = 256;
/// As how many blocks a wait without any counts.
const IDLE_AS_BLOCKS: u32 = 16;

/// What to capture, and with how much memory.
#[derive(Clone, Debug)]
pub struct RingConfig {
    /// The interface's name, as in `ip link`.
    pub interface: String,
    /// Octets of a block: a power of two, of whole pages. The largest packet must fit into one.
    pub block_octets: u32,
    /// Number of blocks, at least two. A burst may be as large as all of them but one.
    pub blocks: u32,
    /// After which time a block that has packets is handed over though it is not full. In milliseconds; zero leaves it to the
    /// kernel.
    pub block_timeout: Duration,
    /// Most octets of each packet to capture, a VLAN tag not counted; at least [`MIN_SNAP`] are taken.
    pub snap_octets: u32,
    /// Shares the interface with other sockets.
    pub fanout: Option<Fanout>,
    /// Sees packets to others, too. The interface stays promiscuous for as long as the ring lives, however it ends.
    pub promiscuous: bool,
    /// Takes only what this filter takes ([`filter::compile`]).
    pub filter: Option<Vec<Instruction>>,
    /// Prefers times of the interface over those of the kernel. Its clock and what it stamps are set by others (`hwstamp_ctl`,
    /// `phc2sys`); packets without such a time have the kernel's.
    pub hardware_time: bool,
    /// How long a poll waits at most for packets.
    pub poll_timeout: Duration,
}

impl RingConfig {
    /// A ring of 32 MiB on an interface, promiscuous, without anything else: of blocks of 1 MiB, each held for at most 10 ms.
    #[must_use]
    pub fn new(interface: &str) -> Self {
        Self {
            interface: interface.to_owned(),
            block_octets: 1 << 20,
            blocks: 32,
            block_timeout: Duration::from_millis(10),
            snap_octets: super::MAX_CAPTURED,
            fanout: None,
            promiscuous: true,
            filter: None,
            hardware_time: false,
            poll_timeout: Duration::from_millis(100),
        }
    }

    /// Memory that the ring takes, in octets.
    #[must_use]
    pub const fn octets(&self) -> u64 {
        self.block_octets as u64 * self.blocks as u64
    }

    /// The program that a socket gets, if it does not take all of every packet.
    fn program(&self) -> Option<Vec<Instruction>> {
        let snap = self.snap_octets.max(MIN_SNAP);
        match &self.filter {
            Some(program) => Some(filter::snap(program, snap)),
            None if snap < super::MAX_CAPTURED => Some(filter::all(snap)),
            None => None,
        }
    }
}

/// Several sockets on one interface, each of which gets its share of the packets (PACKET_FANOUT).
///
/// All of a group are on one interface, with one mode. Shares go by the order of joining; so join before there is a need.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fanout {
    /// Number of the group, for this network namespace: two programs should not have the same.
    pub group: u16,
    /// Who gets a packet.
    pub mode: FanoutMode,
    /// Most sockets of the group, if more than 256 (Linux 5.13).
    pub members: u32,
}

/// Which socket of a group gets a packet.
///
/// The flag PACKET_FANOUT_FLAG_DEFRAG is not used with any: it hands over one datagram in place of its fragments, so that
/// neither packets nor octets are those of the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FanoutMode {
    /// By both addresses: both directions of a flow, and all its fragments, at one socket. What is not IP is at the first one.
    Addresses,
    /// By the core that received it: as the interface's queues, and not by flow unless they are.
    Cpu,
    /// By the kernel's symmetric hash of addresses and ports: both directions of a flow at one socket. Fragments of a flow are at
    /// one socket, too, which may be another one than that of its other packets.
    Hash,
    /// By the queue that received it; what goes out, by the queue that it goes to.
    Queue,
}

/// Whether the interface is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Link {
    /// It is, and it is up.
    Up,
    /// It is there, but down.
    Down,
    /// There is no interface of this name.
    Gone,
    /// There is one again, it is up, and it could not be opened, for which this is the number of the system's error (errno).
    Refused(i32),
}

/// Why a ring cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RingError {
    /// There is no such interface.
    #[error("no interface {interface}")]
    NoInterface {
        /// Its name, as given.
        interface: String,
    },
    /// The system refused.
    #[error("cannot capture on {interface}: {step}: {source}{}", remedy(.step, .source))]
    System {
        /// The interface's name.
        interface: String,
        /// What was asked of the system.
        step: &'static str,
        /// What it said.
        source: io::Error,
    },
}

const SOCKET: &str = "packet socket";
const RING: &str = "memory for the ring";
const FANOUT: &str = "fanout group";

/// What to do about a refusal.
fn remedy(step: &str, source: &io::Error) -> &'static str {
    match (step, source.kind()) {
        (SOCKET, io::ErrorKind::PermissionDenied) => " (it takes CAP_NET_RAW)",
        (RING, io::ErrorKind::OutOfMemory) => " (ask for fewer or smaller blocks)",
        (RING, io::ErrorKind::InvalidInput) => " (blocks are powers of two of whole pages)",
        (FANOUT, io::ErrorKind::InvalidInput) => " (the group has another interface or mode, or too many members)",
        _ => "",
    }
}

/// Sockets that a ring of a group has in reserve: one for each time that its interface goes and comes back.
const SPARES: usize = 8;

/// Packets of an interface.
#[derive(Debug)]
pub struct Ring {
    config: RingConfig,
    // Before the socket: the map ends before that does.
    blocks: Blocks,
    socket: Socket,
    /// For the time after the interface was gone, when this process may have no right to make one.
    spares: Vec<Socket>,
    is_in_group: bool,
    /// The block that the kernel gives next.
    current: usize,
    device: Device,
    shape: Shape,
    link: Link,
    lost_at: Instant,
    captured: Captured,
    uncounted_blocks: u32,
    counters: Counters,
}

/// What is counted beside [`Captured`].
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    handed_over: u64,
    outgoing: u64,
    unreadable: u64,
    hardware_timed: u64,
    link_lost: u64,
}

impl Ring {
    /// Opens a ring; packets come from now on. The interface may be down.
    ///
    /// # Errors
    ///
    /// If there is no such interface, or the system refuses one thing or another.
    pub fn open(config: RingConfig) -> Result<Self, RingError> {
        let refused = |(step, source)| RingError::System { interface: config.interface.clone(), step, source };
        let socket = Socket::new().map_err(|error| refused((SOCKET, error)))?;
        let Some(device) = socket.device(&config.interface).map_err(|error| refused(("interface", error)))? else {
            return Err(RingError::NoInterface { interface: config.interface });
        };
        let (blocks, has_vnet) = prepare(&socket, &config).map_err(refused)?;
        let_in(&socket, device, &config).map_err(refused)?;
        let spares = (0..SPARES).take_while(|_| config.fanout.is_some()).map_while(|_| Socket::new().ok()).collect();
        Ok(Self {
            is_in_group: config.fanout.is_some(),
            spares,
            config,
            blocks,
            socket,
            current: 0,
            device,
            shape: Shape { framing: framing(device.hardware), has_vnet },
            link: Link::Up,
            lost_at: Instant::now(),
            captured: Captured::default(),
            uncounted_blocks: 0,
            counters: Counters::default(),
        })
    }

    /// Number of the interface, as packets have it.
    #[must_use]
    pub fn interface(&self) -> u32 {
        self.device.index.cast_unsigned()
    }

    /// Kind of the first header of packets.
    #[must_use]
    pub fn link_type(&self) -> LinkType {
        link_type(framing(self.device.hardware))
    }

    /// Whether the interface is there, as far as is known: it is looked at when nothing comes.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link
    }

    /// Times that the interface went down or away, or was down when it was opened.
    #[must_use]
    pub fn link_lost(&self) -> u64 {
        self.counters.link_lost
    }

    /// Whether the kernel tells which packets were merged. If not (before Linux 4.6), each counts as one.
    #[must_use]
    pub fn recognises_merged(&self) -> bool {
        self.shape.has_vnet
    }

    /// Packets handed over; a merged one is one.
    #[must_use]
    pub fn handed_over(&self) -> u64 {
        self.counters.handed_over
    }

    /// Packets handed over with the interface's time.
    #[must_use]
    pub fn hardware_timed_packets(&self) -> u64 {
        self.counters.hardware_timed
    }

    /// Packets left out since they went out of the loopback interface, where they come in, too. Kernels since 4.20 do not offer
    /// them.
    #[must_use]
    pub fn skipped_outgoing(&self) -> u64 {
        self.counters.outgoing
    }

    /// Packets in blocks that could not be read: zero, as long as the kernel keeps its contract.
    #[must_use]
    pub fn unreadable_packets(&self) -> u64 {
        self.counters.unreadable
    }

    /// Adds the kernel's counters since the last time.
    fn count(&mut self) {
        self.uncounted_blocks = 0;
        // It does not fail on a packet socket.
        if let Ok(statistics) = self.socket.statistics() {
            self.captured.offered_packets += u64::from(statistics.packets);
            self.captured.lost_ring_full += u64::from(statistics.lost);
        }
    }

    /// Waits for a block; gives whether there is one.
    fn wait(&mut self) -> io::Result<bool> {
        match self.socket.wait(self.config.poll_timeout)? {
            Waited::Readable | Waited::TimedOut => {}
            Waited::Error(Some(_)) => {
                self.counters.link_lost += 1;
                self.link = Link::Down;
                self.lost_at = Instant::now();
            }
            // An error that is none must not keep us busy.
            Waited::Error(None) => thread::sleep(Duration::from_millis(1)),
        }
        let is_ours = self.blocks.is_ours(self.current);
        // A block that is open still is handed over first, which takes it its timeout.
        let patience = self.config.poll_timeout + self.config.block_timeout;
        if !is_ours && self.link != Link::Up && self.lost_at.elapsed() >= patience {
            self.look_for_link();
        }
        Ok(is_ours)
    }

    /// Looks whether the interface is back, and takes it up.
    #[cold]
    fn look_for_link(&mut self) {
        self.link = self.take_up().unwrap_or_else(|error| match self.socket.device(&self.config.interface) {
            Ok(None) => Link::Gone,
            Ok(Some(device)) if !device.is_up => Link::Down,
            _ => Link::Refused(error.raw_os_error().unwrap_or(0)),
        });
    }

    /// Goes on with the interface that has come under the name of the one that is gone. One that was down only, the kernel
    /// takes up by itself.
    fn take_up(&mut self) -> io::Result<Link> {
        let device = self.socket.device(&self.config.interface)?;
        let is_bound = device.is_some_and(|device| self.socket.bound_to().is_ok_and(|index| index == device.index));
        if self.is_in_group && !is_bound {
            self.leave_group()?;
        }
        let Some(device) = device else { return Ok(Link::Gone) };
        if !is_bound || self.is_in_group != self.config.fanout.is_some() {
            // Takes no privileges, and the ring goes on where it was.
            let_in(&self.socket, device, &self.config).map_err(|(_, error)| error)?;
            self.is_in_group = self.config.fanout.is_some();
            self.device = device;
            self.shape.framing = framing(device.hardware);
        }
        Ok(if device.is_up { Link::Up } else { Link::Down })
    }

    /// Goes on with another socket, which is in no group: one that is stays bound to its interface, and as long as there is one
    /// of a group, nobody can join it with another interface.
    fn leave_group(&mut self) -> io::Result<()> {
        let socket = self.spares.pop().map_or_else(Socket::new, Ok)?;
        let (blocks, has_vnet) = match prepare(&socket, &self.config) {
            Ok(prepared) => prepared,
            Err((_, error)) => {
                // For a later time; after the others, should it be of no use.
                if self.spares.len() < SPARES {
                    self.spares.insert(0, socket);
                }
                return Err(error);
            }
        };
        self.count();
        (self.blocks, self.socket, self.current) = (blocks, socket, 0);
        self.shape.has_vnet = has_vnet;
        self.is_in_group = false;
        Ok(())
    }

    /// Visits the packets of the current block, and gives it back.
    fn visit_block(&mut self, visit: &mut dyn FnMut(&[Packet<'_>])) {
        let Some(block) = self.blocks.ours(self.current) else { return };
        let mut walk = Walk::new(block, self.shape);
        let interface = self.device.index.cast_unsigned();
        let mut found = [Found::NONE; BATCH];
        loop {
            let mut count = 0;
            let mut outgoing = 0;
            // Tags are put back first, which takes the block alone; then packets are borrowed from it.
            while let Some(place) = found.get_mut(count) {
                match walk.next(block) {
                    Next::Packet(packet) => *place = packet,
                    Next::Outgoing => {
                        outgoing += 1;
                        continue;
                    }
                    Next::End => break,
                }
                self.captured.merged_packets += u64::from(place.is_merged());
                self.counters.hardware_timed += u64::from(place.has_hardware_time());
                count += 1;
            }
            self.counters.outgoing += outgoing;
            if count == 0 {
                break;
            }
            let mut packets = [Packet::NOTHING; BATCH];
            for (packet, found) in packets.iter_mut().zip(&found).take(count) {
                *packet = found.packet(block, interface);
            }
            self.counters.handed_over += count as u64;
            visit(packets.get(..count).unwrap_or_default());
        }
        self.counters.unreadable += u64::from(walk.unread());
        self.blocks.give_back(self.current);
        self.current = (self.current + 1) % self.blocks.count().max(1);
        self.uncounted_blocks += 1;
    }
}

impl PacketSource for Ring {
    /// Hands over a block of the ring, or waits for one.
    fn poll(&mut self, visit: &mut dyn FnMut(&[Packet<'_>])) -> Result<SourceState, SourceError> {
        if !self.blocks.is_ours(self.current) && !self.wait()? {
            self.uncounted_blocks += IDLE_AS_BLOCKS;
            if self.uncounted_blocks >= BLOCKS_UNTIL_COUNTED {
                self.count();
            }
            return Ok(SourceState::Idle);
        }
        self.visit_block(visit);
        if self.uncounted_blocks >= BLOCKS_UNTIL_COUNTED {
            self.count();
        }
        Ok(SourceState::More)
    }

    fn is_interrupted(&self) -> bool {
        self.link != Link::Up
    }

    fn refusal(&self) -> Option<io::Error> {
        match self.link {
            Link::Refused(errno) => Some(io::Error::from_raw_os_error(errno)),
            _ => None,
        }
    }

    fn interruptions(&self) -> u64 {
        self.counters.link_lost
    }

    fn captured(&mut self) -> Captured {
        self.count();
        self.captured
    }
}

/// What went wrong at which step.
type Refused = (&'static str, io::Error);

/// Prepares a socket for any interface. It gets no packet yet. Gives whether the kernel tells what was merged, too.
fn prepare(socket: &Socket, config: &RingConfig) -> Result<(Blocks, bool), Refused> {
    /// Room before the link header for a VLAN tag; with what is said of merged packets, IP is at a multiple of 16.
    const RESERVE: u32 = 16 - block::VNET as u32;
    /// `SOF_TIMESTAMPING_RAW_HARDWARE` (linux/net_tstamp.h).
    const RAW_HARDWARE: u32 = 1 << 6;
    let step = |name: &'static str| move |error| (name, error);
    // Before the ring: with one it is refused.
    let has_vnet = socket.set(libc::PACKET_VNET_HDR, 1).is_ok();
    socket.set(libc::PACKET_RESERVE, RESERVE).map_err(step("room for VLAN tags"))?;
    if config.hardware_time {
        socket.set(libc::PACKET_TIMESTAMP, RAW_HARDWARE).map_err(step("hardware time"))?;
    }
    let timeout = u32::try_from(config.block_timeout.as_millis()).unwrap_or(u32::MAX);
    let blocks = Blocks::new(socket, config.block_octets, config.blocks, timeout).map_err(step(RING))?;
    if config.fanout.is_some() {
        // Until it has joined, it would get what is of others.
        socket.attach_filter(&filter::all(0)).map_err(step("filter"))?;
    } else if let Some(program) = config.program() {
        socket.attach_filter(&program).map_err(step("filter"))?;
    }
    Ok((blocks, has_vnet))
}

/// Lets the packets of an interface into the ring of a prepared socket. What fails may be tried again.
fn let_in(socket: &Socket, device: Device, config: &RingConfig) -> Result<(), Refused> {
    let step = |name: &'static str| move |error| (name, error);
    // Where the kernel does not know it (before Linux 4.20), they are skipped in the ring.
    let is_loopback = framing(device.hardware) == Framing::Loopback;
    let _ = socket.set(libc::PACKET_IGNORE_OUTGOING, is_loopback.into());
    if config.promiscuous {
        socket.make_promiscuous(device.index).map_err(step("promiscuous mode"))?;
    }
    socket.bind(device.index).map_err(step("bind"))?;
    if let Some(fanout) = &config.fanout {
        join(socket, fanout).map_err(step(FANOUT))?;
        match config.program() {
            Some(program) => socket.attach_filter(&program),
            None => socket.detach_filter(),
        }
        .map_err(step("filter"))?;
    }
    Ok(())
}

fn join(socket: &Socket, fanout: &Fanout) -> io::Result<()> {
    let mode = match fanout.mode {
        FanoutMode::Addresses => libc::PACKET_FANOUT_CBPF,
        FanoutMode::Cpu => libc::PACKET_FANOUT_CPU,
        FanoutMode::Hash => libc::PACKET_FANOUT_HASH,
        FanoutMode::Queue => libc::PACKET_FANOUT_QM,
    };
    /// What the kernel allows if nothing is said.
    const MEMBERS: u32 = 256;
    let members = if fanout.members > MEMBERS { fanout.members } else { 0 };
    match socket.join(fanout.group, u16::try_from(mode).unwrap_or(0), members) {
        // What came after it had failed.
        Err(error) if error.raw_os_error() == Some(libc::EALREADY) => {}
        other => other?,
    }
    if fanout.mode == FanoutMode::Addresses {
        socket.set_fanout_program(&filter::by_addresses())?;
    }
    Ok(())
}

fn framing(hardware: u16) -> Framing {
    match hardware {
        libc::ARPHRD_ETHER => Framing::Ethernet,
        libc::ARPHRD_LOOPBACK => Framing::Loopback,
        _ => Framing::Network,
    }
}

fn link_type(framing: Framing) -> LinkType {
    match framing {
        Framing::Ethernet | Framing::Loopback => LinkType::ETHERNET,
        Framing::Network => LinkType::RAW,
    }
}
