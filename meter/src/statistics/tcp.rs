// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path, where it is asked for. What TCP tells of the path and of both ends (RFC 9293).
//!
//! The meter stands between both ends: a round trip to one of them is the time until its answer comes by. As RFC 6298 section 3
//! asks for, no time is taken of what was sent twice, since nobody knows which of both was answered.
//!
//! Order is told by the sequence numbers of one direction. `next` is the number behind the last octet seen, SYN and FIN counted
//! as one (RFC 9293 section 3.4); a segment that begins beyond it leaves a hole. A segment that begins before it
//!
//! - is a keep-alive or a probe of a closed window, if it has one octet at `next - 1` (RFC 9293 section 3.8.4): not counted;
//! - is out of order, if it fills a hole within a round trip after that was left: whoever sent it cannot have known of the loss;
//! - else is a retransmission.
//!
//! Without a handshake a round trip is taken for three milliseconds.

use weir_flow::{
    Statistics,
    tcp_flags::{ACK, FIN, RST, SYN},
};
use weir_parsers::packet::TcpHeader;

/// Holes of one direction that are remembered; the oldest makes room.
const HOLES: usize = 2;
/// Nanoseconds within which a segment is out of order where no round trip is known.
const ROUND_TRIP: u64 = 3_000_000;

/// Kinds of options (RFC 9293 section 3.2, RFC 7323 section 2.2).
mod option {
    pub(super) const MSS: u8 = 2;
    pub(super) const WINDOW_SCALE: u8 = 3;
}

/// Bits of what is known, of one direction each: that of the second is one higher.
mod known {
    pub(super) const NEXT: u32 = 1;
    pub(super) const ACKED: u32 = 1 << 2;
    pub(super) const MSS: u32 = 1 << 4;
    pub(super) const SCALE: u32 = 1 << 6;
    pub(super) const WINDOW: u32 = 1 << 8;
    /// The SYN of the client came from this direction.
    pub(super) const SYN: u32 = 1 << 10;
    pub(super) const SYN_ACK: u32 = 1 << 12;
    /// Of the flow as a whole.
    pub(super) const SYN_AGAIN: u32 = 1 << 14;
    pub(super) const SYN_ACK_AGAIN: u32 = 1 << 15;
    pub(super) const ANSWERED: u32 = 1 << 16;
    pub(super) const REQUEST: u32 = 1 << 17;
    pub(super) const SERVER_TIME: u32 = 1 << 18;
    pub(super) const CLIENT_TIME: u32 = 1 << 19;
    pub(super) const HANDSHAKE_TIME: u32 = 1 << 20;
    pub(super) const RESPONSE_TIME: u32 = 1 << 21;
    pub(super) const SYN_OCTETS: u32 = 1 << 22;
    pub(super) const SEGMENT: u32 = 1 << 23;

    /// What is a record's, and not the flow's.
    pub(super) const OF_RECORD: u32 = ((MSS | SCALE | WINDOW | SEGMENT) * 3)
        | SERVER_TIME
        | CLIENT_TIME
        | HANDSHAKE_TIME
        | RESPONSE_TIME
        | SYN_OCTETS;
}

/// Octets of a direction that were passed over.
#[derive(Clone, Copy, Debug, Default)]
struct Hole {
    from: u32,
    to: u32,
    since: u64,
}

/// State of a flow, and what the open record has so far. All zero at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp {
    // Of the flow.
    holes: [[Hole; HOLES]; 2],
    /// When SYN, SYN with ACK, and the last payload of the client that was not answered came.
    syn: u64,
    syn_ack: u64,
    request: u64,
    /// Nanoseconds of a round trip, as far as is known.
    round_trip: u64,
    next: [u32; 2],
    acked: [u32; 2],
    /// Sequence numbers of both SYN.
    first: [u32; 2],
    last_window: [u16; 2],
    known: u32,
    // Of the record.
    retransmissions: [u32; 2],
    out_of_order: [u32; 2],
    duplicate_acks: [u32; 2],
    zero_windows: [u32; 2],
    options: [u64; 2],
    server_time: u32,
    client_time: u32,
    handshake_time: u32,
    response_time: u32,
    mss: [u16; 2],
    window: [u16; 2],
    scale: [u8; 2],
    syn_octets: u16,
}

