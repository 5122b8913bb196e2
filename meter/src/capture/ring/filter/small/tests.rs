// SPDX-License-Identifier: MIT OR Apache-2.0
use proptest::prelude::*;

use super::*;

/// Runs a program on a packet as the kernel would; what it returns. A load from outside of the packet ends it with zero.
fn run(program: &[Instruction], packet: &[u8]) -> u32 {
    let (mut a, mut x, mut at) = (0_u32, 0_u32, 0_usize);
    let load = |offset: u32, octets: usize| -> Option<u32> {
        let from = offset as usize;
        let bytes = packet.get(from..from + octets)?;
        Some(bytes.iter().fold(0, |number, &byte| number << 8 | u32::from(byte)))
    };
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let mut branch = |truth: bool| at += usize::from(if truth { jt } else { jf });
        let loaded = match code {
            0x20 => load(k, 4),
            0x28 => load(k, 2),
            0x30 => load(k, 1),
            0x40 => load(x + k, 4),
            0x48 => load(x + k, 2),
            0x50 => load(x + k, 1),
            _ => Some(a),
        };
        let Some(loaded) = loaded else { return 0 };
        a = loaded;
        match code {
            0x20 | 0x28 | 0x30 | 0x40 | 0x48 | 0x50 => {}
            0x00 => a = k,
            0x01 => x = k,
            0xb1 => match load(k, 1) {
                Some(byte) => x = 4 * (byte & 0xf),
                None => return 0,
            },
            0x54 => a &= k,
            0x07 => x = a,
            0x87 => a = x,
            0x05 => at += k as usize,
            0x15 => branch(a == k),
            0x25 => branch(a > k),
            0x35 => branch(a >= k),
            0x45 => branch(a & k != 0),
            0x06 => return k,
            other => panic!("no such instruction: {other:#x}"),
        }
    }
}

fn ethernet(ether_type: u16, rest: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], &ether_type.to_be_bytes()[..], rest].concat()
}

/// An IPv4 packet from 10.0.0.1 to 10.1.2.3 with so many octets of options; the second field of the header is the fragment's.
fn v4(protocol: u8, fragment: u16, options: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45 + options / 4, 0, 0, 60, 0, 1];
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 1, 2, 3]);
    packet.extend(vec![1; options.into()]);
    packet.extend(rest);
    ethernet(0x0800, &packet)
}

/// An IPv6 packet from 2001:db8::1 to 2001:db8:0:1::2.
fn v6(next: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 20, next, 64];
    packet.extend("2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    packet.extend("2001:db8:0:1::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
    packet.extend(rest);
    ethernet(0x86dd, &packet)
}

fn ports(src: u16, dst: u16) -> Vec<u8> {
    [&src.to_be_bytes()[..], &dst.to_be_bytes(), &[0; 40]].concat()
}

/// A request of 10.0.0.1 for 10.1.2.3.
fn address_resolution(ether_type: u16) -> Vec<u8> {
    let hardware = [2, 0, 0, 0, 0, 1];
    let rest = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &hardware, &[10, 0, 0, 1], &hardware, &[10, 1, 2, 3]].concat();
    ethernet(ether_type, &rest)
}

fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let http = ports(40000, 80);
    let behind_fragment_header = |next: u8| [&[next, 0, 0, 1, 0, 0, 0, 1][..], &ports(40000, 80)].concat();
    vec![
        ("tcp4", v4(6, 0x4000, 0, &http)),
        ("tcp4 options", v4(6, 0, 8, &ports(80, 40000))),
        ("tcp4 first", v4(6, 0x2000, 0, &http)),
        ("tcp4 later", v4(6, 0x2001, 0, &http)),
        ("udp4", v4(17, 0, 0, &ports(53, 5060))),
        ("udp4 options", v4(17, 0, 40, &ports(5070, 53))),
        ("sctp4", v4(132, 0, 0, &ports(80, 80))),
        ("icmp4", v4(1, 0, 0, &[8; 40])),
        ("gre4", v4(47, 0, 0, &http)),
        ("tcp6", v6(6, &http)),
        ("udp6", v6(17, &ports(53, 5061))),
        ("sctp6", v6(132, &ports(1, 2))),
        ("icmp6", v6(58, &[128; 40])),
        ("tcp6 fragment", v6(44, &behind_fragment_header(6))),
        ("udp6 fragment", v6(44, &behind_fragment_header(17))),
        ("icmp6 fragment", v6(44, &behind_fragment_header(58))),
        ("arp", address_resolution(0x0806)),
        ("rarp", address_resolution(0x8035)),
        ("lldp", ethernet(0x88cc, &[0; 60])),
    ]
}

