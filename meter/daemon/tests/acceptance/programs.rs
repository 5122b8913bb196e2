// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real programs talk through a mirror port: flows and names are right, and octets are those that the interface counts.
//!
//! A client and a server are on a bridge that forgets at once who is where, so that it sends all to all of its ports, also to the
//! one that the meter captures: `mirror0`, which has no address, and sees both directions come in.
//!
//! What the meter delivers are frames from the Ethernet header on; what it meters is from the IP header on. So
//! `delivered_octets = metered_octets + 14 for each packet`, and ARP, of 42 octets, is ignored. The interface counts the same as is
//! delivered, but for
//!
//! - a veth that works by NAPI, as it does with GRO or an XDP program: it counts octets without the Ethernet header;
//! - packets that the sender left to be cut (TSO): the interface counts one, and its headers once; the meter as many as there
//!   would be on a wire, and headers that many times. These are 66 octets: Ethernet, IPv4, TCP with timestamps.

use std::fs;

use serde_json::Value;

use crate::{
    LAYERS, assert_closes,
    common::{
        Meter,
        netns::{Namespace, offload},
        number,
    },
    ended, ignored, lost,
    peers::{self, Server},
};

const MIRROR: &str = "mirror0";
/// Octets of an Ethernet header.
const ETHERNET: u64 = 14;
/// Octets of a frame of ARP, link header included.
const ARP: u64 = 42;
/// Octets of the headers of a TCP segment with timestamps, link header included.
const HEADERS: u64 = ETHERNET + 20 + 32;

/// A name server for A records, which has the same answer to all questions.
const NAME_SERVER: &str = "
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(('10.7.0.2', 53))
print('ready', flush=True)
while True:
    query, client = server.recvfrom(512)
    end = query.index(0, 12) + 5
    head = query[:2] + bytes.fromhex('858000010001') + bytes(4)
    answer = bytes.fromhex('c00c000100010000003c0004c0000207')
    server.sendto(head + query[12:end] + answer, client)
";

/// A client at 10.7.0.1, a server at 10.7.0.2, and a port on which all is heard that they say.
struct Lab {
    client: Namespace,
    server: Namespace,
    meter: Namespace,
    bridge: Namespace,
}

/// How packets are merged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Merging {
    /// Not at all.
    None,
    /// The sender leaves it to others to cut (TSO).
    BySender,
    /// The interface on which they are captured does it (GRO).
    ByReceiver,
}

impl Lab {
    fn new(merging: Merging) -> Option<Self> {
        let namespaces = [Namespace::new()?, Namespace::new()?, Namespace::new()?];
        let bridge = Namespace::new()?;
        bridge.ip("link add br0 type bridge ageing_time 0 mcast_snooping 0");
        bridge.ip("link set br0 up");
        for (namespace, name) in namespaces.iter().zip(["client0", "server0", MIRROR]) {
            bridge.ip(&format!("link add {name} type veth peer name {name} netns {}", namespace.name()));
            bridge.ip(&format!("link set {name} master br0 up"));
            for what in [offload::TSO, offload::GSO] {
                namespace.set_offload(name, what, merging == Merging::BySender);
                bridge.set_offload(name, what, merging == Merging::BySender);
            }
            namespace.set_offload(name, offload::GRO, name == MIRROR && merging == Merging::ByReceiver);
            namespace.ip(&format!("link set {name} up"));
        }
        let [client, server, meter] = namespaces;
        client.ip("addr add 10.7.0.1/24 dev client0");
        server.ip("addr add 10.7.0.2/24 dev server0");
        Some(Self { client, server, meter, bridge })
    }

    /// A meter on the port, with room for all that comes here.
    fn meter(&self, layer: &str) -> Meter {
        Meter::start(
            &self.meter,
            &format!("-i {MIRROR} --capture {layer} --memory 256MiB --export json:DIR/flows.json"),
        )
    }

    /// Octets and packets that the port has received.
    fn received(&self) -> [u64; 2] {
        ["rx_octets", "rx_packets"].map(|name| self.meter.counter(MIRROR, name))
    }

