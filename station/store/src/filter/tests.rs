// SPDX-License-Identifier: MIT OR Apache-2.0

use proptest::prelude::*;
use weir_flow::{FlowKey, FlowRecord, tcp_flags};

use super::*;

fn error(text: &str) -> String {
    Filter::parse(text).unwrap_err().to_string()
}

#[test]
fn errors_say_where_and_what() {
    for (text, message) in [
        ("src port x", "filter, column 10: expected a port number, found 'x'"),
        ("src port 65536", "filter, column 10: expected a port number of at most 65535, found '65536'"),
        ("proto tcp dst port 80", "filter, column 11: expected 'and', 'or' or the end, found 'dst'"),
        ("proto", "filter, column 6: expected a protocol, found the end"),
        ("(ip 10.0.0.1", "filter, column 13: expected ')', found the end"),
        ("ip 10.0", "filter, column 4: expected an IP address or network, found '10.0'"),
        ("ip 10.0.0.0/33", "filter, column 4: expected an IP address or network, found '10.0.0.0/33'"),
        ("any and ü$", "filter, column 10: '$' has no meaning here"),
        ("as 13", "filter, column 1: 'as' is not recorded by this store"),
        ("http.host =~ '('", "filter, column 14: not a regular expression: unclosed group"),
        ("http.host 'x", "filter, column 11: no closing '"),
        ("exists nonsense", "filter, column 8: expected the name of a field, found 'nonsense'"),
        ("port in []", "filter, column 10: expected at least one value, found ']'"),
        ("flags SQ", "filter, column 7: expected TCP flags: letters of FSRPAUECX, or a number, found 'SQ'"),
    ] {
        assert_eq!(error(text), message, "{text}");
    }
}

#[test]
fn depth_and_length_are_bounded() {
    assert!(error(&"(".repeat(100_000)).contains("nested deeper"));
    assert!(error(&"not ".repeat(100_000)).contains("nested deeper"));
    assert!(error(&"any or ".repeat(5000)).contains("more than 4096 conditions"));
    assert!(error(&" ".repeat(2 << 20)).contains("longer than"));
    let long = vec!["port 1"; 4096].join(" or ");
    let _ = Filter::parse(&long).unwrap().to_expr();
}

fn with_flags(flags: u16) -> FlowRecord<'static> {
    let key = FlowKey::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 1025, 80, 6);
    FlowRecord {
        key,
        forward: weir_flow::Counters { packets: 1, tcp_flags: flags, ..Default::default() },
        ..Default::default()
    }
}

#[test]
fn not_flags_means_none_of_them() {
    use tcp_flags::{ACK, FIN, SYN};
    let passes = |text: &str, flags| Filter::parse(text).unwrap().matches(&with_flags(flags));
    // The idiom of nfdump's manual, which version 1.7.8 answers wrongly.
    assert!(passes("flags S and not flags AFRPU", SYN));
    assert!(!passes("flags S and not flags AFRPU", SYN | ACK));
    assert!(!passes("flags SA", SYN));
    assert!(!passes("not flags SA", SYN));
    assert!(passes("not flags all SA", SYN));
    assert!(passes("not not flags SA", SYN | ACK | FIN));
    assert!(!passes("not (any and flags SA)", SYN));
    assert!(passes("flags =SA and flags 18 and flags 0x12", SYN | ACK));
    assert!(!passes("flags =SA", SYN | ACK | FIN));
    assert!(passes("flags X", 0x3f) && !passes("flags X", 0x1f));
}

#[test]
fn and_binds_tighter_than_or_and_not_tightest() {
    let passes = |text: &str| Filter::parse(text).unwrap().matches(&with_flags(0));
    assert!(passes("port 80 or port 81 and port 82"));
    assert!(!passes("(port 80 or port 81) and port 82"));
    assert!(!passes("not port 80 or port 81"));
    assert!(passes("! port 81 && (PORT = 80 || any)"));
    assert!(passes("port > 1000") && !passes("not port > 1000") && passes("not port > 60000"));
    assert!(passes("# a comment\nsrc port ge 1025 # another\nand dst port lt 0x51"));
    assert!(passes("net 10.0.0.0 255.0.0.0 and net 10/8"));
}

#[test]
fn a_question_about_a_host_is_asked_for_each_side_once() {
    let filter = Filter::parse("proto tcp and ip 10.0.0.1").unwrap();
    let (src, dst) = filter.split_sides().unwrap();
    let mut record = with_flags(0);
    assert!(src.matches(&record) && !dst.matches(&record));
    record.key = record.key.reversed();
    assert!(!src.matches(&record) && dst.matches(&record));
    record.key.dst = record.key.src;
    assert!(!src.matches(&record) && !dst.matches(&record));
    assert!(Filter::parse("src ip 10.0.0.1").unwrap().split_sides().is_none());
    assert!(Filter::parse("not ip 10.0.0.1").unwrap().split_sides().is_none());
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in "\\PC{0,60}") {
        let _ = Filter::parse(&text);
    }

    #[test]
    fn no_row_of_words_is_too_odd(words in prop::collection::vec(prop::sample::select(vec![
        "src", "dst", "or", "and", "not", "(", ")", "[", "]", ",", "in", "out", "ip", "net", "port", "flags", "=",
        "=~", "contains", "1k", "10.0.0.1", "::1/64", "http.host", "dns.answers", "exists", "'x'", "S", "first",
        "seen", "2026-11-20", "icmp", "type", "exporter", "proto", "tcp", "/", "10/8", "255.0.0.0",
    ]), 0..12)) {
        if let Ok(filter) = Filter::parse(&words.join(" ")) {
            let _ = filter.to_expr();
            let _ = filter.matches(&FlowRecord::default());
        }
    }
}
