// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sends frames to an interface, flat out or at a rate, and counts what the interface has taken.
//!
//! Frames are those of a [`Trace`], or of a capture file; when all have been sent, they are sent again. They go past the
//! queueing discipline (PACKET_QDISC_BYPASS), in batches of one system call: so nothing is dropped on the way that was counted as
//! sent. An interface that has no room refuses a frame, which is counted, and it is sent again.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use weir_flow::{LinkType, SourceState};
use weir_metering::capture;

use crate::{
    sys::{FrameSender, SEND_BATCH},
    trace::Trace,
};

/// How long an interface may refuse every frame until that is an error.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long to sleep when nothing is due: as many packets then go at once.
const NAP: Duration = Duration::from_micros(100);

/// Frames, one after the other in one memory.
#[derive(Debug, Default)]
pub struct Frames {
    octets: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Frames {
    /// Those of a trace.
    #[must_use]
    pub fn of_trace(trace: &Trace) -> Self {
        let mut frames = Self::default();
        trace.frames().for_each(|(_, frame)| frames.push(frame));
        frames
    }

    /// Those of a capture file that are Ethernet and were captured in full.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or has none.
    pub fn of_file(path: &str) -> Result<Self> {
        let mut source = capture::open(path)?;
        let mut frames = Self::default();
        while source.poll(&mut |batch| {
            let whole = |packet: &&weir_flow::Packet<'_>| {
                packet.link == LinkType::ETHERNET && packet.data.len() == packet.wire_octets as usize
            };
            batch.iter().filter(whole).for_each(|packet| frames.push(packet.data));
        })? != SourceState::End
        {}
        ensure!(!frames.ends.is_empty(), "{path} has no Ethernet frame that was captured in full");
        Ok(frames)
    }

    /// The same frames in so many parts, as an interface with so many receive queues shares them out: both directions of a
    /// pair of IP addresses in the same one.
    ///
    /// Only plain IPv4 and IPv6 are looked into; all else is in the first part. A part without frames is left out.
    #[must_use]
    pub fn parts(&self, count: usize) -> Vec<Self> {
        let mut parts: Vec<_> = (0..count.max(1)).map(|_| Self::default()).collect();
        for number in 0..self.len() as u64 {
            let frame = self.frame(number);
            let place = usize::from(hash_of_addresses(frame)) % parts.len();
            if let Some(part) = parts.get_mut(place) {
                part.push(frame);
            }
        }
        parts.retain(|part| !part.is_empty());
        parts
    }

    fn push(&mut self, frame: &[u8]) {
        self.octets.extend_from_slice(frame);
        self.ends.push(self.octets.len());
    }

    /// Number of frames.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Octets of all of them.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.octets.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The frame of a number, counted round and round; empty if there are none.
    fn frame(&self, number: u64) -> &[u8] {
        #[expect(clippy::cast_possible_truncation, reason = "less than the number of frames")]
        let index = (number % self.ends.len().max(1) as u64) as usize;
        let begin = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(index).and_then(|end| self.octets.get(begin..*end)).unwrap_or_default()
    }
}

/// How much to send, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Packets at most.
    pub packets: u64,
    /// Time at most.
    pub time: Option<Duration>,
    /// Packets per second; `None` for as many as there can be.
    pub rate: Option<u64>,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Frames that the interface has taken.
    pub packets: u64,
    /// Their octets, link header included, frame check sequence not.
    pub octets: u64,
    /// Times that it had no room for a frame, which was then sent again.
    pub refused: u64,
    /// From the first to the last.
    pub time: Duration,
}

impl Sent {
    /// As one JSON object.
    #[must_use]
    pub fn json(&self) -> Value {
        let seconds = self.time.as_secs_f64();
        let rate = self.packets as f64 / seconds.max(1e-9);
        json!({
            "packets": self.packets,
            "octets": self.octets,
            "refused": self.refused,
            "seconds": seconds,
            "packets_per_second": rate.round(),
        })
    }
}

