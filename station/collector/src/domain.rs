// SPDX-License-Identifier: MIT OR Apache-2.0
//! One observation domain of one session: its templates, its clock, its sequence numbers, and the data that waits.
//!
//! Data that comes before its template is kept and decoded when the template comes, with the times of the message in which
//! it came. NetFlow version 5 has no templates and passes by all that.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
};

use weir_flow::{ExtraElement, FlowRecord, Origin, RecordSink, Timestamp, app::AppFields, protocol};
use weir_ipfix::{
    Element, Template,
    decode::{self, Draft, Plan, Set},
    message, netflow,
};

use crate::{
    Protocol, Transport,
    decoder::State,
    sequence::{Seen, Sequence, Verdict, View},
};

/// Most fields without octets in one template: such a field costs time in every record and says nothing.
const MAX_EMPTY_FIELDS: usize = 64;
/// An exporter's start that moves forward by more than this is another start.
const RESTART_SECS: u64 = 10;

/// What the header of a message says, whatever the protocol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    pub protocol: Protocol,
    pub domain: u32,
    pub export_time: Timestamp,
    /// Milliseconds since the exporter's start; only NetFlow says it here.
    uptime: Option<u32>,
    sequence_number: u32,
    /// Octets of the whole message.
    pub length: usize,
    header_len: usize,
    /// Records that the header of NetFlow version 5 claims.
    count: u16,
    sampling_interval: u16,
}

impl Message {
    pub(crate) fn ipfix(header: &message::Header) -> Self {
        Self {
            protocol: Protocol::Ipfix,
            domain: header.domain,
            export_time: Timestamp::from_secs(header.export_time.into()),
            uptime: None,
            sequence_number: header.sequence_number,
            length: header.length.into(),
            header_len: message::HEADER_LEN,
            count: 0,
            sampling_interval: 0,
        }
    }

    pub(crate) fn netflow(header: &netflow::Header, available: usize) -> Self {
        let records = usize::from(header.count) * netflow::V5_RECORD_LEN;
        let (protocol, length) = if header.version == netflow::V5 {
            (Protocol::Netflow5, available.min(netflow::V5_HEADER_LEN + records))
        } else {
            (Protocol::Netflow9, available)
        };
        Self {
            protocol,
            domain: header.domain,
            export_time: header.export_time,
            uptime: Some(header.uptime_millis),
            sequence_number: header.sequence_number,
            length,
            header_len: header.header_len,
            count: header.count,
            sampling_interval: header.sampling_interval,
        }
    }
}

/// What one session uses of its allowance.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    templates: usize,
    template_octets: usize,
    waiting_octets: usize,
    /// It has yielded a record.
    pub proven: bool,
}

/// A template, and how its records are decoded.
#[derive(Debug)]
pub(crate) struct Known {
    template: Template,
    plan: Plan,
    /// ICMP type and code are in the destination port: the habit of NetFlow, where no other field has them.
    icmp_in_port: bool,
}

impl Known {
    pub(crate) fn new(template: Template, enterprise: u32) -> Self {
        const ICMP: [u16; 6] = [32, 139, 176, 177, 178, 179];
        let has = |id| template.fields.iter().any(|f| f.element == Element::new(0, id));
        let icmp_in_port = has(11) && !ICMP.into_iter().any(has);
        Self { plan: Plan::new(&template, enterprise), icmp_in_port, template }
    }

    /// Octets of memory, about.
    fn cost(template: &Template) -> usize {
        256 + 96 * template.fields.len()
    }
}

/// What is needed to make times absolute; kept with data that waits.
#[derive(Clone, Copy, Debug)]
struct When {
    export_time: Timestamp,
    uptime: Option<u32>,
}

#[derive(Debug)]
struct Waiting {
    template_id: u16,
    when: When,
    body: Vec<u8>,
}

impl Waiting {
    fn cost(body: usize) -> usize {
        body + size_of::<Self>()
    }
}

