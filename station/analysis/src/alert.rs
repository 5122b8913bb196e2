// SPDX-License-Identifier: MIT OR Apache-2.0
//! Alerts: one attack is one identifier with a sequence of alerts: new, update (any number), ended.
//!
//! Everything in an alert comes from records and parameters, so that the same records give the same alerts, octet for
//! octet. Serialised with serde, the field names below are the keys of the JSON lines; they do not change.

use std::{borrow::Cow, fmt, net::IpAddr};

use serde::{Deserialize, Serialize};
use weir_flow::Timestamp;

use crate::{
    civil,
    prefix::{ParseError, PortRange, Prefix},
    state::hash,
};

/// Text that is mostly constant.
pub type Label = Cow<'static, str>;

/// Identifier of an attack: a UUID of version 8 (RFC 9562 section 5.8), derived from what the attack is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct AlertId([u8; 16]);

impl AlertId {
    /// The identifier of an attack of `kind`, on what `identity` names, whose first event was at `first`.
    #[must_use]
    pub fn derive(detector: &str, kind: &str, identity: &str, first: Timestamp) -> Self {
        Self::of(format!("{detector}\0{kind}\0{identity}\0{}", first.as_nanos()).as_bytes())
    }

    /// The identifier of one alert in the sequence of this attack.
    #[must_use]
    pub fn message(&self, sequence: u32) -> Self {
        Self::of(format!("{self}\0{sequence}").as_bytes())
    }

    fn of(name: &[u8]) -> Self {
        let mut octets =
            (u128::from(hash(0x5765_6972, name)) << 64 | u128::from(hash(0x616c_6572, name))).to_be_bytes();
        octets[6] = octets[6] & 0x0f | 0x80;
        octets[8] = octets[8] & 0x3f | 0x80;
        Self(octets)
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, octet) in self.0.iter().enumerate() {
            let dash = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{octet:02x}")?;
        }
        Ok(())
    }
}

impl From<AlertId> for String {
    fn from(id: AlertId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for AlertId {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        let digits: String = text.chars().filter(|&c| c != '-').collect();
        let id = u128::from_str_radix(&digits, 16).map(|v| Self(v.to_be_bytes())).unwrap_or_default();
        if id.to_string() == text { Ok(id) } else { Err(ParseError::new(&text, "a UUID in lower case")) }
    }
}

/// Where an attack is in its life.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// First alert of an attack.
    #[default]
    New,
    /// The attack goes on; the figures are totals since its first event.
    Update,
    /// The attack went silent, its state was evicted, or the input ended. Last alert of an attack.
    Ended,
}

/// How bad it is if it is true.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For the record.
    #[default]
    Low,
    /// Somebody should look at it today.
    Medium,
    /// Somebody should look at it now.
    High,
}

/// One side of an attack.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Endpoints {
    /// Distinct addresses; see `exact`.
    pub count: u64,
    /// Whether `count` was counted; otherwise it is estimated to a few percent.
    pub exact: bool,
    /// The lowest addresses, at most 16, ascending.
    pub sample: Vec<IpAddr>,
    /// Prefixes of which 90 % of the hosts were touched, or the prefix that stands for the addresses.
    pub prefixes: Vec<Prefix>,
    /// What they are, in the words of IDEA's `Type`; mostly empty.
    pub roles: Vec<Label>,
}

impl Endpoints {
    /// One address.
    #[must_use]
    pub fn one(address: IpAddr) -> Self {
        Self { count: 1, exact: true, sample: vec![address], ..Self::default() }
    }
}

/// A number, or a text where it says more.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Figure {
    /// A count.
    Count(u64),
    /// A ratio.
    Ratio(f64),
    /// A name.
    Text(String),
}

/// A named value with its unit: a parameter that was in force, or what was measured.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Quantity {
    /// Name; of a parameter the one in the configuration.
    pub name: Label,
    /// Value.
    pub value: Figure,
    /// Unit, in words; empty for a text.
    pub unit: Label,
}

impl Quantity {
    /// A count.
    #[must_use]
    pub fn count(name: &'static str, value: u64, unit: &'static str) -> Self {
        Self { name: name.into(), value: Figure::Count(value), unit: unit.into() }
    }

    /// A ratio, rounded to thousandths.
    #[must_use]
    pub fn ratio(name: &'static str, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value: Figure::Ratio((value * 1_000.0).round() / 1_000.0), unit: unit.into() }
    }

    /// A text.
    #[must_use]
    pub fn text(name: &'static str, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: Figure::Text(value.into()), unit: "".into() }
    }
}

