// SPDX-License-Identifier: MIT OR Apache-2.0
//! softflowd replays captures to the collector: packets and octets per flow must be those of the captures.
//!
//! softflowd is a peer that knows nothing of us. Where it is missing the test says so and passes, unless
//! `WEIR_REQUIRE_PEERS=1`.

#![expect(clippy::unwrap_used, reason = "a fixture that is not as expected fails the test")]

mod wire;

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use weir_collector::{Collector, Config, Listen};
use wire::{Keep, Kept};

/// Ethernet, without what softflowd sees otherwise than its flows' ports say: SCTP, fragments of IPv6, tunnels.
const CAPTURES: [&str; 8] = [
    "amplification/dns-fragments",
    "dns/dns-lo",
    "http/http-lo",
    "scan/horizontal",
    "scan/horizontal-ipv6",
    "sip/sip-lo",
    "smtp/smtp-lo",
    "tls/tls-lo",
];

/// Source, destination, ports, protocol: packets and octets.
type Flows = BTreeMap<(String, String, u16, u16, u8), (u64, u64)>;

/// The flows of a capture, from its expected results: lines of
/// `{"src":..,"dst":..,"proto":..,"sport":..,"dport":..,"packets":..,"bytes":..`.
fn expected(path: &Path) -> Flows {
    let text = fs::read_to_string(path).unwrap();
    let mut flows = Flows::new();
    for line in text.lines().filter(|line| line.starts_with("{\"src\":")) {
        let field = |name: &str| {
            let value = line.split_once(&format!("\"{name}\":")).unwrap().1;
            value.trim_start_matches('"').split(['"', ',', '}']).next().unwrap().to_owned()
        };
        let number = |name: &str| field(name).parse::<u64>().unwrap();
        let small = |name: &str| u16::try_from(number(name)).unwrap();
        let key = (field("src"), field("dst"), small("sport"), small("dport"), u8::try_from(number("proto")).unwrap());
        let flow = flows.entry(key).or_default();
        *flow = (flow.0 + number("packets"), flow.1 + number("bytes"));
    }
    flows
}

fn seen(records: &[Kept]) -> Flows {
    let mut flows = Flows::new();
    for record in records {
        let (src, dst, ports) = (record.src.to_string(), record.dst.to_string(), record.ports);
        // softflowd's biflows may have packets in the reverse direction only.
        if record.packets > 0 {
            let flow = flows.entry((src.clone(), dst.clone(), ports.0, ports.1, record.protocol)).or_default();
            *flow = (flow.0 + record.packets, flow.1 + record.octets);
        }
        if record.reverse.0 > 0 {
            let flow = flows.entry((dst, src, ports.1, ports.0, record.protocol)).or_default();
            *flow = (flow.0 + record.reverse.0, flow.1 + record.reverse.1);
        }
    }
    flows
}

fn replay(capture: &Path, to: SocketAddr, options: &[&str]) {
    let mut command = Command::new(softflowd().unwrap());
    // Without `-c none` it may hang at its control socket; its default cache evicts.
    command.arg("-r").arg(capture).args(["-n", &to.to_string(), "-c", "none", "-d", "-m", "100000"]);
    let status = command.args(options).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{status}");
}

fn softflowd() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join("softflowd")).find(|program| program.is_file())
}

#[test]
fn packets_and_octets_of_each_flow_are_those_of_the_capture() {
    if softflowd().is_none() {
        assert!(std::env::var("WEIR_REQUIRE_PEERS").as_deref() != Ok("1"), "softflowd is not installed");
        eprintln!("skipped: softflowd is not installed");
        return;
    }
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pcaps");
    for name in CAPTURES {
        let capture = captures.join(format!("{name}.pcap"));
        let expected = expected(&captures.join(format!("{name}.expected.json")));
        assert!(expected.len() > 1, "{name}");
        let without_ipv6: Flows = expected.clone().into_iter().filter(|(key, _)| !key.0.contains(':')).collect();
        for options in [&["-v", "5"][..], &["-v", "9"], &["-v", "10"], &["-v", "10", "-b"]] {
            let config = Config { listen: vec![Listen::Udp(([127, 0, 0, 1], 0).into())], ..Config::default() };
            let collector = Collector::start(config, Keep::default(), |_| ()).unwrap();
            replay(&capture, collector.listening()[0].address(), options);
            // What softflowd has sent is in the socket when it ends: there is nothing to wait for.
            let (kept, snapshot) = collector.stop().unwrap();
            let what = format!("{name} {options:?}: {:?}", snapshot.decoded);
            let carried = if options == ["-v", "5"] { &without_ipv6 } else { &expected };
            assert_eq!(&seen(&kept.0), carried, "{what}");
            let decoded = &snapshot.decoded;
            assert!(decoded.closes(&snapshot.held), "{what}");
            assert_eq!(decoded.records, kept.0.len() as u64);
            assert_eq!((snapshot.held.waiting_sets, decoded.records_damaged, decoded.templates_damaged), (0, 0, 0));
            assert_eq!((decoded.sequence_gaps, decoded.messages_late, decoded.exporter_restarts), (0, 0, 0), "{what}");
            // softflowd takes the time of the last packet for now.
            assert!(kept.0.iter().all(|r| r.first <= r.last && r.first.as_secs() > 1_500_000_000), "{what}");
        }
    }
}
