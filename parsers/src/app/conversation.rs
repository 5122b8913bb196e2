// SPDX-License-Identifier: MIT OR Apache-2.0
//! For tests: client and server of a protocol of lines, and what a parser makes of what they say.

use super::{
    AfterGap, Direction,
    Direction::{Forward, Reverse},
    Input, Parser, Probe, Step, Transactions, Transport,
};

/// A connection, its client being the initiator.
pub(super) struct Conversation<P: Parser> {
    parser: P,
    transactions: Transactions<P::Fields>,
}

impl<P: Parser> Conversation<P> {
    pub(super) fn new() -> Self {
        Self { parser: P::default(), transactions: Transactions::new(P::IDENTITY.max_open) }
    }

    pub(super) fn step(&mut self, direction: Direction, bytes: &[u8]) -> Step {
        self.parser.parse(input(direction, bytes, true), &mut self.transactions, &mut P::Scratch::default())
    }

    /// Reads all; what is skipped within the octets is passed over.
    pub(super) fn all(&mut self, direction: Direction, bytes: &[u8]) {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let read = match self.step(direction, bytes) {
                Step::Consumed(read) => read,
                Step::Skip(octets) => usize::try_from(octets).unwrap(),
                other => panic!("{other:?} at {}", bytes.escape_ascii()),
            };
            assert!(read > 0);
            bytes = bytes.get(read..).unwrap_or_default();
        }
    }

    /// Lines of the client; LF stands for CR LF.
    pub(super) fn client(&mut self, lines: &str) {
        self.all(Forward, lines.replace('\n', "\r\n").as_bytes());
    }

    /// Lines of the server.
    pub(super) fn server(&mut self, lines: &str) {
        self.all(Reverse, lines.replace('\n', "\r\n").as_bytes());
    }

    /// What the last line of the server, which is this one, leads to.
    pub(super) fn last(&mut self, line: &str) -> Step {
        self.step(Reverse, format!("{line}\r\n").as_bytes())
    }

    pub(super) fn gap(&mut self, direction: Direction) {
        assert_eq!(self.parser.gap(direction), AfterGap::Resume);
    }

    /// The fields of the only transaction.
    pub(super) fn finish(mut self) -> P::Fields {
        let mut found = Vec::new();
        self.transactions.finish(|closed| found.push(closed.fields.clone()));
        assert_eq!(found.len(), 1);
        found.remove(0)
    }
}

fn input(direction: Direction, bytes: &[u8], hinted: bool) -> Input<'_> {
    Input { bytes, direction, transport: Transport::Stream, hinted, snapped: false }
}

/// What the probe says of these octets.
pub(super) fn probe<P: Parser>(bytes: &str, hinted: bool) -> Probe {
    P::probe(input(Forward, bytes.as_bytes(), hinted))
}

/// What the probe says once it says anything, octet by octet; and that it does not change its mind.
pub(super) fn probed<P: Parser>(bytes: &str, hinted: bool) -> Probe {
    let mut told = Probe::More;
    for end in 1..=bytes.len() {
        let now = P::probe(input(Forward, &bytes.as_bytes()[..end], hinted));
        assert!(told == Probe::More || told == now, "{bytes:?} at {end}: {now:?}");
        told = now;
    }
    told
}

/// First lines of clients and servers of one protocol each.
const FIRST: &[(&str, &[&str])] = &[
    (
        "ftp",
        &[
            "220 (vsFTPd 3.0.3)\r\n",
            "220-Welcome\r\n220 ProFTPD here\r\n",
            "220 smtp.example.com FTP server ready.\r\n",
            "220-FileZilla Server 1.7\r\n",
            "227 Entering Passive Mode (192,0,2,1,19,136).\r\n",
            "229 Entering Extended Passive Mode (|||5000|)\r\n",
            "331 Please specify the password.\r\n",
            "FEAT\r\n",
            "AUTH TLS\r\n",
            "USER a\r\nPASS b\r\nPWD\r\n",
            "TYPE I\r\n",
        ],
    ),
    (
        "http",
        &["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"],
    ),
    (
        "imap",
        &[
            "* OK [CAPABILITY IMAP4rev1] ready\r\n",
            "* PREAUTH hello\r\n",
            "a001 CAPABILITY\r\n",
            "1 LOGIN a b\r\n",
            ". STARTTLS\r\n",
            "JPHA0 AUTHENTICATE PLAIN\r\n",
            "A2 UID FETCH 1 FLAGS\r\n",
        ],
    ),
    (
        "pop3",
        &[
            "+OK Dovecot ready.\r\n",
            "+OK POP3 <1896.697170952@dbc.mtview.ca.us>\r\n",
            "CAPA\r\n",
            "STLS\r\n",
            "APOP mrose c4c9334bac560ecc979e58001b3e22fb\r\n",
            "USER a\r\nPASS b\r\nSTAT\r\n",
        ],
    ),
    ("sip", &["OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n"]),
    (
        "smtp",
        &[
            "220 mx.example.com ESMTP\r\n",
            "220 ftp.example.com ESMTP\r\n",
            "EHLO LOGIN\r\n",
            "MAIL FROM:<a@b>\r\n",
            "RCPT TO:<a@b>\r\n",
        ],
    ),
    // Of no protocol that is known here.
    (
        "",
        &[
            "+OK\r\n",
            "+PONG\r\n",
            "220 ready\r\n",
            "NICK a\r\nUSER a 0 * :b\r\n",
            "USER a\r\nNICK b\r\n",
            "* a list\r\n",
            "SSH-2.0-x\r\n",
        ],
    ),
];

#[test]
fn each_knows_its_own_and_no_others() {
    for (slug, beginnings) in FIRST {
        for bytes in *beginnings {
            macro_rules! probe_all {
                ($($name:ident $other:ident,)*) => {$(
                    let is_one_of_lines = FIRST.iter().any(|(slug, _)| *slug == stringify!($other));
                    if is_one_of_lines && super::$other::Parser::IDENTITY.transports.contains(&Transport::Stream) {
                        let told = probe::<super::$other::Parser>(bytes, false);
                        let expected = *slug == stringify!($other);
                        assert_eq!(told == Probe::Yes, expected, "{}: {bytes:?} gives {told:?}", stringify!($other));
                    }
                )*};
            }
            weir_flow::app_protocols!(probe_all);
        }
    }
}

#[test]
fn a_probe_does_not_change_its_mind() {
    for bytes in FIRST.iter().flat_map(|(_, beginnings)| *beginnings) {
        for hinted in [false, true] {
            probed::<super::ftp::Parser>(bytes, hinted);
            probed::<super::imap::Parser>(bytes, hinted);
            probed::<super::pop3::Parser>(bytes, hinted);
            probed::<super::smtp::Parser>(bytes, hinted);
        }
    }
}