/// How to get the flows that an alert speaks of.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Evidence {
    /// Time window in the form of nfdump's `-t`, UTC.
    pub window: String,
    /// Filter in nfdump syntax.
    pub filter: String,
}

/// What a detector says about an attack.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Alert {
    /// The same in all alerts of one attack.
    pub id: AlertId,
    /// Counts the alerts of one attack from zero.
    pub sequence: u32,
    /// Where the attack is in its life.
    pub state: AlertState,
    /// Slug of the detector.
    pub detector: Label,
    /// What the detector found, where it finds several things.
    pub kind: Label,
    /// Category in the words of IDEA.
    pub category: Label,
    /// How bad it is if it is true.
    pub severity: Severity,
    /// How sure the detector is, from 0 to 1.
    pub confidence: f64,
    /// One sentence.
    pub description: String,
    /// Event time at which this alert was made.
    #[serde(with = "civil::as_rfc3339")]
    pub detect_time: Timestamp,
    /// First event of the attack.
    #[serde(with = "civil::as_rfc3339")]
    pub first_time: Timestamp,
    /// Last event so far.
    #[serde(with = "civil::as_rfc3339")]
    pub last_time: Timestamp,
    /// Where it comes from.
    pub sources: Endpoints,
    /// Whom it hits.
    pub targets: Endpoints,
    /// Distinct destination ports (of an amplification: ports of the service); zero where there are no ports.
    pub port_count: u64,
    /// The lowest of them, at most 16 ranges.
    pub ports: Vec<PortRange>,
    /// Protocol number.
    pub protocol: u8,
    /// Flow records of the attack.
    pub flows: u64,
    /// Packets of the attack itself, without the answers of its victims.
    pub packets: u64,
    /// Octets of the attack itself, from the IP header on.
    pub octets: u64,
    /// Parameters in force.
    pub parameters: Vec<Quantity>,
    /// What was measured against them, and what else was found.
    pub measured: Vec<Quantity>,
    /// Techniques of MITRE ATT&CK.
    pub techniques: Vec<Label>,
    /// How to get the flows.
    pub evidence: Evidence,
    /// What lowers the worth of the figures, as sampling does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<String>,
}

impl Alert {
    /// The value of something measured.
    #[must_use]
    pub fn measured(&self, name: &str) -> Option<&Figure> {
        self.measured.iter().find(|q| q.name == name).map(|q| &q.value)
    }
}

/// Name of a protocol as filters spell it; the number for others.
#[must_use]
pub fn protocol_name(protocol: u8) -> String {
    use weir_flow::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};
    match protocol {
        ICMP => "icmp".to_owned(),
        ICMPV6 => "icmp6".to_owned(),
        SCTP => "sctp".to_owned(),
        TCP => "tcp".to_owned(),
        UDP => "udp".to_owned(),
        other => other.to_string(),
    }
}

/// The filter primitive for a single address or a prefix: `src ip 192.0.2.1`, `dst net 2001:db8::/64`.
#[must_use]
pub fn side_filter(side: &str, prefix: Prefix) -> String {
    let kind = if prefix.is_address() { "ip" } else { "net" };
    format!("{side}{}{kind} {prefix}", if side.is_empty() { "" } else { " " })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_follows_from_content() {
        let at = Timestamp::from_secs(1);
        let id = AlertId::derive("d", "k", "i", at);
        assert_eq!(id, AlertId::derive("d", "k", "i", at));
        assert_ne!(id, AlertId::derive("d", "ki", "", at));
        assert_ne!(id, AlertId::derive("d", "k", "i", Timestamp::from_secs(2)));
        assert_ne!(id.message(0), id.message(1));
        let text = id.to_string();
        assert_eq!(text.len(), 36);
        assert_eq!((text.get(14..15), AlertId::try_from(text.clone())), (Some("8"), Ok(id)));
        assert!(AlertId::try_from(text.to_uppercase()).is_err());
    }

    #[test]
    fn an_alert_is_read_back_from_its_json() {
        let alert = Alert {
            sources: Endpoints::one(IpAddr::from([192, 0, 2, 1])),
            ports: vec![PortRange { first: 1, last: 9 }],
            measured: vec![Quantity::count("targets", 3, "addresses"), Quantity::ratio("share", 0.12345, "")],
            ..Alert::default()
        };
        let text = serde_json::to_string(&alert).unwrap();
        assert_eq!(serde_json::from_str::<Alert>(&text).unwrap(), alert);
        assert!(text.contains(r#""ports":["1-9"]"#) && text.contains(r#""value":0.123"#), "{text}");
    }
}