/// What options records said.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    /// When the exporter started.
    started: Option<Timestamp>,
    sampling_interval: u32,
    sampling_space: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Domain {
    templates: HashMap<u16, Known>,
    waiting: VecDeque<Waiting>,
    sequence: Sequence,
    options: Options,
    /// Start of the exporter by the latest message of NetFlow.
    booted: Option<Timestamp>,
}

/// How many records a message had, as far as could be seen.
#[derive(Clone, Copy, Debug)]
struct Tally {
    /// Of flows and of options.
    records: u32,
    flows: u32,
    complete: bool,
}

/// What decoding needs beside the domain itself.
struct Work<'a> {
    usage: &'a mut Usage,
    state: &'a mut State,
    sink: &'a mut dyn RecordSink,
    origin: Origin,
    transport: Transport,
}

impl Domain {
    /// One of how many packets is sampled; zero if the exporter did not say.
    pub(crate) const fn sampling_interval(&self) -> u32 {
        self.options.sampling_interval.saturating_add(self.options.sampling_space)
    }

    /// Decodes a message, of which `octets` are all.
    #[expect(clippy::too_many_arguments, reason = "one caller, which has each of them apart")]
    pub(crate) fn message(
        &mut self,
        message: &Message,
        octets: &[u8],
        transport: Transport,
        origin: Origin,
        usage: &mut Usage,
        state: &mut State,
        sink: &mut dyn RecordSink,
    ) {
        let mut work = Work { usage, state, sink, origin, transport };
        let restarted = self.restarted(message);
        let tally = match message.protocol {
            Protocol::Netflow5 => self.netflow5(message, octets, &mut work),
            Protocol::Ipfix | Protocol::Netflow9 => self.sets(message, octets, &mut work),
        };
        let records = tally.complete.then_some(tally.records);
        let number = message.sequence_number;
        let rule = |units| View { before: Some(number), units };
        let views = match message.protocol {
            Protocol::Ipfix => {
                let flows = tally.complete.then_some(tally.flows);
                [rule(records), View { before: flows.map(|flows| number.wrapping_sub(flows)), units: flows }]
            }
            Protocol::Netflow5 => [rule(Some(message.count.into())), View { before: None, units: None }],
            Protocol::Netflow9 => [rule(Some(1)), rule(records)],
        };
        let verdict = self.sequence.message(Seen { views, exported: message.export_time, restarted });
        let counters = &mut work.state.counters;
        let lost = match message.protocol {
            Protocol::Netflow9 => &mut counters.lost_messages,
            Protocol::Ipfix | Protocol::Netflow5 => &mut counters.lost_records,
        };
        match verdict {
            Verdict::InOrder => {}
            Verdict::Gap(units) => {
                *lost += u64::from(units);
                counters.sequence_gaps += 1;
            }
            Verdict::Late(units) => {
                *lost = lost.saturating_sub(units.into());
                counters.messages_late += 1;
            }
            Verdict::Restart => counters.exporter_restarts += 1,
            Verdict::Unchecked => counters.sequence_unchecked += 1,
        }
    }

    /// Whether the uptime says that the exporter started again since the last message.
    fn restarted(&mut self, message: &Message) -> bool {
        let Some(uptime) = message.uptime else { return false };
        let booted = message.export_time.as_millis().saturating_sub(uptime.into());
        let booted = Timestamp::from_millis(booted);
        let before = self.booted.replace(booted);
        before.is_some_and(|before| booted.since(before).as_secs() > RESTART_SECS)
    }

    fn netflow5(&mut self, message: &Message, octets: &[u8], work: &mut Work<'_>) -> Tally {
        if message.sampling_interval > 0 {
            self.options.sampling_interval = message.sampling_interval.into();
        }
        let when = When { export_time: message.export_time, uptime: message.uptime };
        let body = octets.get(message.header_len..).unwrap_or_default();
        let known = Arc::clone(&work.state.netflow5);
        let tally = data(&known, &mut self.options, body, when, work);
        if tally.complete && tally.records < message.count.into() {
            work.state.counters.records_damaged += 1;
        }
        tally
    }

