// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the operator says: where to listen, and the caps.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

/// Where to listen.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Listen {
    /// IPFIX over TCP.
    Tcp(SocketAddr),
    /// IPFIX, NetFlow v9 and v5 over UDP, told apart by their version.
    Udp(SocketAddr),
}

impl Listen {
    /// The address alone.
    #[must_use]
    pub const fn address(self) -> SocketAddr {
        match self {
            Self::Tcp(address) | Self::Udp(address) => address,
        }
    }
}

/// Not an address to listen on.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{found}\" is not udp://ADDRESS:PORT or tcp://ADDRESS:PORT, as in udp://[::]:4739")]
pub struct ListenError {
    /// What was said.
    pub found: String,
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let error = || ListenError { found: text.to_owned() };
        let (scheme, address) = text.split_once("://").ok_or_else(error)?;
        let address = address.parse().map_err(|_| error())?;
        match scheme {
            "tcp" => Ok(Self::Tcp(address)),
            "udp" => Ok(Self::Udp(address)),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Udp(address) => write!(f, "udp://{address}"),
        }
    }
}

/// Caps on what peers can make grow. Each has a counter that says when it was reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// TCP sessions at one time. Each may hold one message of at most 64 KiB that is not complete.
    pub tcp_sessions: usize,
    /// TCP sessions of one address at one time.
    pub tcp_sessions_per_address: usize,
    /// UDP sessions (source address and port) that are remembered.
    pub udp_sessions: usize,
    /// Observation domains of one session.
    pub domains_per_session: usize,
    /// Observation domains of all sessions.
    pub domains: usize,
    /// Templates of one session, all its domains together.
    pub templates_per_session: usize,
    /// Octets of memory for the templates of one session, as estimated.
    pub template_octets_per_session: usize,
    /// Octets of memory for the templates of all sessions, as estimated.
    pub template_octets: usize,
    /// Octets of data sets of one session that wait for their template.
    pub waiting_octets_per_session: usize,
    /// Octets of data sets of all sessions that wait for their template.
    pub waiting_octets: usize,
    /// Exporters (address, observation domain, protocol) that are listed one by one.
    pub exporters: usize,
    /// A UDP session that is silent for this long is forgotten, with its templates.
    pub udp_session_idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tcp_sessions: 1_024,
            tcp_sessions_per_address: 256,
            udp_sessions: 4_096,
            domains_per_session: 256,
            domains: 16_384,
            templates_per_session: 4_096,
            template_octets_per_session: 8 << 20,
            template_octets: 64 << 20,
            waiting_octets_per_session: 1 << 20,
            waiting_octets: 16 << 20,
            exporters: 4_096,
            // Three times the refresh interval that slow exporters use.
            udp_session_idle: Duration::from_secs(5_400),
        }
    }
}

/// How a [`crate::Collector`] works.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Sockets to listen on; port 0 takes any that is free.
    pub listen: Vec<Listen>,
    /// The caps.
    pub limits: Limits,
    /// Enterprise number of elements that have a number nowhere else, as the exporter is configured.
    pub enterprise: u32,
    /// Octets of receive buffer to ask the kernel for, for each UDP socket. The kernel gives up to net.core.rmem_max.
    pub receive_buffer: usize,
    /// Messages between the sockets and the decoder.
    pub queue: usize,
    /// A TCP session without any message for this long is closed.
    pub tcp_idle: Duration,
    /// A TCP session that takes longer than this for one message is closed.
    pub tcp_half_message: Duration,
    /// After a stop, a TCP session that is silent for this long has nothing more in flight.
    pub drain_quiet: Duration,
    /// After a stop, what is in flight gets this long at most.
    pub drain: Duration,
    /// How often the sink is told that time passes.
    pub tick: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            limits: Limits::default(),
            enterprise: weir_ipfix::WEIR,
            receive_buffer: 32 << 20,
            queue: 512,
            tcp_idle: Duration::from_secs(3_600),
            tcp_half_message: Duration::from_secs(30),
            drain_quiet: Duration::from_millis(300),
            drain: Duration::from_secs(10),
            tick: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on_are_read_and_written() {
        for text in ["udp://[::]:4739", "tcp://127.0.0.1:0"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for bad in ["4739", "sctp://[::]:4739", "udp://localhost", ""] {
            assert_eq!(bad.parse::<Listen>(), Err(ListenError { found: bad.to_owned() }));
        }
    }
}
