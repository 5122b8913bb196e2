// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads what subjects export: IPFIX from a file or a connection, IPFIX or NetFlow 9 in datagrams.

use std::{
    collections::HashMap,
    io::{self, Read},
};

use weir_ipfix::{
    Template, WEIR,
    decode::{self, DecodeError, Draft, Plan, Set},
    message, netflow,
};

/// Knows the templates of one transport session.
#[derive(Debug, Default)]
pub struct Decoder {
    /// None for templates of options, whose records are no flows.
    plans: HashMap<(u32, u16), Option<Plan>>,
    draft: Draft,
    /// What could not be read: messages, sets, records whose template is unknown.
    pub unreadable: u64,
}

impl Decoder {
    /// Decodes one message and hands over its records, those of options left out.
    pub fn message(&mut self, octets: &[u8], each: &mut impl FnMut(&Draft)) {
        let (domain, first, is_ipfix) = if let Ok(header) = message::Header::parse(octets) {
            (header.domain, message::HEADER_LEN, true)
        } else if let Ok(header) = netflow::Header::parse(octets) {
            (header.domain, header.header_len, false)
        } else {
            self.unreadable += 1;
            return;
        };
        for set in decode::sets(octets, first) {
            match set {
                Ok(set) => self.set(domain, set, is_ipfix, each),
                Err(_) => self.unreadable += 1,
            }
        }
    }

    fn set(&mut self, domain: u32, set: Set<'_>, is_ipfix: bool, each: &mut impl FnMut(&Draft)) {
        match (is_ipfix, set.id) {
            (true, 2) => self.learn(domain, decode::templates(set, false), false),
            (true, 3) => self.learn(domain, decode::templates(set, true), true),
            (false, 0) => self.learn(domain, netflow::templates(set, false), false),
            (false, 1) => self.learn(domain, netflow::templates(set, true), true),
            (_, id) => match self.plans.get(&(domain, id)) {
                Some(Some(plan)) => {
                    let mut at = 0;
                    while set.body.len() - at >= plan.min_record_len() {
                        match plan.decode(set.body, at, &mut self.draft) {
                            Ok(next) => at = next,
                            Err(_) => {
                                self.unreadable += 1;
                                break;
                            }
                        }
                        self.draft.settle(None);
                        each(&self.draft);
                    }
                }
                Some(None) => {}
                None => self.unreadable += 1,
            },
        }
    }

    fn learn(
        &mut self,
        domain: u32,
        templates: impl Iterator<Item = Result<Template, DecodeError>>,
        are_options: bool,
    ) {
        for template in templates {
            match template {
                Ok(template) => {
                    let plan = (!are_options).then(|| Plan::new(&template, WEIR));
                    self.plans.insert((domain, template.id), plan);
                }
                Err(_) => self.unreadable += 1,
            }
        }
    }

    /// Decodes messages one behind the other until the end.
    ///
    /// # Errors
    ///
    /// If it cannot be read on, or ends within a message.
    pub fn stream(&mut self, from: &mut impl Read, each: &mut impl FnMut(&Draft)) -> io::Result<()> {
        let mut octets = Vec::with_capacity(1 << 16);
        loop {
            octets.resize(message::HEADER_LEN, 0);
            let (first, rest) = octets.split_at_mut(1);
            if from.read(first)? == 0 {
                return Ok(());
            }
            from.read_exact(rest)?;
            let header = message::Header::parse_claim(&octets).map_err(io::Error::other)?;
            octets.resize(header.length.into(), 0);
            from.read_exact(octets.get_mut(message::HEADER_LEN..).unwrap_or_default())?;
            self.message(&octets, each);
        }
    }
}
