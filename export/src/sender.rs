// SPDX-License-Identifier: MIT OR Apache-2.0
//! One destination's thread: takes messages from its queue, announces templates, numbers, sends.

use std::{
    fs::File,
    io::{self, IoSlice, Read, Write},
    net::{TcpStream, UdpSocket},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use weir_ipfix::{
    encode::Templates,
    message::{HEADER_LEN, Header, template_bodies},
};

use crate::{
    channel::{Channel, Message},
    destination::Transport,
    queue::BATCH,
};

/// How often templates are announced again over UDP (RFC 7011 section 8.4 leaves it to the exporter).
pub const TEMPLATE_REFRESH: Duration = Duration::from_secs(60);
/// Attempts to reach a TCP destination again, after the first, before its records are given up.
const RECONNECTS: u32 = 5;
/// Waiting time before the first of them; it doubles.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Longest waiting time between attempts.
const MAX_BACK_OFF: Duration = Duration::from_secs(10);
/// How often who waits looks whether the destination is given up.
const LOOK: Duration = Duration::from_millis(50);
/// How long a TCP destination may take to answer.
const CONNECT: Duration = Duration::from_secs(5);
/// How long one write to a TCP destination may stand still.
const STALL: Duration = Duration::from_secs(30);

weir_flow::counters! {
    /// What was done for one destination.
    pub struct SendCounters {
        #[doc = "messages with data, or chunks of lines, that the system took"]
        pub messages_sent,
        #[doc = "records in them"]
        pub records_sent,
        #[doc = "octets sent, headers and templates included"]
        pub octets_sent,
        #[doc = "templates announced, repetitions included"]
        pub templates_sent,
        #[doc = "records in messages that could not be sent"]
        pub records_not_sent,
        #[doc = "datagrams that the system refused"]
        pub send_errors,
        #[doc = "times that a connection was made again, or a file that was moved away"]
        pub reconnects,
    }
}

/// An open way to a destination.
#[derive(Debug)]
enum Way {
    Udp(UdpSocket),
    Tcp(TcpStream),
    File(File),
    Stdout,
}

/// One destination's sender.
#[derive(Debug)]
pub(crate) struct Sender {
    transport: Transport,
    way: Way,
    templates: Arc<Templates>,
    max_message: usize,
    domain: u32,
    /// Whether a connection is tried again for as long as there are workers, in place of a few times.
    is_patient: bool,
    /// Templates announced in this transport session.
    announced: usize,
    announced_at: Instant,
    sequence_number: u32,
    pub counters: SendCounters,
    /// Why the last datagram that was refused was.
    pub refusal: Option<io::Error>,
}

impl Sender {
    /// Opens the way to a destination.
    ///
    /// # Errors
    ///
    /// If the file cannot be made, the name not be resolved, the connection not be made.
    pub fn open(transport: Transport, templates: Arc<Templates>, max_message: usize, domain: u32) -> io::Result<Self> {
        let way = connect(&transport)?;
        Ok(Self {
            transport,
            way,
            templates,
            max_message,
            domain,
            is_patient: false,
            announced: 0,
            announced_at: Instant::now(),
            sequence_number: 0,
            counters: SendCounters::default(),
            refusal: None,
        })
    }

    /// The same, and tries again for as long as there are workers.
    pub fn patient(self, is_patient: bool) -> Self {
        Self { is_patient, ..self }
    }

    /// Sends until the queue is closed and empty. An error that cannot be mended ends it: the queue is closed, what is
    /// still in it is counted as not sent.
    pub fn run(&mut self, channel: &Channel) -> io::Result<()> {
        let mut result = Ok(());
        let mut batch = Vec::with_capacity(BATCH);
        while result.is_ok() && !channel.queue.is_finished() {
            channel.queue.pop_batch(&mut batch, TEMPLATE_REFRESH);
            if channel.is_to_reopen() {
                result = self.reopen();
            }
            result = result.and_then(|()| self.deliver(&mut batch, channel));
            channel.publish(self.counters);
            channel.recycle(batch.drain(..));
        }
        result = result.and_then(|()| self.flush());
        if let Err(error) = &result {
            channel.tell_trouble(Some(error.to_string()));
        }
        self.give_up(channel);
        result
    }

    /// Closes the queue; what is still in it is not sent.
    pub fn give_up(&mut self, channel: &Channel) {
        channel.queue.close();
        let mut batch = Vec::new();
        while !channel.queue.is_finished() {
            channel.queue.pop_batch(&mut batch, Duration::ZERO);
            self.not_sent(&batch);
            batch.clear();
        }
        channel.publish(self.counters);
    }

    fn deliver(&mut self, batch: &mut [Message], channel: &Channel) -> io::Result<()> {
        if matches!(self.way, Way::Udp(_)) {
            batch.iter_mut().for_each(|message| self.send_datagram(message));
            return Ok(());
        }
        let mut left = batch;
        let mut is_new_session = false;
        while !left.is_empty() {
            let (written, result) = self.write_batch(left);
            let (sent, rest) = left.split_at_mut(written);
            self.sent(sent);
            left = rest;
            let Err(error) = result else { continue };
            // A connection that takes nothing though it is new will not take it next time.
            let is_hopeless = is_new_session && written == 0;
            let mended = match self.way {
                Way::Tcp(_) if !is_hopeless || self.is_patient => self.reconnect(error, channel),
                _ => Err(error),
            };
            if mended.is_err() {
                self.not_sent(left);
                return mended;
            }
            is_new_session = true;
        }
        Ok(())
    }

    fn sent(&mut self, messages: &[Message]) {
        self.counters.messages_sent += messages.len() as u64;
        self.counters.records_sent += messages.iter().map(|m| u64::from(m.records())).sum::<u64>();
    }

    fn not_sent(&mut self, messages: &[Message]) {
        self.counters.records_not_sent += messages.iter().map(|m| u64::from(m.records())).sum::<u64>();
    }

    /// Writes messages one behind the other, with one call if the system takes them all: how many were written whole.
    fn write_batch(&mut self, batch: &mut [Message]) -> (usize, io::Result<()>) {
        let templates = batch.iter().map(Message::templates).max().unwrap_or(0);
        if self.announced < templates
            && let Err(error) = self.announce().map(drop)
        {
            return (0, Err(error));
        }
        let now = now();
        batch.iter_mut().for_each(|message| self.number(message, now));
        let mut slices = [IoSlice::new(&[]); BATCH];
        for (slice, message) in slices.iter_mut().zip(&*batch) {
            *slice = IoSlice::new(message.octets());
        }
        let count = batch.len().min(BATCH);
        let slices = slices.get_mut(..count).unwrap_or_default();
        let (mut octets, result) = self.way.write(slices);
        self.counters.octets_sent += octets as u64;
        let is_whole = |message: &&Message| {
            let len = message.octets().len();
            let is_whole = len <= octets;
            octets = octets.saturating_sub(len);
            is_whole
        };
        (batch.iter().take(count).take_while(is_whole).count(), result)
    }

    /// The number counts what was given to the transport session; a refused datagram is a gap that the collector sees.
    fn number(&mut self, message: &mut Message, export_time: u32) {
        if let Message::Ipfix { buffer, .. } = message {
            buffer.number(export_time, self.sequence_number, self.domain);
            self.sequence_number = self.sequence_number.wrapping_add(buffer.records());
        }
    }

    /// A datagram that is refused is lost: the next one may be taken.
    fn send_datagram(&mut self, message: &mut Message) {
        if self.announced > 0 && self.announced_at.elapsed() >= TEMPLATE_REFRESH {
            self.announced = 0;
        }
        // Without its templates the data would be of no use; the next message tries again.
        let is_announced = self.announced >= message.templates() || matches!(self.announce(), Ok(true));
        if is_announced {
            self.number(message, now());
        }
        if is_announced && self.send(message.octets()) {
            self.sent(std::slice::from_ref(message));
        } else {
            self.not_sent(std::slice::from_ref(message));
        }
    }

    /// Announces the templates that are new to this transport session. False if a datagram was refused.
    fn announce(&mut self) -> io::Result<bool> {
        let templates = self.templates.from(self.announced);
        if self.announced == 0 {
            self.announced_at = Instant::now();
        }
        for body in template_bodies(&templates, self.max_message) {
            let length = u16::try_from(HEADER_LEN + body.len()).unwrap_or(u16::MAX);
            let (export_time, sequence_number, domain) = (now(), self.sequence_number, self.domain);
            let header = Header { length, export_time, sequence_number, domain }.to_bytes();
            let message = [&header, &body[..]].concat();
            if !matches!(self.way, Way::Udp(_)) {
                let (octets, result) = self.way.write(&mut [IoSlice::new(&message)]);
                self.counters.octets_sent += octets as u64;
                result?;
            } else if !self.send(&message) {
                return Ok(false);
            }
        }
        self.announced += templates.len();
        self.counters.templates_sent += templates.len() as u64;
        Ok(true)
    }

    /// Sends a datagram. False if the system refused it: nobody listens there, or the buffers are full.
    fn send(&mut self, datagram: &[u8]) -> bool {
        let Way::Udp(socket) = &self.way else { return false };
        // If it fails, the system tells what became of an earlier datagram; this one was not sent.
        match socket.send(datagram).or_else(|_| socket.send(datagram)) {
            Ok(octets) => {
                self.counters.octets_sent += octets as u64;
                true
            }
            Err(error) => {
                self.counters.send_errors += 1;
                self.refusal = Some(error);
                false
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.way {
            Way::Udp(_) => Ok(()),
            Way::Tcp(stream) => stream.flush().and_then(|()| stream.shutdown(std::net::Shutdown::Write)),
            // A device or a pipe has nothing to synchronise.
            Way::File(file) => {
                file.sync_all().or_else(|e| if e.kind() == io::ErrorKind::InvalidInput { Ok(()) } else { Err(e) })
            }
            Way::Stdout => io::stdout().lock().flush(),
        }
    }

    /// Opens the destination again, in a new transport session: a connection to what its name means now, a file that was
    /// moved away. If that fails, it goes on with what it has.
    fn reopen(&mut self) -> io::Result<()> {
        let is_wanted = match (&self.way, &self.transport) {
            (Way::File(file), Transport::File(path)) => was_moved(file, path),
            (Way::Stdout, _) => false,
            _ => true,
        };
        if !is_wanted {
            return Ok(());
        }
        if let Ok(way) = connect(&self.transport) {
            self.flush()?;
            self.way = way;
            self.announced = 0;
            self.sequence_number = 0;
            self.counters.reconnects += 1;
        }
        Ok(())
    }

    /// Makes the connection again; a new transport session starts from the first template and from number zero.
    fn reconnect(&mut self, first_error: io::Error, channel: &Channel) -> io::Result<()> {
        let mut error = first_error;
        let mut pause = BACK_OFF;
        let mut attempts = 0;
        channel.tell_trouble(Some(error.to_string()));
        while attempts < RECONNECTS && !(self.is_patient && channel.queue.is_closed()) {
            self.pause(pause, channel);
            pause = MAX_BACK_OFF.min(pause * 2);
            match connect(&self.transport) {
                Ok(way) => {
                    self.way = way;
                    self.announced = 0;
                    self.sequence_number = 0;
                    self.counters.reconnects += 1;
                    channel.tell_trouble(None);
                    return Ok(());
                }
                Err(again) => error = again,
            }
            attempts += u32::from(!self.is_patient);
        }
        Err(error)
    }

    /// Waits; a patient one no longer than its destination is wanted.
    fn pause(&self, time: Duration, channel: &Channel) {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.is_patient && channel.queue.is_closed() {
                return;
            }
            std::thread::sleep(left.min(LOOK));
        }
    }
}

impl Way {
    /// Writes all slices to a stream: how many octets it took.
    fn write(&mut self, slices: &mut [IoSlice<'_>]) -> (usize, io::Result<()>) {
        match self {
            Self::File(file) => write_all(file, slices),
            Self::Stdout => write_all(&mut io::stdout().lock(), slices),
            Self::Tcp(stream) => match has_ended(stream) {
                Ok(()) => write_all(stream, slices),
                Err(error) => (0, Err(error)),
            },
            Self::Udp(_) => (0, Err(io::ErrorKind::Unsupported.into())),
        }
    }
}

/// An error if the other side has closed a connection, or reset it: the system would take what is written all the same, for
/// nobody.
fn has_ended(stream: &mut TcpStream) -> io::Result<()> {
    let mut nothing = [0; 512];
    stream.set_nonblocking(true)?;
    // A collector has nothing to say (RFC 7011 section 10.4.1); what it says is passed over.
    let read = stream.read(&mut nothing);
    stream.set_nonblocking(false)?;
    match read {
        Ok(0) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the other side has closed the connection")),
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a path does not name an open file any more.
fn was_moved(file: &File, path: &Path) -> bool {
    let Ok(open) = file.metadata() else { return false };
    match std::fs::metadata(path) {
        Ok(there) => (open.dev(), open.ino()) != (there.dev(), there.ino()),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn connect(transport: &Transport) -> io::Result<Way> {
    Ok(match transport {
        Transport::Udp(address) => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in std::net::ToSocketAddrs::to_socket_addrs(address.as_str())? {
                let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                match UdpSocket::bind(any).and_then(|socket| socket.connect(address).map(|()| socket)) {
                    Ok(socket) => return Ok(Way::Udp(socket)),
                    Err(error) => last = error,
                }
            }
            return Err(last);
        }
        Transport::Tcp(address) => {
            let stream = connect_tcp(address)?;
            stream.set_write_timeout(Some(STALL))?;
            Way::Tcp(stream)
        }
        // Messages and chunks of lines are large enough to be written as they are.
        Transport::File(path) => Way::File(File::create(path)?),
        Transport::Stdout => Way::Stdout,
    })
}

/// Connects to the first address of a name that answers.
fn connect_tcp(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in std::net::ToSocketAddrs::to_socket_addrs(address)? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Seconds since 1970.
fn now() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}

/// Writes all slices, with one call if the system takes them: how many octets it took.
fn write_all(writer: &mut impl Write, slices: &mut [IoSlice<'_>]) -> (usize, io::Result<()>) {
    let mut left = slices;
    let mut octets = 0;
    while !left.is_empty() {
        match writer.write_vectored(left) {
            Ok(0) => return (octets, Err(io::ErrorKind::WriteZero.into())),
            Ok(written) => {
                octets += written;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return (octets, Err(error)),
        }
    }
    (octets, Ok(()))
}
