// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use crate::app::conversation::{Conversation, probe, probed};

fn texts<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Vec<&'a str> {
    texts.map(|t| str::from_utf8(t).unwrap()).collect()
}

#[test]
fn a_session() {
    let mut c = Conversation::<Parser>::new();
    c.server("* OK [CAPABILITY IMAP4rev1] ready\n");
    c.client("a1 capability\n");
    c.server("* CAPABILITY IMAP4rev1\na1 OK done\n");
    c.client("a2 LOGIN \"al\\\"ice\" \"secret\"\n");
    c.server("a2 NO no\n");
    c.client("a3 LOGIN bob secret\n");
    c.server("a3 OK in\n");
    c.client("a4 SELECT \"Sent Mail\"\na5 EXAMINE INBOX (CONDSTORE)\na6 UID FETCH 1 BODY[]\n");
    // What a literal holds is no response.
    c.server("* 1 EXISTS\na4 OK done\na5 OK done\n* 1 FETCH (BODY[] {16}\na9 NO trap\n* a\n FLAGS ())\na6 OK done\n");
    c.client("a7 IDLE\n");
    c.server("+ idling\n");
    c.client("DONE\n");
    c.server("a7 OK done\n");
    c.client("a8 FROBNICATE\na9 LOGOUT\n");
    c.server("a8 BAD what\n* BYE\na9 OK bye\n");
    let imap = c.finish();
    let memory = &imap.memory;
    assert_eq!(imap.banner.as_bytes(memory), b"[CAPABILITY IMAP4rev1] ready");
    assert_eq!(imap.user.as_bytes(memory), b"bob");
    assert_eq!(
        texts(imap.command.iter(memory)),
        ["CAPABILITY", "LOGIN", "SELECT", "EXAMINE", "UID FETCH", "IDLE", "LOGOUT"]
    );
    assert_eq!(texts(imap.mailbox.iter(memory)), ["Sent Mail", "INBOX"]);
    assert_eq!((imap.ok_count, imap.error_count, imap.failed_login_count), (Some(7), Some(2), Some(1)));
    assert!(!format!("{imap:?}").contains("secret"));
}

#[test]
fn literals_of_the_client() {
    let mut c = Conversation::<Parser>::new();
    c.server("* OK ready\n");
    c.client("1 LOGIN {5}\n");
    c.server("+ go\n");
    assert_eq!(c.step(Direction::Forward, b"ali"), Step::More);
    c.client("alice {6}\n");
    c.server("+ go\n");
    c.client("secret\n");
    c.server("1 OK in\n");
    // Without waiting; and one that is refused, after which the next line is a command.
    c.client("2 APPEND INBOX {13+}\n3 LOGIN x y\n");
    c.client("\n4 APPEND INBOX {13}\n");
    c.server("2 OK\n4 NO quota\n");
    c.client("5 LOGIN {5+}\ncarol {6+}\nsecret\n6 NOOP\n");
    let imap = c.finish();
    assert_eq!(imap.user.as_bytes(&imap.memory), b"carol");
    assert_eq!(texts(imap.command.iter(&imap.memory)), ["LOGIN", "APPEND", "NOOP"]);
    assert_eq!((imap.ok_count, imap.error_count, imap.failed_login_count), (Some(2), Some(1), None));
    assert!(!format!("{imap:?}").contains("secret"));
    // Lengths that lie cost nothing.
    let mut c = Conversation::<Parser>::new();
    c.client("1 APPEND x {18446744073709551615}\n");
    assert_eq!(c.step(Direction::Forward, b"x"), Step::Skip(u64::MAX));
    let mut c = Conversation::<Parser>::new();
    c.client("1 LOGIN {18446744073709551616}\n2 LOGIN {-1}\n3 LOGIN {}\n4 NOOP\n");
    let imap = c.finish();
    assert_eq!(texts(imap.command.iter(&imap.memory)), ["LOGIN", "NOOP"]);
}

#[test]
fn what_authenticate_exchanges_is_nowhere() {
    let mut c = Conversation::<Parser>::new();
    c.server("* OK ready\n");
    c.client("1 AUTHENTICATE plain\n");
    c.server("+\n");
    c.client("c2VjcmV0\n");
    c.server("1 NO\n");
    c.client("2 AUTHENTICATE XOAUTH2 c2VjcmV0\n");
    c.server("2 OK\n");
    let imap = c.finish();
    assert_eq!(imap.auth_mechanism.as_bytes(&imap.memory), b"XOAUTH2");
    assert_eq!((imap.ok_count, imap.failed_login_count), (Some(1), Some(1)));
    assert!(!format!("{imap:?}").contains("2VjcmV0"));
}

#[test]
fn tls_is_handed_over_and_compression_ends_it() {
    let mut c = Conversation::<Parser>::new();
    c.client("1 STARTTLS\n");
    c.server("1 NO\n");
    c.client("2 STARTTLS\n");
    assert_eq!(c.last("2 OK go"), Step::Handover(9));
    let mut c = Conversation::<Parser>::new();
    c.client("1 STARTTLS\n");
    assert_eq!(c.step(Direction::Forward, &[0x16, 3, 1]), Step::Handover(0));
    let mut c = Conversation::<Parser>::new();
    c.client("1 COMPRESS DEFLATE\n");
    assert_eq!(c.last("1 OK go"), Step::Done);
}

#[test]
fn gaps_and_long_lines() {
    let mut c = Conversation::<Parser>::new();
    c.client("1 LOGIN {5}\n");
    c.gap(Direction::Forward);
    c.client("half a line\n2 NOOP\n");
    c.client(&format!("3 UID FETCH {} (FLAGS)\n4 CHECK\n", "1,".repeat(3 * MAX_LINE)));
    c.gap(Direction::Reverse);
    c.server("half a line\n2 OK\n");
    let imap = c.finish();
    assert_eq!(texts(imap.command.iter(&imap.memory)), ["LOGIN", "NOOP", "UID FETCH", "CHECK"]);
    assert!(imap.user.is_empty());
    assert_eq!(imap.ok_count, Some(1));
}

#[test]
fn content_decides_and_the_port_helps() {
    assert_eq!(probe::<Parser>("* 5 EXISTS\r\n", true), Probe::Yes);
    assert_eq!(probe::<Parser>("* 5 EXISTS\r\n", false), Probe::No);
    assert_eq!(probe::<Parser>("a OK done\r\n", true), Probe::Yes);
    assert_eq!(probe::<Parser>("a1 OK done\r\n", false), Probe::No);
    assert_eq!(probe::<Parser>("tag NOOP\r\n", true), Probe::Yes);
    assert_eq!(probe::<Parser>("tag NOOP\r\n", false), Probe::No);
    assert_eq!(probe::<Parser>("a1 LOGIN\r\n", false), Probe::No);
    assert_eq!(probe::<Parser>("a1 LOG", false), Probe::More);
    assert_eq!(probed::<Parser>("USER LIST\r\n", true), Probe::No);
    assert_eq!(probed::<Parser>("GET LOGIN HTTP/1.1\r\n", true), Probe::No);
    assert_eq!(probed::<Parser>("hello world\r\n", false), Probe::No);
}
