// SPDX-License-Identifier: MIT OR Apache-2.0
//! Alerts in the Intrusion Detection Extensible Alert format (IDEA0), as Warden and Mentat take it.
//!
//! Each alert of an attack is a message of its own, so it has its own `ID`; `CorrelID` holds the identifier of the attack.
//! Times are event times. `CeaseTime` is the last event so far: whether the attack is over is said by `Note`.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::{
    alert::{Alert, AlertState, Endpoints, Label, protocol_name},
    civil::rfc3339,
};

/// The alert as an IDEA message. `node` is the detector's name in IDEA's reversed-domain form, as in `org.example.weir`.
#[must_use]
pub fn idea(alert: &Alert, node: &str) -> Value {
    let state = match alert.state {
        AlertState::New => "new",
        AlertState::Update => "goes on",
        AlertState::Ended => "ended",
    };
    let mut note = format!("attack {state}, message {}", alert.sequence);
    if let Some(degraded) = &alert.degraded {
        note.push_str("; degraded: ");
        note.push_str(degraded);
    }
    let mut target = side(&alert.targets, alert.protocol);
    let mut source = side(&alert.sources, alert.protocol);
    // A reflector's port belongs to the source of the packets, a scanned port to their target.
    let reflected = alert.sources.roles.iter().any(|r| r == "Backscatter");
    let ported = if reflected { &mut source } else { &mut target };
    let ports: Vec<u16> = alert.ports.iter().flat_map(|r| r.first..=r.last).take(1_024).collect();
    if !ports.is_empty() {
        ported.insert("Port".to_owned(), json!(ports));
    }
    json!({
        "Format": "IDEA0",
        "ID": alert.id.message(alert.sequence).to_string(),
        "CorrelID": [alert.id.to_string()],
        "DetectTime": rfc3339(alert.detect_time),
        "EventTime": rfc3339(alert.first_time),
        "CeaseTime": rfc3339(alert.last_time),
        "Category": [alert.category],
        "Confidence": alert.confidence,
        "Description": alert.description,
        "Note": note,
        "FlowCount": alert.flows,
        "PacketCount": alert.packets,
        "ByteCount": alert.octets,
        "Ref": alert.techniques.iter().map(reference).collect::<Vec<_>>(),
        "Source": [source],
        "Target": [target],
        "Attach": [{
            "Note": "time window (nfdump -t) and filter that return the flows",
            "ContentType": "text/plain",
            "Content": format!("-t {} '{}'", alert.evidence.window, alert.evidence.filter),
        }],
        "Node": [{ "Name": node, "SW": ["Weir", alert.detector], "Type": ["Flow", "Statistical"] }],
    })
}

fn reference(technique: &Label) -> String {
    format!("https://attack.mitre.org/techniques/{}/", technique.replace('.', "/"))
}

fn side(side: &Endpoints, protocol: u8) -> Map<String, Value> {
    let mut map = Map::new();
    let prefixes = side.prefixes.iter().map(|p| (p.address(), p.to_string()));
    // What a prefix says need not be said again by its addresses.
    let single = side.sample.iter().filter(|&&a| !side.prefixes.iter().any(|p| p.contains(a)));
    let (v4, v6): (Vec<_>, Vec<_>) =
        prefixes.chain(single.map(|&a| (a, a.to_string()))).partition(|(a, _)| matches!(a, IpAddr::V4(_)));
    for (key, addresses) in [("IP4", v4), ("IP6", v6)] {
        if !addresses.is_empty() {
            map.insert(key.to_owned(), addresses.into_iter().map(|(_, text)| text).collect());
        }
    }
    if !side.roles.is_empty() {
        map.insert("Type".to_owned(), json!(side.roles));
    }
    if side.count > side.sample.len() as u64 || !side.prefixes.is_empty() {
        map.insert("Imprecise".to_owned(), Value::Bool(true));
    }
    map.insert("Proto".to_owned(), json!([protocol_name(protocol)]));
    map
}

#[cfg(test)]
mod tests {
    use weir_flow::Timestamp;

    use super::*;
    use crate::{alert::AlertId, prefix::PortRange};

    #[test]
    fn a_message_has_what_idea_demands() {
        let first = Timestamp::from_secs(1_700_000_000);
        let alert = Alert {
            id: AlertId::derive("horizontal_scan", "port", "x", first),
            sequence: 2,
            state: AlertState::Ended,
            detector: "horizontal_scan".into(),
            category: "Recon.Scanning".into(),
            first_time: first,
            last_time: Timestamp::from_secs(1_700_000_060),
            detect_time: Timestamp::from_secs(1_700_000_070),
            sources: Endpoints::one(IpAddr::from([192, 0, 2, 1])),
            targets: Endpoints {
                count: 300,
                sample: vec![IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 9, 0, 1])],
                prefixes: vec!["10.0.0.0/24".parse().unwrap()],
                ..Endpoints::default()
            },
            ports: vec![PortRange::one(22)],
            protocol: 6,
            flows: 300,
            techniques: vec!["T1595.001".into()],
            ..Alert::default()
        };
        let message = idea(&alert, "org.example.weir");
        assert_eq!(message["Format"], "IDEA0");
        assert_eq!(message["DetectTime"], "2023-11-14T22:14:30.000000Z");
        assert_eq!(
            message["Target"][0],
            json!({"IP4": ["10.0.0.0/24", "10.9.0.1"], "Imprecise": true, "Port": [22], "Proto": ["tcp"]})
        );
        assert_eq!(message["Source"][0], json!({"IP4": ["192.0.2.1"], "Proto": ["tcp"]}));
        assert_eq!(message["Ref"][0], "https://attack.mitre.org/techniques/T1595/001/");
        assert_eq!(message["Node"][0]["SW"][0], "Weir");
        assert_ne!(message["ID"], message["CorrelID"][0]);
        assert_eq!(message["ID"].as_str().map(str::len), Some(36));
    }
}
