// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. Packets of one receive queue.

use std::{
    io,
    os::fd::OwnedFd,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use weir_flow::{BATCH, LinkType, Packet, PacketSource, SourceError, SourceState, Timestamp, ledger::Captured};

use crate::{
    attach::{Attachment, make_socket},
    config::{Mode, Strategy, XdpConfig, ZeroCopy},
    error::OpenError,
    receive_queues,
    sys::{
        interfaces,
        socket::{Frames, Queue},
    },
};

/// A sleep while packets gather; the system adds its timer slack, 50 us commonly. Each sleep costs a change of context, so
/// longer ones cost less, and packets wait longer. At 0.55 million packets a second on a two-core virtual machine, processor
/// time of this thread for each packet: 330 ns with sleeps of 50 us, 190 with 100, 130 with 200, 65 with 500.
const NAP: Duration = Duration::from_micros(200);
/// The same when much comes: when at least an eighth of all frames had a packet the last time.
const SHORT_NAP: Duration = Duration::from_micros(50);
/// Sleeps before waiting in `poll`. While packets are less than so many naps apart, they gather.
const NAPS: u32 = 4;
/// Times that busy polling looks for packets before it says that there are none.
const SPINS: u32 = 64;
/// How long an interface may be busy when it is opened: the kernel clears up after a process that was killed.
const BUSY_AT_MOST: Duration = Duration::from_secs(1);
/// Sockets that each queue has in reserve, for a process that gives up its capabilities: so often the interface may go away and
/// come back.
const SPARES: u32 = 8;
/// Longest time between two tries to take up an interface that is up and was refused.
const PAUSE_AT_MOST: Duration = Duration::from_secs(5);
/// How often busy polling looks whether the interface is down.
const LOOK: Duration = Duration::from_millis(100);

/// Packets of one receive queue of an interface. See the head of the crate for what they are and which are lost.
#[derive(Debug)]
pub struct Xsk {
    attachment: Arc<Attachment>,
    config: XdpConfig,
    /// Number of the receive queue.
    queue: u32,
    /// Index of the interface, where it is or was last.
    interface: u32,
    mode: Mode,
    not_native: Option<String>,
    zero_copy: bool,
    socket: Socket,
    /// Sleeps since there was a packet.
    naps: u32,
    /// Packets that there were the last time.
    burst: u64,
    handed_packets: u64,
    /// Of sockets that were there before this one.
    lost_before: Lost,
    interruptions: u64,
    /// Whether the interface was down when it was looked at last.
    is_down: bool,
    looked_at: Instant,
    retry: Retry,
    frames: Frames,
    spares: Vec<Spare>,
    /// What might be pinned when it was opened: later there may be no right to ask.
    memory_lock_limit: Option<u64>,
}

/// A socket for the time after the interface was gone.
#[derive(Debug)]
struct Spare {
    socket: OwnedFd,
    /// Whether the frames are registered with it: else that takes the right to pin them when it is used.
    has_frames: bool,
}

/// When an interface that is back is tried again.
#[derive(Debug)]
struct Retry {
    at: Instant,
    pause: Duration,
    /// Why it could not be taken up, though it was up.
    refusal: Option<(io::ErrorKind, String)>,
}

impl Retry {
    fn at_once() -> Self {
        Self { at: Instant::now(), pause: Duration::ZERO, refusal: None }
    }

    /// Waits twice as long as before, `wait` at least.
    fn later(&mut self, wait: Duration, error: &OpenError) {
        self.pause = (self.pause * 2).clamp(wait.min(PAUSE_AT_MOST), PAUSE_AT_MOST);
        self.at = Instant::now() + self.pause;
        self.refusal = Some((error.kind(), error.to_string()));
    }
}

#[derive(Debug)]
enum Socket {
    Bound(Queue),
    /// The interface has gone away. A socket that was made for its return may be there.
    Gone {
        prepared: Option<Queue>,
        why: String,
    },
}

/// Packets that the kernel did not put into the receive ring, and what is no packet.
#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    ring_full: u64,
    fill_empty: u64,
    dropped: u64,
    starved: u64,
}

