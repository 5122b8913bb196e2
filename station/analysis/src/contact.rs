// SPDX-License-Identifier: MIT OR Apache-2.0
//! Contacts: what one record says about somebody trying a port.
//!
//! Both scan detectors read records through [`Contact::of`], so that a probe is defined once. What scans look like, as
//! the initiator's direction (forward) and the answer (reverse) of a biflow:
//!
//! | scan, port | forward | reverse |
//! |---|---|---|
//! | any TCP, filtered or no host | `S`, retransmitted | none |
//! | SYN or connect, closed | `S` | `RA` |
//! | SYN (`nmap -sS`), open | `S`, then `R` from the kernel | `SA` |
//! | connect (`nmap -sT`), open | `S`, `A`, then `RA` or `FA` | `SA`, maybe `A`, `FA` or a banner |
//! | FIN, Xmas | `F`, `FPU` | none if open or filtered, else `RA` |
//! | NULL | none | `RA` if closed |
//! | UDP | one or two datagrams | none, or an answer; closed: ICMP port unreachable in a flow of its own |
//! | ping sweep | echo request | echo reply if there is a host |
//!
//! The mark of a probe of an open port is that the client never sent data: no PSH, and no more octets than headers take. A
//! uniflow shows the forward direction only; the answer comes as a record of its own and is a [`Kind::Reply`].
//!
//! Not recognised: ACK, window and Maimon scans; a NULL scan that nobody answers (it looks like an exporter that does not
//! report flags); in uniflows, a UDP scan whose source port is a system port and whose destination is not, and a connect
//! scan from a port below the one probed (each looks like the answers of a server).

use std::net::IpAddr;

use weir_flow::{Counters, FlowRecord, IpVersion, Timestamp, protocol, tcp_flags};

use tcp_flags::{ACK, FIN, PSH, RST, SYN, URG};

/// Most packets of a probe that was not answered by SYN and ACK: a SYN and two retransmissions.
pub const MAX_PROBE_PACKETS: u64 = 3;
/// Most packets of a client that opens and closes a connection without sending data.
pub const MAX_HANDSHAKE_PACKETS: u64 = 5;
/// Most packets of a UDP probe.
pub const MAX_DATAGRAMS: u64 = 2;

/// What came back from the one who was probed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Refused.
    Closed,
    /// Accepted: the port is open, or (ICMP) the host is there.
    Open,
    /// Nothing, or nothing that this record shows.
    None,
}

/// What a record is in the eyes of a scan detector.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Somebody tried a port and did no more.
    Probe(Answer),
    /// Somebody did business. For UDP this includes a probe that was answered.
    Business,
    /// The answer, in a record of its own, to what `source` sent to `target`.
    Reply(Answer),
    /// `target` told `source` by ICMP that a UDP port is unreachable; which one is not known.
    Unreachable,
}

/// One record, seen as somebody trying a port.
#[derive(Clone, Copy, Debug)]
pub struct Contact {
    /// Who tried.
    pub source: IpAddr,
    /// Whom.
    pub target: IpAddr,
    /// Which port; zero for ICMP.
    pub port: u16,
    /// From which port; zero for ICMP.
    pub source_port: u16,
    /// Protocol number; ICMP stands for ICMPv6 too, but the version of the addresses tells.
    pub protocol: u8,
    /// What became of it.
    pub kind: Kind,
    /// First packet of the one who tried.
    pub first: Timestamp,
    /// Last packet of either side.
    pub last: Timestamp,
    /// Packets of the one who tried.
    pub packets: u64,
    /// Octets of the one who tried.
    pub octets: u64,
}

