// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers equal what plain Rust computes from the same records, and look as nfdump's do.
#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use std::collections::HashMap;

use common::{Owned, block_on, read, store, uniflow};
use proptest::prelude::*;
use weir_flow::app::{AppFields, Dns, Http};
use weir_store::{Error, Fields, Filter, Format, Order, QueryOptions, SqlFormat, Stat, Store, Window};

const FILTERS: &[&str] = &[
    "any",
    "not any",
    "ipv6 or proto udp",
    "src ip 10.0.0.1",
    "ip 10.0.0.2",
    "ip 10.0.0.2 and not dst port 80",
    "host 2001:db8::1",
    "not ip in [10.0.0.1, 2001:db8:1::2]",
    "net 10.0/16 or dst net 2001:db8::/32",
    "src or dst port 53",
    "src and dst port 53",
    "port > 443 or src port in [80 443]",
    "not port > 60000",
    "flags S and not flags AF",
    "flags =S or flags 18 or flags any RP",
    "not (flags SA or flags F)",
    "dst flags A",
    "packets > 1k and bytes < 1m",
    "out bytes > 0 or out packets = 3",
    "bps > 10k or pps < 100",
    "not bpp = 1 and bpp <= 3",
    "bps in [0 8000]",
    "duration >= 1000 and not duration > 2000",
    "icmp type 3 or icmp-code < 100",
    "not icmp type 3",
    "flows 1",
    "in if 2 or out if 1",
    "vlan < 100 or tos 0x10",
    "first seen >= 2026-11-20T14:10:00",
    "last seen 2026-11-20T14:10",
    "exporter ip 192.0.2.254",
    "not exporter 2001:db8::/32",
    "observation domain id 1",
    "app http or app sip",
    "exists http.host and not exists(http.status)",
    "http.host = www.example.org",
    "not http.host = www.example.org",
    "http.host contains example and http.status in [200 404]",
    "http.url =~ '^(a|www)'",
    "http.host < b",
    "dns.qname in [a, example.net] or dns.qtype = AAAA and dns.answers contains example",
    "not dns.answers contains example",
    "dns.answer_ipv4 =~ '^1'",
    "sip.status = 180",
    "not sip.status >= 180",
    "octetDeltaCount > 500 and sourceIPv4Address 10.0.0.0/8",
    "flowEndReason < 3 # comment",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_engine_and_the_row_by_row_filter_agree(records in prop::collection::vec(common::record(), 30..60)) {
        let (_dir, store) = store(&records);
        for text in FILTERS {
            let filter = Filter::parse(text).unwrap();
            let mut found: Vec<_> = read(&store, Window::ALL, &filter).iter().map(|r| format!("{r:?}")).collect();
            let passing = records.iter().filter(|r| filter.matches(&r.as_record()));
            let mut expected: Vec<_> = passing.map(|r| format!("{r:?}")).collect();
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected, "{}", text);
        }
    }

    #[test]
    fn a_statistic_is_the_sum_of_its_records(records in prop::collection::vec(common::record(), 30..60)) {
        let (_dir, store) = store(&records);
        let text = ask(&store, QueryOptions {
            stats: vec![Stat::parse("ip/bytes").unwrap()],
            top: Some(0),
            format: Some(Format::Csv),
            quiet: true,
            ..QueryOptions::default()
        });
        let mut sums: HashMap<String, (u64, u64, u64)> = HashMap::new();
        for record in &records {
            let r = &record.record;
            let mut hosts = vec![r.key.source()];
            if r.key.source() != r.key.destination() {
                hosts.push(r.key.destination());
            }
            for host in hosts {
                let sum = sums.entry(host.to_string()).or_default();
                sum.0 += 1;
                sum.1 += r.forward.packets + r.reverse.packets;
                sum.2 += r.forward.octets + r.reverse.octets;
            }
        }
        let mut order = Vec::new();
        for line in text.lines() {
            let cells: Vec<_> = line.split(',').collect();
            let number = |i: usize| cells[i].parse::<u64>().unwrap();
            prop_assert_eq!(sums.remove(cells[4]), Some((number(5), number(7), number(9))), "{}", line);
            order.push(std::cmp::Reverse(number(9)));
        }
        prop_assert!(order.is_sorted());
        prop_assert!(sums.is_empty());
    }

    #[test]
    fn an_aggregation_is_the_sum_of_its_records(records in prop::collection::vec(common::record(), 30..60)) {
        let (_dir, store) = store(&records);
        let text = ask(&store, QueryOptions {
            aggregate: Some(Fields::parse("proto,srcip4/8,dstport").unwrap()),
            format: Some(Format::parse("fmt:%pr|%sa|%dp|%ipkt|%obyt|%fl").unwrap()),
            quiet: true,
            plain_numbers: true,
            ..QueryOptions::default()
        });
        let mut sums: HashMap<(u8, u32, u16), (u64, u64, u64)> = HashMap::new();
        for r in records.iter().map(|r| &r.record) {
            let src = match r.key.source() {
                std::net::IpAddr::V4(a) => u32::from(a) & 0xff00_0000,
                std::net::IpAddr::V6(_) => 0,
            };
            // IPv6 records stand apart from those of 0.0.0.0, and both print as it.
            let sum = sums.entry((r.key.protocol, src, r.key.dst_port)).or_default();
            sum.0 += r.forward.packets;
            sum.1 += r.reverse.octets;
            sum.2 += 1;
        }
        let mut found: HashMap<(u8, u32, u16), (u64, u64, u64)> = HashMap::new();
        for line in text.lines() {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let protocol = match cells[0] { "ICMP" => 1, "TCP" => 6, "UDP" => 17, _ => 58 };
            let src = u32::from(cells[1].parse::<std::net::Ipv4Addr>().unwrap());
            let port = if matches!(protocol, 1 | 58) { cells[2].split('.').next().unwrap() } else { cells[2] };
            let sum = found.entry((protocol, src, port.parse().unwrap())).or_default();
            sum.0 += cells[3].parse::<u64>().unwrap();
            sum.1 += cells[4].parse::<u64>().unwrap();
            sum.2 += cells[5].parse::<u64>().unwrap();
        }
        prop_assert_eq!(found, sums);
    }
}

