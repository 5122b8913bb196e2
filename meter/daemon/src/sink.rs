// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. The sink of every worker: the exporter's, which may be exchanged while a lane runs.
//!
//! Reading of files has the same, though nothing is exchanged there: so the meter is compiled once, not twice.

use std::sync::{Arc, Mutex, PoisonError};

use weir_export::{ExportSink, SinkCounters};
use weir_flow::{FlowRecord, RecordSink};
use weir_metering::live::LiveSink;

use crate::unrecognised::Noting;

/// Where a lane finds its next sink.
pub type Next = Arc<Mutex<Option<ExportSink>>>;

/// The sink of a worker.
pub struct Sink {
    current: ExportSink,
    next: Next,
    /// What those counted that were exchanged.
    before: SinkCounters,
    has_ended: bool,
    /// What was not recognised, if that is asked for.
    noting: Option<Noting>,
}

impl Sink {
    /// Of the exporter's.
    pub fn new(current: ExportSink, noting: Option<Noting>) -> Self {
        Self { current, next: Next::default(), before: SinkCounters::default(), has_ended: false, noting }
    }

    /// Where its next one goes.
    pub fn next(&self) -> Next {
        self.next.clone()
    }

    /// The exporter's.
    pub fn into_inner(mut self) -> ExportSink {
        self.noting.iter_mut().for_each(Noting::publish);
        self.current
    }
}

/// Has a lane take another sink, within about a second.
pub fn exchange(next: &Next, sink: ExportSink) {
    *next.lock().unwrap_or_else(PoisonError::into_inner) = Some(sink);
}

/// Whether it was taken, or never will be, since the lane has ended.
pub fn is_taken(next: &Next) -> bool {
    Arc::strong_count(next) == 1 || next.lock().unwrap_or_else(PoisonError::into_inner).is_none()
}

impl RecordSink for Sink {
    #[inline]
    fn record(&mut self, record: &FlowRecord<'_>) {
        if let Some(noting) = &mut self.noting {
            noting.note(record);
        }
        self.current.record(record);
    }
}

impl LiveSink for Sink {
    type Counters = SinkCounters;

    fn every_second(&mut self) -> SinkCounters {
        self.current.flush();
        self.noting.iter_mut().for_each(Noting::publish);
        let next = self.next.try_lock().ok().and_then(|mut next| next.take());
        if let Some(mut next) = next {
            if self.has_ended {
                next.wait_when_full();
            }
            self.before.add(&std::mem::replace(&mut self.current, next).finish());
        }
        let mut counters = self.before;
        counters.add(&self.current.counters());
        counters
    }

    fn capture_has_ended(&mut self) {
        self.has_ended = true;
        self.current.wait_when_full();
    }
}
