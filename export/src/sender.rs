// SPDX-License-Identifier: MIT OR Apache-2.0
//! One destination's thread: takes messages from its queue, announces templates, numbers, sends.

use std::{
    fs::File,
    io::{self, IoSlice, Write},
    net::{TcpStream, UdpSocket},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use weir_ipfix::{
    encode::Templates,
    message::{HEADER_LEN, Header, template_bodies},
};

use crate::{
    destination::{Format, Transport},
    queue::Queue,
    sink::Message,
};

/// How often templates are announced again over UDP (RFC 7011 section 8.4 leaves it to the exporter).
pub const TEMPLATE_REFRESH: Duration = Duration::from_secs(60);
/// Attempts to reach a TCP destination again, after the first, before its records are given up.
const RECONNECTS: u32 = 5;
/// Waiting time before the first of them; it doubles.
const BACK_OFF: Duration = Duration::from_millis(100);
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
        #[doc = "times that a connection was made again"]
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
    format: Format,
    way: Way,
    templates: Arc<Templates>,
    max_message: usize,
    domain: u32,
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
    pub fn open(
        transport: Transport,
        format: Format,
        templates: Arc<Templates>,
        max_message: usize,
        domain: u32,
    ) -> io::Result<Self> {
        let way = connect(&transport)?;
        Ok(Self {
            transport,
            format,
            way,
            templates,
            max_message,
            domain,
            announced: 0,
            announced_at: Instant::now(),
            sequence_number: 0,
            counters: SendCounters::default(),
            refusal: None,
        })
    }

    /// Sends until the queue is closed and empty. An error that cannot be mended ends it: the queue is closed, what is
    /// still in it is counted as not sent.
    pub fn run(&mut self, queue: &Queue<Message>) -> io::Result<()> {
        let mut result = Ok(());
        while result.is_ok() && !queue.is_finished() {
            let Some(message) = queue.pop(TEMPLATE_REFRESH) else { continue };
            result = self.deliver(&message);
        }
        result = result.and_then(|()| self.flush());
        self.give_up(queue);
        result
    }

    /// Closes the queue; what is still in it is not sent.
    pub fn give_up(&mut self, queue: &Queue<Message>) {
        queue.close();
        while let Some(message) = queue.pop(Duration::ZERO) {
            self.counters.records_not_sent += u64::from(message.records);
        }
    }

    fn deliver(&mut self, message: &Message) -> io::Result<()> {
        let sent = self.send_message(message).or_else(|error| match self.way {
            Way::Tcp(_) => self.reconnect(error).and_then(|()| self.send_message(message)),
            _ => Err(error),
        });
        match &sent {
            Ok(true) => {
                self.counters.messages_sent += 1;
                self.counters.records_sent += u64::from(message.records);
            }
            Ok(false) | Err(_) => self.counters.records_not_sent += u64::from(message.records),
        }
        sent.map(drop)
    }

    /// False if a datagram was refused: the next one may be taken.
    fn send_message(&mut self, message: &Message) -> io::Result<bool> {
        if self.format == Format::Json {
            return self.write(&[], &message.body).map(|()| true);
        }
        let is_udp = matches!(self.way, Way::Udp(_));
        if is_udp && self.announced > 0 && self.announced_at.elapsed() >= TEMPLATE_REFRESH {
            self.announced = 0;
        }
        if self.announced < message.templates {
            let templates = self.templates.from(self.announced);
            if self.announced == 0 {
                self.announced_at = Instant::now();
            }
            for body in template_bodies(&templates, self.max_message) {
                if !self.send_body(&body)? {
                    // Without its templates the data would be of no use; the next message tries again.
                    return Ok(false);
                }
            }
            self.announced += templates.len();
            self.counters.templates_sent += templates.len() as u64;
        }
        let sent = self.send_body(&message.body)?;
        // The number counts what was given to the transport session; a refused datagram is a gap that the collector sees.
        self.sequence_number = self.sequence_number.wrapping_add(message.records);
        Ok(sent)
    }

    fn send_body(&mut self, body: &[u8]) -> io::Result<bool> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let header = Header {
            length: u16::try_from(HEADER_LEN + body.len()).unwrap_or(u16::MAX),
            export_time: u32::try_from(now.as_secs()).unwrap_or(u32::MAX),
            sequence_number: self.sequence_number,
            domain: self.domain,
        };
        let mut written = self.write(&header.to_bytes(), body);
        if written.is_err() && matches!(self.way, Way::Udp(_)) {
            // The system tells with this call what became of an earlier datagram; this one was not sent.
            written = self.write(&header.to_bytes(), body);
        }
        match written {
            Ok(()) => Ok(true),
            // Nobody listens there, or the buffers are full: over UDP that is the datagram's loss.
            Err(error) if matches!(self.way, Way::Udp(_)) => {
                self.counters.send_errors += 1;
                self.refusal = Some(error);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, header: &[u8], body: &[u8]) -> io::Result<()> {
        match &mut self.way {
            Way::Udp(socket) => {
                socket.send(&[header, body].concat())?;
            }
            Way::Tcp(stream) => write_all(stream, header, body)?,
            Way::File(file) => write_all(file, header, body)?,
            Way::Stdout => write_all(&mut io::stdout().lock(), header, body)?,
        }
        self.counters.octets_sent += (header.len() + body.len()) as u64;
        Ok(())
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

    /// Makes the connection again; a new transport session starts from the first template and from number zero.
    fn reconnect(&mut self, first_error: io::Error) -> io::Result<()> {
        let mut error = first_error;
        for attempt in 0..RECONNECTS {
            std::thread::sleep(BACK_OFF * 2_u32.pow(attempt));
            match connect(&self.transport) {
                Ok(way) => {
                    self.way = way;
                    self.announced = 0;
                    self.sequence_number = 0;
                    self.counters.reconnects += 1;
                    return Ok(());
                }
                Err(again) => error = again,
            }
        }
        Err(error)
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

/// Writes header and body, with one call where the system takes both.
fn write_all(writer: &mut impl Write, header: &[u8], body: &[u8]) -> io::Result<()> {
    let written = match writer.write_vectored(&[IoSlice::new(header), IoSlice::new(body)]) {
        Ok(written) => written,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
        Err(error) => return Err(error),
    };
    if written < header.len() {
        writer.write_all(header.get(written..).unwrap_or_default())?;
    }
    writer.write_all(body.get(written.saturating_sub(header.len())..).unwrap_or_default())
}
