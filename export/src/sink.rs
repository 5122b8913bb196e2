// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a worker: encodes each record at once, and hands over full messages.

use std::sync::Arc;

use weir_flow::{FlowRecord, RecordSink};
use weir_ipfix::{
    encode::{RecordEncoder, Templates},
    json,
    message::SetWriter,
};

use crate::{
    channel::{Channel, LINES, Load, MAX_LINES, Message},
    passive_dns::PassiveDns,
    policy::{Chooser, Policy},
    queue::WhenFull,
};

weir_flow::counters! {
    /// What one worker's sink did.
    pub struct SinkCounters {
        #[doc = "records taken from the worker"]
        pub records,
        #[doc = "records and lines of passive DNS put into the messages of a destination; with n destinations, up to n times as many"]
        pub records_queued,
        #[doc = "records not put into a queue because it was full or its destination had failed, for each destination"]
        pub records_dropped_queue,
        #[doc = "records sent without their statistics, or without their application fields as well, since with them they fit into no message"]
        pub records_without_fields,
        #[doc = "records that fit into no message even so, and were dropped"]
        pub records_dropped_size,
        #[doc = "answer records of DNS that are in lines of passive DNS, or will be: the counts of all lines together"]
        pub passive_dns_answers,
        #[doc = "answer records that passive DNS left out, since more of them were in a response, or longer, than is kept"]
        pub passive_dns_left_out,
    }
}

/// IPFIX messages for one destination.
#[derive(Debug)]
struct Stream {
    writer: SetWriter,
    /// Most octets of a message.
    max_message: usize,
    channel: Arc<Channel>,
}

/// Lines for the destinations that take them.
#[derive(Debug)]
struct Lines {
    text: Vec<u8>,
    records: u32,
    first: Arc<Channel>,
    /// Those that get a copy.
    others: Vec<Arc<Channel>>,
}

/// What all of a sink's destinations have in common.
#[derive(Debug)]
struct Common {
    encoder: RecordEncoder,
    templates: Arc<Templates>,
    when_full: WhenFull,
    counters: SinkCounters,
    /// Messages that were handed over, taken or not.
    messages: u64,
}

/// One of several destinations of which each record goes to one: an index among its like.
#[derive(Clone, Copy, Debug)]
enum Place {
    Stream(usize),
    Lines(usize),
}

/// Who gets which record, where not each gets each.
#[derive(Debug)]
struct Choice {
    chooser: Chooser,
    places: Vec<Place>,
    channels: Vec<Arc<Channel>>,
}

/// The sink of one worker. Whoever ends the worker calls [`ExportSink::finish`].
#[derive(Debug)]
pub struct ExportSink {
    common: Common,
    streams: Vec<Stream>,
    /// One, for all that take lines, if each gets each record.
    lines: Vec<Lines>,
    choice: Option<Choice>,
    passive_dns: Option<Box<(PassiveDns, Lines)>>,
}

impl ExportSink {
    /// A sink for these channels.
    pub(crate) fn new(
        templates: Arc<Templates>,
        domain: u32,
        channels: Vec<Arc<Channel>>,
        policy: Policy,
        when_full: WhenFull,
    ) -> Self {
        // Answers of DNS are another matter than records: whoever wants them gets all.
        let (answers, channels): (Vec<_>, Vec<_>) =
            channels.into_iter().partition(|channel| channel.load == Load::PassiveDns);
        let chooser = Chooser::new(policy, channels.len(), is_ready(&channels));
        let (mut streams, mut lines) = (Vec::new(), Vec::<Lines>::new());
        let mut places = Vec::new();
        for channel in channels.iter().cloned() {
            match (channel.load, lines.last_mut()) {
                (Load::Ipfix(_), _) => {
                    places.push(Place::Stream(streams.len()));
                    let max_message = channel.max_message();
                    streams.push(Stream { writer: SetWriter::new(max_message), max_message, channel });
                }
                (_, Some(lines)) if chooser.is_none() => lines.others.push(channel),
                _ => {
                    places.push(Place::Lines(lines.len()));
                    lines.extend(Lines::to(std::iter::once(channel)));
                }
            }
        }
        let encoder = RecordEncoder::new(templates.clone());
        let common = Common { encoder, templates, when_full, counters: SinkCounters::default(), messages: 0 };
        let choice = chooser.map(|chooser| Choice { chooser, places, channels });
        let passive_dns = Lines::to(answers.into_iter()).map(|lines| Box::new((PassiveDns::new(domain), lines)));
        Self { common, streams, lines, choice, passive_dns }
    }

    /// Hands over what is not full yet.
    pub fn flush(&mut self) {
        for stream in &mut self.streams {
            stream.hand_over(&mut self.common);
        }
        for lines in &mut self.lines {
            lines.hand_over(&mut self.common);
        }
        if let Some((answers, lines)) = self.passive_dns.as_deref_mut() {
            // Of live capture, a full queue is waited for only at its end.
            if answers.is_due() || self.common.when_full == WhenFull::Wait {
                write_answers(answers, lines, &mut self.common);
            }
            lines.hand_over(&mut self.common);
        }
        if let Some(choice) = &mut self.choice {
            choice.chooser.message_is_done(is_ready(&choice.channels));
        }
    }

    /// What was done so far.
    #[must_use]
    pub const fn counters(&self) -> SinkCounters {
        self.common.counters
    }

