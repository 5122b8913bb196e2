// SPDX-License-Identifier: MIT OR Apache-2.0
//! What was found, as a table and for programs.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::{Value, json};

use super::{Line, OnWire, Searched, Settings, Traffic, receiver::Receiver, search::Offer, trial::Trial};
use crate::{machine::Machine, report::table::grouped};

/// Everything.
#[derive(Debug)]
pub struct Report {
    /// The machine, before the first trial.
    pub machine: Machine,
    /// How it was done.
    pub settings: Settings,
    /// Programs of peers that are not installed.
    pub missing: Vec<&'static str>,
    /// Each traffic on each wire.
    pub results: Vec<OnWire>,
}

/// What a line of the table has.
struct Row {
    /// Packets per second, if there is a rate without loss.
    rate: Option<f64>,
    /// Whether the sender was the limit, in most rounds.
    is_limited_by_sender: bool,
    /// Seconds on a processor for a million packets, at that rate.
    cpu: Option<f64>,
    /// Packets per second of trials that were flat out.
    flat_out: Option<f64>,
    /// Part of the packets that those lost.
    lost: f64,
    /// By which layer, in packets.
    layers: BTreeMap<String, u64>,
}

impl Row {
    fn new(line: &Line) -> Self {
        let flat: Vec<&Trial> = line.rounds.iter().filter_map(|round| round.trials.first()).collect();
        let sent: u64 = flat.iter().map(|trial| trial.sent.packets).sum();
        let mut layers = BTreeMap::new();
        for trial in &flat {
            for (layer, packets) in layers_of(trial) {
                *layers.entry(layer).or_insert(0) += packets;
            }
        }
        let missing: u64 = flat.iter().map(|trial| trial.missing()).sum();
        let limited = line.rounds.iter().filter(|round| round.search.is_limited_by_sender()).count();
        Self {
            // A round in which no rate was without loss counts as zero.
            rate: median(line.ended().map(|round| round.search.loss_free_rate().unwrap_or(0.0)))
                .filter(|rate| *rate > 0.0),
            is_limited_by_sender: 2 * limited > line.rounds.len(),
            cpu: median(line.ended().filter_map(Searched::best).map(cpu_per_million)),
            flat_out: median(flat.iter().map(|trial| trial.rate())),
            lost: missing as f64 / sent.max(1) as f64,
            layers,
        }
    }
}

impl Line {
    /// Rounds that came to an end.
    fn ended(&self) -> impl Iterator<Item = &Searched> {
        self.rounds.iter().filter(|round| round.failure.is_none())
    }

    fn failure(&self) -> Option<&str> {
        self.rounds.iter().find_map(|round| round.failure.as_deref())
    }
}

fn cpu_per_million(trial: &Trial) -> f64 {
    trial.cpu.as_secs_f64() * 1e6 / trial.sent.packets.max(1) as f64
}

/// The middle of values.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get(values.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// Lost packets by layer, with those of which no counter knows.
fn layers_of(trial: &Trial) -> Vec<(String, u64)> {
    let mut layers: Vec<_> = trial.lost.iter().map(|loss| (loss.layer.clone(), loss.packets)).collect();
    let unknown = trial.missing().saturating_sub(trial.counted_lost());
    if unknown > 0 {
        layers.push(("by no counter of its own".to_owned(), unknown));
    }
    layers
}

