// SPDX-License-Identifier: MIT OR Apache-2.0
//! `weir-meter` and its peers on a wire: at which rate does each lose nothing, and where is what it loses at more?
//!
//! The wire is a veth between two network namespaces that are made for it ([`lab`]). The sender, the kernel's way of each packet, and
//! the receiver share the processors of one machine, and on a veth that way is walked by the sender: so a rate is that of all
//! three together, and no receiver can be shown to be faster than the sender. What a network adapter adds is not in it.
//!
//! With one queue one thread sends, on a processor of its own if there are two; with more, as many, and each has its own flows.

pub mod lab;
pub mod receiver;
pub mod report;
pub mod search;
pub mod trial;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use self::{
    lab::Wire,
    receiver::Receiver,
    search::{Offer, Search},
    trial::{Sending, Trial},
};
use crate::{
    compare,
    send::{Frames, Sent},
    trace::{Kind, Order, Spec, Trace, TraceSpec, draw::Draw},
};

/// Flows that uniform packets are of.
const FLOWS: u32 = 10_000;
/// Different uniform packets; after them, the first one is sent again.
const DISTINCT: usize = 200_000;
/// Octets of a uniform frame: 64 on the wire.
const SIZE: usize = 60;
/// Conversations of the mix that are open at a time.
const MIX_FLOWS: u32 = 2000;
/// Packets of the mix.
const MIX_PACKETS: u64 = 200_000;

/// What is sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Traffic {
    /// Frames of a capture file.
    File(PathBuf),
    /// Whole conversations, with what parsers look for: the trace `mix`.
    Mix,
    /// Frames of 64 octets on the wire, any of 10,000 flows with each.
    Uniform,
}

impl Traffic {
    /// What it is called in reports.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Mix => "mix".to_owned(),
            Self::Uniform => "uniform, 64 octets".to_owned(),
        }
    }

    /// Its frames.
    ///
    /// # Errors
    ///
    /// If a file cannot be written or read.
    pub fn frames(&self, seed: u64) -> Result<Frames> {
        let (has_payload, order) = (true, Order::Random);
        match self {
            Self::File(path) => Frames::of_file(path.to_str().context("a file must have a name in UTF-8")?),
            Self::Mix => mix(seed),
            Self::Uniform => {
                let spec = TraceSpec { flows: FLOWS, packets: DISTINCT, size: SIZE, has_payload, order, seed };
                Ok(Frames::of_trace(&Trace::new(spec)))
            }
        }
    }
}

