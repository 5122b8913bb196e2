// SPDX-License-Identifier: MIT OR Apache-2.0
//! The bounds: this program itself, as a child process, doing next to nothing.

use std::{env, fs::File, io::Read, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use memmap2::{Advice, MmapMut};

use super::{Counts, Found, Octets, Setup, Subject, number_after, read};
use crate::{
    collector::Collected,
    sys,
    trace::{
        frame::FLOW_NUMBER,
        pcap::{self, FILE_HEADER, RECORD_HEADER},
    },
};

/// Walks over the packets of a mapped file and counts each in the line of its flow, whose number the frame carries.
pub struct Floor;

/// Reads the file and looks at the header of each packet.
pub struct Reading;

fn this_program(what: &str, setup: &Setup<'_>) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(what).arg(setup.trace);
    Ok(command)
}

fn printed(standard_output: &Path) -> Result<Found> {
    let text = read(standard_output)?;
    Ok(Found {
        records: number_after(&text, "flows:")?,
        packets: number_after(&text, "packets:")?,
        octets: number_after(&text, "octets:")?,
        ..Found::default()
    })
}

impl Subject for Floor {
    fn name(&self) -> &str {
        "floor"
    }

    fn command(&self, setup: &Setup<'_>) -> Result<Command> {
        let mut command = this_program("floor", setup)?;
        command.arg(setup.truth.numbers.to_string());
        Ok(command)
    }

    fn found(&self, _: &Setup<'_>, standard_output: &Path, _: Option<&Collected>, _: bool) -> Result<Found> {
        printed(standard_output)
    }

    fn counts(&self) -> Counts {
        Counts::Biflows
    }

    fn octets(&self) -> Octets {
        Octets::Frame
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn is_bound(&self) -> bool {
        true
    }
}

impl Subject for Reading {
    fn name(&self) -> &str {
        "reading alone"
    }

    fn command(&self, setup: &Setup<'_>) -> Result<Command> {
        this_program("reading", setup)
    }

    fn found(&self, _: &Setup<'_>, standard_output: &Path, _: Option<&Collected>, _: bool) -> Result<Found> {
        printed(standard_output)
    }

    fn counts(&self) -> Counts {
        Counts::Nothing
    }

    fn octets(&self) -> Octets {
        Octets::Frame
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn is_bound(&self) -> bool {
        true
    }
}

const LINE: usize = 64;
/// Packets whose lengths and flows are gathered before any is counted, so that lines are fetched side by side.
const BATCH: usize = 64;

/// What [`Floor`] runs: one line of 64 octets for each flow, in huge pages where the system gives them.
///
/// # Errors
///
/// If the file cannot be read, or there is no memory.
pub fn run_floor(path: &Path, flows: usize) -> Result<()> {
    let file = sys::map(&File::open(path).with_context(|| path.display().to_string())?)?;
    let mut memory = MmapMut::map_anon(flows.max(1) * LINE)?;
    // A hint.
    let _ = memory.advise(Advice::HugePage);
    let (lines, _) = memory.as_chunks_mut::<LINE>();
    let mut batch = [(0, 0); BATCH];
    let mut records = pcap::records(&file).map(|(octets, frame)| (number(frame), octets));
    loop {
        let mut filled = 0;
        for (to, from) in batch.iter_mut().zip(&mut records) {
            *to = from;
            filled += 1;
        }
        for (number, octets) in batch.iter().take(filled) {
            if let Some(line) = lines.get_mut(*number as usize) {
                add(line, 0, 1);
                add(line, 8, u64::from(*octets));
            }
        }
        if filled < BATCH {
            break;
        }
    }
    let sum = |at| lines.iter().map(|line| get(line, at)).sum::<u64>();
    let used = lines.iter().filter(|line| get(line, 0) > 0).count();
    println!("flows: {used}\npackets: {}\noctets: {}", sum(0), sum(8));
    Ok(())
}

fn number(frame: &[u8]) -> u32 {
    frame
        .get(FLOW_NUMBER)
        .and_then(|octets| octets.first_chunk())
        .map_or(u32::MAX, |octets| u32::from_be_bytes(*octets))
}

fn get(line: &[u8; LINE], at: usize) -> u64 {
    line.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |octets| u64::from_le_bytes(*octets))
}

#[inline]
fn add(line: &mut [u8; LINE], at: usize, value: u64) {
    let sum = get(line, at) + value;
    if let Some(place) = line.get_mut(at..at + 8) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
}

/// What [`Reading`] runs: reads a mebioctet at a time.
///
/// # Errors
///
/// If the file cannot be read.
pub fn run_reading(path: &Path) -> Result<()> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let mut buffer = vec![0; 1 << 20];
    let (mut filled, mut at) = (0, FILE_HEADER);
    let (mut packets, mut octets) = (0_u64, 0_u64);
    loop {
        let read = file.read(buffer.get_mut(filled..).unwrap_or_default())?;
        if read == 0 {
            break;
        }
        filled += read;
        while let Some(header) = buffer.get(at..filled).and_then(<[u8]>::first_chunk::<RECORD_HEADER>) {
            let word = |begin: usize| {
                header.get(begin..).and_then(|w| w.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
            };
            packets += 1;
            octets += u64::from(word(12));
            at += RECORD_HEADER + word(8) as usize;
        }
        // What has come of the next header goes to the front; of the frame before it, what has not come is passed over.
        let begin = at.min(filled);
        buffer.copy_within(begin..filled, 0);
        (filled, at) = (filled - begin, at - begin);
    }
    ensure!(filled == 0 && at == 0, "{} ends within a packet", path.display());
    println!("flows: 0\npackets: {packets}\noctets: {octets}");
    Ok(())
}
