// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a worker: encodes each record at once, and hands over full messages.

use std::sync::Arc;

use bytes::Bytes;
use weir_flow::{FlowRecord, RecordSink};
use weir_ipfix::{
    encode::{RecordEncoder, Templates},
    json,
    message::SetWriter,
};

use crate::queue::{Queue, WhenFull};

/// Octets of JSON lines that travel together.
const JSON_CHUNK: usize = 64 * 1024;

/// A message without its header, or a chunk of lines, on its way to a destination.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub body: Bytes,
    pub records: u32,
    /// How many templates were known when it was made: as many must be announced before it.
    pub templates: usize,
}

weir_flow::counters! {
    /// What one worker's sink did.
    pub struct SinkCounters {
        #[doc = "records taken from the worker"]
        pub records,
        #[doc = "records put into the messages of a destination; with n destinations, up to n times as many"]
        pub records_queued,
        #[doc = "records not put into a queue because it was full or its destination had failed, for each destination"]
        pub records_dropped_queue,
        #[doc = "records sent without their application fields, since with them they fit into no message"]
        pub records_without_fields,
        #[doc = "records that fit into no message even so, and were dropped"]
        pub records_dropped_size,
    }
}

/// Messages of one size, for the destinations that take them.
#[derive(Debug)]
struct Stream {
    writer: SetWriter,
    queues: Vec<Arc<Queue<Message>>>,
}

/// Lines, for the destinations that take them.
#[derive(Debug)]
struct Lines {
    chunk: Vec<u8>,
    records: u32,
    queues: Vec<Arc<Queue<Message>>>,
}

/// The sink of one worker. Whoever ends the worker calls [`ExportSink::finish`].
#[derive(Debug)]
pub struct ExportSink {
    encoder: RecordEncoder,
    templates: Arc<Templates>,
    scratch: Vec<u8>,
    streams: Vec<Stream>,
    lines: Option<Lines>,
    when_full: WhenFull,
    counters: SinkCounters,
}

impl ExportSink {
    /// A sink for these queues: of IPFIX messages, each with the most octets of a message, and of lines.
    pub(crate) fn new(
        templates: Arc<Templates>,
        ipfix: &[(usize, Arc<Queue<Message>>)],
        json: &[Arc<Queue<Message>>],
        when_full: WhenFull,
    ) -> Self {
        let mut streams: Vec<(usize, Stream)> = Vec::new();
        for (max_message, queue) in ipfix {
            match streams.iter_mut().find(|s| s.0 == *max_message) {
                Some((_, stream)) => stream.queues.push(queue.clone()),
                None => {
                    let stream = Stream { writer: SetWriter::new(*max_message), queues: vec![queue.clone()] };
                    streams.push((*max_message, stream));
                }
            }
        }
        Self {
            encoder: RecordEncoder::new(templates.clone()),
            templates,
            scratch: Vec::with_capacity(4096),
            streams: streams.into_iter().map(|s| s.1).collect(),
            lines: (!json.is_empty()).then(|| Lines { chunk: Vec::new(), records: 0, queues: json.to_vec() }),
            when_full,
            counters: SinkCounters::default(),
        }
    }

    /// Hands over what is not full yet.
    pub fn flush(&mut self) {
        let Self { streams, lines, templates, when_full, counters, .. } = self;
        for stream in streams {
            stream.hand_over(templates, *when_full, counters);
        }
        if let Some(lines) = lines {
            lines.hand_over(*when_full, counters);
        }
    }

    /// Hands over the rest and gives the counters.
    #[must_use]
    pub fn finish(mut self) -> SinkCounters {
        self.flush();
        self.counters
    }
}

impl RecordSink for ExportSink {
    fn record(&mut self, record: &FlowRecord<'_>) {
        let Self { encoder, templates, scratch, streams, lines, when_full, counters } = self;
        counters.records += 1;
        if let Some(lines) = lines {
            json::write_line(record, &mut lines.chunk);
            lines.records += 1;
            if lines.chunk.len() >= JSON_CHUNK {
                lines.hand_over(*when_full, counters);
            }
        }
        if streams.is_empty() {
            return;
        }
        scratch.clear();
        let id = encoder.encode(record, scratch);
        for stream in streams.iter_mut() {
            if scratch.len() <= stream.writer.max_record() {
                stream.push(id, scratch, templates, *when_full, counters);
                continue;
            }
            let mut bare = Vec::new();
            let id = encoder.encode(&FlowRecord { app: None, ..*record }, &mut bare);
            if bare.len() <= stream.writer.max_record() {
                counters.records_without_fields += 1;
                stream.push(id, &bare, templates, *when_full, counters);
            } else {
                counters.records_dropped_size += 1;
            }
        }
    }
}

impl Stream {
    fn push(
        &mut self,
        id: u16,
        record: &[u8],
        templates: &Templates,
        when_full: WhenFull,
        counters: &mut SinkCounters,
    ) {
        if !self.writer.push(id, record) {
            self.hand_over(templates, when_full, counters);
            // It fits into an empty message: that was asked before.
            self.writer.push(id, record);
        }
    }

    fn hand_over(&mut self, templates: &Templates, when_full: WhenFull, counters: &mut SinkCounters) {
        if self.writer.is_empty() {
            return;
        }
        let (body, records) = self.writer.take();
        let message = Message { body: body.into(), records, templates: templates.count() };
        hand_to(&self.queues, message, when_full, counters);
    }
}

impl Lines {
    fn hand_over(&mut self, when_full: WhenFull, counters: &mut SinkCounters) {
        if self.chunk.is_empty() {
            return;
        }
        let body = std::mem::take(&mut self.chunk).into();
        let message = Message { body, records: std::mem::take(&mut self.records), templates: 0 };
        hand_to(&self.queues, message, when_full, counters);
    }
}

fn hand_to(queues: &[Arc<Queue<Message>>], message: Message, when_full: WhenFull, counters: &mut SinkCounters) {
    for queue in queues {
        match queue.push(message.clone(), when_full) {
            Ok(()) => counters.records_queued += u64::from(message.records),
            Err(_) => counters.records_dropped_queue += u64::from(message.records),
        }
    }
}
