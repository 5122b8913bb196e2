// SPDX-License-Identifier: MIT OR Apache-2.0
//! A collector on this machine, for subjects that write no files. It decodes and counts, in a thread of this process.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};

use crate::{
    ipfix::Decoder,
    subject::{Found, Transport},
    sys,
};
use weir_ipfix::decode::Draft;

/// Octets of datagrams that may wait.
const RECEIVE_BUFFER: i32 = 256 << 20;
/// After the subject has ended, nothing more comes if nothing came for so long: loopback does not delay.
const SILENCE: Duration = Duration::from_millis(200);

/// What has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Collected {
    /// Records.
    pub records: u64,
    /// Packets in them.
    pub packets: u64,
    /// Octets in them.
    pub octets: u64,
    /// Messages or parts of them that could not be read.
    pub unreadable: u64,
}

impl Collected {
    fn count(&mut self, draft: &Draft) {
        let (forward, reverse) = (&draft.record.forward, &draft.record.reverse);
        self.records += 1;
        self.packets += forward.packets + reverse.packets;
        self.octets += forward.octets + reverse.octets;
    }
}

/// What has come, as what a subject has put out.
///
/// # Errors
///
/// If there was no collector.
pub fn found(collected: Option<&Collected>) -> Result<Found> {
    let &Collected { records, packets, octets, unreadable } = collected.context("no collector")?;
    let remark = (unreadable > 0).then(|| format!("{unreadable} times what came could not be read"));
    Ok(Found { records, packets, octets, remark, ..Found::default() })
}

/// What is in an IPFIX file.
///
/// # Errors
///
/// If it cannot be read.
pub fn read_file(path: &Path) -> Result<Found> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let (mut decoder, mut collected) = (Decoder::default(), Collected::default());
    decoder.stream(&mut BufReader::with_capacity(1 << 20, file), &mut |draft| collected.count(draft))?;
    collected.unreadable = decoder.unreadable;
    found(Some(&collected))
}

/// A collector that listens.
#[derive(Debug)]
pub struct Collector {
    /// Where it listens.
    pub address: SocketAddr,
    transport: Transport,
    is_last: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Collected>>,
}

impl Collector {
    /// Listens on a free port of the loopback interface.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn start(transport: Transport) -> Result<Self> {
        let any = (Ipv4Addr::LOCALHOST, 0);
        let is_last = Arc::new(AtomicBool::new(false));
        let stop = is_last.clone();
        let (address, thread) = match transport {
            Transport::Tcp => {
                let listener = TcpListener::bind(any)?;
                (listener.local_addr()?, thread::spawn(move || connections(&listener, &stop)))
            }
            Transport::Udp => {
                let socket = UdpSocket::bind(any)?;
                sys::enlarge_receive_buffer(&socket, RECEIVE_BUFFER);
                socket.set_read_timeout(Some(SILENCE))?;
                (socket.local_addr()?, thread::spawn(move || datagrams(&socket, &stop)))
            }
        };
        Ok(Self { address, transport, is_last, thread })
    }

    /// Reads what has been sent, and stops.
    ///
    /// # Errors
    ///
    /// If reading failed.
    pub fn finish(self) -> Result<Collected> {
        self.is_last.store(true, Ordering::Release);
        if self.transport == Transport::Tcp {
            // A connection behind all others, so that waiting for the next one ends.
            drop(TcpStream::connect(self.address));
        }
        let collected = self.thread.join().map_err(|_| anyhow!("the collector has panicked"))?;
        collected.context("collector")
    }
}

/// Connections one after the other, in the order in which they were made: the first empty one after the subject has ended
/// is that of [`Collector::finish`].
fn connections(listener: &TcpListener, is_last: &AtomicBool) -> io::Result<Collected> {
    let mut collected = Collected::default();
    loop {
        let (connection, _) = listener.accept()?;
        let mut reader = BufReader::with_capacity(1 << 20, connection);
        if reader.fill_buf().is_ok_and(<[u8]>::is_empty) && is_last.load(Ordering::Acquire) {
            return Ok(collected);
        }
        let mut decoder = Decoder::default();
        let end = decoder.stream(&mut reader, &mut |draft| collected.count(draft));
        collected.unreadable += decoder.unreadable + u64::from(end.is_err());
    }
}

fn datagrams(socket: &UdpSocket, is_last: &AtomicBool) -> io::Result<Collected> {
    let mut collected = Collected::default();
    let mut decoder = Decoder::default();
    let mut octets = vec![0; 1 << 16];
    loop {
        match socket.recv(&mut octets) {
            Ok(length) => {
                decoder.message(octets.get(..length).unwrap_or_default(), &mut |draft| collected.count(draft));
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if is_last.load(Ordering::Acquire) {
                    collected.unreadable = decoder.unreadable;
                    return Ok(collected);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A message with a template of packets and octets, and two records.
    fn message() -> Vec<u8> {
        let template = [0, 2, 0, 16, 1, 0, 0, 2, 0, 2, 0, 4, 0, 1, 0, 4];
        let records = [1, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, 100, 0, 0, 0, 4, 0, 0, 1, 0];
        let length = u8::try_from(16 + template.len() + records.len()).unwrap();
        [&[0, 10, 0, length][..], &[0; 12], &template, &records].concat()
    }

    #[test]
    fn what_is_sent_is_counted_over_connections_and_in_datagrams() {
        for transport in [Transport::Tcp, Transport::Udp] {
            let collector = Collector::start(transport).unwrap();
            match transport {
                Transport::Tcp => {
                    for _ in 0..2 {
                        TcpStream::connect(collector.address).unwrap().write_all(&message().repeat(2)).unwrap();
                    }
                }
                Transport::Udp => {
                    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                    for _ in 0..4 {
                        socket.send_to(&message(), collector.address).unwrap();
                    }
                }
            }
            let collected = collector.finish().unwrap();
            assert_eq!((collected.records, collected.packets), (8, 28), "{transport:?}");
            assert_eq!((collected.octets, collected.unreadable), (4 * 356, 0), "{transport:?}");
        }
    }

    #[test]
    fn records_without_a_template_and_what_is_no_message_are_said() {
        let mut decoder = Decoder::default();
        let mut octets = message();
        octets.drain(16..32);
        octets[3] -= 16;
        decoder.message(&octets, &mut |_| panic!("no record is known"));
        decoder.message(&[7; 40], &mut |_| panic!("no message"));
        assert_eq!(decoder.unreadable, 2);
        assert!(decoder.stream(&mut &message()[..30], &mut |_| ()).is_err());
    }
}