    fn sets(&mut self, message: &Message, octets: &[u8], work: &mut Work<'_>) -> Tally {
        let (templates, options) = match message.protocol {
            Protocol::Ipfix => (message::TEMPLATE_SET, message::OPTIONS_TEMPLATE_SET),
            _ => (netflow::V9_TEMPLATE_SET, netflow::V9_OPTIONS_TEMPLATE_SET),
        };
        let when = When { export_time: message.export_time, uptime: message.uptime };
        let mut tally = Tally { records: 0, flows: 0, complete: true };
        let mut end = message.header_len;
        for set in decode::sets(octets, message.header_len) {
            let Ok(set) = set else {
                let rest = octets.get(end..).unwrap_or_default();
                // Fewer octets than a set header, all zero: padding of the whole message.
                if rest.len() >= message::SET_HEADER_LEN || rest.iter().any(|b| *b != 0) {
                    work.state.counters.sets_damaged += 1;
                    tally.complete = false;
                }
                break;
            };
            end = set.offset + set.body.len();
            work.state.counters.sets += 1;
            if set.id == templates || set.id == options {
                work.state.counters.sets_of_templates += 1;
                self.learn_all(message.protocol, set, set.id == options, work);
            } else if set.id >= message::FIRST_DATA_SET {
                work.state.counters.sets_of_data += 1;
                let of_set = self.data_set(set, when, work);
                tally.records = tally.records.saturating_add(of_set.records);
                tally.flows = tally.flows.saturating_add(of_set.flows);
                tally.complete &= of_set.complete;
            } else {
                work.state.counters.sets_reserved += 1;
            }
        }
        tally
    }

    fn data_set(&mut self, set: Set<'_>, when: When, work: &mut Work<'_>) -> Tally {
        if let Some(known) = self.templates.get(&set.id) {
            work.state.counters.sets_decoded += 1;
            return data(known, &mut self.options, set.body, when, work);
        }
        let cost = Waiting::cost(set.body.len());
        let (usage, state) = (&mut *work.usage, &mut *work.state);
        if usage.waiting_octets + cost > state.limits.waiting_octets_per_session
            || state.held.waiting_octets + cost > state.limits.waiting_octets
        {
            state.counters.sets_not_kept += 1;
        } else {
            usage.waiting_octets += cost;
            state.held.waiting_octets += cost;
            state.held.waiting_sets += 1;
            state.counters.sets_waited += 1;
            self.waiting.push_back(Waiting { template_id: set.id, when, body: set.body.to_vec() });
        }
        Tally { records: 0, flows: 0, complete: false }
    }

    fn learn_all(&mut self, protocol: Protocol, set: Set<'_>, options: bool, work: &mut Work<'_>) {
        let read = |template| match template {
            Ok(template) => self.learn(template, set.id, work),
            Err(_) => work.state.counters.templates_damaged += 1,
        };
        match protocol {
            Protocol::Ipfix => decode::templates(set, options).for_each(read),
            _ => netflow::templates(set, options).for_each(read),
        }
    }

    fn learn(&mut self, template: Template, set_id: u16, work: &mut Work<'_>) {
        if template.fields.is_empty() {
            return self.withdraw(template.id, set_id, work);
        }
        let id = template.id;
        let (usage, state) = (&mut *work.usage, &mut *work.state);
        let old = self.templates.get(&id);
        if old.is_some_and(|old| old.template == template) {
            state.counters.templates_repeated += 1;
            return;
        }
        // What is not accepted must not leave the old template in place either: data would be read by it.
        let changed = self.remove(id, usage, state);
        let cost = Known::cost(&template);
        let limits = &state.limits;
        if template.fields.iter().filter(|f| f.length == 0).count() > MAX_EMPTY_FIELDS {
            state.counters.templates_refused_empty_fields += 1;
            return;
        }
        if usage.templates >= limits.templates_per_session {
            state.counters.templates_beyond_count_cap += 1;
            return;
        }
        if usage.template_octets + cost > limits.template_octets_per_session
            || state.held.template_octets + cost > limits.template_octets
        {
            state.counters.templates_beyond_memory_cap += 1;
            return;
        }
        usage.templates += 1;
        usage.template_octets += cost;
        state.held.templates += 1;
        state.held.template_octets += cost;
        if changed {
            state.counters.templates_changed += 1;
        } else {
            state.counters.templates_learned += 1;
        }
        self.templates.insert(id, Known::new(template, state.enterprise));
        self.recover(id, work);
    }