fn ask(store: &Store, options: QueryOptions) -> String {
    let mut out = Vec::new();
    block_on(store.query(&options, &mut out)).unwrap();
    String::from_utf8(out).unwrap()
}

fn sample() -> Vec<Owned> {
    let mut web = uniflow("192.168.1.10", "192.0.2.80", (50_123, 80), 6, (1_500, 63_545), (12, 2_340));
    web.record.forward.tcp_flags = 0x1b;
    web.record.reverse = web.record.forward;
    (web.record.reverse.packets, web.record.reverse.octets) = (20, 1_800_000);
    let mut http = Http::default();
    http.request_host.set(b"www.example.org", &mut http.memory);
    http.request_method.set(b"GET", &mut http.memory);
    http.status_code = Some(200);
    web.app = Some(AppFields::Http(Box::new(http)));
    let mut dns = uniflow("2001:db8:1:2:3::4", "2001:db8::53", (40_000, 53), 17, (1_000, 2), (1, 80));
    let mut fields = Dns::default();
    fields.query_name.set(b"www.example.org", &mut fields.memory);
    fields.answers.push(b"www.example.org 60 A 192.0.2.80", &mut fields.memory);
    dns.app = Some(AppFields::Dns(Box::new(fields)));
    let mut ping = uniflow("192.168.1.10", "192.0.2.1", (0, 0), 1, (3_000, 0), (1, 84));
    ping.record.icmp_type_code = Some(0x0800);
    vec![web, dns, ping]
}