fn layers_text(layers: impl IntoIterator<Item = (String, u64)>) -> String {
    let parts: Vec<_> = layers.into_iter().map(|(layer, packets)| format!("{layer} {}", grouped(packets))).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

fn offer_text(offer: Offer) -> String {
    match offer {
        Offer::FlatOut => "flat out".to_owned(),
        Offer::Rate(rate) => format!("{} packets/s", grouped(rate)),
    }
}

/// One trial in one line, for who waits.
#[must_use]
pub fn trial_line(receiver: &Receiver, trial: &Trial) -> String {
    format!(
        "{}, {}: sent {} at {:.0}/s, metered {}, lost {}",
        receiver.name(),
        offer_text(trial.offer),
        grouped(trial.sent.packets),
        trial.rate(),
        grouped(trial.metered),
        layers_text(layers_of(trial)),
    )
}

/// One trial, with its sum.
#[must_use]
pub fn trial_text(receiver: &Receiver, traffic: &Traffic, queues: usize, trial: &Trial) -> String {
    let mut out = format!("{}, queues: {queues}, {}, {}\n", receiver.name(), traffic.name(), offer_text(trial.offer));
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "{} packets/s, {:.3} Gbit/s for {:.1} s; {:.3} s of the receiver for a million packets; {:.1} % steal",
        grouped(trial.rate().round() as u64),
        bits(trial.sent.octets as f64, trial.sent.time.as_secs_f64()) / 1e9,
        trial.sent.time.as_secs_f64(),
        cpu_per_million(trial),
        100.0 * trial.steal,
    );
    for loss in &trial.lost {
        let _ = writeln!(out, "lost: {} {}", loss.layer, grouped(loss.packets));
    }
    let (metered, lost) = (grouped(trial.metered), grouped(trial.counted_lost()));
    let mark = if trial.closes() { '✓' } else { '✗' };
    let _ = writeln!(out, "{mark} {} sent = {metered} metered + {lost} lost", grouped(trial.sent.packets));
    out
}

/// One trial, for programs.
#[must_use]
pub fn trial_json(trial: &Trial) -> Value {
    json!({
        "offered_packets_per_second": match trial.offer { Offer::FlatOut => None, Offer::Rate(rate) => Some(rate) },
        "sent": trial.sent.json(),
        "metered_packets": trial.metered,
        "lost_packets": trial.counted_lost(),
        "lost": trial.lost.iter().map(|loss| json!({ "layer": loss.layer, "packets": loss.packets })).collect::<Vec<_>>(),
        "closes": trial.closes(),
        "is_loss_free": trial.is_loss_free(),
        "processor_seconds": trial.cpu.as_secs_f64(),
        "steal": trial.steal,
    })
}

fn bits(octets: f64, seconds: f64) -> f64 {
    8.0 * octets / seconds.max(1e-9)
}

impl Report {
    /// A text of lines of up to 160 columns.
    #[must_use]
    pub fn table(&self) -> String {
        let (machine, settings) = (&self.machine, &self.settings);
        let mut out = format!("machine: {}, {} cores; Linux {}\n", machine.cpu, machine.cores, machine.kernel);
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "sender, kernel and receiver share these cores; load was {}\n\
             binary search as in RFC 2544, 26.1: trials of {} s, no packet lost, to {:.0} %; medians of {} rounds, interleaved",
            machine.load,
            settings.time.as_secs(),
            100.0 * settings.resolution,
            settings.rounds,
        );
        if !self.missing.is_empty() {
            let _ = writeln!(out, "not installed: {}", self.missing.join(", "));
        }
        if machine.is_debug {
            let _ = writeln!(out, "BUILT WITHOUT OPTIMISATION: the sender's rates mean nothing");
        }
        self.results.iter().for_each(|on_wire| on_wire.table(&mut out));
        out
    }

    /// Everything, for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let (machine, settings) = (&self.machine, &self.settings);
        json!({
            "machine": machine.json(),
            "trial_seconds": settings.time.as_secs(),
            "resolution": settings.resolution,
            "rounds": settings.rounds,
            "not_installed": self.missing,
            "wires": self.results.iter().map(OnWire::json).collect::<Vec<_>>(),
        })
    }

    /// Trials of `weir-meter` whose sum does not close, and those that failed.
    #[must_use]
    pub fn faults_of_ours(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for on_wire in &self.results {
            for line in on_wire.lines.iter().filter(|line| line.receiver.is_ours()) {
                let trials = line.rounds.iter().flat_map(|round| &round.trials);
                faults.extend(trials.filter(|t| !t.closes()).map(|trial| trial_line(&line.receiver, trial)));
                faults.extend(line.failure().map(|failure| format!("{}: {failure}", line.receiver.name())));
            }
        }
        faults
    }
}

impl OnWire {
    /// What the sender does with nobody who receives, in packets per second.
    fn alone(&self) -> Option<f64> {
        median(self.sender.iter().map(|sent| sent.packets as f64 / sent.time.as_secs_f64().max(1e-9)))
    }