impl Contact {
    /// What the record says; `None` if it says nothing about scans.
    #[must_use]
    pub fn of(record: &FlowRecord<'_>) -> Option<Self> {
        let (key, forward, reverse) = oriented(record)?;
        let has_reverse = reverse.packets > 0;
        let kind = match key.protocol {
            protocol::TCP => tcp(&key, &forward, &reverse)?,
            protocol::UDP if has_reverse => Kind::Business,
            protocol::UDP if forward.packets > MAX_DATAGRAMS => Kind::Reply(Answer::Open),
            // A server's answer in a uniflow.
            protocol::UDP if key.src_port < 1_024 && key.dst_port >= 1_024 => Kind::Reply(Answer::Open),
            protocol::UDP => Kind::Probe(Answer::None),
            protocol::ICMP | protocol::ICMPV6 => icmp(record.icmp_type_code?, key.version, &forward, has_reverse)?,
            _ => return None,
        };
        let reply = matches!(kind, Kind::Reply(_) | Kind::Unreachable);
        let (source, target, source_port, port) = if reply {
            (key.destination(), key.source(), key.dst_port, key.src_port)
        } else {
            (key.source(), key.destination(), key.src_port, key.dst_port)
        };
        let icmp = matches!(key.protocol, protocol::ICMP | protocol::ICMPV6);
        Some(Self {
            source,
            target,
            port: if icmp { 0 } else { port },
            source_port: if icmp { 0 } else { source_port },
            protocol: if kind == Kind::Unreachable { protocol::UDP } else { key.protocol },
            kind,
            first: forward.first.min(forward.last),
            last: if has_reverse { forward.last.max(reverse.last) } else { forward.last },
            packets: forward.packets,
            octets: forward.octets,
        })
    }
}

/// The record in the direction that has packets, with both counters; `None` if neither has.
///
/// A biflow is cut at timeouts and transactions, and of some pieces only the answering direction has packets: that piece is
/// a uniflow of the answering side.
#[must_use]
pub fn oriented(record: &FlowRecord<'_>) -> Option<(weir_flow::FlowKey, Counters, Counters)> {
    match (record.forward.packets, record.reverse.packets) {
        (0, 0) => None,
        (0, _) => Some((record.key.reversed(), record.reverse, Counters::default())),
        _ => Some((record.key, record.forward, record.reverse)),
    }
}

fn tcp(key: &weir_flow::FlowKey, forward: &Counters, reverse: &Counters) -> Option<Kind> {
    let flags = forward.tcp_flags & (FIN | SYN | RST | PSH | ACK | URG);
    let packets = forward.packets;
    let biflow = reverse.packets > 0;
    // An IP header without options or extensions, and the longest TCP header that stacks send in a SYN or an ACK.
    let headers = if key.version == IpVersion::V4 { 60 } else { 80 };
    let data = flags & PSH != 0 || forward.octets > packets.saturating_mul(headers);
    let refused = reverse.tcp_flags & RST != 0;
    let accepted = reverse.tcp_flags & SYN != 0 && reverse.tcp_flags & ACK != 0;
    let short = packets <= MAX_PROBE_PACKETS;
    let answer = match (biflow, accepted, refused) {
        (true, true, _) => Answer::Open,
        (true, false, true) => Answer::Closed,
        _ => Answer::None,
    };

    if flags & SYN != 0 && flags & ACK == 0 {
        return (short && !data && flags & !(SYN | RST) == 0).then_some(Kind::Probe(answer));
    }
    if flags & SYN != 0 {
        // The connection was accepted, or this is the side that accepts.
        let bare = !data && packets <= MAX_HANDSHAKE_PACKETS;
        let closes = flags & (RST | FIN) != 0;
        return Some(match (bare, biflow) {
            (true, true) if closes && accepted && reverse.packets <= MAX_HANDSHAKE_PACKETS => Kind::Probe(Answer::Open),
            (true, false) if closes && key.src_port >= key.dst_port => Kind::Probe(Answer::Open),
            (true, false) => Kind::Reply(Answer::Open),
            _ => Kind::Business,
        });
    }
    if !biflow && flags & RST != 0 && !data && short {
        return Some(Kind::Reply(Answer::Closed));
    }
    let stealth = flags == FIN || flags == FIN | PSH | URG;
    let null = flags == 0 && answer == Answer::Closed;
    let bare = forward.octets <= packets.saturating_mul(headers);
    (short && bare && (stealth && (!biflow || refused) || null)).then_some(Kind::Probe(answer))
}

