// SPDX-License-Identifier: MIT OR Apache-2.0
use weir_flow::app::{Fields, Smtp};

use super::{MAX_LINE, Parser, Scratch, path};
use crate::app::{
    AfterGap, Direction,
    Direction::{Forward, Reverse},
    Input, Parser as _, Probe, Step, Transactions, Transport,
};

struct Connection {
    parser: Parser,
    transactions: Transactions<Smtp>,
}

impl Connection {
    fn new() -> Self {
        Self { parser: Parser::default(), transactions: Transactions::new(Parser::IDENTITY.max_open) }
    }

    fn step(&mut self, direction: Direction, bytes: &[u8]) -> Step {
        self.parser.parse(input(direction, bytes, true), &mut self.transactions, &mut Scratch::default())
    }

    /// Reads all; what is skipped within the octets is passed over.
    fn all(&mut self, direction: Direction, bytes: &[u8]) {
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

    fn client(&mut self, lines: &str) {
        self.all(Forward, lines.replace('\n', "\r\n").as_bytes());
    }

    fn server(&mut self, lines: &str) {
        self.all(Reverse, lines.replace('\n', "\r\n").as_bytes());
    }

    fn finish(mut self) -> Vec<Smtp> {
        let mut found = Vec::new();
        self.transactions.finish(|closed| found.push(closed.fields.clone()));
        found
    }
}

fn input(direction: Direction, bytes: &[u8], hinted: bool) -> Input<'_> {
    Input { bytes, direction, transport: Transport::Stream, hinted, snapped: false }
}

fn commands(smtp: &Smtp) -> Vec<&str> {
    smtp.command.iter(&smtp.memory).map(|c| str::from_utf8(c).unwrap()).collect()
}

fn recipients(smtp: &Smtp) -> Vec<&str> {
    smtp.rcpt_to.iter(&smtp.memory).map(|c| str::from_utf8(c).unwrap()).collect()
}

#[test]
fn content_decides_and_the_port_helps() {
    let probe = |bytes: &[u8], hinted| Parser::probe(input(Forward, bytes, hinted));
    assert_eq!(probe(b"220 mx ESMTP\r\n", false), Probe::Yes);
    assert_eq!(probe(b"220 ftp ready\r\n", false), Probe::No);
    assert_eq!(probe(b"220 ready\r\n", true), Probe::Yes);
    assert_eq!(probe(b"220 rea", false), Probe::More);
    // A domain may be called anything; what follows it tells, if it tells anything.
    assert_eq!(probe(b"220 smtp.example.com FTP server ready\r\n", true), Probe::No);
    assert_eq!(probe(b"220 ftp.example.com ESMTP\r\n", false), Probe::Yes);
    assert_eq!(probe(b"220 smtp.example.com ready\r\n", false), Probe::Yes);
    assert_eq!(probe(b"22", false), Probe::More);
    assert_eq!(probe(b"250 ok\r\n", false), Probe::No);
    assert_eq!(probe(b"250 ok\r\n", true), Probe::Yes);
    assert_eq!(probe(b"ehlo x\r\n", false), Probe::Yes);
    assert_eq!(probe(b"EHL", false), Probe::More);
    assert_eq!(probe(b"AUTH LOGIN\r\n", true), Probe::Yes);
    assert_eq!(probe(b"AUTH LOGIN\r\n", false), Probe::No);
    assert_eq!(probe(b"USER x\r\n", true), Probe::No);
    assert_eq!(probe(b"GET / HTTP/1.1\r\n", true), Probe::No);
    assert_eq!(probe(&[0x16, 3, 1, 0], true), Probe::No);
}

