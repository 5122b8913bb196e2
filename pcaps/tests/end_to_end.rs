// SPDX-License-Identifier: MIT OR Apache-2.0
//! The real programs over real sockets: what the meter exports is what the collector stores, what other collectors
//! receive, and what queries answer.
//!
//! Programs of others are peers: where one is missing the test says so and passes, unless `WEIR_REQUIRE_PEERS=1`.

#![expect(clippy::unwrap_used, reason = "a fixture that is not as expected fails the test")]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    net::UdpSocket,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn weir_meter(captures: &[PathBuf], export: &str) -> Output {
    run(Command::new(weir_pcaps::program("weir-meter")).arg("-r").args(captures).args(["--export", export]))
}

/// The records of the captures as the meter writes them to JSON.
fn records(captures: &[PathBuf]) -> Vec<Value> {
    let output = weir_meter(captures, "json:-");
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(record: &Value, name: &str) -> u64 {
    record[name].as_u64().unwrap_or(0)
}

/// Records, packets and octets, both directions together.
fn totals(records: &[Value]) -> (u64, u64, u64) {
    let sum = |names: [&str; 2]| records.iter().map(|r| number(r, names[0]) + number(r, names[1])).sum::<u64>();
    (
        records.len() as u64,
        sum(["packetDeltaCount", "reversePacketDeltaCount"]),
        sum(["octetDeltaCount", "reverseOctetDeltaCount"]),
    )
}

/// A collector that ends by itself; killed if the test fails before that.
struct Collector {
    child: Child,
    address: String,
    said: BufReader<std::process::ChildStderr>,
}

impl Collector {
    fn start(data: &Path, transport: &str, limits: &[&str]) -> Self {
        let listen = format!("{transport}://127.0.0.1:0");
        let mut child = Command::new(weir_pcaps::program("weir"))
            .args(["collect", "--listen", &listen, "--data"])
            .arg(data)
            .args(limits)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let address = line.trim().rsplit("://").next().unwrap().to_owned();
        assert!(line.contains("listening"), "{line}");
        Self { child, address, said }
    }

    /// Waits for its end, and gives what it said.
    fn wait(mut self) -> String {
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.said, &mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        said
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sql(data: &Path, question: &str) -> Vec<Value> {
    let output =
        run(Command::new(weir_pcaps::program("weir")).args(["sql", "-o", "json", question, "--data"]).arg(data));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Rows, packets and octets of a store.
fn stored(data: &Path) -> (u64, u64, u64) {
    let rows = sql(
        data,
        "select count(*) as records, sum(packets + reverse_packets) as packets, \
         sum(octets + reverse_octets) as octets from flows",
    );
    (number(&rows[0], "records"), number(&rows[0], "packets"), number(&rows[0], "octets"))
}

#[test]
fn what_is_exported_over_tcp_and_udp_is_received_and_stored() {
    let all = weir_pcaps::bundled();
    // Over UDP no more than the smallest receive buffer holds: whatever the scheduler does, nothing is lost.
    let few = ["http/http-lo.pcap", "tls/tls-lo.pcap", "sip/sip-lo.pcap"].map(|name| weir_pcaps::folder().join(name));
    for (transport, captures) in [("tcp", &all[..]), ("udp", &few)] {
        let exported = totals(&records(captures));
        assert!(exported.0 > 50);
        let data = tempfile::tempdir().unwrap();
        let limits = ["--records", &exported.0.to_string(), "--quiet-after", "10"];
        let collector = Collector::start(data.path(), transport, &limits);
        weir_meter(captures, &format!("{transport}://{}", collector.address));
        let said = collector.wait();
        assert_eq!(stored(data.path()), exported, "{transport}: {said}");
    }
}

/// Numbers, lists and octets, of both directions.
#[test]
fn statistics_reach_the_store() {
    let of = |record: &Value| {
        ["flowId", "packetLength", "packetTime", "packetDirection", "phistDstSizes", "npnRoundTripTime", "reverseIpTTL"]
            .map(|name| record[name].to_string())
            .join(" ")
    };
    let capture = weir_pcaps::folder().join("http/http-lo.pcap");
    let meter = |export: &str| {
        let mut command = Command::new(weir_pcaps::program("weir-meter"));
        run(command.arg("-r").arg(&capture).args(["--statistics", "all", "--export", export]))
    };
    let sorted = |output: Output| {
        let lines = String::from_utf8(output.stdout).unwrap();
        let mut records: Vec<String> = lines.lines().map(|line| of(&serde_json::from_str(line).unwrap())).collect();
        records.sort();
        records
    };
    let expected = sorted(meter("json:-"));
    assert!(expected.len() > 5 && expected.iter().all(|record| record.ends_with(" 64") || record.ends_with(" null")));
    let data = tempfile::tempdir().unwrap();
    let limits = ["--records", &expected.len().to_string(), "--quiet-after", "10"];
    let collector = Collector::start(data.path(), "tcp", &limits);
    meter(&format!("tcp://{}", collector.address));
    collector.wait();
    let query = |filter: &str| {
        let mut command = Command::new(weir_pcaps::program("weir"));
        sorted(run(command.args(["query", "-q", "-o", "ndjson", filter, "--data"]).arg(data.path())))
    };
    assert_eq!(query("any"), expected);
    let timed = query("stats.handshake_time >= 0 and stats.retransmissions = 0");
    assert!(!timed.is_empty() && timed.iter().all(|record| expected.contains(record)));
}

#[test]
fn softflowd_reaches_the_store() {
    let Some(softflowd) = peer("softflowd") else { return };
    let capture = weir_pcaps::folder().join("http/http-lo.pcap");
    let (_, packets, octets) = totals(&records(std::slice::from_ref(&capture)));
    for version in ["5", "9", "10"] {
        let data = tempfile::tempdir().unwrap();
        let collector = Collector::start(data.path(), "udp", &["--quiet-after", "2"]);
        run(Command::new(&softflowd).arg("-r").arg(&capture).args([
            "-n",
            &collector.address,
            "-v",
            version,
            "-c",
            "none",
            "-d",
        ]));
        let said = collector.wait();
        let (rows, stored_packets, stored_octets) = stored(data.path());
        assert!(rows > 0, "version {version}: {said}");
        assert_eq!((stored_packets, stored_octets), (packets, octets), "version {version}: {said}");
    }
}

#[test]
fn nfcapd_receives_the_same_flows() {
    let (Some(nfcapd), Some(nfdump)) = (peer("nfcapd"), peer("nfdump")) else { return };
    let captures = [weir_pcaps::folder().join("http/http-lo.pcap"), weir_pcaps::folder().join("dns/dns-lo.pcap")];
    // nfdump knows the counters of one direction.
    let uniflows = {
        let output = run(Command::new(weir_pcaps::program("weir-meter"))
            .args(["--uniflow", "-e", "json:-", "-r"])
            .args(&captures));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let (records, packets, octets) = totals(&uniflows);
    let folder = tempfile::tempdir().unwrap();
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut child = Command::new(nfcapd)
        .args(["-p", &port.to_string(), "-b", "127.0.0.1", "-t", "3600", "-l"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It listens once its socket is in the kernel's table.
    let hex = format!(":{port:04X} ");
    while !fs::read_to_string("/proc/net/udp").unwrap().contains(&hex) {
        assert!(child.try_wait().unwrap().is_none(), "nfcapd ended");
        std::thread::yield_now();
    }
    run(Command::new(weir_pcaps::program("weir-meter"))
        .args(["--uniflow", "--export", &format!("udp://127.0.0.1:{port}"), "-r"])
        .args(&captures));
    // It has taken everything when its receive queue is empty; then it is asked to end, and writes its file.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !queue_is_empty(&hex) {
        assert!(std::time::Instant::now() < until, "nfcapd does not read");
        std::thread::yield_now();
    }
    run(Command::new("kill").args(["-TERM", &child.id().to_string()]));
    child.wait().unwrap();
    let output = run(Command::new(nfdump).arg("-R").arg(folder.path()).args(["-o", "csv", "-q", "-N"]));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut seen = (0, 0, 0);
    for line in text.lines().filter(|line| line.starts_with("20")) {
        let columns: Vec<&str> = line.split(',').collect();
        let column = |i: usize| columns[i].trim().parse::<u64>().unwrap();
        // ts te td sa da sp dp pr flg fwd stos ipkt ibyt ...
        seen = (seen.0 + 1, seen.1 + column(11), seen.2 + column(12));
    }
    assert_eq!(seen, (records, packets, octets), "{text}");
}

fn queue_is_empty(port: &str) -> bool {
    let table = fs::read_to_string("/proc/net/udp").unwrap();
    let queue = table.lines().find(|l| l.contains(port)).and_then(|l| l.split_whitespace().nth(4).map(str::to_owned));
    queue.is_none_or(|queue| queue.ends_with(":00000000"))
}

#[test]
fn tshark_reads_every_message_without_a_complaint() {
    let Some(tshark) = peer("tshark") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.ipfix");
    let mut captures = weir_pcaps::bundled();
    if let Some(corpus) = weir_pcaps::corpus("tshark on the corpus") {
        // Some of them are damaged on purpose; what comes before the damage is exported.
        captures.extend(weir_pcaps::corpus_captures(&corpus));
    }
    let mut command = Command::new(weir_pcaps::program("weir-meter"));
    command.args(["-q", "-e", &format!("file:{}", file.display()), "-r"]).args(&captures);
    command.stderr(Stdio::null()).status().unwrap();
    let text =
        String::from_utf8_lossy(&run(Command::new(tshark).args(["-n", "-V", "-r"]).arg(&file)).stdout).into_owned();
    let complaint = ["Malformed", "No template", "Expert Info", "[Undecoded", "no template found"];
    let bad: Vec<&str> = text.lines().filter(|l| complaint.iter().any(|c| l.contains(c))).collect();
    assert!(bad.is_empty(), "{bad:?}");
    let messages = text.lines().filter(|l| l.contains("Version: 10")).count();
    assert!(messages > 10, "{messages} messages");
}

/// A program of somebody else's.
fn peer(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|program| program.is_file());
    if found.is_none() {
        assert!(std::env::var("WEIR_REQUIRE_PEERS").as_deref() != Ok("1"), "{name} is not installed");
        println!("skipped: {name} is not installed");
    }
    found
}

/// A store of all bundled captures, and their records as JSON.
fn store_and_records() -> (tempfile::TempDir, Vec<Value>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.ipfix");
    let captures = weir_pcaps::bundled();
    weir_meter(&captures, &format!("file:{}", file.display()));
    let data = folder.path().join("data");
    run(Command::new(weir_pcaps::program("weir")).args(["collect", "--read"]).arg(&file).arg("--data").arg(&data));
    (folder, records(&captures))
}

fn count(data: &Path, filter: &str) -> u64 {
    let output =
        run(Command::new(weir_pcaps::program("weir")).args(["query", "-q", "-o", "csv", filter, "--data"]).arg(data));
    String::from_utf8(output.stdout).unwrap().lines().filter(|line| line.starts_with("20")).count() as u64
}

type Test = fn(&Value) -> bool;

fn port(r: &Value, name: &str) -> u64 {
    number(r, name)
}
fn has_port(r: &Value, wanted: u64) -> bool {
    [port(r, "sourceTransportPort"), port(r, "destinationTransportPort")].contains(&wanted)
}
fn is(r: &Value, protocol: u64) -> bool {
    number(r, "protocolIdentifier") == protocol
}
fn text<'a>(r: &'a Value, name: &str) -> &'a str {
    r[name].as_str().unwrap_or("")
}

#[test]
fn filters_answer_as_a_plain_computation_does() {
    let (folder, records) = store_and_records();
    let data = folder.path().join("data");
    let questions: &[(&str, Test)] = &[
        ("any", |_| true),
        ("proto tcp", |r| is(r, 6)),
        ("not proto tcp", |r| !is(r, 6)),
        ("proto udp and port 53", |r| is(r, 17) && has_port(r, 53)),
        ("dst port > 1024 and proto tcp", |r| is(r, 6) && port(r, "destinationTransportPort") > 1024),
        ("port in [80 443]", |r| has_port(r, 80) || has_port(r, 443)),
        ("src ip 192.0.2.66", |r| text(r, "sourceIPv4Address") == "192.0.2.66"),
        ("ip 198.51.100.53 and not src port 53", |r| {
            [text(r, "sourceIPv4Address"), text(r, "destinationIPv4Address")].contains(&"198.51.100.53")
                && port(r, "sourceTransportPort") != 53
        }),
        ("net 192.0.2.0/24", |r| {
            ["sourceIPv4Address", "destinationIPv4Address"].iter().any(|n| text(r, n).starts_with("192.0.2."))
        }),
        ("inet6", |r| r["sourceIPv6Address"].is_string()),
        ("bytes > 1k", |r| number(r, "octetDeltaCount") > 1000),
        ("packets < 3 or bytes > 1m", |r| {
            number(r, "packetDeltaCount") < 3 || number(r, "octetDeltaCount") > 1_000_000
        }),
        ("proto tcp and flags S and not flags AFRPU", |r| is(r, 6) && number(r, "tcpControlBits") & 0x3f == 0x02),
        ("vlan 100", |r| number(r, "vlanId") == 100),
        ("exists http.host", |r| !text(r, "httpRequestHost").is_empty()),
        ("http.host = 'www.example.com'", |r| text(r, "httpRequestHost") == "www.example.com"),
        ("dns.qname contains example", |r| text(r, "dnsQueryName").contains("example")),
        ("tls.sni =~ '^(www|shop)[.]'", |r| ["www.", "shop."].iter().any(|p| text(r, "tlsServerName").starts_with(p))),
        ("http.status >= 400 or dns.rcode = 3", |r| {
            number(r, "httpStatusCode") >= 400 || number(r, "dnsResponseCode") == 3
        }),
        ("! (proto tcp || proto udp) && bytes > 0", |r| !is(r, 6) && !is(r, 17) && number(r, "octetDeltaCount") > 0),
    ];
    for (filter, test) in questions {
        let expected = records.iter().filter(|r| test(r)).count() as u64;
        assert_eq!(count(&data, filter), expected, "{filter}");
    }
}

#[test]
fn statistics_answer_as_a_plain_computation_does() {
    let (folder, records) = store_and_records();
    let data = folder.path().join("data");
    let mut sums: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    for record in &records {
        let src = record["sourceIPv4Address"].as_str().or(record["sourceIPv6Address"].as_str()).unwrap();
        let sum = sums.entry(src.to_owned()).or_default();
        // A statistic counts both directions of a biflow.
        let (records, packets, octets) = totals(std::slice::from_ref(record));
        *sum = (sum.0 + records, sum.1 + packets, sum.2 + octets);
    }
    let output = run(Command::new(weir_pcaps::program("weir"))
        .args(["query", "-s", "srcip/bytes", "-n", "0", "-o", "csv", "-N", "-6", "-q", "--data"])
        .arg(&data));
    let answer = String::from_utf8(output.stdout).unwrap();
    let mut seen = BTreeMap::new();
    for line in answer.lines() {
        // ts,te,td,pr,val,fl,flP,ipkt,ipktP,ibyt,ibytP,ipps,ibps,ibpp
        let columns: Vec<&str> = line.split(',').map(str::trim).collect();
        let [_, _, _, _, value, flows, _, packets, _, octets, ..] = columns[..] else { continue };
        let (Ok(flows), Ok(packets), Ok(octets)) = (flows.parse(), packets.parse(), octets.parse()) else { continue };
        let address: std::net::IpAddr = value.parse().unwrap();
        seen.insert(address.to_string(), (flows, packets, octets));
    }
    assert_eq!(seen, sums, "{answer}");
}

/// Fields of a protocol that are expected but not reported, and reported but not expected, with a reason for which the one who
/// expects is wrong: by the lines "FILE: PROTOCOL: N missed, N more: reason".
fn known_differences(protocol: &str) -> (f64, f64) {
    let listed = fs::read_to_string(weir_pcaps::folder().join("known-differences.txt")).unwrap();
    let mut sums = (0.0, 0.0);
    for line in listed.lines().filter(|line| !line.starts_with('#')) {
        let parts: Vec<&str> = line.splitn(4, ": ").collect();
        let &[_, slug, numbers, _] = &parts[..] else { continue };
        let number = |name: &str| numbers.split(", ").find_map(|n| n.strip_suffix(name)?.trim().parse::<f64>().ok());
        if slug == protocol {
            sums.0 += number("missed").unwrap();
            sums.1 += number("more").unwrap();
        }
    }
    sums
}

#[test]
fn application_fields_agree_with_the_corpus() {
    let Some(corpus) = weir_pcaps::corpus("application_fields_agree_with_the_corpus") else { return };
    let Some(python) = peer("python3") else { return };
    let folder = tempfile::tempdir().unwrap();
    let scores = folder.path().join("scores.json");
    // Its exit status also judges protocols that are not parsed; the figures are in the file.
    Command::new(python)
        .arg(corpus.join("score-all"))
        .arg("--json")
        .arg(&scores)
        .arg("--")
        .arg(weir_pcaps::program("weir-meter"))
        .args(["-q", "-r", "{}", "--export", "json:-"])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    let scores: Value = serde_json::from_str(&fs::read_to_string(scores).unwrap()).unwrap();
    assert_eq!(scores["broken"].as_array().map(Vec::len), Some(0), "{}", scores["broken"]);
    for protocol in ["dns", "http", "quic", "sip", "smtp", "tls"] {
        let of = |name: &str| number(&scores["protocols"][protocol], name) as f64;
        let (missed, more) = known_differences(protocol);
        let (recall, precision) = ((of("found") + missed) / of("required"), (of("right") + more) / of("reported"));
        println!("{protocol}: recall {recall:.4}, precision {precision:.4}");
        assert!(recall >= 0.99 && precision >= 0.995, "{protocol}: recall {recall:.4}, precision {precision:.4}");
    }
}
