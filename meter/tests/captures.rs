// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets and octets of each 5-tuple of the corpus of captures, against what tshark reads in them.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_flow::ledger::Ignored;
use weir_flow::{Packet, SourceState, protocol};
use weir_metering::capture;
use weir_parsers::packet::{Fragment, decode};

type Tuple = (IpAddr, IpAddr, u8, u16, u16);
type Sums = BTreeMap<Tuple, (u64, u64)>;

/// Link layers under the first IP header that are not decoded, as tshark names them.
const NOT_DECODED: [&str; 7] = ["arcnet", "fr", "ipnet", "ipoib", "pktap", "user_dlt", "wlan"];

/// Captures whose sums differ, and why.
const KNOWN: [(&str, &str); 4] = [
    ("libtrace__complex.pcapng", "tshark counts custom blocks as packets"),
    (
        "zeek__cisco-fabric-path.pcap",
        "tshark reads a payload length of zero as offload if nothing pads the frame, and gives up",
    ),
    ("zeek__trunc_ipv4-internally-truncated-header.pcap", "IPv4 options cut off: metered here, not shown by tshark"),
    ("zeek__trunc_mpls-6in6-broken.pcap.gz", "IPv4 options cut off: metered here, not shown by tshark"),
];

fn corpus() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let dir = std::env::var_os("WEIR_CORPUS").map_or_else(|| root.join("../shared/pcaps"), PathBuf::from);
    if dir.join("expected").is_dir() {
        return Some(dir);
    }
    eprintln!("skipped: no corpus of captures at {} (WEIR_CORPUS)", dir.display());
    None
}

/// Sums of a capture, and how many packets it has and were ignored.
fn read(path: &Path) -> Result<(Sums, u64, Ignored), Box<dyn Error>> {
    let mut sums = Sums::new();
    let (mut packets, mut ignored) = (0, Ignored::default());
    let mut source = capture::open(path.to_str().ok_or("path is not text")?)?;
    loop {
        let state = source.poll(&mut |batch| {
            for packet in batch {
                packets += 1;
                match decode(packet) {
                    Ok(decoded) => {
                        assert!(
                            decoded.payload.len() <= decoded.payload_octets as usize,
                            "{}: {decoded:?}",
                            path.display()
                        );
                        assert!(!matches!(decoded.fragment, Fragment::Later { .. }) || decoded.key.src_port == 0);
                        let key = decoded.key;
                        let tuple = (key.source(), key.destination(), key.protocol, key.src_port, key.dst_port);
                        let sum = sums.entry(tuple).or_insert((0, 0));
                        *sum = (sum.0 + 1, sum.1 + decoded.ip_octets);
                    }
                    Err(why) => why.count(&mut ignored),
                }
            }
        });
        match state {
            Ok(SourceState::End) => break,
            Ok(_) => {}
            // What was before the damage counts, as it does for tshark.
            Err(error) => {
                println!("{}: {error}", path.display());
                break;
            }
        }
    }
    Ok((sums, packets, ignored))
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_default()
}

/// The tuple that fragments and packets without a readable transport header share with their flow.
fn without_ports(tuple: Tuple) -> Tuple {
    (tuple.0, tuple.1, tuple.2, 0, 0)
}

fn sum(sums: &Sums, tuple: Tuple) -> (u64, u64) {
    let same = sums.iter().filter(|(other, _)| without_ports(**other) == without_ports(tuple));
    same.fold((0, 0), |(packets, octets), (_, sum)| (packets + sum.0, octets + sum.1))
}

/// Sums as tshark sees them, and the tuples without ports that hold packets whose ports it could not tell.
fn expected(value: &Value) -> Result<(Sums, BTreeSet<Tuple>), Box<dyn Error>> {
    let mut sums = Sums::new();
    let mut inexact = BTreeSet::new();
    for flow in value["flows"].as_array().ok_or("no flows")? {
        let address = |name: &str| flow[name].as_str().unwrap_or_default().parse::<IpAddr>();
        let protocol = u8::try_from(number(flow, "proto"))?;
        let port = |name| if protocol::has_ports(protocol) { u16::try_from(number(flow, name)) } else { Ok(0) };
        let tuple = (address("src")?, address("dst")?, protocol, port("sport")?, port("dport")?);
        if number(flow, "fragments") + number(flow, "noports") > 0 {
            inexact.insert(without_ports(tuple));
        }
        let sum = sums.entry(tuple).or_insert((0, 0));
        *sum = (sum.0 + number(flow, "packets"), sum.1 + number(flow, "bytes"));
    }
    Ok((sums, inexact))
}