/// Frames of a mix, by way of a file that does not stay.
fn mix(seed: u64) -> Result<Frames> {
    let folder = std::env::temp_dir().join(format!("weir-bench-mix-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("mix.pcap");
    let spec = Spec { kind: Kind::Mix, flows: MIX_FLOWS, packets: MIX_PACKETS, seed };
    let written = spec.write(&file);
    let frames = written.and_then(|_| Frames::of_file(file.to_str().context("a folder must have a name in UTF-8")?));
    std::fs::remove_dir_all(&folder)?;
    frames
}

/// How a search is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who receives.
    pub receivers: Vec<Receiver>,
    /// What is sent, one after the other.
    pub traffic: Vec<Traffic>,
    /// Queues of the wire, one after the other.
    pub queues: Vec<usize>,
    /// Length of a trial.
    pub time: Duration,
    /// Part of the rate to which it is found.
    pub resolution: f64,
    /// Searches for each receiver, of which medians are given.
    pub rounds: usize,
    /// Seed of all that is drawn.
    pub seed: u64,
}

/// One receiver's search.
#[derive(Debug)]
pub struct Searched {
    /// Where it ended.
    pub search: Search,
    /// All trials, in their order: the first one is flat out.
    pub trials: Vec<Trial>,
    /// Why it could not go on.
    pub failure: Option<String>,
}

/// All searches of one receiver.
#[derive(Debug)]
pub struct Line {
    /// Who.
    pub receiver: Receiver,
    /// Round by round.
    pub rounds: Vec<Searched>,
}

/// All receivers on one wire, with one kind of traffic.
#[derive(Debug)]
pub struct OnWire {
    /// What was sent.
    pub traffic: Traffic,
    /// Queues of the wire.
    pub queues: usize,
    /// Octets of a frame, on average.
    pub frame_octets: f64,
    /// What the sender did with nobody who received, round by round.
    pub sender: Vec<Sent>,
    /// Who received.
    pub lines: Vec<Line>,
}

/// Searches, for each traffic and wire; trials of receivers take turns, in an order drawn anew for each turn.
///
/// # Errors
///
/// If the wire cannot be made, or there is nothing to send.
pub fn search(settings: &Settings) -> Result<Vec<OnWire>> {
    let mut results = Vec::new();
    let mut draw = Draw::new(settings.seed);
    for traffic in &settings.traffic {
        let frames = traffic.frames(settings.seed)?;
        for queues in &settings.queues {
            eprintln!("weir-bench: {}, queues: {queues}", traffic.name());
            let mut on_wire = OnWire::new(traffic, *queues, &frames, &settings.receivers);
            let parts = frames.parts(*queues);
            for _ in 0..settings.rounds {
                on_wire.round(settings, &parts, &mut draw)?;
            }
            results.push(on_wire);
        }
    }
    Ok(results)
}

impl OnWire {
    fn new(traffic: &Traffic, queues: usize, frames: &Frames, receivers: &[Receiver]) -> Self {
        let line = |receiver: &Receiver| Line { receiver: receiver.clone(), rounds: Vec::new() };
        Self {
            traffic: traffic.clone(),
            queues,
            frame_octets: frames.octets() as f64 / frames.len().max(1) as f64,
            sender: Vec::new(),
            lines: receivers.iter().map(line).collect(),
        }
    }

    /// One search for each receiver.
    fn round(&mut self, settings: &Settings, parts: &[Frames], draw: &mut Draw) -> Result<()> {
        let time = settings.time;
        let alone = Wire::new(self.queues)?;
        self.sender.push(trial::send_all(&alone, &Sending { parts, offer: Offer::FlatOut, time })?);
        drop(alone);
        for line in &mut self.lines {
            let search = Search::new(settings.resolution);
            line.rounds.push(Searched { search, trials: Vec::new(), failure: None });
        }
        loop {
            let mut has_moved = false;
            for place in compare::shuffled(self.lines.len(), draw) {
                let open = self.lines.get_mut(place).and_then(Line::open);
                let Some((receiver, searched, offer)) = open else { continue };
                searched.step(receiver, self.queues, &Sending { parts, offer, time })?;
                has_moved = true;
            }
            if !has_moved {
                return Ok(());
            }
        }
    }
}

impl Line {
    /// Its search and the next trial of it, if there is one to be made.
    fn open(&mut self) -> Option<(&Receiver, &mut Searched, Offer)> {
        let searched = self.rounds.last_mut().filter(|searched| searched.failure.is_none())?;
        let offer = searched.search.next()?;
        Some((&self.receiver, searched, offer))
    }
}

impl Searched {
    fn step(&mut self, receiver: &Receiver, queues: usize, sending: &Sending<'_>) -> Result<()> {
        // Each on a wire of its own: nothing is left of the one before.
        let wire = Wire::new(queues)?;
        match trial::run(receiver, &wire, queues, sending) {
            Ok(trial) => {
                eprintln!("weir-bench: {}", report::trial_line(receiver, &trial));
                self.search.note(sending.offer, trial.rate(), trial.is_loss_free());
                self.trials.push(trial);
            }
            Err(error) => self.failure = Some(format!("{error:#}")),
        }
        Ok(())
    }

    /// The trial that gave the rate without loss.
    #[must_use]
    pub fn best(&self) -> Option<&Trial> {
        let rate = self.search.loss_free_rate()?;
        self.trials.iter().find(|trial| trial.is_loss_free() && (trial.rate() - rate).abs() < 1e-6)
    }
}

/// One trial, on a wire of its own.
///
/// # Errors
///
/// If the wire cannot be made, the receiver does not start or leaves no account, or sending fails.
pub fn single(
    receiver: &Receiver,
    traffic: &Traffic,
    queues: usize,
    offer: Offer,
    time: Duration,
    seed: u64,
) -> Result<Trial> {
    let frames = traffic.frames(seed)?;
    let wire = Wire::new(queues)?;
    trial::run(receiver, &wire, queues, &Sending { parts: &frames.parts(queues), offer, time })
}