/// Opens a socket on each receive queue of an interface, in the order of the queues, and has the kernel give it the packets.
///
/// # Errors
///
/// As [`OpenError`] says. Nothing is attached then.
pub fn open(interface: &str, config: &XdpConfig) -> Result<Vec<Xsk>, OpenError> {
    config.check().map_err(OpenError::Config)?;
    let until = Instant::now() + BUSY_AT_MOST;
    loop {
        match open_once(interface, config) {
            Err(error) if error.may_pass() && Instant::now() < until => thread::sleep(BUSY_AT_MOST / 100),
            done => return done,
        }
    }
}

fn open_once(interface: &str, config: &XdpConfig) -> Result<Vec<Xsk>, OpenError> {
    let queues = receive_queues(interface).map_err(|_| OpenError::NoSuchInterface(interface.to_owned()))?;
    let queues = u32::try_from(queues).unwrap_or(u32::MAX);
    let attachment = Arc::new(Attachment::new(interface, config, queues)?);
    let mut xsks: Vec<_> = (0..queues).map(|queue| Xsk::open(&attachment, config, queue)).collect::<Result<_, _>>()?;
    xsks.iter_mut().for_each(Xsk::reserve);
    Ok(xsks)
}

impl Xsk {
    fn open(attachment: &Arc<Attachment>, config: &XdpConfig, queue: u32) -> Result<Self, OpenError> {
        let frames = Frames::new(config.frames, config.frame_octets)
            .map_err(|error| OpenError::System { step: "take memory for frames", error })?;
        let mut xsk = Self {
            attachment: Arc::clone(attachment),
            config: config.clone(),
            queue,
            interface: 0,
            mode: Mode::Generic,
            not_native: None,
            zero_copy: false,
            socket: Socket::Gone { prepared: None, why: String::new() },
            naps: 0,
            burst: 0,
            handed_packets: 0,
            lost_before: Lost::default(),
            interruptions: 0,
            is_down: false,
            looked_at: Instant::now(),
            retry: Retry::at_once(),
            frames,
            spares: Vec::new(),
            memory_lock_limit: interfaces::memory_lock_limit(),
        };
        xsk.bind()?;
        Ok(xsk)
    }

    /// Name of the interface.
    #[must_use]
    pub fn interface(&self) -> &str {
        self.attachment.interface()
    }

    /// Number of the receive queue.
    #[must_use]
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// Where the program is attached.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What the driver said when the program was offered to it; `None` if it took it, or was not asked.
    #[must_use]
    pub fn not_native(&self) -> Option<&str> {
        self.not_native.as_deref()
    }

    /// Whether the driver writes packets into the memory of this program by itself, or the kernel copies them.
    #[must_use]
    pub fn zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Why there are no packets at present, if the interface has gone away; they go on when one of its name is back.
    #[must_use]
    pub fn interruption(&self) -> Option<&str> {
        match &self.socket {
            Socket::Gone { why, .. } => Some(why),
            Socket::Bound(_) => None,
        }
    }

    /// How often the interface has gone down or away. One that is up again before nothing comes any more is not seen.
    #[must_use]
    pub fn interruptions(&self) -> u64 {
        self.interruptions
    }

    /// How often a driver with zero-copy found no free frame (`rx_fill_ring_empty_descs`). Those are not packets: it tries
    /// again, and counts those that it has lost meanwhile by itself (`ethtool -S`). More frames help. Zero in copy mode.
    #[must_use]
    pub fn starvations(&self) -> u64 {
        self.lost().starved
    }

    /// Makes sockets for later. Where pinning takes no capability but is limited, they do not have the frames yet: each would
    /// count.
    fn reserve(&mut self) {
        let may_pin = interfaces::may_pin_without_limit();
        let sockets = (0..SPARES).map_while(|_| make_socket(self.config.strategy).ok());
        let spare = |socket| Spare { has_frames: may_pin && self.frames.register(&socket).is_ok(), socket };
        self.spares = sockets.map(spare).collect();
    }

    /// A socket with rings and frames: a new one, or where that is no longer permitted, one of those in reserve.
    fn prepare(&mut self) -> Result<Queue, OpenError> {
        let Spare { socket, has_frames } = match make_socket(self.config.strategy) {
            Ok(socket) => Spare { socket, has_frames: false },
            Err(error) => self.spares.pop().ok_or(error)?,
        };
        if !has_frames && let Err(error) = self.frames.register(&socket) {
            // Nothing has happened to it.
            if self.spares.len() < SPARES as usize {
                self.spares.push(Spare { socket, has_frames });
            }
            return Err(self.not_prepared(error));
        }
        Queue::new(socket, &self.frames).map_err(|error| self.not_prepared(error))
    }

