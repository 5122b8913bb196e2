// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names of fields: `http.host`, `httpRequestHost`, `http_request_host`, `octetDeltaCount`.

use super::Quantity;
use crate::schema::{APP, AppColumn};

/// Names that users expect and that no rule finds: protocol, name, field.
const ALIASES: &[(&str, &str, &str)] = &[
    ("dns", "id", "transaction_id"),
    ("dns", "name", "query_name"),
    ("dns", "qclass", "query_class"),
    ("dns", "qname", "query_name"),
    ("dns", "qtype", "query_type"),
    ("dns", "rcode", "response_code"),
    ("http", "referrer", "referer"),
    ("http", "ua", "user_agent"),
    ("http", "uri", "request_target"),
    ("http", "url", "request_target"),
    ("http", "version", "message_version"),
    ("sip", "status", "status_code"),
    ("sip", "uri", "request_uri"),
    ("smtp", "from", "mail_from"),
    ("smtp", "rcpt", "rcpt_to"),
    ("smtp", "to", "rcpt_to"),
    ("tls", "sni", "server_name"),
];

/// Names of IANA's elements for what every record has.
const ELEMENTS: &[(&str, Quantity)] = &[
    ("destinationTransportPort", Quantity::DstPort),
    ("egressInterface", Quantity::OutInterface),
    ("flowDurationMilliseconds", Quantity::Duration),
    ("flowEndReason", Quantity::EndReason),
    ("flowId", Quantity::FlowId),
    ("ingressInterface", Quantity::InInterface),
    ("ipClassOfService", Quantity::Tos),
    ("observationDomainId", Quantity::Domain),
    ("octetDeltaCount", Quantity::Octets),
    ("packetDeltaCount", Quantity::Packets),
    ("protocolIdentifier", Quantity::Protocol),
    ("reverseOctetDeltaCount", Quantity::ReverseOctets),
    ("reversePacketDeltaCount", Quantity::ReversePackets),
    ("reverseTcpControlBits", Quantity::ReverseTcpFlags),
    ("sourceTransportPort", Quantity::SrcPort),
    ("tcpControlBits", Quantity::TcpFlags),
    ("vlanId", Quantity::Vlan),
];

pub(super) fn quantity(name: &str) -> Option<Quantity> {
    ELEMENTS.iter().find(|e| e.0.eq_ignore_ascii_case(name)).map(|e| e.1)
}

/// The application column that a name means: `slug.field`, `slug.` and an alias, or the one end or beginning of a field's
/// name; the element's name; the column's name. Case does not matter. `None` if there is none, or more than one.
#[must_use]
pub fn resolve(name: &str) -> Option<&'static AppColumn> {
    index(name).and_then(|i| APP.get(i))
}

pub(super) fn index(name: &str) -> Option<usize> {
    let whole = |c: &AppColumn| c.name.eq_ignore_ascii_case(name) || c.row.json.eq_ignore_ascii_case(name);
    if let Some(index) = APP.iter().position(whole) {
        return Some(index);
    }
    let (slug, field) = name.split_once('.')?;
    let (slug, field) = (slug.to_ascii_lowercase(), field.to_ascii_lowercase());
    let field = ALIASES.iter().find(|a| a.0 == slug && a.1 == field).map_or(field.as_str(), |a| a.2);
    let only = |is: &dyn Fn(&str) -> bool| {
        let mut found = APP.iter().enumerate().filter(|(_, c)| c.slug == slug && is(c.row.name)).map(|(i, _)| i);
        found.next().filter(|_| found.next().is_none())
    };
    only(&|name| name == field)
        .or_else(|| only(&|name| name.strip_suffix(field).is_some_and(|rest| rest.ends_with('_'))))
        .or_else(|| only(&|name| name.strip_prefix(field).is_some_and(|rest| rest.starts_with('_'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_find_their_field() {
        for (name, column) in [
            ("http.host", "http_request_host"),
            ("http.status", "http_status_code"),
            ("HTTP.Url", "http_request_target"),
            ("dns.qname", "dns_query_name"),
            ("dns.rcode", "dns_response_code"),
            ("tls.sni", "tls_server_name"),
            ("sip.from", "sip_from"),
            ("sip.call_id", "sip_call_id"),
            ("smtp.rcpt", "smtp_rcpt_to"),
            ("httpRequestHost", "http_request_host"),
            ("http_request_host", "http_request_host"),
        ] {
            assert_eq!(resolve(name).map(|c| c.name.as_str()), Some(column), "{name}");
        }
        // Two fields end in _uri, and none is meant by nothing.
        for name in ["smtp.header", "http.", "http", ".host", "nosuch.host"] {
            assert!(resolve(name).is_none(), "{name}");
        }
    }

    #[test]
    fn every_alias_names_a_field() {
        for (slug, alias, field) in ALIASES {
            let protocol = APP.iter().any(|c| c.slug == *slug);
            assert!(!protocol || resolve(&format!("{slug}.{alias}")).is_some_and(|c| c.row.name == *field), "{alias}");
        }
    }
}