/// Sends frames.
///
/// # Errors
///
/// If the interface is not there or goes down, refuses everything for a while, or the system refuses.
pub fn send(interface: &str, frames: &Frames, plan: &Plan) -> Result<Sent> {
    ensure!(!frames.is_empty(), "no frames to send");
    let sender = FrameSender::new(interface).with_context(|| format!("cannot send to {interface}"))?;
    let begin = Instant::now();
    let (mut sent, mut last) = (Sent::default(), begin);
    loop {
        let now = Instant::now();
        let elapsed = now - begin;
        sent.time = elapsed;
        if sent.packets >= plan.packets || plan.time.is_some_and(|time| elapsed >= time) {
            return Ok(sent);
        }
        let due = plan.due(elapsed).saturating_sub(sent.packets);
        if due == 0 {
            thread::sleep(NAP);
            continue;
        }
        let mut batch = [&[][..]; SEND_BATCH];
        let count = due.min(SEND_BATCH as u64);
        for (place, number) in batch.iter_mut().zip(sent.packets..sent.packets + count) {
            *place = frames.frame(number);
        }
        let batch = batch.get(..usize::try_from(count)?).unwrap_or_default();
        match sender.send(batch) {
            Ok(taken) => {
                sent.packets += taken as u64;
                sent.octets += batch.iter().take(taken).map(|frame| frame.len() as u64).sum::<u64>();
                last = now;
            }
            Err(error) if is_full(&error) && now - last < PATIENCE => sent.refused += 1,
            Err(error) => bail!("after {} packets, {interface} takes no more: {error}", sent.packets),
        }
    }
}

impl Plan {
    /// Packets that should have been sent by then.
    fn due(&self, elapsed: Duration) -> u64 {
        let by_rate =
            |rate: u64| u64::try_from(elapsed.as_nanos() * u128::from(rate) / 1_000_000_000).unwrap_or(u64::MAX);
        self.rate.map_or(u64::MAX, by_rate).min(self.packets)
    }
}

/// A small hash of both IP addresses, the same whichever of them is first.
fn hash_of_addresses(frame: &[u8]) -> u8 {
    let addresses = match frame.get(12..14) {
        Some([0x08, 0x00]) => frame.get(26..34),
        Some([0x86, 0xdd]) => frame.get(22..54),
        _ => None,
    };
    addresses.unwrap_or_default().iter().fold(0, |hash, octet| hash ^ octet)
}

/// Whether there is only no room now.
fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Order, TraceSpec};

    #[test]
    fn frames_go_round() {
        let order = Order::Sequential;
        let spec = TraceSpec { flows: 3, packets: 5, size: 70, has_payload: true, order, seed: 1 };
        let trace = Trace::new(spec);
        let frames = Frames::of_trace(&trace);
        assert_eq!(frames.len(), 5);
        for (number, (_, frame)) in (0..).zip(trace.frames()) {
            assert_eq!(frames.frame(number), frame);
            assert_eq!(frames.frame(number + 5_000_000_000), frame);
        }
        assert!(Frames::default().frame(3).is_empty());
    }

    #[test]
    fn parts_are_all_frames_and_keep_both_directions_together() {
        let order = Order::Random;
        let spec = TraceSpec { flows: 50, packets: 1000, size: 70, has_payload: true, order, seed: 1 };
        let frames = Frames::of_trace(&Trace::new(spec));
        let parts = frames.parts(2);
        assert_eq!(parts.iter().map(Frames::len).collect::<Vec<_>>().len(), 2);
        assert_eq!(parts.iter().map(Frames::len).sum::<usize>(), 1000);
        assert!(parts.iter().all(|part| part.len() > 200), "{:?}", parts.iter().map(Frames::len).collect::<Vec<_>>());
        let pairs = |part: &Frames| -> std::collections::BTreeSet<Vec<u8>> {
            let sorted = |n| {
                let frame = part.frame(n);
                let (one, other) = (frame[26..30].to_vec(), frame[30..34].to_vec());
                if one < other { [one, other].concat() } else { [other, one].concat() }
            };
            (0..part.len() as u64).map(sorted).collect()
        };
        assert!(pairs(&parts[0]).is_disjoint(&pairs(&parts[1])));
    }

    #[test]
    fn what_is_due_goes_by_the_rate() {
        let plan = |rate| Plan { packets: 1000, time: None, rate };
        assert_eq!(plan(Some(100)).due(Duration::from_millis(1550)), 155);
        assert_eq!(plan(Some(u64::MAX)).due(Duration::from_secs(100)), 1000);
        assert_eq!(plan(None).due(Duration::ZERO), 1000);
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        let spec = TraceSpec { flows: 1, packets: 1, size: 70, has_payload: true, order: Order::Random, seed: 1 };
        let frames = Frames::of_trace(&Trace::new(spec));
        let plan = Plan { packets: 1, time: None, rate: None };
        let error = send("no interface", &frames, &plan).unwrap_err();
        assert!(error.to_string().contains("no interface"), "{error}");
    }
}