    /// Decodes what has waited for a template, in the order in which it came.
    fn recover(&mut self, id: u16, work: &mut Work<'_>) {
        if !self.waiting.iter().any(|w| w.template_id == id) {
            return;
        }
        let (ready, rest) = self.waiting.drain(..).partition(|w| w.template_id == id);
        self.waiting = rest;
        let ready: VecDeque<Waiting> = ready;
        for waiting in ready {
            release(&waiting, work.usage, work.state);
            work.state.counters.sets_recovered += 1;
            if let Some(known) = self.templates.get(&id) {
                data(known, &mut self.options, &waiting.body, waiting.when, work);
            }
        }
    }

    /// RFC 7011 section 8.1: over UDP there are no withdrawals, and anybody could forge one.
    fn withdraw(&mut self, id: u16, set_id: u16, work: &mut Work<'_>) {
        if work.transport == Transport::Udp {
            work.state.counters.withdrawals_ignored += 1;
            return;
        }
        let options = set_id == message::OPTIONS_TEMPLATE_SET;
        // The set ID in place of a template ID means: all of that kind.
        let of_kind = |known: &Known| (known.template.scope_count > 0) == options;
        let ids: Vec<u16> = if id == set_id {
            self.templates.iter().filter(|(_, known)| of_kind(known)).map(|(id, _)| *id).collect()
        } else {
            vec![id]
        };
        for id in ids {
            if self.remove(id, work.usage, work.state) {
                work.state.counters.templates_withdrawn += 1;
            }
        }
    }

    fn remove(&mut self, id: u16, usage: &mut Usage, state: &mut State) -> bool {
        let Entry::Occupied(entry) = self.templates.entry(id) else { return false };
        let cost = Known::cost(&entry.remove().template);
        usage.templates = usage.templates.saturating_sub(1);
        usage.template_octets = usage.template_octets.saturating_sub(cost);
        state.held.templates = state.held.templates.saturating_sub(1);
        state.held.template_octets = state.held.template_octets.saturating_sub(cost);
        true
    }

    /// Gives back all that the domain holds.
    pub(crate) fn close(&mut self, usage: &mut Usage, state: &mut State) {
        let ids: Vec<u16> = self.templates.keys().copied().collect();
        for id in ids {
            self.remove(id, usage, state);
        }
        for waiting in std::mem::take(&mut self.waiting) {
            release(&waiting, usage, state);
            state.counters.sets_given_up += 1;
        }
    }
}

fn release(waiting: &Waiting, usage: &mut Usage, state: &mut State) {
    let cost = Waiting::cost(waiting.body.len());
    usage.waiting_octets = usage.waiting_octets.saturating_sub(cost);
    state.held.waiting_octets = state.held.waiting_octets.saturating_sub(cost);
    state.held.waiting_sets = state.held.waiting_sets.saturating_sub(1);
}

/// Decodes the records of one set.
fn data(known: &Known, options: &mut Options, body: &[u8], when: When, work: &mut Work<'_>) -> Tally {
    let shortest = known.plan.min_record_len().max(1);
    let mut tally = Tally { records: 0, flows: 0, complete: true };
    let mut at = 0;
    // What is shorter than any record is padding.
    while body.len().saturating_sub(at) >= shortest {
        let Ok(next) = known.plan.decode(body, at, &mut work.state.draft) else {
            work.state.counters.records_damaged += 1;
            tally.complete = false;
            break;
        };
        at = next;
        tally.records = tally.records.saturating_add(1);
        if known.template.scope_count > 0 {
            work.state.counters.records_of_options += 1;
            options.read(&work.state.draft);
        } else {
            tally.flows = tally.flows.saturating_add(1);
            hand_over(known, options.started, when, work);
        }
    }
    tally
}