fn icmp(type_code: u16, version: IpVersion, forward: &Counters, answered: bool) -> Option<Kind> {
    let (request, reply, unreachable) = match version {
        IpVersion::V4 => (0x0800, 0x0000, 0x0303),
        IpVersion::V6 => (0x8000, 0x8100, 0x0104),
    };
    if type_code == request {
        let answer = if answered { Answer::Open } else { Answer::None };
        Some(if forward.packets <= MAX_PROBE_PACKETS { Kind::Probe(answer) } else { Kind::Business })
    } else if type_code == reply && !answered {
        Some(Kind::Reply(Answer::Open))
    } else if type_code == unreachable {
        Some(Kind::Unreachable)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use weir_flow::FlowKey;

    use super::*;

    fn tcp_record(forward: (u64, u64, u16), reverse: (u64, u64, u16)) -> Option<Kind> {
        let key = FlowKey::new(IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]), 50_000, 22, protocol::TCP);
        let counters = |(packets, octets, tcp_flags)| Counters { packets, octets, tcp_flags, ..Counters::default() };
        let record =
            FlowRecord { key, forward: counters(forward), reverse: counters(reverse), ..FlowRecord::default() };
        Contact::of(&record).map(|c| c.kind)
    }

    #[test]
    fn probes_are_told_from_business() {
        const NONE: (u64, u64, u16) = (0, 0, 0);
        let probe = |answer| Some(Kind::Probe(answer));
        let cases = [
            // Filtered: a SYN, a SYN with retransmissions, one retransmission too many.
            ((1, 44, SYN), NONE, probe(Answer::None)),
            ((3, 180, SYN), NONE, probe(Answer::None)),
            ((4, 240, SYN), NONE, None),
            // Closed.
            ((1, 60, SYN), (1, 40, RST | ACK), probe(Answer::Closed)),
            // nmap -sS, open; the second case is one whose RST a firewall kept back.
            ((2, 84, SYN | RST), (1, 44, SYN | ACK), probe(Answer::Open)),
            ((1, 44, SYN), (2, 88, SYN | ACK), probe(Answer::Open)),
            // nmap -sT, open; nc -z, open; a connect scan that was sent a banner.
            ((3, 164, SYN | ACK | RST), (1, 60, SYN | ACK), probe(Answer::Open)),
            ((4, 216, SYN | ACK | FIN), (3, 164, SYN | ACK | FIN), probe(Answer::Open)),
            ((4, 216, SYN | ACK | RST), (2, 152, SYN | ACK | PSH), probe(Answer::Open)),
            // A request: with PSH, and with octets only.
            ((5, 600, SYN | ACK | FIN | PSH), (4, 4_000, SYN | ACK | FIN | PSH), Some(Kind::Business)),
            ((5, 600, SYN | ACK | FIN), (4, 4_000, SYN | ACK | FIN), Some(Kind::Business)),
            // FIN and Xmas; a NULL scan only if it was refused.
            ((1, 40, FIN), NONE, probe(Answer::None)),
            ((1, 40, FIN | PSH | URG), (1, 40, RST | ACK), probe(Answer::Closed)),
            ((1, 40, 0), (1, 40, RST | ACK), probe(Answer::Closed)),
            ((1, 40, 0), NONE, None),
            // The later part of a long connection.
            ((9, 9_000, ACK | PSH), (9, 500, ACK), None),
        ];
        for (forward, reverse, expected) in cases {
            assert_eq!(tcp_record(forward, reverse), expected, "{forward:?} {reverse:?}");
        }
    }

    #[test]
    fn an_answer_in_a_record_of_its_own_is_a_reply() {
        let reply = |flags, port| {
            let key =
                FlowKey::new(IpAddr::from([192, 0, 2, 2]), IpAddr::from([192, 0, 2, 1]), port, 50_000, protocol::TCP);
            let forward = Counters { packets: 1, octets: 40, tcp_flags: flags, ..Counters::default() };
            let c = Contact::of(&FlowRecord { key, forward, ..FlowRecord::default() })?;
            assert_eq!((c.source, c.port), (IpAddr::from([192, 0, 2, 1]), port));
            Some(c.kind)
        };
        assert_eq!(reply(SYN | ACK, 22), Some(Kind::Reply(Answer::Open)));
        assert_eq!(reply(SYN | ACK | FIN, 22), Some(Kind::Reply(Answer::Open)));
        assert_eq!(reply(RST | ACK, 23), Some(Kind::Reply(Answer::Closed)));
    }
}