fn taken(expression: &str, link: LinkType) -> Vec<&'static str> {
    let program = compile(expression, link).unwrap_or_else(|error| panic!("{expression}: {error}"));
    check_shape(&program);
    let from = if link == LinkType::RAW { 14 } else { 0 };
    frames().into_iter().filter(|(_, frame)| run(&program, &frame[from..]) > 0).map(|(name, _)| name).collect()
}

/// It ends with a return, and all jumps stay inside.
fn check_shape(program: &[Instruction]) {
    assert_eq!(program.last().unwrap().code, RETURN);
    assert!(program.len() <= MAX_INSTRUCTIONS);
    for (at, instruction) in program.iter().enumerate() {
        let furthest = match instruction.code {
            JUMP => instruction.k as usize,
            code if code & 7 == 5 => instruction.jt.max(instruction.jf).into(),
            _ => continue,
        };
        assert!(at + 1 + furthest < program.len(), "{program:?}");
    }
}

#[test]
fn an_expression_takes_what_it_says() {
    let tcp: &[&str] = &["tcp4", "tcp4 options", "tcp4 first", "tcp4 later", "tcp6", "tcp6 fragment"];
    let table: &[(&str, &[&str])] = &[
        ("tcp", tcp),
        ("not not tcp", tcp),
        ("icmp or icmp6", &["icmp4", "icmp6", "icmp6 fragment"]),
        ("arp", &["arp"]),
        ("port 80", &["tcp4", "tcp4 options", "tcp4 first", "sctp4", "tcp6"]),
        ("tcp dst port 80", &["tcp4", "tcp4 first", "tcp6"]),
        ("src and dst port 80", &["sctp4"]),
        ("udp portrange 5060-5070", &["udp4", "udp4 options", "udp6"]),
        ("portrange 5061-5069", &["udp6"]),
        ("host 10.1.2.3 and !ip", &["arp", "rarp"]),
        ("arp host 10.0.0.1", &["arp"]),
        ("dst 10.0.0.1", &[]),
        ("src net 2001:db8::/64 and udp", &["udp6", "udp6 fragment"]),
        ("dst net 2001:db8::/64", &[]),
        ("ip6 host 2001:db8:0:1::2 and icmp6", &["icmp6", "icmp6 fragment"]),
        // Both bind alike, from the left.
        ("arp or tcp and port 80", &["tcp4", "tcp4 options", "tcp4 first", "tcp6"]),
        ("arp or (udp and port 5060)", &["udp4", "arp"]),
        ("arp||udp&&port 5060", &["udp4"]),
        ("not(ip or ip6)", &["arp", "rarp", "lldp"]),
        ("net 0.0.0.0/0 and not ip", &["arp", "rarp"]),
    ];
    for (expression, expected) in table {
        assert_eq!(taken(expression, LinkType::ETHERNET), *expected, "{expression}");
    }
    assert_eq!(taken(" ", LinkType::ETHERNET).len(), frames().len());
}

#[test]
fn raw_ip_has_no_ethernet_header() {
    let of_ip = ["tcp", "udp port 53", "host 10.0.0.1 and icmp", "net 2001:db8::/32", "portrange 80-90", "ip or ip6"];
    for expression in of_ip {
        let mut expected = taken(expression, LinkType::ETHERNET);
        expected.retain(|name| !name.contains("arp"));
        assert_eq!(taken(expression, LinkType::RAW), expected, "{expression}");
    }
    assert!(taken("arp", LinkType::RAW).is_empty());
    assert!(taken("not arp", LinkType::RAW).len() == frames().len());
}