    fn not_prepared(&self, error: io::Error) -> OpenError {
        match error.raw_os_error() {
            Some(libc::ENOBUFS | libc::ENOMEM) => OpenError::MemoryLock {
                wanted_octets: self.config.pinned_octets(),
                allowed_octets: self.memory_lock_limit,
            },
            Some(libc::ENOPROTOOPT | libc::EOPNOTSUPP) => OpenError::NotInKernel("AF_XDP of Linux 5.4 or later"),
            _ => OpenError::of("make the rings of an AF_XDP socket", "CAP_NET_RAW", error),
        }
    }

    /// Makes a socket, if there is none, and binds it to the queue of the interface.
    fn bind(&mut self) -> Result<(), OpenError> {
        let attachment = Arc::clone(&self.attachment);
        let attached = attachment.attached()?;
        let Socket::Gone { prepared, .. } = &mut self.socket else { return Ok(()) };
        let mut socket = match prepared.take() {
            Some(socket) => socket,
            None => self.prepare()?,
        };
        // With the program above the driver, packets come from the kernel's network stack, not from the driver.
        let copy = self.config.zero_copy == ZeroCopy::Off || attached.mode == Mode::Generic;
        if let Err(error) = socket.bind(attached.index, self.queue, copy) {
            self.socket = Socket::Gone { prepared: Some(socket), why: String::new() };
            return Err(not_bound(attachment.interface(), error));
        }
        attachment.enter(&socket, self.queue)?;
        (self.interface, self.mode, self.not_native) = (attached.index, attached.mode, attached.not_native.clone());
        drop(attached);
        self.zero_copy = socket.zero_copy();
        self.socket = Socket::Bound(socket);
        Ok(())
    }