#[test]
fn a_mail() {
    let mut c = Connection::new();
    c.server("220 mx ESMTP\n");
    c.client("EHLO me.example \n");
    c.server("250-mx\n250 SIZE\n");
    c.client("mail from: <a@x> SIZE=1\nRCPT TO:<b@y>\nRCPT TO:<no path\nRCPT TO:<c@y> NOTIFY=NEVER\nData\n");
    c.server("250 ok\n250 ok\n501 no\n251 ok\n354 go\n");
    c.client("from: A\nSUBJECT: one\n  two\nSubject: not this\nTo:\n b@y\nCC: c@y\nMessage-Id: <1>\nX: y\n\nFrom: B\n.. \n.\nQUIT\n");
    c.server("250 ok\n221 bye\n");
    let found = c.finish();
    let [mail] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(mail.helo.as_bytes(&mail.memory), b"me.example");
    assert_eq!(mail.mail_from.as_bytes(&mail.memory), b"a@x");
    assert_eq!(recipients(mail), ["b@y", "no path", "c@y"]);
    assert_eq!(mail.header_from.as_bytes(&mail.memory), b"A");
    assert_eq!(mail.subject.as_bytes(&mail.memory), b"one two");
    assert_eq!(mail.header_to.as_bytes(&mail.memory), b"b@y");
    assert_eq!(mail.header_cc.as_bytes(&mail.memory), b"c@y");
    assert_eq!(mail.message_id.as_bytes(&mail.memory), b"<1>");
    assert_eq!(mail.reply_code.iter(&mail.memory).collect::<Vec<_>>(), [220, 250, 501, 251, 354, 221]);
    assert_eq!(commands(mail), ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]);
}