#[test]
fn sums_equal_those_of_tshark() -> Result<(), Box<dyn Error>> {
    let Some(corpus) = corpus() else { return Ok(()) };
    let zero_length = fs::read_to_string(corpus.join("zero_length_ip.txt"))?;
    let zero_length: BTreeSet<&str> = zero_length.split_whitespace().collect();
    let mut different = 0;
    let mut captures: Vec<PathBuf> = fs::read_dir(corpus.join("captures"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    captures.sort();
    for path in &captures {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or("name is not text")?;
        let json: Value = serde_json::from_slice(&fs::read(corpus.join("expected").join(format!("{name}.json")))?)?;
        let encapsulations = json["encapsulations"].as_object().ok_or("no encapsulations")?;
        if encapsulations.keys().flat_map(|path| path.split(':')).any(|layer| NOT_DECODED.contains(&layer)) {
            continue;
        }
        let (got, packets, ignored) = match read(path) {
            Ok(read) => read,
            Err(error) if number(&json, "packets") == 0 => {
                println!("{name}: {error}");
                continue;
            }
            Err(error) => return Err(format!("{name}: {error}").into()),
        };
        let metered: u64 = got.values().map(|(packets, _)| packets).sum();
        assert_eq!(packets, metered + ignored.values().iter().sum::<u64>(), "{name}: the ledger does not close");
        let (want, inexact) = expected(&json)?;
        let mut differences = String::new();
        if packets != number(&json, "packets") {
            differences += &format!("    {packets} packets, tshark {}\n", number(&json, "packets"));
        }
        if zero_length.contains(name) {
            if metered != number(&json, "ip_packets") {
                differences += &format!("    {metered} IP packets, tshark {}\n", number(&json, "ip_packets"));
            }
        } else {
            for tuple in got.keys().chain(want.keys()).collect::<BTreeSet<_>>() {
                let forgiven = inexact.contains(&without_ports(*tuple)) && sum(&got, *tuple) == sum(&want, *tuple);
                if got.get(tuple) != want.get(tuple) && !forgiven {
                    differences += &format!("    {tuple:?}: {:?}, tshark {:?}\n", got.get(tuple), want.get(tuple));
                }
            }
        }
        let known = KNOWN.iter().find(|(known, _)| *known == name);
        match (differences.is_empty(), known) {
            (true, None) => {}
            (false, Some((_, why))) => println!("{name} differs: {why}"),
            (false, None) => {
                different += 1;
                println!("{name}: {ignored:?}\n{differences}");
            }
            (true, Some(_)) => {
                different += 1;
                println!("{name} differs no more: take it from the list");
            }
        }
    }
    assert_eq!(different, 0, "captures with other sums, of {}", captures.len());
    Ok(())
}

#[test]
fn packets_cut_at_any_octet_are_decoded_or_ignored() -> Result<(), Box<dyn Error>> {
    let Some(corpus) = corpus() else { return Ok(()) };
    let mut cuts = 0_u64;
    for entry in fs::read_dir(corpus.join("captures"))? {
        let path = entry?.path();
        let mut source = capture::open(path.to_str().ok_or("path is not text")?)?;
        while let Ok(SourceState::More) = source.poll(&mut |batch| {
            for packet in batch {
                // Headers end long before this.
                for len in 0..packet.data.len().min(160) {
                    cuts += 1;
                    if let Ok(decoded) = decode(&Packet { data: &packet.data[..len], ..*packet }) {
                        assert!(decoded.payload.len() <= len);
                        assert!(decoded.payload.len() <= decoded.payload_octets as usize);
                        assert!(u64::from(decoded.payload_octets) <= decoded.ip_octets);
                    }
                }
            }
        }) {}
    }
    assert!(cuts > 1_000_000);
    Ok(())
}