    /// Hands over the packets that wait in the receive ring now. How many?
    fn hand_over(&mut self, visit: &mut dyn FnMut(&[Packet<'_>])) -> u64 {
        let Socket::Bound(socket) = &mut self.socket else { return 0 };
        let before = self.handed_packets;
        let mut waiting = socket.waiting() as usize;
        while waiting > 0 {
            let taken = socket.take();
            if taken == 0 {
                break;
            }
            waiting = waiting.saturating_sub(taken);
            let none = Packet {
                data: &[],
                wire_octets: 0,
                ts: now(),
                interface: self.interface,
                link: LinkType::ETHERNET,
                merged: weir_flow::Merged::NOT,
            };
            let mut batch = [none; BATCH];
            let mut count = 0;
            for index in 0..taken {
                match (socket.packet(index), batch.get_mut(count)) {
                    (Some(data), Some(packet)) => {
                        packet.data = data;
                        packet.wire_octets = u32::try_from(data.len()).unwrap_or(u32::MAX);
                        count += 1;
                    }
                    _ => self.lost_before.dropped += 1,
                }
            }
            if let Some(batch @ [_, ..]) = batch.get(..count) {
                visit(batch);
            }
            self.handed_packets += count as u64;
            socket.give_back();
        }
        let handed = self.handed_packets - before;
        if handed > 0 {
            (self.naps, self.burst) = (0, handed);
        }
        handed
    }

    /// Waits for packets, as the configuration says.
    fn wait(&mut self) -> io::Result<()> {
        let Socket::Bound(socket) = &self.socket else { return Ok(()) };
        if let Strategy::BusyPoll { .. } = self.config.strategy {
            for _ in 0..SPINS {
                socket.wake();
                if socket.waiting() > 0 {
                    break;
                }
            }
            return Ok(());
        }
        let nap = if self.burst >= u64::from(self.config.frames / 8) { SHORT_NAP } else { NAP };
        while self.naps < NAPS {
            self.naps += 1;
            thread::sleep(nap);
            if socket.waiting() > 0 {
                return Ok(());
            }
        }
        socket.wait(self.config.wait)
    }

    /// The interface has gone away: the socket is of no use any more.
    fn leave(&mut self) {
        if !std::mem::take(&mut self.is_down) {
            self.interruptions += 1;
        }
        self.retry = Retry::at_once();
        self.lost_before = self.lost();
        self.socket = Socket::Gone { prepared: None, why: format!("{} has gone away", self.attachment.interface()) };
    }

    /// Waits, and sees whether the interface is back.
    fn come_back(&mut self) {
        thread::sleep(self.config.wait);
        if Instant::now() < self.retry.at {
            return;
        }
        let Err(error) = self.bind() else {
            self.retry = Retry::at_once();
            return;
        };
        if interfaces::is_up(self.attachment.interface()) == Some(true) {
            self.retry.later(self.config.wait, &error);
        } else {
            self.retry = Retry::at_once();
        }
        if let Socket::Gone { why, .. } = &mut self.socket {
            *why = error.to_string();
        }
    }

    /// Looks whether the interface is down. Of one that is away, the socket tells.
    fn look_at_interface(&mut self) {
        if matches!(self.config.strategy, Strategy::BusyPoll { .. }) && self.looked_at.elapsed() < LOOK {
            return;
        }
        self.looked_at = Instant::now();
        let Some(is_up) = interfaces::is_up(self.attachment.interface()) else { return };
        if !is_up && !self.is_down {
            self.interruptions += 1;
        }
        self.is_down = !is_up;
    }

    /// Packets lost by all sockets that there were.
    fn lost(&self) -> Lost {
        let before = self.lost_before;
        let Socket::Bound(socket) = &self.socket else { return before };
        let Ok(of) = socket.statistics() else { return before };
        // The kernel counts a packet for which there is no frame as dropped, and as a frame not had. Where the driver fetches
        // the frames, in advance, the latter are no packets.
        let fill_empty = if self.zero_copy { 0 } else { of.rx_fill_ring_empty_descs.min(of.rx_dropped) };
        Lost {
            ring_full: before.ring_full + of.rx_ring_full,
            fill_empty: before.fill_empty + fill_empty,
            dropped: before.dropped + of.rx_dropped - fill_empty,
            starved: before.starved + if self.zero_copy { of.rx_fill_ring_empty_descs } else { 0 },
        }
    }
}

impl PacketSource for Xsk {
    fn poll(&mut self, visit: &mut dyn FnMut(&[Packet<'_>])) -> Result<SourceState, SourceError> {
        if let Socket::Gone { .. } = self.socket {
            self.come_back();
            return Ok(SourceState::Idle);
        }
        if self.hand_over(visit) == 0 {
            self.wait()?;
            if self.hand_over(visit) == 0 {
                if matches!(&self.socket, Socket::Bound(socket) if socket.interface_gone()) {
                    // What came before is still there.
                    self.hand_over(visit);
                    self.leave();
                } else {
                    self.look_at_interface();
                }
                return Ok(SourceState::Idle);
            }
        }
        Ok(SourceState::More)
    }

    fn is_interrupted(&self) -> bool {
        self.is_down || self.interruption().is_some()
    }

    fn refusal(&self) -> Option<io::Error> {
        let (kind, why) = self.retry.refusal.as_ref()?;
        Some(io::Error::new(*kind, why.clone()))
    }

    fn interruptions(&self) -> u64 {
        self.interruptions
    }

    fn captured(&mut self) -> Captured {
        let waiting = match &self.socket {
            Socket::Bound(socket) => u64::from(socket.waiting()),
            Socket::Gone { .. } => 0,
        };
        let lost = self.lost();
        let mut captured = Captured {
            lost_xdp_ring_full: lost.ring_full,
            lost_xdp_fill_empty: lost.fill_empty,
            lost_xdp_dropped: lost.dropped,
            ..Captured::default()
        };
        captured.offered_packets = self.handed_packets + captured.lost_packets() + waiting;
        captured
    }
}

fn not_bound(interface: &str, error: io::Error) -> OpenError {
    match error.raw_os_error() {
        Some(libc::EBUSY) => {
            OpenError::Busy { what: "an AF_XDP socket on the same queue", interface: interface.to_owned() }
        }
        Some(libc::ENODEV) => OpenError::NoSuchInterface(interface.to_owned()),
        _ => OpenError::of("bind an AF_XDP socket to a queue", "CAP_NET_RAW", error),
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