    /// Waits until the meter has all that the port received, ends it, and sees that the counters agree.
    fn end(&self, meter: Meter, layer: &str, merging: Merging) -> Vec<Value> {
        // What the programs still have to say to each other comes no more: nothing is counted by one and not by the other.
        self.bridge.ip(&format!("link set {MIRROR} nomaster"));
        // Where the interface counts packets before it merges them, or after it was given merged ones.
        let (section, counter) = if merging == Merging::BySender {
            ("capture", "offered_packets")
        } else {
            ("metered", "delivered_packets")
        };
        meter.wait_until("all that was received", |all| number(all, section, counter) >= self.received()[1]);
        let (ledger, records) = ended(meter);
        let [octets, packets] = self.received();
        let name = format!("{layer}, {merging:?}");
        let count = |counter| number(&ledger, "metered", counter);
        assert_eq!(lost(&ledger), 0, "{name}: {ledger:#}");
        assert_closes(&ledger, &name);
        let [delivered, delivered_packets] = [count("delivered_octets"), count("delivered_packets")];
        assert_eq!(ignored(&ledger), number(&ledger, "ignored", "not_ip"), "{name}: only ARP: {ledger:#}");
        assert_eq!(
            delivered,
            count("metered_octets") + ETHERNET * count("metered_packets") + ARP * ignored(&ledger),
            "{name}: {ledger:#}"
        );
        // See the head of this file.
        let without_headers = if layer == "xdp" || merging == Merging::ByReceiver { ETHERNET * packets } else { 0 };
        let repeated_headers = (delivered_packets - packets) * HEADERS;
        println!(
            "{name}: {delivered} octets delivered, in {delivered_packets} packets = {octets} of the interface, in {packets}, \
             + {without_headers} + {repeated_headers}; {} merged",
            number(&ledger, "capture", "merged_packets")
        );
        assert_eq!(delivered, octets + without_headers + repeated_headers, "{name}: {ledger:#}");
        assert_eq!(delivered_packets > packets, merging == Merging::BySender, "{name}: {ledger:#}");
        let has_merged = number(&ledger, "capture", "merged_packets") > 0;
        assert_eq!(has_merged, merging != Merging::None, "{name}: {ledger:#}");
        assert_eq!(sum(&records, "ctetDeltaCount"), count("metered_octets"), "{name}");
        assert_eq!(sum(&records, "acketDeltaCount"), count("metered_packets"), "{name}");
        records
    }
}

/// The sum of both directions of a counter, named by what its two names end with.
fn sum(records: &[Value], name: &str) -> u64 {
    let fields = records.iter().flat_map(|record| record.as_object().unwrap());
    fields.filter(|(field, _)| field.ends_with(name)).map(|(_, value)| value.as_u64().unwrap()).sum()
}

/// The one record of an application: of the flow from the client to a port of the server.
fn record_of<'a>(records: &'a [Value], application: &str, port: u64) -> &'a Value {
    let found: Vec<_> = records.iter().filter(|record| record["applicationName"] == application).collect();
    let [record] = found[..] else { panic!("{application}: {records:#?}") };
    assert_eq!(record["sourceIPv4Address"], "10.7.0.1", "{record:#}");
    assert_eq!(record["destinationIPv4Address"], "10.7.0.2", "{record:#}");
    assert_eq!(record["destinationTransportPort"], port, "{record:#}");
    record
}

