// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a subject has put out against the truth.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::{Context, Result};

use crate::{
    subject::{Counts, Found, Message, Octets, Subject},
    trace::frame::ETHERNET,
    truth::{self, Flow, Summary},
};

/// What is right and wrong.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Records.
    pub records: u64,
    /// As many as there are, by the truth, of what the subject makes records of; `None` if it makes none.
    pub true_records: Option<u64>,
    /// Whether each flow and message was compared, and not sums alone.
    pub by_flow: bool,
    /// What is wrong.
    pub faults: Vec<String>,
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Compares sums, and each flow and message if the subject gave them.
///
/// # Errors
///
/// If the truth cannot be read.
pub fn judge(subject: &dyn Subject, trace: &Path, truth: &Summary, found: Found) -> Result<Verdict> {
    let mut faults: Vec<String> = found.remark.into_iter().collect();
    let counts = subject.counts();
    let true_records = match counts {
        Counts::Biflows | Counts::Transactions => Some(truth.biflows),
        Counts::Uniflows => Some(truth.uniflows),
        Counts::Nothing => None,
    };
    let mut verdict = Verdict { records: found.records, true_records, by_flow: false, faults: Vec::new() };
    if counts == Counts::Nothing && found.packets == 0 {
        // It says nothing of what it has read.
        return Ok(verdict);
    }
    let mut compare = |what: &str, found: u64, truth: u64| {
        if found != truth {
            faults.push(format!("{what}: {:+}", i128::from(found) - i128::from(truth)));
        }
    };
    compare("packets", found.packets, truth.packets);
    let true_octets = match subject.octets() {
        Octets::Ip => truth.ip_octets,
        Octets::BehindEthernet => truth.wire_octets - ETHERNET as u64 * truth.packets,
        Octets::Frame => truth.wire_octets,
    };
    compare("octets", found.octets, true_octets);
    match (counts, true_records) {
        // A flow may have several transactions, if there are any.
        (Counts::Transactions, Some(flows)) if found.records >= flows && !truth.messages.is_empty() => {}
        (_, Some(records)) => compare("records", found.records, records),
        (_, None) => {}
    }
    if let Some(flows) = found.flows {
        verdict.by_flow = true;
        faults.extend(flow_faults(truth::flows(trace)?, flows));
    }
    if let Some(messages) = found.messages {
        faults.extend(message_faults(true_messages(trace)?, messages));
    }
    verdict.faults = faults;
    Ok(verdict)
}

/// One flow for each key, in the order of keys; records of one flow are added up.
fn by_key(mut flows: Vec<Flow>) -> Vec<Flow> {
    for flow in &mut flows {
        let key = flow.canonical();
        if flow.key != key {
            flow.key = key;
            std::mem::swap(&mut flow.forward, &mut flow.reverse);
        }
    }
    flows.sort_unstable_by_key(|flow| flow.key);
    flows.dedup_by(|next, flow| {
        let is_same = next.key == flow.key;
        if is_same {
            flow.merge(next);
        }
        is_same
    });
    flows
}

/// What is wrong flow by flow.
fn flow_faults(truth: Vec<Flow>, found: Vec<Flow>) -> Vec<String> {
    let (truth, found) = (by_key(truth), by_key(found));
    let (mut missing, mut unknown, mut miscounted, mut mistimed) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut found = found.into_iter().peekable();
    for flow in truth {
        while found.next_if(|other| other.key < flow.key).is_some() {
            unknown += 1;
        }
        match found.next_if(|other| other.key == flow.key) {
            None => missing += 1,
            Some(other) => {
                miscounted += u64::from((other.forward, other.reverse) != (flow.forward, flow.reverse));
                mistimed += u64::from(!is_time(other.first, flow.first) || !is_time(other.last, flow.last));
            }
        }
    }
    unknown += found.count() as u64;
    let faults = [
        (missing, "flows missing"),
        (unknown, "flows that are not there"),
        (miscounted, "flows with wrong counts"),
        (mistimed, "flows with wrong times"),
    ];
    faults.into_iter().filter(|fault| fault.0 > 0).map(|(count, what)| format!("{count} {what}")).collect()
}