/// One segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Its direction.
    pub side: usize,
    /// When it was observed.
    pub ts: u64,
    /// Sequence number.
    pub sequence: u32,
    /// Control bits.
    pub flags: u16,
    /// Octets of payload on the wire.
    pub payload: u32,
    /// Packets that it was on the wire.
    pub packets: u32,
    /// Octets of the IP packet.
    pub ip_octets: u64,
    /// The rest of its header, as far as it was captured.
    pub header: Option<TcpHeader<'a>>,
}

/// What a segment is to those before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Order {
    KeepAlive,
    /// It is out of order.
    Late,
    /// It has something new, or nothing.
    New,
    Retransmission,
}

/// How far a sequence number is ahead of another one, modulo 2^32 (RFC 9293 section 3.4).
const fn ahead(number: u32, of: u32) -> i32 {
    number.wrapping_sub(of).cast_signed()
}

/// Microseconds between two times; `None` if they are in another order.
fn micros(from: u64, to: u64) -> Option<u32> {
    to.checked_sub(from).map(|nanos| u32::try_from(nanos / 1000).unwrap_or(u32::MAX))
}

impl Tcp {
    /// The next record begins.
    pub fn begin_record(&mut self) {
        let Self { holes, syn, syn_ack, request, round_trip, next, acked, first, last_window, known, .. } = *self;
        let known = known & !known::OF_RECORD;
        *self = Self {
            holes,
            syn,
            syn_ack,
            request,
            round_trip,
            next,
            acked,
            first,
            last_window,
            known,
            ..Self::default()
        };
    }

    const fn has(&self, bits: u32) -> bool {
        self.known & bits != 0
    }

    /// Takes one segment.
    pub fn segment(&mut self, segment: &Segment<'_>) {
        let Segment { side, flags, packets, .. } = *segment;
        self.known |= known::SEGMENT << side;
        if flags & SYN != 0 {
            self.handshake(segment);
        }
        let order = self.order(segment);
        match order {
            Order::New | Order::KeepAlive => {}
            Order::Late => self.out_of_order[side] = self.out_of_order[side].saturating_add(packets),
            Order::Retransmission => self.retransmissions[side] = self.retransmissions[side].saturating_add(packets),
        }
        if let Some(header) = &segment.header {
            self.window(segment, header);
            if flags & (ACK | RST) == ACK {
                self.acknowledgment(segment, header);
            }
            self.options(segment, header);
        }
        if segment.payload > 0 && order == Order::New && flags & RST == 0 {
            self.response(segment);
        }
    }

    /// A SYN, with or without ACK.
    fn handshake(&mut self, segment: &Segment<'_>) {
        let Segment { side, ts, sequence, flags, ip_octets, .. } = *segment;
        let is_answer = flags & ACK != 0;
        let kind = if is_answer { known::SYN_ACK } else { known::SYN } << side;
        if self.has(kind) && self.first[side] == sequence {
            self.known |= if is_answer { known::SYN_ACK_AGAIN } else { known::SYN_AGAIN };
            return;
        }
        if !is_answer {
            // Another connection on the same ports has another history.
            self.known &= known::OF_RECORD;
            self.holes = Default::default();
            self.round_trip = 0;
            self.syn = ts;
            if !self.has(known::SYN_OCTETS) {
                self.known |= known::SYN_OCTETS;
                self.syn_octets = u16::try_from(ip_octets).unwrap_or(u16::MAX);
            }
        } else {
            self.known &= !(known::NEXT << side | known::SYN_ACK_AGAIN | known::ANSWERED);
            self.syn_ack = ts;
            let acknowledgment = segment.header.map(|header| header.acknowledgment);
            let answers =
                self.has(known::SYN << (1 - side)) && acknowledgment == Some(self.first[1 - side].wrapping_add(1));
            if answers
                && !self.has(known::SYN_AGAIN)
                && let Some(time) = micros(self.syn, ts)
            {
                self.known |= known::SERVER_TIME;
                self.server_time = time;
                self.round_trip += ts - self.syn;
            }
        }
        self.first[side] = sequence;
        self.known |= kind;
    }