    /// From now on a full queue is waited for, as long as its destination is not given up.
    pub fn wait_when_full(&mut self) {
        self.common.when_full = WhenFull::Wait;
        self.streams.iter().for_each(|stream| stream.channel.take_time());
        let answers = self.passive_dns.iter().map(|both| &both.1);
        self.lines
            .iter()
            .chain(answers)
            .flat_map(|lines| lines.others.iter().chain([&lines.first]))
            .for_each(|c| c.take_time());
    }

    /// Gives a record to the one destination that gets it.
    fn record_to_one(&mut self, record: &FlowRecord<'_>) {
        let Self { common, streams, lines, choice: Some(choice), .. } = self else { return };
        let messages = common.messages;
        match choice.places.get(choice.chooser.choose(&record.key)) {
            Some(Place::Stream(index)) => streams.get_mut(*index).into_iter().for_each(|s| s.add(record, common)),
            Some(Place::Lines(index)) => lines.get_mut(*index).into_iter().for_each(|l| l.add(record, common)),
            None => {}
        }
        if common.messages > messages {
            choice.chooser.message_is_done(is_ready(&choice.channels));
        }
    }

    /// Hands over the rest and gives the counters.
    #[must_use]
    pub fn finish(mut self) -> SinkCounters {
        if let Some((answers, lines)) = self.passive_dns.as_deref_mut() {
            write_answers(answers, lines, &mut self.common);
        }
        self.flush();
        self.common.counters
    }
}

/// Tells of each channel whether its destination takes messages.
fn is_ready(channels: &[Arc<Channel>]) -> impl Fn(usize) -> bool {
    |index| channels.get(index).is_some_and(|channel| channel.is_ready())
}

impl RecordSink for ExportSink {
    fn record(&mut self, record: &FlowRecord<'_>) {
        if self.choice.is_some() {
            self.record_to_one(record);
        }
        let Self { common, streams, lines, choice, passive_dns } = self;
        common.counters.records += 1;
        if choice.is_none() {
            streams.iter_mut().for_each(|stream| stream.add(record, common));
            lines.iter_mut().for_each(|lines| lines.add(record, common));
        }
        if let Some((answers, lines)) = passive_dns.as_deref_mut() {
            let noted = answers.note(record, |answers| write_answers(answers, lines, common));
            common.counters.passive_dns_answers += noted.answers;
            common.counters.passive_dns_left_out += noted.left_out;
        }
    }
}

fn write_answers(answers: &mut PassiveDns, lines: &mut Lines, common: &mut Common) {
    answers.write(|line| lines.write(common, line));
}

impl Stream {
    #[inline]
    fn add(&mut self, record: &FlowRecord<'_>, common: &mut Common) {
        if let Err(octets) = common.encoder.append(record, &mut self.writer) {
            self.does_not_fit(record, octets, common);
        }
    }

    /// Takes a record that has so many octets and does not fit into what is left of the message: in the next one, or
    /// without statistics, then without application fields, if it fits into none.
    #[cold]
    fn does_not_fit(&mut self, record: &FlowRecord<'_>, octets: usize, common: &mut Common) {
        let is_too_long = octets > self.writer.max_record();
        let (mut kept, mut written) = (*record, Err(octets));
        while let Err(octets) = written
            && octets > self.writer.max_record()
            && (kept.statistics.take().is_some() || kept.app.take().is_some())
        {
            written = common.encoder.append(&kept, &mut self.writer);
        }
        if written.is_err() {
            self.hand_over(common);
            written = common.encoder.append(&kept, &mut self.writer);
        }
        let is_written = written.is_ok();
        common.counters.records_without_fields += u64::from(is_too_long && is_written);
        common.counters.records_dropped_size += u64::from(!is_written);
    }

    fn hand_over(&mut self, common: &mut Common) {
        if self.writer.is_empty() {
            return;
        }
        let message = Message::Ipfix { buffer: self.writer.finish(), templates: common.templates.count() };
        common.push(&self.channel, message);
        let max_message = self.channel.max_message();
        if max_message != self.max_message {
            // The path takes others than before. Memory of another size is made anew, which does not happen often.
            (self.writer, self.max_message) = (SetWriter::new(max_message), max_message);
            return;
        }
        self.writer.begin(self.channel.memory_for_next().into_buffer());
    }
}

impl Lines {
    /// Lines for these channels; none if there are none.
    fn to(mut channels: impl Iterator<Item = Arc<Channel>>) -> Option<Self> {
        let first = channels.next()?;
        Some(Self { text: Vec::with_capacity(MAX_LINES), records: 0, first, others: channels.collect() })
    }

    #[inline]
    fn add(&mut self, record: &FlowRecord<'_>, common: &mut Common) {
        self.write(common, |text| json::write_line(record, text));
    }

    #[inline]
    fn write(&mut self, common: &mut Common, line: impl FnOnce(&mut Vec<u8>)) {
        line(&mut self.text);
        self.records += 1;
        if self.text.len() >= LINES {
            self.hand_over(common);
        }
    }

    fn hand_over(&mut self, common: &mut Common) {
        if self.text.is_empty() {
            return;
        }
        let records = std::mem::take(&mut self.records);
        for channel in &self.others {
            let mut text = channel.memory_for_next().into_lines();
            text.extend_from_slice(&self.text);
            common.push(channel, Message::Lines { text, records });
        }
        common.push(&self.first, Message::Lines { text: std::mem::take(&mut self.text), records });
        self.text = self.first.memory_for_next().into_lines();
    }
}

impl Common {
    fn push(&mut self, channel: &Channel, message: Message) {
        let records = u64::from(message.records());
        self.messages += 1;
        match channel.push(message, self.when_full) {
            Ok(()) => self.counters.records_queued += records,
            Err(()) => self.counters.records_dropped_queue += records,
        }
    }
}
