// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs all subjects on all traces: interleaved, in an order drawn anew for each round.

use std::{
    fs::{self, File},
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;

use crate::{
    check::Verdict,
    machine::Machine,
    plan::Planned,
    run::{self, Run},
    subject::Subject,
    sys,
    trace::draw::Draw,
    truth::{self, Summary},
};

/// How it is done.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where traces are kept.
    pub folder: PathBuf,
    /// Runs of each subject at most.
    pub rounds: u32,
    /// A subject that has taken as long on one trace gets no further run on it.
    pub patience: Duration,
    /// A run that takes longer has failed.
    pub limit: Duration,
    /// Removes each trace when it is done with.
    pub forget: bool,
}

/// What became of one subject on one trace.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// The subject.
    pub name: String,
    /// Whether it is a bound, or makes no records for another reason.
    pub is_bound: bool,
    /// Whether it is ours.
    pub is_ours: bool,
    /// Why its time on the wall means nothing, if so.
    pub sleeps: Option<&'static str>,
    /// Its command line, of the last run.
    pub command: String,
    /// All runs.
    pub runs: Vec<Run>,
    /// Of the first run in full, and faults of later ones that differ.
    pub verdict: Verdict,
    /// Why it could not be measured, if so.
    pub failure: Option<String>,
}

/// All about one trace.
#[derive(Clone, Debug)]
pub struct OnTrace {
    /// The trace.
    pub planned: Planned,
    /// What is in it.
    pub truth: Summary,
    /// Load averages when it began.
    pub load: String,
    /// All subjects, in the order of the line-up.
    pub lines: Vec<Line>,
}

/// Runs all subjects on one trace.
///
/// # Errors
///
/// If the trace cannot be made or read. What a subject does wrong is in its line.
pub fn on_trace(planned: &Planned, subjects: &[Box<dyn Subject>], settings: &Settings) -> Result<OnTrace> {
    fs::create_dir_all(&settings.folder)?;
    let truth = planned.make(&settings.folder)?;
    let trace = planned.path(&settings.folder);
    sys::adopt_orphans();
    let lines = subjects.iter().map(|subject| Line::new(subject.as_ref())).collect();
    let mut result = OnTrace { planned: planned.clone(), truth, load: Machine::here().load, lines };
    let mut draw = Draw::new(planned.spec.seed);
    for round in 0..settings.rounds {
        for at in shuffled(subjects.len(), &mut draw) {
            let Some((subject, line)) = subjects.get(at).zip(result.lines.get_mut(at)) else { continue };
            if line.may_run(settings) {
                say(&format!("{}: round {} of {}: {}", planned.name, round + 1, settings.rounds, line.name));
                warm(&trace)?;
                line.run(subject.as_ref(), &trace, &result.truth, settings);
            }
        }
    }
    say("");
    if settings.forget {
        for ending in ["", ".flows", ".apps", ".truth.json"] {
            fs::remove_file(truth::beside(&trace, ending))?;
        }
    }
    Ok(result)
}

/// Replaces what was said before; in a file or pipe it would be noise.
fn say(what: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what}");
    }
}

impl Line {
    fn new(subject: &dyn Subject) -> Self {
        Self {
            name: subject.name().to_owned(),
            is_bound: subject.is_bound(),
            is_ours: subject.is_ours(),
            sleeps: subject.sleeps(),
            ..Self::default()
        }
    }

    fn may_run(&self, settings: &Settings) -> bool {
        let spent: Duration = self.runs.iter().map(|run| run.wall).sum();
        self.failure.is_none() && (self.runs.is_empty() || spent < settings.patience)
    }

    fn run(&mut self, subject: &dyn Subject, trace: &Path, truth: &Summary, settings: &Settings) {
        let folder = settings.folder.join("output");
        let is_first = self.runs.is_empty();
        match run::run(subject, trace, truth, &folder, settings.limit, is_first) {
            Ok((run, verdict, command)) => {
                self.runs.push(run);
                self.command = command;
                if is_first {
                    self.verdict = verdict;
                } else if verdict.faults.iter().any(|fault| !self.verdict.faults.contains(fault)) {
                    self.verdict.faults.extend(verdict.faults.iter().map(|fault| format!("later {fault}")));
                }
            }
            Err(error) => self.failure = Some(format!("{error:#}")),
        }
    }
}

pub(crate) fn shuffled(count: usize, draw: &mut Draw) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, draw.below(u32::try_from(last + 1).unwrap_or(u32::MAX)) as usize);
    }
    order
}

/// Reads a file, so that it is in the page cache.
fn warm(path: &Path) -> Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}