/// Whether a time is the true one, or that in whole milliseconds, which records may have.
fn is_time(found: u64, truth: u64) -> bool {
    found == truth || found == truth / 1_000_000 * 1_000_000
}

fn true_messages(trace: &Path) -> Result<Vec<Message>> {
    let path = truth::beside(trace, ".apps");
    let flows = truth::flows(trace)?;
    let mut messages = Vec::new();
    for line in BufReader::new(File::open(&path)?).lines() {
        let line = line?;
        let mut parts = line.split('\t');
        let message = (|| {
            let flow = flows.get(parts.next()?.parse::<usize>().ok()?)?;
            Some((flow.canonical(), parts.next()?.to_owned(), parts.next()?.as_bytes().to_vec()))
        })();
        messages.push(message.with_context(|| format!("{}: {line:?}", path.display()))?);
    }
    Ok(messages)
}

/// What is wrong message by message, each counted once for each flow.
fn message_faults(truth: Vec<Message>, found: Vec<Message>) -> Vec<String> {
    let sorted = |mut messages: Vec<Message>| {
        messages.sort_unstable();
        messages.dedup();
        messages
    };
    let (truth, found) = (sorted(truth), sorted(found));
    let missing = truth.iter().filter(|message| found.binary_search(message).is_err()).count();
    let unknown = found.iter().filter(|message| truth.binary_search(message).is_err()).count();
    let mut faults = Vec::new();
    if missing > 0 {
        faults.push(format!("{missing} application messages missing"));
    }
    if unknown > 0 {
        faults.push(format!("{unknown} application messages that are not there"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use weir_flow::FlowKey;

    use super::*;
    use crate::trace::frame::Side;

    fn flow(last: u8, packets: &[(Side, u64)]) -> Flow {
        let mut flow = Flow::new(FlowKey::new([10, 0, 0, last].into(), [192, 0, 2, 1].into(), 1, 2, 17));
        for (side, micros) in packets {
            flow.count(*side, 100, *micros);
        }
        flow
    }

    #[test]
    fn flows_are_compared_by_key_whatever_the_direction_and_the_number_of_records() {
        let truth = vec![
            flow(1, &[(Side::Forward, 1_500), (Side::Reverse, 2_000), (Side::Forward, 3_700)]),
            flow(2, &[(Side::Forward, 9)]),
        ];
        let split = flow(1, &[(Side::Forward, 3_000)]);
        let mut first = flow(1, &[(Side::Forward, 1_000), (Side::Reverse, 2_000)]);
        first.key = first.key.reversed();
        std::mem::swap(&mut first.forward, &mut first.reverse);
        assert_eq!(
            flow_faults(truth.clone(), vec![split, flow(2, &[(Side::Forward, 0)]), first]),
            Vec::<String>::new()
        );
        let faults = flow_faults(truth, vec![flow(2, &[(Side::Reverse, 9)]), flow(3, &[(Side::Forward, 9)])]);
        assert_eq!(faults, ["1 flows missing", "1 flows that are not there", "1 flows with wrong counts"]);
        assert_eq!(
            flow_faults(vec![flow(2, &[(Side::Forward, 9_000)])], vec![flow(2, &[(Side::Forward, 8_000)])]),
            ["1 flows with wrong times"]
        );
    }

    #[test]
    fn messages_are_compared_as_sets() {
        let message = |number, text: &str| (flow(number, &[]).canonical(), "dns".to_owned(), text.as_bytes().to_vec());
        let truth = vec![message(1, "a"), message(2, "b")];
        assert!(message_faults(truth.clone(), vec![message(2, "b"), message(1, "a"), message(1, "a")]).is_empty());
        let faults = message_faults(truth, vec![message(1, "b"), message(2, "b")]);
        assert_eq!(faults, ["1 application messages missing", "1 application messages that are not there"]);
    }
}
