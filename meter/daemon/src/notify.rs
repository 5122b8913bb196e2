// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a service manager is told (sd_notify(3)): a datagram of lines to the socket that it named.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    process,
    time::Duration,
};

/// The way to the service manager, if there is one.
#[derive(Debug)]
pub struct Notify {
    socket: Option<UnixDatagram>,
    watchdog: bool,
}

impl Notify {
    /// Finds it in the environment.
    ///
    /// # Errors
    ///
    /// If there is one, and it cannot be reached.
    pub fn new() -> io::Result<Self> {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Ok(Self { socket: None, watchdog: false }) };
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(&name)?,
        };
        let socket = UnixDatagram::unbound()?;
        // Connected now, it needs no right to connect later.
        socket.connect_addr(&address)?;
        // Whoever waits for us must not keep us waiting.
        socket.set_write_timeout(Some(Duration::from_millis(100)))?;
        let is_ours = env::var("WATCHDOG_PID").map_or(true, |pid| pid == process::id().to_string());
        Ok(Self { socket: Some(socket), watchdog: is_ours && env::var_os("WATCHDOG_USEC").is_some() })
    }

    /// Says something, such as `READY=1`.
    pub fn say(&self, lines: &str) {
        if let Some(socket) = &self.socket {
            // It is a courtesy: the meter goes on without it.
            let _ = socket.send(lines.as_bytes());
        }
    }

    /// Says that all is well, if that is waited for.
    pub fn is_well(&self) {
        if self.watchdog {
            self.say("WATCHDOG=1");
        }
    }
}