#[test]
fn lists_look_as_those_of_nfdump() {
    let (_dir, store) = store(&sample());
    let text = |format: &str, quiet: bool| {
        ask(&store, QueryOptions { format: Some(Format::parse(format).unwrap()), quiet, ..QueryOptions::default() })
    };
    let whole = text("line", false);
    let lines: Vec<_> = whole.lines().collect();
    assert_eq!(
        lines[..6],
        [
            "Date first seen          Duration Proto      Src IP Addr:Port          Dst IP Addr:Port   Packets    Bytes Flows",
            "2026-11-20 14:05:01.000     0.002 UDP   2001:db..:2:3::4.40000 ->     2001:db8::53.53           1       80     1",
            "2026-11-20 14:05:03.000     0.000 ICMP      192.168.1.10:0     ->        192.0.2.1:8.0          1       84     1",
            "2026-11-20 14:05:01.500    63.545 TCP       192.168.1.10:50123 ->       192.0.2.80:80          12     2340     1",
            "Summary: total flows: 3, total bytes: 1.8 M, total packets: 34, avg bps: 225154, avg pps: 0, avg bpp: 53014",
            "Time window: 2026-11-20 14:05:01.000 - 2026-11-20 14:06:05.045",
        ]
    );
    assert!(
        lines[6].starts_with("Total records processed: 3, passed: 3, Blocks skipped: 0, Bytes read: "),
        "{}",
        lines[6]
    );
    assert!(lines[7].starts_with("Sys: ") && lines.len() == 8, "{}", lines[7]);
    assert_eq!(
        text("long", true).lines().last().unwrap(),
        "2026-11-20 14:05:01.500    63.545 TCP       192.168.1.10:50123 ->       192.0.2.80:80    ...AP.SF   0       12     2340     1"
    );
    assert_eq!(
        text("biline", true).lines().last().unwrap(),
        "2026-11-20 14:05:01.500    63.545 TCP       192.168.1.10:50123 <->       192.0.2.80:80          20       12    1.8 M     2340     1"
    );
    assert_eq!(
        text("csv", false),
        "firstSeen,duration,proto,srcAddr,srcPort,dstAddr,dstPort,packets,bytes,flows\n\
         2026-11-20 14:05:01.000,0.002,UDP,2001:db8:1:2:3::4,40000,2001:db8::53,53,1,80,1\n\
         2026-11-20 14:05:03.000,0.000,ICMP,192.168.1.10,0,192.0.2.1,8.0,1,84,1\n\
         2026-11-20 14:05:01.500,63.545,TCP,192.168.1.10,50123,192.0.2.80,80,12,2340,1\n"
    );
    assert_eq!(text("fmt:%pr %{http.host}", true), "UDP   \nICMP  \nTCP   www.example.org\n");
    let json: serde_json::Value = serde_json::from_str(&text("json", false)).unwrap();
    assert_eq!(json[2]["octetDeltaCount"], 2340);
    assert_eq!(json[2]["reverseOctetDeltaCount"], 1_800_000);
    assert_eq!(json[2]["httpRequestHost"], "www.example.org");
    assert_eq!(json[2]["tcpControlBits"], 0x1b);
    assert_eq!(json[0]["dnsAnswers"][0], "www.example.org 60 A 192.0.2.80");
    assert_eq!(json[0]["sourceIPv6Address"], "2001:db8:1:2:3::4");
    assert_eq!(json[1]["icmpTypeCodeIPv4"], 0x800);
    let lines: Vec<serde_json::Value> =
        text("ndjson", true).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(json, serde_json::Value::Array(lines));
}

#[test]
fn statistics_look_as_those_of_nfdump() {
    let (_dir, store) = store(&sample());
    let options = |stat: &str| QueryOptions { stats: vec![Stat::parse(stat).unwrap()], ..QueryOptions::default() };
    let whole = ask(&store, options("srcip/bytes"));
    let lines: Vec<_> = whole.lines().collect();
    assert_eq!(
        lines[..5],
        [
            "Top 10 Src IP Addr ordered by bytes:",
            "Date first seen          Duration Proto       Src IP Addr    Flows(%)     Packets(%)       Bytes(%)         pps      bps   bpp",
            "2026-11-20 14:05:01.500    63.545 any        192.168.1.10        2(66.7)       33(97.1)    1.8 M(100.0)        0   226916 54618",
            "2026-11-20 14:05:01.000     0.002 any   2001:db8:1:2:3::4        1(33.3)        1( 2.9)       80( 0.0)      500   320000    80",
            "",
        ]
    );
    let csv = ask(&store, QueryOptions { format: Some(Format::Csv), ..options("dstport:p/ibyte") });
    assert_eq!(
        csv.lines().take(2).collect::<Vec<_>>(),
        [
            "ts,te,td,pr,val,fl,flP,ipkt,ipktP,ibyt,ibytP,ipps,ibps,ibpp",
            "2026-11-20 14:05:01.500,2026-11-20 14:06:05.045,63.545,TCP,80,1,33.3,12,85.7,2340,93.5,0,294,195",
        ]
    );
    // Fields of applications, lists among them, are elements as any other.
    let csv = |stat: &str| ask(&store, QueryOptions { format: Some(Format::Csv), quiet: true, ..options(stat) });
    assert!(csv("http.host/flows").contains(",any,www.example.org,1,"), "{}", csv("http.host/flows"));
    assert!(csv("dns.answers").contains("www.example.org 60 A 192.0.2.80,1,"), "{}", csv("dns.answers"));
    assert_eq!(csv("app").lines().count(), 2);
    assert_eq!(csv("record/packets").lines().next().unwrap().split(',').nth(3), Some("192.168.1.10"));
}

