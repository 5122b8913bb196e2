// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS to a collector (RFC 7011 section 11.2, RFC 8446): by `rustls`, with the cryptography of `ring`. The collector must show a
//! certificate for its name that leads to an authority which is trusted; there is no way to do without.

use std::{
    fs, io,
    io::{IoSlice, Read, Write},
    net::TcpStream,
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use crate::{destination::TlsOptions, sys};

/// How long the other side may take for each step of the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Most octets that are encrypted before they are handed over.
const PENDING: usize = 256 << 10;

/// How to connect with TLS: read once, at the start, when files can still be read.
#[derive(Debug)]
pub struct TlsSettings {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsSettings {
    /// Reads what the options name.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or has nothing of what is looked for in it; or if nobody is trusted.
    pub fn load(options: &TlsOptions, authority: &str) -> io::Result<Self> {
        let host = authority.rsplit_once(':').map_or(authority, |parts| parts.0);
        let host = options.name.as_deref().unwrap_or(host).trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| invalid(format!("'{host}' is no name that a certificate could have")))?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(invalid)?
            .with_root_certificates(trusted(options)?);
        let config = match (&options.certificate, &options.key) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate)?;
                let key = PrivateKeyDer::from_pem_slice(&read(key)?)
                    .map_err(|error| invalid(format!("{}: {error}", key.display())))?;
                config.with_client_auth_cert(chain, key).map_err(invalid)?
            }
            (None, None) => config.with_no_client_auth(),
            _ => return Err(invalid("a client certificate takes its key, and a key its certificate")),
        };
        Ok(Self { config: Arc::new(config), name })
    }
}

/// Authorities that are trusted: those of the file that is named, or those of this system.
fn trusted(options: &TlsOptions) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match &options.authorities {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| invalid(format!("{}: {error}", path.display())))?;
            }
        }
        // Of a system's, there are always some that are odd.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        return Err(invalid(
            "this system trusts no certificate authority: name a file of those that are trusted (ca=FILE)",
        ));
    }
    Ok(roots)
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let text = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(invalid(format!("{}: there is no certificate in it (PEM)", path.display()))),
        Err(error) => Err(invalid(format!("{}: {error}", path.display()))),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn invalid(why: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.to_string())
}

/// How long the end of a connection may come after it was said.
const END: Duration = Duration::from_millis(200);

/// Waits for the end of a connection that is about to be closed: zero, if it was closed orderly.
fn end_of(stream: &mut TcpStream) -> io::Result<usize> {
    sys::wait_for_octets(stream, END);
    loop {
        match stream.read(&mut [0; 1024]) {
            Ok(0) => return Ok(0),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::other("the other side has closed the connection, but not its socket"));
            }
            Err(error) => return Err(error),
        }
    }
}

/// The TLS of one connection.
#[derive(Debug)]
pub struct TlsClient {
    connection: ClientConnection,
    /// Octets that the system took.
    written: u64,
}

impl TlsClient {
    /// Makes the handshake, and waits for it.
    ///
    /// # Errors
    ///
    /// If the other side is not trusted, does not trust, or takes too long.
    pub fn connect(settings: &TlsSettings, stream: &TcpStream) -> io::Result<Self> {
        let connection =
            ClientConnection::new(settings.config.clone(), settings.name.clone()).map_err(io::Error::other)?;
        let mut client = Self { connection, written: 0 };
        client.connection.set_buffer_limit(Some(PENDING));
        stream.set_read_timeout(Some(HANDSHAKE))?;
        stream.set_write_timeout(Some(HANDSHAKE))?;
        let mut stream = stream;
        while client.connection.is_handshaking() || client.connection.wants_write() {
            match client.connection.complete_io(&mut stream) {
                Ok((_, octets)) => client.written += octets as u64,
                Err(error) => return Err(client.reason(&mut stream, error)),
            }
        }
        Ok(client)
    }

    /// Why writing failed. Who refuses says so before he closes, and what he said may lie here unread.
    fn reason(&mut self, stream: &mut impl Read, error: io::Error) -> io::Error {
        while let Ok(1..) = self.connection.read_tls(stream) {
            if let Err(why) = self.connection.process_new_packets() {
                return io::Error::other(why);
            }
        }
        error
    }

    /// Encrypts what there is room for: how many octets that is.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if something that was encrypted was not handed over yet.
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.connection.wants_write() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.connection.writer().write_vectored(slices)
    }

    /// Hands over what was encrypted: whether nothing of it is left.
    ///
    /// # Errors
    ///
    /// If the connection has broken.
    pub fn flush(&mut self, stream: &mut TcpStream) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(stream) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(octets) => self.written += octets as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.reason(stream, error)),
            }
        }
        Ok(true)
    }

    /// Octets that the system took.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Reads what there is, and passes over it: how many octets; zero at the end.
    ///
    /// # Errors
    ///
    /// If the connection has broken, or what comes is no TLS; [`io::ErrorKind::WouldBlock`] if nothing is there.
    pub fn read(&mut self, stream: &mut TcpStream) -> io::Result<usize> {
        let octets = self.connection.read_tls(stream)?;
        let state = self.connection.process_new_packets().map_err(io::Error::other)?;
        let mut nothing = [0; 1024];
        let mut left = state.plaintext_bytes_to_read();
        while left > 0 {
            match self.connection.reader().read(&mut nothing) {
                Ok(0) | Err(_) => break,
                Ok(read) => left = left.saturating_sub(read),
            }
        }
        // An end may be said before (RFC 8446 section 6.1); how the connection is closed, tells more.
        if state.peer_has_closed() { end_of(stream) } else { Ok(octets) }
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    ///
    /// If the connection has broken.
    pub fn end(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        self.connection.send_close_notify();
        self.flush(stream).map(drop)
    }
}
