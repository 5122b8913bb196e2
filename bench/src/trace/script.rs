// SPDX-License-Identifier: MIT OR Apache-2.0
//! Conversations, packet by packet, before they are played.

use weir_flow::tcp_flags::{ACK, FIN, PSH, SYN};

use super::{draw::Draw, frame::Side, messages};

/// Most octets of a TCP segment: what fits into an Ethernet frame over IPv6.
const SEGMENT: usize = 1440;
/// As receivers do whose network adapter puts segments together.
const SEGMENTS_PER_ACK: u32 = 8;

/// One packet. Its payload is a piece of [`Script::text`], and then octets that mean nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Step {
    /// Who sends it.
    pub side: Side,
    /// TCP flags.
    pub flags: u8,
    /// Octets of no meaning at the end of the payload.
    pub bulk: u16,
    /// Where the message begins in the text.
    pub head_at: u32,
    /// Octets of it.
    pub head: u16,
    /// TCP sequence number.
    pub seq: u32,
    /// TCP number that is acknowledged.
    pub ack: u32,
}

/// A conversation that is to be.
#[derive(Debug, Default)]
pub struct Script {
    /// Its packets in order.
    pub steps: Vec<Step>,
    /// All its messages, one behind the other.
    pub text: Vec<u8>,
    /// What identifies its messages: the protocol, and the host, name, sender or identifier.
    pub identities: Vec<(&'static str, String)>,
    /// Whether it is over TCP.
    pub is_tcp: bool,
    /// The server's port.
    pub port: u16,
    /// Whether octets without meaning are lines of text.
    pub is_text: bool,
    next: [u32; 2],
    unacknowledged: u32,
}

impl Script {
    /// Makes another conversation of it, keeping its memory.
    pub fn rewrite(&mut self, draw: &mut Draw) {
        self.steps.clear();
        self.text.clear();
        self.identities.clear();
        self.is_text = false;
        self.unacknowledged = 0;
        self.next = [draw.below(u32::MAX), draw.below(u32::MAX)];
        // Of a thousand conversations, 200 are over UDP.
        match draw.below(1000) {
            0..140 => self.dns(draw),
            140..160 => self.sip(draw),
            160..200 => self.media(draw),
            200..450 => self.http(draw),
            450..850 => self.tls(draw),
            850..900 => self.smtp(draw),
            _ => self.unknown(draw),
        }
        if self.is_tcp {
            self.disturb(draw);
        }
    }

    /// Octets of a transfer: most are short.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the bounds of the tail")]
    fn amount(draw: &mut Draw) -> usize {
        draw.heavy_tail(1_900.0, 400_000.0, 1.35) as usize
    }

    fn begin(&mut self, is_tcp: bool, port: u16) {
        (self.is_tcp, self.port) = (is_tcp, port);
        if is_tcp {
            self.segment(Side::Forward, SYN, (0, 0), 0);
            self.segment(Side::Reverse, SYN | ACK, (0, 0), 0);
            self.segment(Side::Forward, ACK, (0, 0), 0);
        }
    }

    fn end(&mut self) {
        self.segment(Side::Forward, FIN | ACK, (0, 0), 0);
        self.segment(Side::Reverse, FIN | ACK, (0, 0), 0);
        self.segment(Side::Forward, ACK, (0, 0), 0);
    }

    /// Appends a packet with `head` octets of text from `head_at`, and `bulk` ones that mean nothing.
    fn segment(&mut self, side: Side, flags: u16, (head_at, head): (usize, usize), bulk: usize) {
        let octets = |octets: usize| u32::try_from(octets).unwrap_or(u32::MAX);
        let [forward, reverse] = self.next;
        let (seq, ack) = if side == Side::Forward { (forward, reverse) } else { (reverse, forward) };
        self.steps.push(Step {
            side,
            flags: flags.to_be_bytes()[1],
            bulk: u16::try_from(bulk).unwrap_or(u16::MAX),
            head_at: octets(head_at),
            head: u16::try_from(head).unwrap_or(u16::MAX),
            seq,
            ack: if flags & ACK == 0 { 0 } else { ack },
        });
        let counted = octets(head + bulk) + u32::from(flags & (SYN | FIN) != 0);
        let [forward, reverse] = &mut self.next;
        let next = if side == Side::Forward { forward } else { reverse };
        *next = next.wrapping_add(counted);
    }