    fn table(&self, out: &mut String) {
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "\n{}, {:.0} octets a frame, queues and senders: {}; sender alone {:.0} kpackets/s\n  \
             {:<20} {:>11} {:>8} {:<8} {:>10} {:>9} {:>8}  by layer",
            self.traffic.name(),
            self.frame_octets,
            self.queues,
            self.alone().unwrap_or(0.0) / 1e3,
            "receiver",
            "loss-free",
            "",
            "limit",
            "CPU s per",
            "flat out",
            "",
        );
        let _ = writeln!(
            out,
            "  {:<20} {:>11} {:>8} {:<8} {:>10} {:>9} {:>8}",
            "", "kpackets/s", "Gbit/s", "", "M packets", "kpkt/s", "lost %"
        );
        for line in &self.lines {
            self.line(line, out);
        }
        self.against_peers(out);
    }

    fn line(&self, line: &Line, out: &mut String) {
        let row = Row::new(line);
        let number = |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |v| format!("{v:.digits$}"));
        let gigabits = row.rate.map(|rate| bits(rate * self.frame_octets, 1.0) / 1e9);
        let _ = writeln!(
            out,
            "  {:<20} {:>11} {:>8} {:<8} {:>10} {:>9} {:>8.3}  {}",
            line.receiver.name(),
            number(row.rate.map(|rate| rate / 1e3), 1),
            number(gigabits, 3),
            match (row.rate, row.is_limited_by_sender) {
                (None, _) => "-",
                (Some(_), true) => "sender",
                (Some(_), false) => "receiver",
            },
            number(row.cpu, 3),
            number(row.flat_out.map(|rate| rate / 1e3), 1),
            100.0 * row.lost,
            layers_text(row.layers),
        );
        if let Some(failure) = line.failure() {
            let _ = writeln!(out, "  {:<20} failed: {failure}", "");
        }
    }

    /// Each of ours beside the fastest peer.
    fn against_peers(&self, out: &mut String) {
        let rate = |line: &Line| {
            let row = Row::new(line);
            row.rate.map(|rate| (rate, row.is_limited_by_sender))
        };
        let peers = self.lines.iter().filter(|line| !line.receiver.is_ours());
        let peers = peers.filter_map(|line| Some((line.receiver.name(), rate(line)?)));
        let Some((name, (fastest, is_limited))) = peers.max_by(|a, b| a.1.0.total_cmp(&b.1.0)) else { return };
        let ours = self.lines.iter().filter(|line| line.receiver.is_ours());
        let ratios = ours.filter_map(|line| {
            let (rate, is_limited_too) = rate(line)?;
            // Both rates are then the sender's.
            let mark = if is_limited && is_limited_too { "~" } else { "" };
            Some(format!("{} {mark}{:.2}", line.receiver.name(), rate / fastest))
        });
        let _ = writeln!(
            out,
            "  of the fastest peer, {name}: {}{}",
            ratios.collect::<Vec<_>>().join(", "),
            if is_limited { " (~ both limited by the sender)" } else { "" },
        );
    }

    fn json(&self) -> Value {
        json!({
            "traffic": self.traffic.name(),
            "queues": self.queues,
            "frame_octets": self.frame_octets,
            "sender_alone_packets_per_second": self.alone(),
            "sender_alone": self.sender.iter().map(crate::send::Sent::json).collect::<Vec<_>>(),
            "receivers": self.lines.iter().map(|line| self.line_json(line)).collect::<Vec<_>>(),
        })
    }

    fn line_json(&self, line: &Line) -> Value {
        let row = Row::new(line);
        json!({
            "receiver": line.receiver.name(),
            "loss_free_packets_per_second": row.rate,
            "loss_free_bits_per_second": row.rate.map(|rate| bits(rate * self.frame_octets, 1.0)),
            "is_limited_by_sender": row.is_limited_by_sender,
            "processor_seconds_per_million_packets": row.cpu,
            "flat_out_packets_per_second": row.flat_out,
            "flat_out_lost_part": row.lost,
            "flat_out_lost_by_layer": row.layers,
            "failure": line.failure(),
            "rounds": line.rounds.iter().map(|round| json!({
                "loss_free_packets_per_second": round.search.loss_free_rate(),
                "is_limited_by_sender": round.search.is_limited_by_sender(),
                "failure": round.failure,
                "trials": round.trials.iter().map(trial_json).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
        })
    }
}