fn hand_over(known: &Known, started: Option<Timestamp>, when: When, work: &mut Work<'_>) {
    let state = &mut *work.state;
    let draft = &mut state.draft;
    make_absolute(draft, started, when);
    draft.settle(None);
    let record = &mut draft.record;
    if record.forward.first == Timestamp::ZERO && record.forward.last == Timestamp::ZERO {
        state.counters.records_without_time += 1;
        for counters in [&mut record.forward, &mut record.reverse] {
            (counters.first, counters.last) = (when.export_time, when.export_time);
        }
    }
    let is_icmp = matches!(record.key.protocol, protocol::ICMP | protocol::ICMPV6);
    if is_icmp {
        if known.icmp_in_port && record.icmp_type_code.is_none() {
            record.icmp_type_code = Some(record.key.dst_port);
        }
        // ICMP has no ports, whatever stands there.
        (record.key.src_port, record.key.dst_port) = (0, 0);
    }
    if known.template.id == netflow::V5 {
        // Every record has next hop, AS and prefix lengths there, and most exporters do not fill them.
        draft.extra.retain(|extra| extra.octets.iter().any(|b| *b != 0));
    }
    let record = FlowRecord {
        app: draft.app.as_ref().map(AppFields::borrow),
        statistics: draft.statistics.as_deref(),
        extra: &draft.extra,
        origin: work.origin,
        ..draft.record
    };
    work.sink.record(&record);
    state.counters.records += 1;
    work.usage.proven = true;
}

/// Times since the exporter's start, which wrap, to absolute ones. A start in the record itself comes first, then the
/// uptime in the header, then the start from an options record.
fn make_absolute(draft: &mut Draft, started: Option<Timestamp>, when: When) {
    let of_start = |started: Timestamp| {
        let uptime = when.export_time.as_millis().saturating_sub(started.as_millis());
        u32::try_from(uptime & u64::from(u32::MAX)).unwrap_or(0)
    };
    let uptime = match draft.started {
        Some(started) => Some(of_start(started)),
        None => when.uptime.or(started.map(of_start)),
    };
    let Some(uptime) = uptime else { return };
    let [first, last] = std::mem::take(&mut draft.uptime_millis);
    for counters in [&mut draft.record.forward, &mut draft.record.reverse] {
        if let Some(first) = first {
            counters.first = netflow::absolute(when.export_time, uptime, first);
        }
        if let Some(last) = last {
            counters.last = netflow::absolute(when.export_time, uptime, last);
        }
    }
}

impl Options {
    fn read(&mut self, draft: &Draft) {
        const SAMPLING_INTERVAL: u16 = 34;
        const SAMPLER_RANDOM_INTERVAL: u16 = 50;
        const SAMPLING_PACKET_INTERVAL: u16 = 305;
        const SAMPLING_PACKET_SPACE: u16 = 306;
        self.started = draft.started.or(self.started);
        let number = |extra: &ExtraElement| {
            let number = extra.octets.iter().fold(0_u64, |v, b| v << 8 | u64::from(*b));
            u32::try_from(number).unwrap_or(u32::MAX)
        };
        for extra in draft.extra.iter().filter(|extra| extra.enterprise == 0) {
            match extra.id {
                SAMPLING_INTERVAL | SAMPLER_RANDOM_INTERVAL | SAMPLING_PACKET_INTERVAL => {
                    self.sampling_interval = number(extra);
                }
                SAMPLING_PACKET_SPACE => self.sampling_space = number(extra),
                _ => {}
            }
        }
    }
}