    /// One side sends a message, and then octets that mean nothing; the other side acknowledges now and then.
    fn send(&mut self, side: Side, message: &[u8], mut bulk: usize) {
        let mut at = self.text.len();
        self.text.extend(message);
        if !self.is_tcp {
            return self.segment(side, 0, (at, message.len()), bulk);
        }
        let end = self.text.len();
        while at < end || bulk > 0 {
            let head = (end - at).min(SEGMENT);
            let of_bulk = bulk.min(SEGMENT - head);
            let is_last = at + head == end && of_bulk == bulk;
            self.data(side, (at, head), of_bulk, is_last);
            (at, bulk) = (at + head, bulk - of_bulk);
        }
    }

    /// Appends a segment, and after some of them an acknowledgement; what ends a message is acknowledged by what the other
    /// side says next.
    fn data(&mut self, side: Side, head: (usize, usize), bulk: usize, is_last: bool) {
        self.segment(side, if is_last { ACK | PSH } else { ACK }, head, bulk);
        self.unacknowledged += 1;
        if is_last {
            self.unacknowledged = 0;
        } else if self.unacknowledged >= SEGMENTS_PER_ACK {
            self.unacknowledged = 0;
            self.segment(side.other(), ACK, (0, 0), 0);
        }
    }

    fn identify(&mut self, protocol: &'static str, identity: &str) {
        if !self.identities.iter().any(|known| known.1 == identity) {
            self.identities.push((protocol, identity.to_owned()));
        }
    }

    fn dns(&mut self, draw: &mut Draw) {
        self.begin(false, 53);
        let name = messages::host(draw);
        let [query, response] = messages::dns(draw, &name);
        self.send(Side::Forward, &query, 0);
        self.send(Side::Reverse, &response, 0);
        self.identify("dns", &name);
    }

    fn sip(&mut self, draw: &mut Draw) {
        self.begin(false, 5060);
        let dialogue = messages::Dialogue::new(draw);
        let mut send = |side, first: &str, method, number, has_session| {
            self.send(side, &dialogue.message(first, method, number, has_session), 0);
        };
        send(Side::Forward, &dialogue.request("INVITE"), "INVITE", 1, true);
        send(Side::Reverse, "SIP/2.0 100 Trying", "INVITE", 1, false);
        send(Side::Reverse, "SIP/2.0 180 Ringing", "INVITE", 1, false);
        send(Side::Reverse, "SIP/2.0 200 OK", "INVITE", 1, true);
        send(Side::Forward, &dialogue.request("ACK"), "ACK", 1, false);
        send(Side::Forward, &dialogue.request("BYE"), "BYE", 2, false);
        send(Side::Reverse, "SIP/2.0 200 OK", "BYE", 2, false);
        self.identify("sip", &dialogue.call_id);
    }

    /// Datagrams of one size in one direction, a report now and then in the other.
    fn media(&mut self, draw: &mut Draw) {
        self.begin(false, 40_000);
        let source = draw.below(u32::MAX).to_be_bytes();
        for number in 0..8 + draw.below(32) {
            let [_, _, high, low] = number.to_be_bytes();
            let [a, b, c, d] = source;
            self.send(Side::Forward, &[0x80, 96, high, low, 0, 0, low, 0, a, b, c, d], 1200);
            if number % 16 == 15 {
                self.send(Side::Reverse, &[0x81, 201, 0, 7, a, b, c, d], 24);
            }
        }
    }

    fn http(&mut self, draw: &mut Draw) {
        self.begin(true, if draw.chance(900) { 80 } else { 8080 });
        let host = messages::host(draw);
        for _ in 0..1 + draw.below(2) {
            let request = messages::http_request(draw, &host);
            self.send(Side::Forward, &request, 0);
            let octets = Self::amount(draw);
            let response = messages::http_response(draw, octets);
            self.send(Side::Reverse, &response, octets);
        }
        self.identify("http", &host);
        self.end();
    }