#[test]
fn a_packet_that_is_cut_off_is_not_taken() {
    let program = compile("tcp dst port 80", LinkType::ETHERNET).unwrap();
    let frame = v4(6, 0, 0, &ports(1, 80));
    assert!((0..38).all(|octets| run(&program, &frame[..octets]) == 0));
    assert_eq!(run(&program, &frame[..38]), ALL_OCTETS);
}

#[test]
fn jumps_reach_over_long_programs() {
    let hosts: Vec<_> = (0..200).map(|number| format!("host 192.0.2.{number}")).collect();
    let long = format!("({} or host 10.1.2.3) and tcp", hosts.join(" or "));
    assert_eq!(taken(&long, LinkType::ETHERNET), ["tcp4", "tcp4 options", "tcp4 first", "tcp4 later"]);
    let none = format!("not ({}) and arp", hosts.join(" or "));
    assert_eq!(taken(&none, LinkType::ETHERNET), ["arp"]);
    let mixed = format!("tcp{}", " and ip or tcp".repeat(200));
    assert_eq!(taken(&mixed, LinkType::ETHERNET), taken("tcp", LinkType::ETHERNET));
}

#[test]
fn refusals_name_the_word() {
    let deep = "(".repeat(65);
    let many = vec!["tcp"; 513].join(" or ");
    let long = vec!["host 10.0.0.1"; 400].join(" or ");
    let table = [
        ("tcp prot 80", "\"prot\" where \"and\" or \"or\""),
        ("ether broadcast", "\"ether\" is not known"),
        ("host 10.0.0.1 or 10.0.0.2", "\"10.0.0.2\" has no keyword"),
        ("port 80 or 443", "\"443\" has no keyword"),
        ("host example.org", "\"example.org\" after \"host\" is not an IPv4 or IPv6 address"),
        ("port http", "\"http\" after \"port\" is not a number"),
        ("port 65536", "\"65536\""),
        ("port 010", "\"010\""),
        ("port 80 and", "it ends where a test"),
        ("host", "it ends where an IPv4 or IPv6 address"),
        ("host and", "\"and\" where an IPv4"),
        ("src", "it ends where"),
        ("dst tcp", "\"tcp\" after \"dst\""),
        ("portrange 5", "\"5\" after \"portrange\""),
        ("net 10.0.0.1/8", "behind its prefix"),
        ("net 2001:db8::1/64", "behind its prefix"),
        ("net 10.0.0.0/33", "\"10.0.0.0/33\""),
        ("tcp host 10.0.0.1", "\"tcp\" does not go with addresses"),
        ("ip6 host 10.0.0.1", "\"ip6\" does not go with an IPv4"),
        ("arp net ::/0", "\"arp\" does not go with an IPv6"),
        ("icmp port 1", "\"icmp\" does not go with ports"),
        ("(tcp", "it ends where \")\""),
        ("tcp)", "\")\" where \"and\", \"or\" or the end"),
        ("()", "\")\" where a test"),
        ("tcp[13] & 2 != 0", "'['"),
        ("tcp & udp", "'&'"),
        ("hóst", "\\u{f3}"),
        (&deep, "more than 64"),
        (&many, "at most 512 tests"),
        (&long, "4096 instructions"),
    ];
    for (expression, reason) in table {
        let error = compile(expression, LinkType::ETHERNET).unwrap_err().to_string();
        assert!(error.contains(reason), "{expression}: {error}");
    }
    let error = compile("tcp", LinkType::LINUX_SLL).unwrap_err();
    assert_eq!(error, SmallError::Link { link: 113 });
    compile(&format!("{}tcp", "!".repeat(64)), LinkType::ETHERNET).unwrap();
}