#[test]
fn lists_can_be_bounded_and_ordered() {
    let (_dir, store) = store(&sample());
    let protocols = |options| {
        let format = Some(Format::parse("fmt:%pr").unwrap());
        let text = ask(&store, QueryOptions { format, quiet: true, ..options });
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let order = |text| Some(Order::parse(text).unwrap());
    let all = QueryOptions::default;
    assert_eq!(protocols(QueryOptions { count: Some(2), ..all() }), ["UDP", "ICMP"]);
    assert_eq!(protocols(QueryOptions { order: order("tstart"), ..all() }), ["UDP", "TCP", "ICMP"]);
    assert_eq!(protocols(QueryOptions { order: order("bytes"), top: Some(1), ..all() }), ["TCP"]);
    assert_eq!(protocols(QueryOptions { order: order("bytes"), count: Some(2), ..all() }), ["ICMP", "UDP"]);
    let aggregate = Some(Fields::parse("srcip").unwrap());
    let text = ask(&store, QueryOptions { aggregate, quiet: true, ..all() });
    assert_eq!(
        text.lines().last().unwrap(),
        "2026-11-20 14:05:01.500    63.545     192.168.1.10       13     2424      305    186     2"
    );
}

#[test]
fn sql_reads_and_does_not_write() {
    let (dir, store) = store(&sample());
    let sql = |text: &str, format| {
        let mut out = Vec::new();
        block_on(store.sql(text, format, &mut out)).map(|()| String::from_utf8(out).unwrap())
    };
    assert_eq!(
        sql("SELECT src_ip, proto, sum(octets) AS b FROM flows GROUP BY 1, 2 ORDER BY b DESC", SqlFormat::Csv).unwrap(),
        "src_ip,proto,b\n192.168.1.10,TCP,2340\n192.168.1.10,ICMP,84\n2001:db8:1:2:3::4,UDP,80\n"
    );
    assert_eq!(
        sql("SELECT http_request_host, duration_ms FROM flows WHERE dst4 = ip4('192.0.2.80')", SqlFormat::Json)
            .unwrap(),
        "{\"http_request_host\":\"www.example.org\",\"duration_ms\":63545}\n"
    );
    assert!(sql("SELECT count(*) AS n FROM flows", SqlFormat::Table).unwrap().contains("| 3 |"));
    assert!(sql("SELECT * FROM flows WHERE flow_start > '2026-11-20T14:05:02Z'", SqlFormat::Csv).is_ok());
    let file = dir.path().join("out.csv");
    for text in [
        format!("COPY flows TO '{}'", file.display()),
        "CREATE TABLE t AS SELECT 1".to_owned(),
        "INSERT INTO flows SELECT * FROM flows".to_owned(),
        "DROP TABLE flows".to_owned(),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        "SELECT * FROM '/etc/passwd'".to_owned(),
    ] {
        assert!(matches!(sql(&text, SqlFormat::Table), Err(Error::Query(_))), "{text}");
    }
    assert!(!file.exists());
}

#[test]
fn an_empty_store_has_empty_answers() {
    let (_dir, store) = store(&[]);
    let text = ask(&store, QueryOptions { stats: vec![Stat::parse("srcip").unwrap()], ..QueryOptions::default() });
    assert!(text.contains("total flows: 0"), "{text}");
    assert!(text.contains("Time window: <unknown>"), "{text}");
    let text = ask(&store, QueryOptions { format: Some(Format::Json), ..QueryOptions::default() });
    assert_eq!(text, "[\n]\n");
}
