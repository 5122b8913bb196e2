// SPDX-License-Identifier: MIT OR Apache-2.0
//! In place of TLS, in a build without it.

use std::{
    convert::Infallible,
    io::{self, IoSlice},
    net::TcpStream,
};

use crate::destination::TlsOptions;

/// There is none.
#[derive(Debug)]
pub struct TlsSettings(Infallible);

impl TlsSettings {
    /// Refuses.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn load(_options: &TlsOptions, _authority: &str) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this program was built without TLS"))
    }
}

/// There is none.
#[derive(Debug)]
pub struct TlsClient(Infallible);

impl TlsClient {
    /// Cannot be called.
    pub fn connect(settings: &TlsSettings, _stream: &TcpStream) -> io::Result<Self> {
        match settings.0 {}
    }

    /// Cannot be called.
    pub fn write(&mut self, _slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn flush(&mut self, _stream: &mut TcpStream) -> io::Result<bool> {
        match self.0 {}
    }

    /// Cannot be called.
    pub const fn written(&self) -> u64 {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn read(&mut self, _stream: &mut TcpStream) -> io::Result<usize> {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn end(&mut self, _stream: &mut TcpStream) -> io::Result<()> {
        match self.0 {}
    }
}