#[test]
fn paths() {
    let from = |parameter: &str| String::from_utf8(path(parameter.as_bytes(), b"FROM").to_vec()).unwrap();
    assert_eq!(from("FROM:<>"), "");
    assert_eq!(from("from : a@x SIZE=1"), "a@x");
    assert_eq!(from("FROM:<@r,@s:a@x> BODY=8BITMIME"), "@r,@s:a@x");
    assert_eq!(from(r#"FROM:<"a>\">b"@x> SIZE=1"#), r#""a>\">b"@x"#);
    assert_eq!(from(r#"FROM:<a"b@x> SIZE=1"#), r#"a"b@x"#);
    assert_eq!(from("TO:<a@x>"), "");
}

#[test]
fn each_mail_is_a_transaction_and_knows_the_helo() {
    let mut c = Connection::new();
    c.client("HELO h\nMAIL FROM:<1@x>\nDATA\n\n.\nMAIL FROM:<2@x>\nRSET\nMAIL FROM:<3@x>\nQUIT\n");
    let found = c.finish();
    let senders: Vec<_> = found.iter().map(|m| (m.helo.as_bytes(&m.memory), m.mail_from.as_bytes(&m.memory))).collect();
    assert_eq!(senders, [(&b"h"[..], &b"1@x"[..]), (b"h", b"2@x"), (b"h", b"3@x")]);
}

#[test]
fn credentials_are_nowhere() {
    let mut c = Connection::new();
    c.client("EHLO h\nAUTH PLAIN AHVzZXIAc2VjcmV0\n");
    c.server("535 no\n");
    c.client("AUTH LOGIN\n");
    c.server("334 VXNlcm5hbWU6\n");
    c.client("HELP\n");
    c.server("334 UGFzc3dvcmQ6\n");
    c.client("c2VjcmV0\n");
    c.server("235 ok\n");
    c.client("NOOP\nAUTH CRAM-MD5\nRSET\nMAIL FROM:<a@x>\nVRFY\n");
    let found = c.finish();
    assert_eq!(commands(&found[0]), ["EHLO", "AUTH", "NOOP", "RSET", "MAIL", "VRFY"]);
    assert!(!format!("{found:?}").contains("2VjcmV0"));
    // One who is not asked gives up; one whose server is not heard may be answering.
    let mut c = Connection::new();
    c.server("220 mx\n");
    c.client("AUTH PLAIN AHVzZXIAc2VjcmV0\nQUIT\n");
    assert_eq!(commands(&c.finish()[0]), ["AUTH", "QUIT"]);
    let mut c = Connection::new();
    c.client("AUTH LOGIN\nHELP\nc2VjcmV0\nMAIL FROM:<a@x>\n");
    assert_eq!(commands(&c.finish()[0]), ["AUTH", "MAIL"]);
}

#[test]
fn refused_data_is_no_message() {
    let mut c = Connection::new();
    c.client("MAIL FROM:<a@x>\nDATA\n");
    c.server("250 ok\n503 no\n");
    c.client("RCPT TO:<b@y>\nDATA\n");
    // The refusal is of RCPT; DATA is accepted.
    c.server("550 no\n354 go\n");
    c.client("Subject: s\n\nQUIT\n.\n");
    c.server("554 no\n");
    let found = c.finish();
    assert_eq!(found.len(), 1);
    assert_eq!(commands(&found[0]), ["MAIL", "DATA", "RCPT"]);
    assert_eq!(found[0].subject.as_bytes(&found[0].memory), b"s");
}

#[test]
fn chunks() {
    let mut c = Connection::new();
    // What is in a chunk is no command. The subject goes on in the second, and so does the line after it.
    c.client("MAIL FROM:<a@x>\nBDAT 10\nSubject: sBDAT 16\n ab\nFrom: A\n\nDBDAT 5 LAST\nATA\n");
    c.server("250 ok\n250 ok\n250 ok\n250 ok\n");
    c.client("QUIT\n");
    let found = c.finish();
    assert_eq!(commands(&found[0]), ["MAIL", "BDAT", "QUIT"]);
    assert_eq!(found[0].subject.as_bytes(&found[0].memory), b"s ab");
    assert_eq!(found[0].header_from.as_bytes(&found[0].memory), b"A");
    // The last chunk may be empty, and the last line may have no end.
    let mut c = Connection::new();
    c.client("MAIL FROM:<a@x>\nBDAT 10\nSubject: aBDAT 0 LAST\nMAIL FROM:<b@x>\nBDAT 10 LAST\nSubject: b");
    let found = c.finish();
    let subjects: Vec<_> = found.iter().map(|m| m.subject.as_bytes(&m.memory)).collect();
    assert_eq!(subjects, [b"a", b"b"]);
    // A length that lies is believed, and costs nothing once the header section is over.
    let mut c = Connection::new();
    c.client("BDAT 1099511627775\n\n");
    assert_eq!(c.step(Forward, b"x"), Step::Skip((1 << 40) - 1 - 2));
    // One that is no number, or that nobody can mean, is refused; the next line is the next command.
    let mut c = Connection::new();
    c.client("EHLO x\nBDAT -1\nBDAT\nBDAT 99999999999999999999\nBDAT 1099511627776\nBDAT 5 FIRST\nNOOP\n");
    assert_eq!(commands(&c.finish()[0]), ["EHLO", "BDAT", "NOOP"]);
}

/// Mail with a part that holds parts, and a message as an attachment.
const PARTS: &str = "Subject: parts\nContent-Type: multipart/mixed;\n\tboundary=\"outer\"\nBcc: d@y\nX-Mailer: m 1\nUser-Agent: not this\n\nFor others.\n--inner\nContent-Type: text/x; name=trap1\n\n--outer\nContent-Type: multipart/alternative; boundary=inner\n\n--inner\nContent-Type: text/plain\nSubject: trap2\n\n-\n--\n-- \nContent-Type: text/x; name=trap3\n--inner\nContent-Type: text/html; name=\"a.html\"\nContent-Disposition: inline\n\n..\n--inner--\nContent-Type: text/x; name=trap4\n--outer\nContent-Disposition: attachment;\n filename=\"b\n c.pdf\"\nContent-Type: application/pdf; name=\"b c.pdf\"\n\nJVBERi0=\n--outer\nContent-Type: message/rfc822; name=mail.eml\n\nSubject: trap5\nContent-Type: multipart/mixed; boundary=third\n\n--third\nContent-Disposition: attachment; filename*=utf-8''%c3%bc.txt\n\n--third--\n--outer--\nContent-Type: text/x; name=trap6\n";

fn attachments(smtp: &Smtp) -> Vec<&str> {
    smtp.attachment.iter(&smtp.memory).map(|c| str::from_utf8(c).unwrap()).collect()
}

#[test]
fn parts_and_their_names() {
    let names = ["a.html", "b c.pdf", "mail.eml", "ü.txt"];
    let mut c = Connection::new();
    c.client(&format!("MAIL FROM:<a@x>\nDATA\n{PARTS}.\n"));
    c.client("MAIL FROM:<b@x>\nDATA\nSubject: plain\n\n--outer\nContent-Type: text/x; name=trap\n.\n");
    let found = c.finish();
    assert_eq!(attachments(&found[0]), names);
    assert_eq!(found[0].subject.as_bytes(&found[0].memory), b"parts");
    assert_eq!(found[0].header_bcc.as_bytes(&found[0].memory), b"d@y");
    assert_eq!(found[0].mailer.as_bytes(&found[0].memory), b"m 1");
    assert!(attachments(&found[1]).is_empty());
    // The same in chunks of any size.
    let message = PARTS.replace('\n', "\r\n");
    for size in [1, 2, 3, 7, 64, 1000] {
        let mut c = Connection::new();
        c.client("MAIL FROM:<a@x>\n");
        for chunk in message.as_bytes().chunks(size) {
            c.client(&format!("BDAT {}\n", chunk.len()));
            c.all(Forward, chunk);
        }
        c.client("BDAT 0 LAST\n");
        let found = c.finish();
        assert_eq!(attachments(&found[0]), names, "{size}");
        assert_eq!(found[0].subject.as_bytes(&found[0].memory), b"parts");
    }
}

#[test]
fn greeting_masks_and_counts() {
    let mut c = Connection::new();
    c.server("220-mx.example ESMTP server\n220 second line\n");
    c.client("EHLO h\nAUTH XOAUTH2 c2VjcmV0\n");
    c.server("250-mx\n250 AUTH\n535 5.7.8 no\n");
    c.client("AUTH LOGIN\n");
    c.server("334 VXNlcm5hbWU6\n");
    c.client("c2VjcmV0\n");
    c.server("454 later\n");
    c.client("MAIL FROM:<a@x> BODY=8BITMIME size=1234 SMTPUTF8\nRCPT TO:<b@y>\nRCPT TO:<c@y>\nNOOP\n");
    c.server("250 ok\n250 ok\n552 SPAM\n299 ?\n");
    c.client("MAIL FROM:<b@x>\n");
    let found = c.finish();
    let [first, second] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(first.greeting.as_bytes(&first.memory), b"mx.example ESMTP server");
    assert_eq!(first.server_name.as_bytes(&first.memory), b"mx.example");
    assert_eq!(first.auth_mechanism.as_bytes(&first.memory), b"LOGIN");
    assert_eq!(first.failed_auth_count, Some(2));
    assert_eq!(first.command_flags, Some(0x8000 | 0x200 | 8 | 4 | 1));
    assert_eq!((first.mail_count, first.rcpt_count, first.size), (Some(1), Some(2), Some(1234)));
    // 220, 250, 552, SPAM, and 299, 334, 454, 535, which have no bit of their own.
    assert_eq!(first.reply_flags, Some(1 << 2 | 1 << 4 | 1 << 20 | 1 << 30 | 1 << 31));
    let counts = [first.reply_2xx_count, first.reply_3xx_count, first.reply_4xx_count, first.reply_5xx_count];
    assert_eq!(counts, [Some(5), Some(1), Some(1), Some(2)]);
    assert!(second.greeting.is_empty());
    assert_eq!(second.server_name.as_bytes(&second.memory), b"mx.example");
    assert_eq!(second.auth_mechanism.as_bytes(&second.memory), b"LOGIN");
    assert_eq!((second.mail_count, second.reply_2xx_count), (Some(1), None));
    assert!(!format!("{found:?}").contains("2VjcmV0"));
}

#[test]
fn one_side_alone() {
    // A refused DATA is told by the command that follows.
    let mut c = Connection::new();
    c.client("EHLO h\nMAIL FROM:<a@x>\nDATA\nRSET\nMAIL FROM:<b@x>\nDATA\nSubject: s\n\nQUIT\n.\nQUIT\n");
    let found = c.finish();
    assert_eq!(found.len(), 2);
    assert_eq!(commands(&found[0]), ["EHLO", "MAIL", "DATA", "RSET"]);
    assert_eq!(found[1].subject.as_bytes(&found[1].memory), b"s");
    // What a capture that begins late sees first: the server's go-ahead.
    let mut c = Connection::new();
    c.server("354 go\n");
    c.client("Subject: late\n\nQUIT\n.\n");
    c.server("250 ok\n");
    let found = c.finish();
    assert_eq!(found[0].subject.as_bytes(&found[0].memory), b"late");
    assert!(commands(&found[0]).is_empty());
    // The server's side of STARTTLS.
    let mut c = Connection::new();
    c.server("220 mx ESMTP\n250 STARTTLS\n");
    assert_eq!(c.step(Reverse, b"220 2.0.0 go\r\n"), Step::Handover(14));
    let mut c = Connection::new();
    assert_eq!(c.step(Reverse, b"220 2.0.0 go\r\n"), Step::Handover(14));
    assert_eq!(c.finish()[0].is_encrypted, Some(1));
}

/// RFC 2033: a reply for each recipient after the dot.
#[test]
fn lmtp() {
    let mut c = Connection::new();
    c.server("220 mx LMTP\n");
    c.client("LHLO h\nMAIL FROM:<a@x>\nRCPT TO:<b@y>\nRCPT TO:<c@y>\nDATA\n");
    c.server("250 ok\n250 ok\n250 ok\n250 ok\n354 go\n");
    c.client("Subject: s\n\n.\n");
    c.server("250 ok\n452 full\n");
    c.client("MAIL FROM:<d@x>\n");
    let found = c.finish();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].helo.as_bytes(&found[0].memory), b"h");
    assert_eq!((found[0].reply_2xx_count, found[0].reply_4xx_count), (Some(6), Some(1)));
}

#[test]
fn after_octets_missing_in_a_chunk_the_next_command_goes_on() {
    let mut c = Connection::new();
    c.server("220 mx\n");
    c.client("MAIL FROM:<1@x>\nBDAT 2000\nSubject: 1\n");
    assert_eq!(c.parser.gap(Forward), AfterGap::Resume);
    // What text may say is not believed.
    c.client("half a line\ndata\nquit\nHELP\n");
    assert_eq!(commands(c.transactions.fields_mut(0).unwrap()), ["MAIL", "BDAT"]);
    c.server("250 ok\n");
    c.client("DATA\nTo: 2\n.\n");
    let found = c.finish();
    assert_eq!(commands(&found[0]), ["MAIL", "BDAT", "DATA"]);
    // The server's go-ahead is that of a DATA that was passed over.
    let mut c = Connection::new();
    c.client("MAIL FROM:<1@x>\nBDAT 2000\nSubject: 1\n");
    c.parser.gap(Forward);
    c.client("data\n");
    c.server("354 go\n");
    c.client("To: 2\n.\n");
    let found = c.finish();
    assert_eq!(found[0].header_to.as_bytes(&found[0].memory), b"2");
    let mut c = Connection::new();
    c.client("MAIL FROM:<1@x>\nBDAT 2000\nSubject: 1\n");
    c.parser.gap(Forward);
    c.client("text\nMAIL FROM:<2@x>\n");
    assert_eq!(c.finish().len(), 2);
    let mut c = Connection::new();
    c.client("MAIL FROM:<1@x>\nBDAT 2000\nSubject: 1\n");
    // The server is ahead.
    c.server("250 ok\n250 ok\n354 go\n250 ok\n");
    c.parser.gap(Forward);
    c.client("text\nDATA\nTo: 2\n.\nQUIT\n");
    let found = c.finish();
    assert_eq!(commands(&found[0]), ["MAIL", "BDAT", "DATA", "QUIT"]);
    assert_eq!(found[0].header_to.as_bytes(&found[0].memory), b"2");
}

#[test]
fn starttls_hands_over() {
    let mut c = Connection::new();
    c.client("STARTTLS\n");
    c.server("454 not now\n");
    c.client("STARTTLS\n");
    assert_eq!(c.step(Reverse, b"220 go\r\n\x16\x03"), Step::Handover(8));
    let mut c = Connection::new();
    c.client("STARTTLS\n");
    assert_eq!(c.step(Forward, &[0x16, 3, 1]), Step::Handover(0));
    assert_eq!(c.finish()[0].is_encrypted, Some(1));
}

#[test]
fn an_overlong_line_is_read_up_to_the_bound() {
    let mut c = Connection::new();
    let mut line = b"MAIL FROM:<".to_vec();
    line.resize(MAX_LINE - 1, b'a');
    assert_eq!(c.step(Forward, &line), Step::More);
    line.resize(3 * MAX_LINE, b'a');
    line.extend_from_slice(b"QUIT\r\nNOOP\r\n");
    c.all(Forward, &line);
    let found = c.finish();
    assert_eq!(commands(&found[0]), ["MAIL", "NOOP"]);
    assert!(found[0].is_cut());
}

#[test]
fn a_name_is_cut_as_long_as_it_is_the_latest() {
    let long = format!("EHLO {}\n", "a".repeat(300));
    let mut c = Connection::new();
    c.client(&long);
    c.client("EHLO a\nMAIL FROM:<1@x>\n");
    assert!(!c.finish()[0].is_cut());
    let mut c = Connection::new();
    c.client(&long);
    c.client("MAIL FROM:<1@x>\nMAIL FROM:<2@x>\n");
    let found = c.finish();
    assert_eq!(found.iter().map(Fields::is_cut).collect::<Vec<_>>(), [true; 2]);
    assert_eq!(found[0].helo.as_bytes(&found[0].memory), found[1].helo.as_bytes(&found[1].memory));
}

#[test]
fn after_missing_octets_the_reply_ends_the_message() {
    let mut c = Connection::new();
    c.client("MAIL FROM:<1@x>\nDATA\n");
    c.server("250 ok\n354 go\n");
    c.client("Subject: 1\n");
    assert_eq!(c.parser.gap(Forward), AfterGap::Resume);
    c.client("rest\nDATA\n");
    c.server("250 ok\n");
    c.client("MAIL FROM:<2@x>\n");
    let found = c.finish();
    assert_eq!(found.len(), 2);
    assert_eq!(found[1].mail_from.as_bytes(&found[1].memory), b"2@x");
}

#[test]
fn junk_is_passed_over() {
    let mut c = Connection::new();
    c.client("EHLO x\n\n\0\x01\nDATABASE\nMAILFROM:<a@x>\nMAIL\nRCPT TO\n");
    c.server("999 x\n25\n250x\nhello\n");
    let found = c.finish();
    assert_eq!(commands(&found[0]), ["EHLO", "MAIL", "RCPT"]);
    assert_eq!(found[0].reply_code.iter(&found[0].memory).collect::<Vec<_>>(), []);
}

#[test]
fn what_a_probe_says_of_a_beginning_does_not_change() {
    for message in ["250\r\n", "220 mx ESMTP\r\n", "220\r\n", " quit\r\n", "quit\r\n", "mail from:<>\r\n", "x\r\n"] {
        for hinted in [false, true] {
            let mut told = Probe::More;
            for end in 1..=message.len() {
                let now = Parser::probe(input(Forward, &message.as_bytes()[..end], hinted));
                assert!(told == Probe::More || told == now, "{message:?} at {end}: {now:?}");
                told = now;
            }
            assert_ne!(told, Probe::More);
        }
    }
}
