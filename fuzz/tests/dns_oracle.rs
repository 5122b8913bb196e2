// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages of DNS that `hickory-proto` reads, too: of the captures, of the corpus where there is one, and mutations of both.
//! Whatever it finds in a message, the parser finds as well. It refuses whole messages for one odd record, where the parser
//! goes on; so of these nothing is said.

use std::path::PathBuf;

use hickory_proto::{
    op::{Message, OpCode},
    rr::{
        DNSClass, Name, RData, Record,
        rdata::{
            opt::{EdnsCode, EdnsOption},
            svcb::{SVCB, SvcParamKey, SvcParamValue},
        },
    },
};
use weir_flow::{
    Timestamp,
    app::{AppFields, Dns, dns::MAX_ANSWERS},
};
use weir_fuzz::{DATAGRAMS, input::pieces, seed};
use weir_parsers::app::{Direction, Input, Pools, Session, Transport};

/// Mutations of each message.
const MUTATIONS: usize = 40;

/// Messages over UDP in these captures, each once.
fn messages(captures: &[PathBuf]) -> Vec<Vec<u8>> {
    let mut seeds = seed::seeds(captures).unwrap();
    let mut found: Vec<Vec<u8>> = Vec::new();
    for seed in seeds.remove("dns").unwrap_or_default() {
        let (head, pieces) = pieces(&seed);
        if head & DATAGRAMS != 0 {
            found.extend(pieces.iter().map(|piece| piece.bytes.to_vec()));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }
}

fn ours(message: &[u8]) -> Vec<Dns> {
    let (mut session, mut pools) = (Session::default(), Pools::default());
    session.begin([40_000, 53]);
    let input = Input {
        bytes: message,
        direction: Direction::Forward,
        transport: Transport::Datagram,
        hinted: false,
        snapped: false,
    };
    session.feed(input, Timestamp::ZERO, &mut pools);
    let mut found = Vec::new();
    session.finish(&mut pools, &mut |app, _| {
        if let AppFields::Dns(dns) = app.to_owned() {
            found.push(*dns);
        }
    });
    found
}

/// A name in presentation form as it stands in records, made of its labels.
fn name(name: &Name) -> String {
    presented(name, "\\032")
}

fn presented(name: &Name, space: &str) -> String {
    let label = |label: &[u8]| {
        let octet = |&octet: &u8| match octet {
            b'.' | b'\\' => format!("\\{}", char::from(octet)),
            b' ' => space.to_owned(),
            b'!'..=b'~' => char::from(octet).to_string(),
            _ => format!("\\{octet:03}"),
        };
        label.iter().map(octet).collect::<String>()
    };
    let labels: Vec<_> = name.iter().map(label).collect();
    if labels.is_empty() { ".".into() } else { labels.join(".") }
}

fn quoted(text: &[u8]) -> String {
    let octet = |&octet: &u8| match octet {
        b'"' | b'\\' => format!("\\{}", char::from(octet)),
        b' '..=b'~' => char::from(octet).to_string(),
        _ => format!("\\{octet:03}"),
    };
    format!("\"{}\"", text.iter().map(octet).collect::<String>())
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// `None` where a value has a form that is not looked at.
fn service(svcb: &SVCB) -> Option<String> {
    let mut text = format!("{} {}", svcb.svc_priority, name(&svcb.target_name));
    for (key, value) in &svcb.svc_params {
        let join = |items: Vec<String>| items.join(",");
        let value = match value {
            SvcParamValue::Mandatory(keys) => {
                if keys
                    .0
                    .iter()
                    .any(|key| matches!(key, SvcParamKey::Key(_) | SvcParamKey::Unknown(_) | SvcParamKey::Key65535))
                {
                    return None;
                }
                join(keys.0.iter().map(ToString::to_string).collect())
            }
            SvcParamValue::Alpn(alpn)
                if alpn.0.iter().all(|id| id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')) =>
            {
                join(alpn.0.clone())
            }
            SvcParamValue::NoDefaultAlpn => {
                text += " no-default-alpn";
                continue;
            }
            SvcParamValue::Port(port) => port.to_string(),
            SvcParamValue::Ipv4Hint(hint) => join(hint.0.iter().map(|a| a.0.to_string()).collect()),
            SvcParamValue::Ipv6Hint(hint) => join(hint.0.iter().map(|a| a.0.to_string()).collect()),
            _ => return None,
        };
        text += &format!(" {key}={value}");
    }
    Some(text)
}

/// Data in presentation form; `None` of types that are not looked at.
fn data(record: &Record) -> Option<String> {
    Some(match &record.data {
        RData::A(a) => a.0.to_string(),
        RData::AAAA(a) => a.0.to_string(),
        RData::CNAME(n) => name(&n.0),
        RData::NS(n) => name(&n.0),
        RData::PTR(n) => name(&n.0),
        RData::MX(mx) => format!("{} {}", mx.preference, name(&mx.exchange)),
        RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, name(&srv.target)),
        RData::SOA(soa) => {
            let signed = [soa.refresh, soa.retry, soa.expire].map(i32::cast_unsigned);
            let [refresh, retry, expire] = signed;
            format!(
                "{} {} {} {refresh} {retry} {expire} {}",
                name(&soa.mname),
                name(&soa.rname),
                soa.serial,
                soa.minimum
            )
        }
        RData::TXT(txt) => txt.txt_data.iter().map(|t| quoted(t)).collect::<Vec<_>>().join(" "),
        RData::HINFO(hinfo) => format!("{} {}", quoted(&hinfo.cpu), quoted(&hinfo.os)),
        RData::NAPTR(n) => format!(
            "{} {} {} {} {} {}",
            n.order,
            n.preference,
            quoted(&n.flags),
            quoted(&n.services),
            quoted(&n.regexp),
            name(&n.replacement)
        ),
        RData::CAA(caa) => format!("{} {} {}", caa.flags(), caa.tag, quoted(&caa.value)),
        RData::SSHFP(s) => {
            format!("{} {} {}", u8::from(s.algorithm), u8::from(s.fingerprint_type), hex(&s.fingerprint))
        }
        RData::TLSA(t) => format!(
            "{} {} {} {}",
            u8::from(t.cert_usage),
            u8::from(t.selector),
            u8::from(t.matching),
            hex(&t.cert_data)
        ),
        RData::HTTPS(https) => service(https)?,
        RData::SVCB(svcb) => service(svcb)?,
        _ => return None,
    })
}

/// Compares what both find in a message. False if `hickory-proto` refuses it, or it asks not exactly one question.
fn compare(message: &[u8]) -> bool {
    // There, a name may be part of the header; a pointer is to a name before (RFC 1035 section 4.1.4).
    if message.windows(2).any(|pair| matches!(pair, [0xc0, 0..12])) {
        return false;
    }
    let Ok(theirs) = Message::from_vec(message) else { return false };
    let [query] = &theirs.queries[..] else { return false };
    if !matches!(theirs.metadata.op_code, OpCode::Query | OpCode::Notify) || message.len() > 16 * 1024 {
        return false;
    }
    let found = ours(message);
    let [ours] = &found[..] else { panic!("{} transactions", found.len()) };
    assert_eq!(ours.transaction_id, Some(theirs.metadata.id));
    // Where nothing follows, a space is a space.
    assert_eq!(String::from_utf8_lossy(ours.query_name.as_bytes(&ours.memory)), presented(&query.name, " "));
    assert_eq!(ours.query_type, Some(query.query_type.into()));
    assert_eq!(ours.query_class, Some(query.query_class.into()));
    if let Some(edns) = &theirs.edns {
        // Less than 512 counts as 512 (RFC 6891 section 6.2.5) there.
        assert_eq!(ours.edns_udp_size.map(|size| size.max(512)), Some(edns.max_payload()));
        assert_eq!(ours.edns_dnssec_ok.get(), Some(edns.flags().dnssec_ok.into()));
        if let Some(EdnsOption::Subnet(subnet)) = edns.option(EdnsCode::Subnet)
            && !ours.client_subnet.is_empty()
        {
            let subnet = format!("{}/{}", subnet.addr(), subnet.source_prefix());
            assert_eq!(String::from_utf8_lossy(ours.client_subnet.as_bytes(&ours.memory)), subnet);
        }
    }
    if ours.response_code.is_none() {
        return true;
    }
    assert_eq!(ours.answer_count.map(usize::from), Some(theirs.answers.len()));
    let texts: Vec<_> = ours.answers.iter(&ours.memory).map(String::from_utf8_lossy).collect();
    assert_eq!(texts.len(), theirs.answers.len().min(MAX_ANSWERS));
    for (text, record) in texts.iter().zip(&theirs.answers) {
        let start = format!("{} {} ", name(&record.name), record.ttl);
        assert!(text.starts_with(&start) || text.len() >= 512, "{text} for {record}");
        // What is longer is cut.
        if let Some(data) = data(record)
            && text.len() < 512
        {
            // There, a service parameter may be longer than its value.
            let is_odd = matches!(record.data, RData::HTTPS(_) | RData::SVCB(_)) && text.contains(" \\# ");
            assert!(is_odd || text.ends_with(&format!(" {data}")), "{text} for {data}");
        }
    }
    let addresses = |is_it: fn(&RData) -> Option<Vec<u8>>| -> Vec<Vec<u8>> {
        // Multicast DNS has a bit of its own in the class.
        let of_internet = |r: &&Record| u16::from(r.dns_class) & 0x7fff == u16::from(DNSClass::IN);
        theirs.answers.iter().filter(of_internet).filter_map(|r| is_it(&r.data)).take(64).collect()
    };
    let ipv4 = addresses(|data| if let RData::A(a) = data { Some(a.0.octets().to_vec()) } else { None });
    let ipv6 = addresses(|data| if let RData::AAAA(a) = data { Some(a.0.octets().to_vec()) } else { None });
    assert_eq!(ours.answer_ipv4.iter(&ours.memory).map(|a| a.to_vec()).collect::<Vec<_>>(), ipv4);
    assert_eq!(ours.answer_ipv6.iter(&ours.memory).map(|a| a.to_vec()).collect::<Vec<_>>(), ipv6);
    true
}

/// Compares them all, and mutations of each; gives how many could be compared.
fn compare_all(messages: &[Vec<u8>]) -> (usize, usize) {
    let whole = messages.iter().filter(|message| compare(message)).count();
    let mut random = Random(1);
    let mut mutated = 0;
    for message in messages.iter().filter(|message| !message.is_empty()) {
        for _ in 0..MUTATIONS {
            let mut message = message.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(message.len());
                message[at] = match random.below(3) {
                    0 => message[at] ^ 1 << random.below(8),
                    1 => message[random.below(message.len())],
                    _ => [0, 1, 12, 41, 64, 65, 0xc0, 0xff][random.below(8)],
                };
            }
            mutated += usize::from(compare(&message));
        }
    }
    (whole, mutated)
}

#[test]
fn of_our_captures() {
    let messages = messages(&weir_pcaps::bundled());
    let (whole, mutated) = compare_all(&messages);
    println!("{} messages, {whole} compared, and {mutated} mutations", messages.len());
    assert!(whole > 100 && mutated > 1_000);
}

#[test]
fn of_the_corpus() {
    let Some(corpus) = weir_pcaps::corpus("dns_oracle") else { return };
    let messages = messages(&weir_pcaps::corpus_captures(&corpus));
    let (whole, mutated) = compare_all(&messages);
    println!("{} messages, {whole} compared, and {mutated} mutations", messages.len());
}