/// Whole tests, of which expressions are made.
const TESTS: [&str; 44] = [
    "ip",
    "ip6",
    "arp",
    "rarp",
    "tcp",
    "udp",
    "sctp",
    "icmp",
    "icmp6",
    "host 10.0.0.1",
    "src host 10.0.0.1",
    "dst host 10.0.0.1",
    "src or dst host 10.1.2.3",
    "src and dst host 10.1.2.3",
    "dst 10.1.2.3",
    "ip host 10.1.2.3",
    "arp host 10.1.2.3",
    "rarp dst host 10.1.2.3",
    "arp src net 10.0.0.0/15",
    "host 2001:db8::1",
    "src 2001:db8::1",
    "ip6 dst host 2001:db8:0:1::2",
    "dst or src host 2001:db8::2",
    "net 10.0.0.0/8",
    "dst net 10.1.0.0/16",
    "src net 10.1.2.0/23",
    "net 0.0.0.0/0",
    "net 10.1.2.3/32",
    "net 2001:db8::/32",
    "src net 2001:db8:0:1::/64",
    "dst net 2001:db8::/63",
    "net 2001:db8::/127",
    "port 80",
    "src port 80",
    "tcp port 80",
    "tcp dst port 80",
    "udp port 53",
    "udp src or dst port 5060",
    "sctp src and dst port 80",
    "port 0",
    "portrange 53-80",
    "udp portrange 5070-5060",
    "tcp src portrange 80-65535",
    "dst portrange 5061-5061",
];

fn expressions() -> impl Strategy<Value = String> {
    prop::sample::select(&TESTS[..]).prop_map(str::to_owned).prop_recursive(5, 24, 3, |inner| {
        let join = prop::sample::select(&[" and ", " or ", "&&", " || "][..]);
        prop_oneof![
            inner.clone().prop_map(|inner| format!("not {inner}")),
            inner.clone().prop_map(|inner| format!("({inner})")),
            (inner.clone(), join, inner).prop_map(|(left, join, right)| format!("{left}{join}{right}")),
        ]
    })
}

/// Words in any order.
fn soup() -> impl Strategy<Value = String> {
    let words =
        ["(", ")", "!", "not", "and", "or", "src", "dst", "host", "net", "port", "portrange", "tcp", "ip", "80"];
    let words = prop::sample::select([&words[..], &["10.0.0.1", "::1/0", "1-2", "/", "é", "ip6"]].concat());
    prop::collection::vec(words, 0..12).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn any_text_is_compiled_or_refused(text in prop_oneof![any::<String>(), soup(), expressions()], raw in any::<bool>()) {
        let link = if raw { LinkType::RAW } else { LinkType::ETHERNET };
        if let Ok(program) = compile(&text, link) {
            check_shape(&program);
            for (_, frame) in frames() {
                run(&program, &frame);
            }
        }
    }
}

#[cfg(feature = "libpcap")]
mod with_libpcap {
    use super::*;

    /// Both take the same frames. libpcap's program is not optimised: its optimiser refuses what can take nothing, and takes
    /// some expressions for such that are not.
    fn same(expression: &str, link: LinkType) {
        let ours = compile(expression, link).unwrap_or_else(|error| panic!("{expression}: {error}"));
        let theirs = super::super::super::compile_with_libpcap(expression, link, false).unwrap();
        let from = if link == LinkType::RAW { 14 } else { 0 };
        for (name, frame) in frames() {
            // Of raw IP there are only IP packets.
            if from > 0 && !matches!(frame[12..14], [0x08, 0x00] | [0x86, 0xdd]) {
                continue;
            }
            let (ours, theirs) = (run(&ours, &frame[from..]) > 0, run(&theirs, &frame[from..]) > 0);
            assert_eq!(ours, theirs, "{expression}: {name}, link {link:?}");
        }
    }

    #[test]
    fn each_test_takes_what_libpcap_takes() {
        for expression in TESTS {
            same(expression, LinkType::ETHERNET);
            same(expression, LinkType::RAW);
        }
    }

    proptest! {
        #[test]
        fn expressions_take_what_libpcap_takes(expression in expressions(), raw in any::<bool>()) {
            same(&expression, if raw { LinkType::RAW } else { LinkType::ETHERNET });
        }
    }
}
