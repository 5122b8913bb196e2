// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages to records: sessions, their observation domains, and the caps on both.
//!
//! Template state is keyed by transport session, observation domain and template ID (RFC 7011 section 8). A session is a
//! TCP connection, a file, or a source address and port over UDP. When there is no room for another UDP session, one that
//! has not yielded any record makes room, then one that is silent for long enough; else the new one is refused, so that
//! a flood of forged sources does not push out those who speak.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use weir_flow::{Origin, RecordSink, Timestamp};
use weir_ipfix::{decode::Draft, message, netflow};

use crate::{
    Decoded, Exporter, Held, Limits, Protocol, Transport,
    domain::{Domain, Known, Message, Usage},
};

/// The other end of a transport session.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Peer {
    /// A file (RFC 5655).
    File,
    /// A TCP connection.
    Tcp {
        /// Tells connections apart that follow each other from the same address.
        connection: u64,
        /// Where it comes from.
        address: SocketAddr,
    },
    /// A source of datagrams.
    Udp(SocketAddr),
}

impl Peer {
    /// The address of the exporting process; an IPv4 address mapped into IPv6 is the IPv4 address.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::File => None,
            Self::Tcp { address, .. } | Self::Udp(address) => Some(address.ip().to_canonical()),
        }
    }

    /// How it comes.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        match self {
            Self::File => Transport::File,
            Self::Tcp { .. } => Transport::Tcp,
            Self::Udp(_) => Transport::Udp,
        }
    }
}

/// Decodes messages of any number of peers. No socket, no clock, no thread.
#[derive(Debug)]
pub struct Decoder {
    sessions: HashMap<Peer, Session>,
    udp_sessions: usize,
    state: State,
}

/// What all sessions share.
#[derive(Debug)]
pub(crate) struct State {
    pub limits: Limits,
    pub enterprise: u32,
    pub counters: Decoded,
    pub held: Held,
    pub exporters: Exporters,
    pub draft: Draft,
    /// The one shape of records of NetFlow version 5.
    pub netflow5: Arc<Known>,
}

#[derive(Debug, Default)]
struct Session {
    last_seen: Timestamp,
    domains: HashMap<(Protocol, u32), Domain>,
    usage: Usage,
}

impl Decoder {
    /// A decoder that knows no one yet. Elements that have a number nowhere else are looked for under `enterprise`.
    #[must_use]
    pub fn new(limits: Limits, enterprise: u32) -> Self {
        let state = State {
            limits,
            enterprise,
            counters: Decoded::default(),
            held: Held::default(),
            exporters: Exporters::default(),
            draft: Draft::default(),
            netflow5: Arc::new(Known::new(netflow::v5_template(), enterprise)),
        };
        Self { sessions: HashMap::new(), udp_sessions: 0, state }
    }