/// Asks servers of the web, of names, and of TLS.
fn talk(lab: &Lab) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("page.html"), "x".repeat(20_000)).unwrap();
    let (key, certificate) = (path("key.pem"), path("certificate.pem"));
    let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=tls.example.net";
    let request: Vec<_> = request.split(' ').chain(["-keyout", &key, "-out", &certificate]).collect();
    peers::run(&lab.server, "openssl", &request);
    let web = ["-u", "-m", "http.server", "8081", "--bind", "10.7.0.2", "--directory", &path("")];
    let _web = Server::start(&lab.server, "python3", &web, "Serving HTTP");
    let _names = Server::start(&lab.server, "python3", &["-c", NAME_SERVER], "ready");
    let tls = ["s_server", "-accept", "10.7.0.2:4433", "-key", &key, "-cert", &certificate, "-www"];
    let _tls = Server::start(&lab.server, "openssl", &tls, "ACCEPT");
    let answer = peers::run(&lab.client, "dig", &["@10.7.0.2", "+short", "mail.example.org", "A"]);
    assert_eq!(answer, "192.0.2.7\n");
    let url = "http://10.7.0.2:8081/page.html";
    let page = peers::run(&lab.client, "curl", &["-s", "--noproxy", "*", "-H", "Host: www.example.com", url]);
    assert_eq!(page.len(), 20_000);
    let tls = ["s_client", "-connect", "10.7.0.2:4433", "-servername", "tls.example.net"];
    assert!(peers::run(&lab.client, "openssl", &tls).contains("CONNECTED"));
}

#[test]
fn programs_are_recognised_and_their_octets_counted() {
    if !peers::are_there(&["curl", "dig", "openssl", "python3"]) {
        return;
    }
    for layer in LAYERS {
        let Some(lab) = Lab::new(Merging::None) else { return };
        let meter = lab.meter(layer);
        talk(&lab);
        let records = lab.end(meter, layer, Merging::None);
        let http = record_of(&records, "http", 8081);
        assert_eq!(http["httpRequestHost"], "www.example.com", "{http:#}");
        assert_eq!(http["httpRequestTarget"], "/page.html", "{http:#}");
        assert_eq!(http["httpStatusCode"], 200, "{http:#}");
        assert!(http["reverseOctetDeltaCount"].as_u64().unwrap() > 20_000, "{http:#}");
        let dns = record_of(&records, "dns", 53);
        assert_eq!(dns["dnsQueryName"], "mail.example.org", "{dns:#}");
        assert_eq!(dns["dnsAnswerIPv4Address"], serde_json::json!(["192.0.2.7"]), "{dns:#}");
        assert_eq!(dns["reversePacketDeltaCount"], 1, "{dns:#}");
        let tls = record_of(&records, "tls", 4433);
        assert_eq!(tls["tlsServerName"], "tls.example.net", "{tls:#}");
    }
}

#[test]
fn bulk_transfers_are_counted_as_on_the_wire() {
    if !peers::are_there(&["iperf3"]) {
        return;
    }
    let cases = [
        ("packet", Merging::None),
        ("pcap", Merging::None),
        ("xdp", Merging::None),
        // libpcap says nothing about merged packets, and AF_XDP gets none.
        ("packet", Merging::BySender),
        ("packet", Merging::ByReceiver),
    ];
    for (layer, merging) in cases {
        const OCTETS: &str = "10000000";
        let Some(lab) = Lab::new(merging) else { return };
        let meter = lab.meter(layer);
        let _server = Server::start(&lab.server, "iperf3", &["-s", "--forceflush"], "Server listening");
        let report = peers::run(&lab.client, "iperf3", &["-c", "10.7.0.2", "-n", OCTETS, "--json"]);
        let report: Value = serde_json::from_str(&report).unwrap();
        let received = report["end"]["sum_received"]["bytes"].as_u64().unwrap();
        let records = lab.end(meter, layer, merging);
        // The connection of commands, and that of data.
        let data = records.iter().max_by_key(|record| record["octetDeltaCount"].as_u64()).unwrap();
        assert_eq!(data["sourceIPv4Address"], "10.7.0.1", "{data:#}");
        assert_eq!(data["destinationTransportPort"], 5201, "{data:#}");
        let (octets, packets) = (data["octetDeltaCount"].as_u64().unwrap(), data["packetDeltaCount"].as_u64().unwrap());
        // Segments have IPv4 and TCP headers with timestamps, but for those that open the connection, whose are longer.
        assert!(octets - packets * (HEADERS - ETHERNET) >= received, "{received}: {data:#}");
        assert!(packets >= received / 1448, "{layer}, {merging:?}: {received}: {data:#}");
    }
}
