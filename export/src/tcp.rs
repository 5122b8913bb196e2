// SPDX-License-Identifier: MIT OR Apache-2.0
//! A connection to a collector: plain, or with TLS. Once it is made, nothing here waits.

use std::{
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, TcpStream, ToSocketAddrs},
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
    time::Duration,
};

use crate::{
    sys,
    tls::{TlsClient, TlsSettings},
};

/// How long one address may take to answer.
const CONNECT: Duration = Duration::from_secs(5);

/// Whom to connect to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host and port.
    pub authority: String,
    /// How to do so with TLS.
    pub tls: Option<Arc<TlsSettings>>,
}

impl Target {
    /// Connects to the first address of the name, which is resolved each time, that answers.
    ///
    /// # Errors
    ///
    /// If the name cannot be resolved, nobody answers, or who answers is not the one that he should be.
    pub fn connect(&self) -> io::Result<Connection> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in self.authority.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => return self.begin(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn begin(&self, stream: TcpStream) -> io::Result<Connection> {
        // What is written is whole batches: nothing is gained by waiting for more.
        stream.set_nodelay(true)?;
        sys::keep_alive(&stream)?;
        let tls = match &self.tls {
            Some(settings) => Some(TlsClient::connect(settings, &stream)?),
            None => None,
        };
        stream.set_nonblocking(true)?;
        let written = tls.as_ref().map_or(0, TlsClient::written);
        Ok(Connection { stream, tls, written })
    }
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    tls: Option<TlsClient>,
    /// Octets that the system took.
    written: u64,
}

impl Connection {
    /// Writes what the connection takes: how many octets of the slices that is.
    ///
    /// # Errors
    ///
    /// If it has broken; [`io::ErrorKind::WouldBlock`] if there is no room now.
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let taken = match &mut self.tls {
            Some(tls) => return tls.write(slices),
            None => self.stream.write_vectored(slices)?,
        };
        self.written += taken as u64;
        Ok(taken)
    }

    /// Hands over what was encrypted and not handed over yet: whether nothing of it is left.
    ///
    /// # Errors
    ///
    /// If the connection has broken.
    pub fn flush(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        let is_empty = tls.flush(&mut self.stream)?;
        self.written = tls.written();
        Ok(is_empty)
    }

    /// Octets that the system took so far.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Of these, those that the system of the other side has acknowledged.
    ///
    /// # Errors
    ///
    /// If the system does not tell.
    pub fn acknowledged(&self) -> io::Result<u64> {
        Ok(self.written.saturating_sub(sys::unacknowledged(&self.stream)?))
    }

    /// Whether what is written is longer than what was to be written.
    pub const fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Looks whether it still stands. A collector has nothing to say (RFC 7011 section 10.4.1); what it says is passed over.
    ///
    /// # Errors
    ///
    /// If it does not: [`io::ErrorKind::ConnectionAborted`] if the other side has closed it.
    pub fn look(&mut self) -> io::Result<()> {
        let mut nothing = [0; 4096];
        loop {
            let read = match &mut self.tls {
                Some(tls) => tls.read(&mut self.stream),
                None => self.stream.read(&mut nothing),
            };
            match read {
                Ok(0) => {
                    let why = "the other side has closed the connection";
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, why));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// How long ago the other side gave a sign of life.
    pub fn since_last_answer(&self) -> Duration {
        sys::since_last_answer(&self.stream).unwrap_or_default()
    }

    /// Has the system forget what it has not delivered yet: it is sent in another connection.
    pub fn abort(&self) {
        // If that fails, the connection is over anyway.
        let _ = sys::discard_at_close(&self.stream);
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    ///
    /// If the connection has broken.
    pub fn end(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.end(&mut self.stream)?;
        }
        // Closed with something unread, the connection would be reset, and what the other side has not read yet be lost there.
        match self.look() {
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(()),
            _ => self.stream.shutdown(Shutdown::Write),
        }
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

/// Whether whoever closed a connection had read all that his system has acknowledged: it is closed orderly then, and reset
/// otherwise (RFC 2525 section 2.17; so does Linux, and each BSD).
pub fn is_orderly(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe)
}
