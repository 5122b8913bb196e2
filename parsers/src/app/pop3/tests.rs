// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use crate::app::conversation::{Conversation, probe, probed};

fn commands(pop3: &Pop3) -> Vec<&str> {
    pop3.command.iter(&pop3.memory).map(|t| str::from_utf8(t).unwrap()).collect()
}

#[test]
fn a_session() {
    let mut c = Conversation::<Parser>::new();
    c.server("+OK POP3 ready <1@example.com>\n");
    c.client("CAPA\n");
    // What is within a reply of several lines is none.
    c.server("+OK\nUSER\n-ERR not this\n..\n.\n");
    c.client("user alice\nPASS secret\n");
    c.server("+OK\n-ERR no\n");
    c.client("APOP alice c4c9334bac560ecc979e58001b3e22fb\n");
    c.server("+OK in\n");
    // Pipelined: a refused RETR has one line, and so have LIST and UIDL of one mail.
    c.client("STAT\nLIST 1\nLIST\nRETR 9\nRETR 1\nUIDL 1\nXYZZY\nDELE 1\n");
    c.server(
        "+OK 1 100\n+OK 1 100\n+OK\n1 100\n.\n-ERR none\n+OK 100 octets\nSubject: +OK\n\n+OK\n-ERR\n.\n+OK 1 x\n+OK\n",
    );
    c.client("QUIT\n");
    c.server("+OK bye\n");
    let pop3 = c.finish();
    assert_eq!(pop3.banner.as_bytes(&pop3.memory), b"POP3 ready <1@example.com>");
    assert_eq!(pop3.user.as_bytes(&pop3.memory), b"alice");
    assert_eq!(commands(&pop3), ["CAPA", "USER", "PASS", "APOP", "STAT", "LIST", "RETR", "UIDL", "DELE", "QUIT"]);
    assert_eq!((pop3.ok_count, pop3.error_count, pop3.failed_login_count), (Some(10), Some(2), Some(1)));
    let shown = format!("{pop3:?}");
    assert!(!shown.contains("secret") && !shown.contains("c4c9"));
}

#[test]
fn what_auth_exchanges_is_nowhere() {
    let mut c = Conversation::<Parser>::new();
    c.server("+OK ready\n");
    c.client("AUTH\n");
    c.server("+OK\nPLAIN\n.\n");
    c.client("AUTH plain\n");
    c.server("+ \n");
    c.client("QUIT\n");
    c.server("-ERR no\n");
    c.client("AUTH LOGIN c2VjcmV0\n");
    c.server("+ UGFzc3dvcmQ6\n");
    c.client("c2VjcmV0\n");
    c.server("+OK in\n");
    c.client("NOOP\n");
    c.server("+OK\n");
    let pop3 = c.finish();
    assert_eq!(commands(&pop3), ["AUTH", "NOOP"]);
    assert_eq!(pop3.auth_mechanism.as_bytes(&pop3.memory), b"LOGIN");
    assert_eq!((pop3.ok_count, pop3.error_count, pop3.failed_login_count), (Some(3), Some(1), Some(1)));
    assert!(!format!("{pop3:?}").contains("2VjcmV0"));
}

#[test]
fn tls_is_handed_over() {
    let mut c = Conversation::<Parser>::new();
    c.server("+OK ready\n");
    c.client("STLS\n");
    c.server("-ERR no\n");
    c.client("STLS\n");
    assert_eq!(c.last("+OK go"), Step::Handover(8));
    let mut c = Conversation::<Parser>::new();
    c.client("STLS\n");
    assert_eq!(c.step(Direction::Forward, &[0x16, 3, 1]), Step::Handover(0));
}

#[test]
fn octets_missing_in_a_mail() {
    let mut c = Conversation::<Parser>::new();
    c.client("RETR 1\n");
    c.server("+OK\nhalf a mail\n");
    c.gap(Direction::Reverse);
    c.server("+OK not this\n");
    c.client("DELE 1\n");
    c.server("+OK\n");
    let pop3 = c.finish();
    assert_eq!(pop3.ok_count, Some(2));
}

#[test]
fn more_commands_than_are_remembered() {
    let mut c = Conversation::<Parser>::new();
    c.client(&"DELE 1\n".repeat(100));
    c.server(&"+OK\n".repeat(100));
    assert_eq!(c.finish().ok_count, Some(100));
}

#[test]
fn content_decides_and_the_port_helps() {
    assert_eq!(probe::<Parser>("+OK\r\n", true), Probe::Yes);
    assert_eq!(probe::<Parser>("-ERR no\r\n", true), Probe::Yes);
    assert_eq!(probe::<Parser>("-ERR no\r\n", false), Probe::No);
    assert_eq!(probe::<Parser>("+O", false), Probe::More);
    assert_eq!(probe::<Parser>("+OK Hello there.\r\n", false), Probe::Yes);
    assert_eq!(probe::<Parser>("USER a\r\n", true), Probe::Yes);
    assert_eq!(probe::<Parser>("USER a\r\nPASS b\r\n", false), Probe::More);
    assert_eq!(probed::<Parser>("STAT\r\n", false), Probe::No);
    assert_eq!(probed::<Parser>("USER a\r\nPASS b\r\nSYST\r\n", false), Probe::No);
}