    /// The ACK that ends the handshake: the first that answers the SYN with ACK.
    fn end_handshake(&mut self, segment: &Segment<'_>, acknowledgment: u32) {
        let Segment { side, ts, .. } = *segment;
        let server = 1 - side;
        let is_it = self.has(known::SYN_ACK << server) && acknowledgment == self.first[server].wrapping_add(1);
        if !is_it || self.has(known::ANSWERED) {
            return;
        }
        self.known |= known::ANSWERED;
        if self.has(known::SYN_ACK_AGAIN) {
            return;
        }
        if let Some(time) = micros(self.syn_ack, ts) {
            self.known |= known::CLIENT_TIME;
            self.client_time = time;
            self.round_trip += ts - self.syn_ack;
        }
        if self.has(known::SYN << side)
            && !self.has(known::SYN_AGAIN)
            && let Some(time) = micros(self.syn, ts)
        {
            self.known |= known::HANDSHAKE_TIME;
            self.handshake_time = time;
        }
    }

    fn order(&mut self, segment: &Segment<'_>) -> Order {
        let Segment { side, ts, sequence, flags, payload, .. } = *segment;
        let marks = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let len = payload.saturating_add(marks);
        if len == 0 || flags & RST != 0 {
            return Order::New;
        }
        let end = sequence.wrapping_add(len);
        if !self.has(known::NEXT << side) {
            self.known |= known::NEXT << side;
            self.next[side] = end;
            return Order::New;
        }
        let next = self.next[side];
        let beyond = ahead(sequence, next);
        if ahead(end, next) > 0 {
            self.next[side] = end;
        }
        match beyond {
            0 => Order::New,
            1.. => {
                self.leave_hole(side, Hole { from: next, to: sequence, since: ts });
                Order::New
            }
            -1 if len == 1 && marks == 0 => Order::KeepAlive,
            _ => match self.fill_hole(side, sequence, end) {
                Some(since) if ts.saturating_sub(since) <= self.patience() => Order::Late,
                _ => Order::Retransmission,
            },
        }
    }

    /// Nanoseconds within which nobody can know of a loss.
    const fn patience(&self) -> u64 {
        if self.round_trip == 0 { ROUND_TRIP } else { self.round_trip }
    }

    fn leave_hole(&mut self, side: usize, hole: Hole) {
        // An empty one, or the oldest.
        let place = self.holes[side].iter_mut().min_by_key(|hole| (hole.from != hole.to, hole.since));
        if let Some(place) = place {
            *place = hole;
        }
    }

    /// Fills what a segment has of a hole, and says when that was left.
    fn fill_hole(&mut self, side: usize, from: u32, end: u32) -> Option<u64> {
        let holes = &mut self.holes[side];
        let overlaps = |hole: &Hole| hole.from != hole.to && ahead(end, hole.from) > 0 && ahead(hole.to, from) > 0;
        let at = holes.iter().position(overlaps)?;
        let hole = holes.get_mut(at)?;
        let since = hole.since;
        let behind = Hole { from: end, ..*hole };
        if ahead(from, hole.from) > 0 {
            // What is before it is still missing.
            hole.to = from;
            if ahead(behind.to, end) > 0
                && let Some(place) = holes.iter_mut().find(|hole| hole.from == hole.to)
            {
                *place = behind;
            }
        } else {
            hole.from = if ahead(hole.to, end) > 0 { end } else { hole.to };
        }
        Some(since)
    }

    fn window(&mut self, segment: &Segment<'_>, header: &TcpHeader<'_>) {
        let Segment { side, flags, packets, .. } = *segment;
        if !self.has(known::WINDOW << side) {
            self.known |= known::WINDOW << side;
            self.window[side] = header.window;
        }
        if header.window == 0 && flags & (SYN | RST) == 0 {
            self.zero_windows[side] = self.zero_windows[side].saturating_add(packets);
        }
    }

    fn acknowledgment(&mut self, segment: &Segment<'_>, header: &TcpHeader<'_>) {
        let Segment { side, flags, payload, .. } = *segment;
        let number = header.acknowledgment;
        if flags & SYN == 0 {
            self.end_handshake(segment, number);
        }
        // RFC 5681 section 2, (a) to (e).
        let has_outstanding = self.has(known::NEXT << (1 - side)) && ahead(self.next[1 - side], number) > 0;
        let is_duplicate = has_outstanding
            && payload == 0
            && flags & (SYN | FIN) == 0
            && self.has(known::ACKED << side)
            && number == self.acked[side]
            && header.window == self.last_window[side];
        self.duplicate_acks[side] = self.duplicate_acks[side].saturating_add(is_duplicate.into());
        if !self.has(known::ACKED << side) || ahead(number, self.acked[side]) > 0 {
            self.known |= known::ACKED << side;
            self.acked[side] = number;
        }
        self.last_window[side] = header.window;
    }

