// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sender of a destination that takes datagrams (RFC 7011 section 10.3): one message in each, never larger than the path takes,
//! never fragmented.
//!
//! Templates are announced before the first data that need them, again at intervals, and again after a number of messages: whoever
//! missed them, or was started since, knows them after one interval at the latest. A datagram that is lost is a gap in sequence
//! numbers; so is one that the system refused.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs, UdpSocket},
    time::{Duration, Instant},
};

use weir_ipfix::message::HEADER_LEN;

use crate::{
    announce::{Announcer, Numbering},
    back_off::BackOff,
    channel::{Channel, Message},
    clock::Clock,
    queue::BATCH,
    sender::SendCounters,
    split::split,
    spool::disk::Announce,
    sys,
};

/// When templates are announced again (RFC 7011 section 8.4 leaves it to the exporter).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refresh {
    /// After this time.
    pub interval: Duration,
    /// After so many messages.
    pub messages: u32,
}

impl Default for Refresh {
    fn default() -> Self {
        Self { interval: Duration::from_secs(60), messages: 4096 }
    }
}

/// How often somebody who has nothing to do looks what time it is.
const LOOK: Duration = Duration::from_secs(1);
/// Refused datagrams in a row after which the name is resolved again.
const REFUSED: u32 = 16;

/// The sender of one destination.
#[derive(Debug)]
pub struct DatagramSender {
    authority: String,
    announcer: Announcer,
    numbering: Numbering,
    refresh: Refresh,
    clock: Clock,
    /// Most octets of a message, whatever the path takes.
    max_message: usize,
    socket: Option<(UdpSocket, SocketAddr)>,
    back_off: BackOff,
    /// When the name is resolved next.
    try_at: Instant,
    has_been_up: bool,
    /// Templates announced, when, and messages since.
    announced: usize,
    announced_at: Instant,
    messages: u32,
    /// Datagrams refused in a row.
    refused: u32,
    pub counters: SendCounters,
    /// Why the last datagram that was refused was.
    pub refusal: Option<io::Error>,
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sent {
    Yes,
    Refused,
    TooLong,
}

impl DatagramSender {
    /// One whose socket is there already, if its address is written in numbers.
    pub fn new(authority: String, announcer: Announcer, domain: u32, refresh: Refresh, clock: Clock) -> Self {
        let socket = authority.parse::<SocketAddr>().ok().and_then(|address| open(address).ok());
        let now = clock.now();
        Self {
            authority,
            max_message: announcer.max_message(),
            announcer,
            numbering: Numbering::new(domain),
            refresh,
            clock,
            has_been_up: socket.is_some(),
            socket,
            back_off: BackOff::new(),
            try_at: now,
            announced: 0,
            announced_at: now,
            messages: 0,
            refused: 0,
            counters: SendCounters::default(),
            refusal: None,
        }
    }

    /// Most octets of a message now.
    pub fn limit(&self) -> usize {
        let path = self.socket.as_ref().and_then(|(socket, address)| largest(socket, *address));
        self.max_message.min(path.unwrap_or(usize::MAX)).max(MIN_MESSAGE)
    }

    /// Sends until the queue is closed and empty.
    pub fn run(&mut self, channel: &Channel) {
        let mut batch = Vec::with_capacity(BATCH);
        while !channel.queue.is_finished() {
            if channel.is_to_reopen() {
                self.socket = None;
                self.try_at = self.clock.now();
            }
            self.open_if_due(channel);
            channel.queue.pop_batch(&mut batch, LOOK);
            for message in &mut batch {
                self.numbering.number(message, &self.clock, channel.lost_records());
                self.send_message(message, channel);
            }
            channel.recycle(batch.drain(..));
            channel.publish(self.counters);
        }
    }

    /// Counts what is still in the queue.
    pub fn give_up(&mut self, channel: &Channel) {
        channel.queue.close();
        let mut batch = Vec::new();
        while !channel.queue.is_finished() {
            channel.queue.pop_batch(&mut batch, Duration::ZERO);
            self.counters.records_not_sent += batch.drain(..).map(|m| u64::from(m.records())).sum::<u64>();
        }
        channel.publish(self.counters);
    }

    /// Resolves the name and opens a socket, if there is none and it is time.
    fn open_if_due(&mut self, channel: &Channel) {
        if self.socket.is_some() || self.clock.now() < self.try_at {
            channel.set_ready(self.socket.is_some());
            return;
        }
        match resolve(&self.authority) {
            Ok(socket) => {
                self.socket = Some(socket);
                self.counters.reconnects += u64::from(std::mem::replace(&mut self.has_been_up, true));
                (self.announced, self.refused) = (0, 0);
                self.narrow(channel);
                channel.tell_trouble(None);
            }
            Err(error) => {
                self.counters.connection_failures += 1;
                self.try_at = self.clock.now() + self.back_off.fail();
                channel.tell_trouble(Some(error.to_string()));
            }
        }
        channel.set_ready(self.socket.is_some());
    }

