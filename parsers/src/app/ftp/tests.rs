// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use crate::app::conversation::{Conversation, probe, probed};

fn texts<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Vec<&'a str> {
    texts.map(|t| str::from_utf8(t).unwrap()).collect()
}

#[test]
fn a_session() {
    let mut c = Conversation::<Parser>::new();
    // A reply of several lines counts once, whatever is between its first and its last.
    c.server("220-Files of example.com\n530 not this\n 220 nor this\n220-nor this\n220 ready\n");
    c.client("user  alice\n");
    c.server("331 Password?\n");
    c.client("PASS first secret\n");
    c.server("530 No.\n");
    c.client("USER alice\nPASS second secret\nSYST\nXYZZY\nTYPE I\n");
    c.server("331 Password?\n230-Hello\n230 In.\n215 UNIX\n500 What?\n200 Binary.\n");
    c.client("PORT 192,0,2,1,80,0\nLIST\nEPRT |2|2001:db8::1|20481|\nSTOR in.txt\n");
    c.client("PASV\nRETR a file.txt\nEPSV\nRETR a file.txt\nPORT 1,2\nEPRT |1|no address|1|\nRETR\n");
    c.server(
        "227 Passive (198,51,100,1,80,2).\n227 =198,51,100,1,80,2\n229 Extended (|||20483|)\n229 none\n226 done\n",
    );
    c.client("QUIT\n");
    c.server("221 Bye.\n");
    let ftp = c.finish();
    let memory = &ftp.memory;
    assert_eq!(ftp.banner.as_bytes(memory), b"Files of example.com");
    assert_eq!(ftp.user.as_bytes(memory), b"alice");
    assert_eq!(
        texts(ftp.command.iter(memory)),
        ["USER", "PASS", "SYST", "TYPE", "PORT", "LIST", "EPRT", "STOR", "PASV", "RETR", "EPSV", "QUIT"]
    );
    let codes: Vec<_> = ftp.reply_code.iter(memory).collect();
    assert_eq!(codes, [220, 331, 530, 230, 215, 500, 200, 227, 229, 226, 221]);
    assert_eq!((ftp.reply_count, ftp.error_count, ftp.failed_login_count), (Some(14), Some(2), Some(1)));
    assert_eq!(
        texts(ftp.data_endpoint.iter(memory)),
        ["192.0.2.1:20480", "[2001:db8::1]:20481", "198.51.100.1:20482", ":20483"]
    );
    assert_eq!(texts(ftp.file.iter(memory)), ["STOR in.txt", "RETR a file.txt"]);
    assert!(!format!("{ftp:?}").contains("secret"));
}

#[test]
fn tls_is_handed_over() {
    let mut c = Conversation::<Parser>::new();
    c.client("AUTH GSSAPI\n");
    c.server("334 ADAT=\n");
    c.client("AUTH TLS\n");
    c.server("534 no\n");
    c.client("AUTH SSL\n");
    assert_eq!(c.last("334 go"), Step::Handover(8));
    let mut c = Conversation::<Parser>::new();
    c.client("AUTH tls\n");
    c.server("234-wait\n");
    assert_eq!(c.last("234 go"), Step::Handover(8));
    // With one side alone.
    let mut c = Conversation::<Parser>::new();
    assert_eq!(c.last("234 go"), Step::Handover(8));
    let mut c = Conversation::<Parser>::new();
    c.client("AUTH TLS\n");
    assert_eq!(c.step(Direction::Forward, &[0x16, 3, 1, 0]), Step::Handover(0));
}

#[test]
fn signals_gaps_and_long_lines() {
    let mut c = Conversation::<Parser>::new();
    c.server("220-never ended\n");
    c.gap(Direction::Reverse);
    c.server("half a line\n226 done\n");
    c.all(Direction::Forward, b"\xff\xf4\xff\xf2ABOR\r\n\xff\xff\r\n\xff\n");
    let long = format!("CWD {}\r\nNOOP\r\n", "a".repeat(3 * MAX_LINE));
    c.all(Direction::Forward, long.as_bytes());
    let ftp = c.finish();
    assert_eq!(texts(ftp.command.iter(&ftp.memory)), ["ABOR", "CWD", "NOOP"]);
    assert_eq!(ftp.reply_count, Some(2));
}

#[test]
fn endpoints_that_are_none() {
    for text in ["", "1", "1,2,3,4,5", "1,2,3,4,5,256", "1,2,3,4,,6", "256,2,3,4,5,6", "1.2.3.4.5.6", "a,b,c,d,e,f"] {
        assert_eq!(six_numbers(text.as_bytes()), None, "{text}");
    }
    for text in ["", "|", "||", "|1|192.0.2.1", "|1|192.0.2.1|65536|", "|1||1|", "||||"] {
        assert_eq!(extended_endpoint(text.as_bytes()), None, "{text}");
    }
    for text in ["", "(", "(|||", "(|||1", "(||1|1|)", "(|||x|)", "(|||65536|)", "|||1|"] {
        assert_eq!(extended_port(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn content_decides_and_the_port_helps() {
    assert_eq!(probe::<Parser>("220 ready\r\n", true), Probe::Yes);
    assert_eq!(probe::<Parser>("220 ready\r\n", false), Probe::No);
    assert_eq!(probe::<Parser>("220-Welcome\r\n", false), Probe::More);
    assert_eq!(probe::<Parser>("226 done\r\n", true), Probe::Yes);
    assert_eq!(probe::<Parser>("220 mx ESMTP\r\n", true), Probe::No);
    assert_eq!(probe::<Parser>("USER a\r\n", true), Probe::Yes);
    assert_eq!(probe::<Parser>("USER a\r\nPASS b\r\n", false), Probe::More);
    assert_eq!(probed::<Parser>("USER a\r\nPASS b\r\nRETR 1\r\n", false), Probe::No);
    assert_eq!(probe::<Parser>("PASS b\r\n", false), Probe::No);
    assert_eq!(probe::<Parser>(&format!("USER {}", "a".repeat(600)), false), Probe::No);
}