    fn options(&mut self, segment: &Segment<'_>, header: &TcpHeader<'_>) {
        let Segment { side, flags, .. } = *segment;
        // What most segments have: twice no operation, and timestamps.
        if let [1, 1, 8, 10, ..] = header.options
            && header.options.len() == 12
        {
            self.options[side] |= 1 << 1 | 1 << 8;
            return;
        }
        let is_syn = flags & SYN != 0;
        header.each_option(|kind, value| {
            if kind < 64 {
                self.options[side] |= 1 << kind;
            }
            match (kind, value) {
                (option::MSS, &[high, low]) if is_syn => {
                    self.known |= known::MSS << side;
                    self.mss[side] = u16::from_be_bytes([high, low]);
                }
                (option::WINDOW_SCALE, &[shift]) if is_syn => {
                    self.known |= known::SCALE << side;
                    self.scale[side] = shift;
                }
                _ => {}
            }
        });
    }

    /// New payload: a request, or what answers it.
    fn response(&mut self, segment: &Segment<'_>) {
        let Segment { side, ts, .. } = *segment;
        // The client is who sent the SYN, or did not send the SYN with ACK; else the initiator of the flow.
        let client = usize::from(self.has(known::SYN << 1 | known::SYN_ACK));
        if side == client {
            self.known |= known::REQUEST;
            self.request = ts;
        } else if self.has(known::REQUEST) {
            self.known &= !known::REQUEST;
            if !self.has(known::RESPONSE_TIME)
                && let Some(time) = micros(self.request, ts)
            {
                self.known |= known::RESPONSE_TIME;
                self.response_time = time;
            }
        }
    }

    /// What the record has of a direction, as its forward one.
    pub fn forward(&self, side: usize, out: &mut Statistics) {
        if !self.has(known::SEGMENT << side) {
            return;
        }
        out.retransmissions = Some(self.retransmissions[side]);
        out.out_of_order = Some(self.out_of_order[side]);
        out.duplicate_acks = Some(self.duplicate_acks[side]);
        out.zero_windows = Some(self.zero_windows[side]);
        out.tcp_options = Some(self.options[side]);
        out.window = self.has(known::WINDOW << side).then_some(self.window[side]);
        out.mss = self.has(known::MSS << side).then_some(self.mss[side].into());
        out.window_scale = self.has(known::SCALE << side).then_some(self.scale[side].into());
    }

    /// The same as its reverse one.
    pub fn reverse(&self, side: usize, out: &mut Statistics) {
        if !self.has(known::SEGMENT << side) {
            return;
        }
        out.reverse_retransmissions = Some(self.retransmissions[side]);
        out.reverse_out_of_order = Some(self.out_of_order[side]);
        out.reverse_duplicate_acks = Some(self.duplicate_acks[side]);
        out.reverse_zero_windows = Some(self.zero_windows[side]);
        out.reverse_tcp_options = Some(self.options[side]);
        out.reverse_window = self.has(known::WINDOW << side).then_some(self.window[side]);
        out.reverse_mss = self.has(known::MSS << side).then_some(self.mss[side].into());
        out.reverse_window_scale = self.has(known::SCALE << side).then_some(self.scale[side].into());
    }

    /// What the record has of both directions together.
    pub fn times(&self, out: &mut Statistics) {
        out.handshake_time = self.has(known::HANDSHAKE_TIME).then_some(self.handshake_time);
        out.server_round_trip = self.has(known::SERVER_TIME).then_some(self.server_time);
        out.client_round_trip = self.has(known::CLIENT_TIME).then_some(self.client_time);
        out.response_time = self.has(known::RESPONSE_TIME).then_some(self.response_time);
        out.syn_octets = self.has(known::SYN_OCTETS).then_some(self.syn_octets);
    }
}