    /// Decodes one whole message that came at `now`, and gives its flow records to `sink`. Gives the index of its exporter
    /// in [`Self::exporters`], if it could be read and is listed.
    pub fn message(&mut self, peer: Peer, octets: &[u8], now: Timestamp, sink: &mut dyn RecordSink) -> Option<usize> {
        let counters = &mut self.state.counters;
        counters.messages += 1;
        counters.octets += octets.len() as u64;
        let (message, body) = self.head(octets)?;
        if !self.admit(peer, now) {
            self.state.counters.messages_beyond_session_cap += 1;
            return None;
        }
        let domain = (message.protocol, message.domain);
        if self.state.held.domains >= self.state.limits.domains
            && self.sessions.get(&peer).is_some_and(|session| !session.domains.contains_key(&domain))
        {
            // Sources that have never yielded a record are not to keep out those that may: their domains go.
            self.make_room(now, Some(peer));
        }
        let session = self.sessions.get_mut(&peer)?;
        let state = &mut self.state;
        let domain_count = session.domains.len();
        let domain = match session.domains.entry(domain) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_)
                if domain_count >= state.limits.domains_per_session || state.held.domains >= state.limits.domains =>
            {
                state.counters.messages_beyond_domain_cap += 1;
                return None;
            }
            Entry::Vacant(entry) => {
                state.held.domains += 1;
                entry.insert(Domain::default())
            }
        };
        match message.protocol {
            Protocol::Ipfix => state.counters.messages_ipfix += 1,
            Protocol::Netflow5 => state.counters.messages_netflow5 += 1,
            Protocol::Netflow9 => state.counters.messages_netflow9 += 1,
        }
        let exporter = state.exporters.index_of(peer, &message, state.limits.exporters);
        if exporter.is_none() {
            state.counters.messages_of_unlisted_exporters += 1;
        }
        let before = state.counters;
        let origin = Origin { exporter: peer.address(), domain: message.domain };
        domain.message(&message, body, peer.transport(), origin, &mut session.usage, state, sink);

        let of = &state.counters;
        let learned = |c: &Decoded| c.templates_learned + c.templates_changed;
        if let Some(exporter) = exporter.and_then(|index| state.exporters.list.get_mut(index)) {
            exporter.messages += 1;
            exporter.records += of.records - before.records;
            exporter.templates += learned(of) - learned(&before);
            // Late messages take back what was counted as lost.
            let lost = |c: &Decoded| c.lost_records + c.lost_messages;
            exporter.lost = (exporter.lost + lost(of)).saturating_sub(lost(&before));
            exporter.sampling_interval = domain.sampling_interval();
            exporter.exported = message.export_time;
            exporter.last_seen = now;
        }
        exporter
    }

    /// Reads the header. Gives it, and the message without it and without what is behind its end.
    fn head<'a>(&mut self, octets: &'a [u8]) -> Option<(Message, &'a [u8])> {
        let counters = &mut self.state.counters;
        let version = match octets {
            [a, b, ..] => u16::from_be_bytes([*a, *b]),
            _ => {
                counters.messages_truncated += 1;
                return None;
            }
        };
        let message = match version {
            message::VERSION => message::Header::parse(octets).ok().map(|header| Message::ipfix(&header)),
            netflow::V5 | netflow::V9 => {
                netflow::Header::parse(octets).ok().map(|header| Message::netflow(&header, octets.len()))
            }
            _ => {
                counters.messages_of_unknown_version += 1;
                return None;
            }
        };
        let Some((message, body)) = message.and_then(|m| Some((m, octets.get(..m.length)?))) else {
            counters.messages_truncated += 1;
            return None;
        };
        counters.messages_with_trailing_octets += u64::from(octets.len() > message.length);
        Some((message, body))
    }

    /// Finds or begins the session. False if there is no room for it.
    fn admit(&mut self, peer: Peer, now: Timestamp) -> bool {
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.last_seen = now;
            return true;
        }
        if matches!(peer, Peer::Udp(_)) {
            if self.udp_sessions >= self.state.limits.udp_sessions && !self.make_room(now, None) {
                return false;
            }
            self.udp_sessions += 1;
            self.state.counters.udp_sessions_begun += 1;
        }
        self.state.held.sessions += 1;
        self.sessions.insert(peer, Session { last_seen: now, ..Session::default() });
        true
    }

    /// Forgets one UDP session, but not that of `except`, if one can be spared. Looks at all of them: only a flood of sources
    /// or domains gets here, and the number is capped.
    fn make_room(&mut self, now: Timestamp, except: Option<Peer>) -> bool {
        let idle = self.state.limits.udp_session_idle;
        let spared = self.sessions.iter().filter(|(peer, _)| matches!(peer, Peer::Udp(_)) && Some(**peer) != except);
        let spared = spared.min_by_key(|(_, session)| (session.usage.proven, session.last_seen));
        let Some((&peer, session)) = spared else { return false };
        if session.usage.proven && now.since(session.last_seen) < idle {
            return false;
        }
        if session.usage.proven {
            self.state.counters.udp_sessions_expired += 1;
        } else {
            self.state.counters.udp_sessions_evicted += 1;
        }
        self.close(peer);
        true
    }

    /// Ends a session: its templates are forgotten, and the data that waits for templates is given up.
    pub fn close(&mut self, peer: Peer) {
        let Some(mut session) = self.sessions.remove(&peer) else { return };
        for domain in session.domains.values_mut() {
            domain.close(&mut session.usage, &mut self.state);
        }
        self.state.held.domains = self.state.held.domains.saturating_sub(session.domains.len());
        self.state.held.sessions = self.state.held.sessions.saturating_sub(1);
        if matches!(peer, Peer::Udp(_)) {
            self.udp_sessions = self.udp_sessions.saturating_sub(1);
        }
    }

    /// Forgets UDP sessions that are silent for too long. Looks at all sessions: call it once a minute or so.
    pub fn expire(&mut self, now: Timestamp) {
        let idle = self.state.limits.udp_session_idle;
        let silent =
            |peer: &Peer, session: &Session| matches!(peer, Peer::Udp(_)) && now.since(session.last_seen) >= idle;
        let silent: Vec<Peer> = self.sessions.iter().filter(|(p, s)| silent(p, s)).map(|(p, _)| *p).collect();
        for peer in silent {
            self.state.counters.udp_sessions_expired += 1;
            self.close(peer);
        }
    }

    /// What became of the messages.
    #[must_use]
    pub const fn counters(&self) -> &Decoded {
        &self.state.counters
    }

    /// What is held.
    #[must_use]
    pub const fn held(&self) -> &Held {
        &self.state.held
    }

    /// The exporters in the order in which they were first seen; the list only grows.
    #[must_use]
    pub fn exporters(&self) -> &[Exporter] {
        &self.state.exporters.list
    }
}

type ExporterKey = (Option<IpAddr>, u32, Protocol, Transport);

/// The exporters that are listed one by one.
#[derive(Debug, Default)]
pub(crate) struct Exporters {
    list: Vec<Exporter>,
    by_key: HashMap<ExporterKey, usize>,
}

impl Exporters {
    fn index_of(&mut self, peer: Peer, message: &Message, cap: usize) -> Option<usize> {
        let (address, transport) = (peer.address(), peer.transport());
        let (domain, protocol) = (message.domain, message.protocol);
        let key = (address, domain, protocol, transport);
        if let Some(&index) = self.by_key.get(&key) {
            return Some(index);
        }
        if self.list.len() >= cap {
            return None;
        }
        self.by_key.insert(key, self.list.len());
        self.list.push(Exporter {
            address,
            domain,
            protocol,
            transport,
            messages: 0,
            records: 0,
            lost: 0,
            templates: 0,
            sampling_interval: 0,
            exported: Timestamp::ZERO,
            last_seen: Timestamp::ZERO,
        });
        Some(self.list.len() - 1)
    }
}
