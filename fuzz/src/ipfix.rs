// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attacks on the decoding of messages: IPFIX by itself, and the collecting process with its state.

use std::{collections::HashMap, time::Duration};

use weir_collector::{Decoder, Held, Limits, Peer};
use weir_flow::{FlowRecord, RecordSink, Timestamp};
use weir_ipfix::{
    WEIR, decode,
    decode::{Draft, Plan, Set},
    message::{FIRST_DATA_SET, HEADER_LEN, Header, MAX_MESSAGE, OPTIONS_TEMPLATE_SET, TEMPLATE_SET, template_bodies},
    netflow,
};

use crate::{
    input::{Piece, pieces},
    record::Checker,
};

/// One message: header, sets, templates, and data under the templates of the same message, or under any if it has none for
/// them.
pub fn ipfix(data: &[u8]) {
    let length = match Header::parse(data) {
        Ok(header) => {
            let again = Header::parse(&Header { length: 16, ..header }.to_bytes());
            assert_eq!(again, Ok(Header { length: 16, ..header }));
            usize::from(header.length)
        }
        Err(_) => data.len().min(MAX_MESSAGE),
    };
    let message = &data[..length];
    let mut plans = HashMap::new();
    let mut draft = Draft::default();
    let mut checker = Checker::default();
    let mut end = HEADER_LEN;
    for set in decode::sets(message, HEADER_LEN) {
        let Ok(set) = set else { break };
        assert_eq!(set.offset, end + 4, "sets follow each other");
        end = set.offset + set.body.len();
        assert!(end <= message.len());
        match set.id {
            TEMPLATE_SET | OPTIONS_TEMPLATE_SET => templates(set, &mut plans),
            FIRST_DATA_SET.. => {
                if let Some(plan) = plans.get(&set.id).or_else(|| plans.values().next()) {
                    records(plan, set.body, &mut draft, &mut checker);
                }
            }
            _ => {}
        }
    }
}

/// Templates that can be read can be written, and are the same when read again.
fn templates(set: Set<'_>, plans: &mut HashMap<u16, Plan>) {
    let options = set.id == OPTIONS_TEMPLATE_SET;
    for template in decode::templates(set, options).flatten() {
        if template.fields.is_empty() {
            plans.remove(&template.id);
            continue;
        }
        assert!(template.min_record_len() > 0 && template.fields.len() <= decode::MAX_FIELDS);
        assert_eq!(options, template.scope_count > 0);
        let bodies = template_bodies(std::slice::from_ref(&template), MAX_MESSAGE);
        let read: Vec<_> = bodies
            .iter()
            .flat_map(|body| decode::sets(body, 0).flatten().collect::<Vec<_>>())
            .flat_map(|set| decode::templates(set, options).collect::<Vec<_>>())
            .collect();
        assert_eq!(read, [Ok(template.clone())]);
        plans.insert(template.id, Plan::new(&template, WEIR));
    }
}

fn records(plan: &Plan, body: &[u8], draft: &mut Draft, checker: &mut Checker) {
    let mut at = 0;
    while body.len() - at >= plan.min_record_len() {
        let Ok(next) = plan.decode(body, at, draft) else { break };
        assert!(next >= at + plan.min_record_len() && next <= body.len(), "from {at} to {next}");
        at = next;
        draft.settle(None);
        let app = draft.app.as_ref().map(|app| app.borrow());
        checker.check(&FlowRecord { app, ..draft.record });
    }
}

/// Caps that an input can reach.
const SMALL: Limits = Limits {
    tcp_sessions: 4,
    tcp_sessions_per_address: 4,
    udp_sessions: 3,
    domains_per_session: 3,
    domains: 6,
    templates_per_session: 5,
    template_octets_per_session: 4_000,
    template_octets: 10_000,
    waiting_octets_per_session: 600,
    waiting_octets: 1_000,
    exporters: 5,
    udp_session_idle: Duration::from_secs(60),
};

#[derive(Default)]
struct Count {
    records: u64,
    checker: Checker,
}

impl RecordSink for Count {
    fn record(&mut self, record: &FlowRecord<'_>) {
        self.records += 1;
        self.checker.check(record);
    }
}

/// Message after message into the collecting process. Head: bit 0 caps that are soon reached. Control of a piece: bits 0 to 2
/// who sends it, bit 3 the session is closed before, bits 4 to 7 how many tens of seconds later it comes.
pub fn collector(data: &[u8]) {
    let (head, messages) = pieces(data);
    collect(head, &messages);
}

/// The same, where every message is one of NetFlow: version 9, or 5 if bit 1 of the head is set.
pub fn netflow(data: &[u8]) {
    let (head, messages) = pieces(data);
    let version = if head & 2 == 0 { netflow::V9 } else { netflow::V5 };
    let messages: Vec<Vec<u8>> = messages
        .iter()
        .map(|message| {
            let rest = message.bytes.get(2..).unwrap_or_default();
            let octets = [&version.to_be_bytes(), rest].concat();
            if let Ok(header) = netflow::Header::parse(&octets) {
                assert_eq!(header.version, version);
                assert!(header.header_len <= octets.len());
            }
            [&[message.control], &octets[..]].concat()
        })
        .collect();
    let messages = messages.iter().filter_map(|m| m.split_first());
    let messages: Vec<_> = messages.map(|(control, bytes)| Piece { control: *control, bytes }).collect();
    collect(head, &messages);
}

fn peer(number: u8) -> Peer {
    match number & 7 {
        0 => Peer::File,
        n @ 1..=2 => Peer::Tcp { connection: n.into(), address: ([192, 0, 2, 9], 40_000).into() },
        n => Peer::Udp(([192, 0, 2, 9], 2055 + u16::from(n)).into()),
    }
}

fn collect(head: u8, messages: &[Piece<'_>]) {
    let limits = if head & 1 == 0 { Limits::default() } else { SMALL };
    let mut decoder = Decoder::new(limits, WEIR);
    let mut count = Count::default();
    let mut now = Timestamp::from_secs(1_700_000_000);
    for message in messages {
        let peer = peer(message.control);
        now = now.after(Duration::from_secs(10 * u64::from(message.control >> 4)));
        if message.control & 8 != 0 {
            decoder.close(peer);
        }
        decoder.message(peer, message.bytes, now, &mut count);
        if message.control >> 4 == 15 {
            decoder.expire(now);
        }
        let (counters, held) = (decoder.counters(), decoder.held());
        assert!(counters.closes(held), "{counters:?} {held:?}");
        assert_eq!(counters.records, count.records);
        // A file, two connections, and the rest.
        assert!(held.sessions <= 3 + limits.udp_sessions, "{held:?}");
        assert!(held.domains <= limits.domains, "{held:?}");
        assert!(held.templates <= limits.templates_per_session * held.sessions, "{held:?}");
        assert!(held.template_octets <= limits.template_octets, "{held:?}");
        assert!(held.waiting_octets <= limits.waiting_octets, "{held:?}");
        assert!(decoder.exporters().len() <= limits.exporters);
    }
    for number in 0..8 {
        decoder.close(peer(number));
    }
    assert_eq!(*decoder.held(), Held::default(), "what is held when all have gone");
    assert!(decoder.counters().closes(&Held::default()));
}