    /// Learns what the path takes, and has messages made that fit.
    fn narrow(&mut self, channel: &Channel) {
        let limit = self.limit();
        self.announcer.limit(limit);
        channel.limit(limit);
    }

    fn send_message(&mut self, message: &Message, channel: &Channel) {
        let records = u64::from(message.records());
        if self.socket.is_none() {
            self.counters.records_dropped_away += records;
            return;
        }
        let header = message.octets().get(..HEADER_LEN).unwrap_or_default();
        // Without its templates the data would be of no use; the next message tries again.
        if !self.announce_if_due(message.templates(), header, channel) {
            self.counters.records_refused += records;
            return;
        }
        self.messages = self.messages.saturating_add(1);
        match self.send(message.octets()) {
            Sent::Yes => {
                self.counters.messages_sent += 1;
                self.counters.records_sent += records;
            }
            Sent::Refused => {
                self.counters.records_refused += records;
                self.look_again();
            }
            Sent::TooLong => {
                self.narrow(channel);
                self.send_split(message, channel);
            }
        }
    }

    /// Sends a message that the path does not take as several that it does.
    fn send_split(&mut self, message: &Message, channel: &Channel) {
        let limit = channel.max_message();
        let templates = self.announcer.templates().from(0);
        let (parts, too_long) = split(message.octets(), &templates, limit);
        self.counters.messages_split += 1;
        let mut left = message.records();
        for part in parts {
            left = left.saturating_sub(part.records);
            if self.send(&part.octets) == Sent::Yes {
                self.counters.messages_sent += 1;
                self.counters.records_sent += u64::from(part.records);
            } else {
                self.counters.records_refused += u64::from(part.records);
            }
        }
        debug_assert!(left == too_long, "each record is in a part, or too long for any");
        self.counters.records_dropped_mtu += u64::from(left);
    }

    /// Announces templates that are new, or all if that is due. False if a datagram was refused.
    fn announce_if_due(&mut self, needed: usize, header: &[u8], channel: &Channel) -> bool {
        let now = self.clock.now();
        let is_due = self.messages >= self.refresh.messages
            || now.saturating_duration_since(self.announced_at) >= self.refresh.interval;
        if self.announced > 0 && is_due {
            self.announced = 0;
            // The path may have become wider, too.
            self.narrow(channel);
        }
        if self.announced >= needed {
            return true;
        }
        if self.announced == 0 {
            (self.announced_at, self.messages) = (now, 0);
        }
        let (messages, announced) = self.announcer.announce(self.announced, header);
        for message in messages {
            let mut sent = self.send(&message);
            if sent == Sent::TooLong {
                self.narrow(channel);
                sent = self.send(&message);
            }
            if sent != Sent::Yes {
                return false;
            }
        }
        self.counters.templates_sent += (announced - self.announced) as u64;
        self.announced = announced;
        true
    }

    fn send(&mut self, datagram: &[u8]) -> Sent {
        let Some((socket, _)) = &self.socket else { return Sent::Refused };
        // If it fails, the system tells what became of an earlier datagram; this one was not sent.
        let is_too_long = |error: &io::Error| error.raw_os_error() == Some(libc::EMSGSIZE);
        let result = match socket.send(datagram) {
            Err(error) if !is_too_long(&error) => socket.send(datagram),
            result => result,
        };
        match result {
            Ok(octets) => {
                self.counters.octets_sent += octets as u64;
                self.refused = 0;
                self.back_off.succeed();
                Sent::Yes
            }
            Err(error) => {
                let is_too_long = is_too_long(&error);
                self.counters.send_errors += 1;
                self.refusal = Some(error);
                if is_too_long { Sent::TooLong } else { Sent::Refused }
            }
        }
    }

    /// After many refusals the name may mean something else.
    fn look_again(&mut self) {
        self.refused += 1;
        let now = self.clock.now();
        if self.refused >= REFUSED && now >= self.try_at {
            self.refused = 0;
            self.try_at = now + self.back_off.fail();
            if let Ok(socket) = resolve(&self.authority) {
                self.socket = Some(socket);
                self.announced = 0;
                self.counters.reconnects += 1;
            }
        }
    }
}

/// Fewest octets that the longest message may have: what every path carries.
const MIN_MESSAGE: usize = 512;

fn resolve(authority: &str) -> io::Result<(UdpSocket, SocketAddr)> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in authority.to_socket_addrs()? {
        match open(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn open(address: SocketAddr) -> io::Result<(UdpSocket, SocketAddr)> {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    sys::forbid_fragments(&socket, &address)?;
    socket.connect(address)?;
    Ok((socket, address))
}

/// Octets that a datagram has at most: of the packet, without the headers of IP and UDP.
fn largest(socket: &UdpSocket, address: SocketAddr) -> Option<usize> {
    let headers = if address.is_ipv4() { 20 + 8 } else { 40 + 8 };
    sys::path_mtu(socket, &address).ok().filter(|mtu| *mtu > headers).map(|mtu| mtu - headers)
}
