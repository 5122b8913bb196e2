// SPDX-License-Identifier: MIT OR Apache-2.0
//! weir-meter, into an IPFIX file.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use weir_flow::{
    FlowKey, Value,
    app::{Dns, Http, Sip, Smtp, Tls},
};
use weir_ipfix::decode::Draft;

use super::{ACTIVE_TIMEOUT, Counts, Found, IDLE_TIMEOUT, Message, Setup, Subject};
use crate::{
    collector::Collected,
    ipfix::Decoder,
    truth::{Count, Flow},
};

/// How it is run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Variant {
    /// As it is, all parsers on.
    Default,
    /// Looks at no payload.
    NoApps,
    /// As it is, with two workers.
    TwoWorkers,
    /// A record for each direction, and no payload.
    Uniflow,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Default, Self::NoApps, Self::TwoWorkers, Self::Uniflow];

    /// What it is called in reports, behind the name of the meter.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Default => "",
            Self::NoApps => " --app-flows 0",
            Self::TwoWorkers => " --workers 2",
            Self::Uniflow => " --uniflow --app-flows 0",
        }
    }
}

/// The program, at one place and in one variant.
pub struct Weir {
    name: String,
    path: PathBuf,
    variant: Variant,
    knows_memory: bool,
}

/// What it may take, where it has a budget.
const MEMORY: &str = "8GiB";

impl Weir {
    pub fn new(name: &str, path: &Path, variant: Variant) -> Self {
        let help = Command::new(path).arg("--help").output();
        let knows_memory = help.is_ok_and(|h| String::from_utf8_lossy(&h.stdout).contains("--memory "));
        Self { name: format!("{name}{}", variant.suffix()), path: path.to_owned(), variant, knows_memory }
    }
}

impl Subject for Weir {
    fn name(&self) -> &str {
        &self.name
    }

    fn command(&self, setup: &Setup<'_>) -> Result<Command> {
        let mut command = Command::new(&self.path);
        command.args(self.variant.suffix().split_whitespace()).arg("-q").arg("-r").arg(setup.trace);
        command.arg("--export").arg(format!("file:{}", setup.file("flows.ipfix").display()));
        let flows = if self.variant == Variant::Uniflow { setup.uniflows() } else { setup.biflows() };
        // It reserves what it is told: the same for all sizes of traces would be no less honest, but slower to start.
        command.arg("--flows").arg(flows.min(1 << 24).to_string());
        command.arg("--idle-timeout").arg(format!("{IDLE_TIMEOUT}s"));
        command.arg("--active-timeout").arg(format!("{ACTIVE_TIMEOUT}s"));
        if self.knows_memory {
            command.args(["--memory", MEMORY]);
        }
        Ok(command)
    }

    fn found(&self, setup: &Setup<'_>, _: &Path, _: Option<&Collected>, in_full: bool) -> Result<Found> {
        let path = setup.file("flows.ipfix");
        let mut reader = BufReader::with_capacity(1 << 20, File::open(&path).context("flows.ipfix")?);
        let mut decoder = Decoder::default();
        let mut found = Found::default();
        let (mut flows, mut messages) = (Vec::new(), Vec::new());
        decoder.stream(&mut reader, &mut |draft| {
            let flow = flow_of(draft);
            found.records += 1;
            found.packets += flow.packets();
            found.octets += flow.octets();
            if in_full {
                flows.push(flow);
                messages.extend(message_of(draft, flow.canonical()));
            }
        })?;
        if in_full {
            found.flows = Some(flows);
            found.messages = self.looks_at_payload().then_some(messages);
        }
        found.remark = (decoder.unreadable > 0).then(|| format!("{} times unreadable", decoder.unreadable));
        Ok(found)
    }

    fn counts(&self) -> Counts {
        match self.variant {
            Variant::Default | Variant::TwoWorkers => Counts::Transactions,
            Variant::NoApps => Counts::Biflows,
            Variant::Uniflow => Counts::Uniflows,
        }
    }

    fn is_ours(&self) -> bool {
        true
    }
}

impl Weir {
    fn looks_at_payload(&self) -> bool {
        self.counts() == Counts::Transactions
    }
}

fn flow_of(draft: &Draft) -> Flow {
    let record = &draft.record;
    let count = |counters: &weir_flow::Counters| Count {
        packets: u32::try_from(counters.packets).unwrap_or(u32::MAX),
        octets: counters.octets,
    };
    let mut flow = Flow {
        key: FlowKey { vlan: record.vlan, ..record.key },
        forward: count(&record.forward),
        reverse: count(&record.reverse),
        first: record.forward.first.as_nanos(),
        last: record.forward.last.as_nanos(),
    };
    if record.reverse.packets > 0 {
        flow.first = flow.first.min(record.reverse.first.as_nanos());
        flow.last = flow.last.max(record.reverse.last.as_nanos());
    }
    flow
}

/// What identifies the message of a record, if it has one.
fn message_of(draft: &Draft, key: FlowKey) -> Option<Message> {
    let app = draft.app.as_ref()?.borrow();
    let field = match app.slug() {
        "dns" => const { Dns::field("query_name") },
        "http" => const { Http::field("request_host") },
        "sip" => const { Sip::field("call_id") },
        "smtp" => const { Smtp::field("mail_from") },
        "tls" => const { Tls::field("server_name") },
        _ => return None,
    };
    match app.value(field)? {
        Value::Text(text) => Some((key, app.slug().to_owned(), text.to_vec())),
        _ => None,
    }
}