    fn tls(&mut self, draw: &mut Draw) {
        self.begin(true, 443);
        let host = messages::host(draw);
        let (hello, answer) = (messages::client_hello(draw, &host), messages::server_hello(draw));
        self.send(Side::Forward, &hello, 0);
        self.send(Side::Reverse, &answer, 0);
        for (side, octets) in [(Side::Reverse, 2_400), (Side::Forward, 74), (Side::Forward, 400)] {
            self.tls_records(side, octets);
        }
        self.tls_records(Side::Reverse, Self::amount(draw) * 3 / 2);
        self.identify("tls", &host);
        self.end();
    }

    /// Encrypted records, each of one segment at most, so that their heads are where they must be.
    fn tls_records(&mut self, side: Side, mut octets: usize) {
        const HEAD: usize = 5;
        while octets > 0 {
            let of_record = octets.min(SEGMENT - HEAD);
            let at = self.text.len();
            self.text.extend(messages::tls_record(of_record));
            octets -= of_record;
            self.data(side, (at, HEAD), of_record, octets == 0);
        }
    }

    fn smtp(&mut self, draw: &mut Draw) {
        self.begin(true, 25);
        self.is_text = true;
        let host = messages::host(draw);
        let (from, to) = (draw.below(100_000), draw.below(100_000));
        let (sender, recipient) = (format!("user{from}@{host}"), format!("user{to}@mail.example"));
        let mut say = |side, text: &str| self.send(side, format!("{text}\r\n").as_bytes(), 0);
        say(Side::Reverse, "220 mail.example ESMTP Postfix");
        say(Side::Forward, &format!("EHLO {host}"));
        say(Side::Reverse, "250-mail.example\r\n250-SIZE 10240000\r\n250-8BITMIME\r\n250 PIPELINING");
        say(Side::Forward, &format!("MAIL FROM:<{sender}> SIZE=2048"));
        say(Side::Reverse, "250 2.1.0 Ok");
        say(Side::Forward, &format!("RCPT TO:<{recipient}>"));
        say(Side::Reverse, "250 2.1.5 Ok");
        say(Side::Forward, "DATA");
        say(Side::Reverse, "354 End data with <CR><LF>.<CR><LF>");
        let head = messages::mail_head(draw, &sender, &recipient);
        self.send(Side::Forward, &head, Self::amount(draw));
        let mut say = |side, text: &str| self.send(side, format!("{text}\r\n").as_bytes(), 0);
        say(Side::Forward, "\r\n.");
        say(Side::Reverse, "250 2.0.0 Ok: queued as 4R8");
        say(Side::Forward, "QUIT");
        say(Side::Reverse, "221 2.0.0 Bye");
        self.identify("smtp", &sender);
        self.end();
    }

    /// A protocol that nobody knows.
    fn unknown(&mut self, draw: &mut Draw) {
        self.begin(true, 9_000 + draw.below(50).to_be_bytes()[3] as u16);
        for _ in 0..1 + draw.below(2) {
            self.send(Side::Forward, &[0xa5; 16], 40);
            self.send(Side::Reverse, &[0x5a; 16], Self::amount(draw));
        }
        self.end();
    }

    /// Sends some segments again, and swaps some with the one behind. Neither the first three nor the last three packets:
    /// those that open and close the connection.
    fn disturb(&mut self, draw: &mut Draw) {
        let (mut at, behind) = (3, 4);
        while at + behind < self.steps.len() {
            let is_data = |step: &Step| step.head + step.bulk > 0;
            match draw.below(200) {
                0 if self.steps.get(at).is_some_and(is_data) => {
                    let again = self.steps.get(at).copied().unwrap_or_default();
                    self.steps.insert(at + 1, again);
                    at += 1;
                }
                1 | 2 => {
                    let pair = self.steps.get(at).zip(self.steps.get(at + 1));
                    if pair.is_some_and(|(a, b)| a.side == b.side && is_data(a) && is_data(b)) {
                        self.steps.swap(at, at + 1);
                        at += 1;
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }
}
