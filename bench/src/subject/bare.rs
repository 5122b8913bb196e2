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

/// Walks over the packets of the file and counts each in the line of its flow, whose number the frame carries.
pub enum Floor {
    /// Reads the file piece by piece.
    Read,
    /// Maps it into memory.
    Mapped,
}

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
        match self {
            Self::Read => "floor",
            Self::Mapped => "floor, file mapped",
        }
    }

    fn command(&self, setup: &Setup<'_>) -> Result<Command> {
        let mut command = this_program("floor", setup)?;
        command.arg(setup.truth.numbers.to_string());
        if matches!(self, Self::Mapped) {
            command.arg("--mapped");
        }
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

/// What the floor runs: one line of 64 octets for each flow, in huge pages where the system gives them.
///
/// # Errors
///
/// If the file cannot be read, or there is no memory.
pub fn run_floor(path: &Path, flows: usize, is_mapped: bool) -> Result<()> {
    let mut memory = MmapMut::map_anon(flows.max(1) * LINE)?;
    // A hint.
    let _ = memory.advise(Advice::HugePage);
    let (lines, _) = memory.as_chunks_mut::<LINE>();
    let mut batch = [(0, 0); BATCH];
    let mut filled = 0;
    let mut each = |number, octets| {
        if let Some(place) = batch.get_mut(filled) {
            *place = (number, octets);
            filled += 1;
        }
        if filled == BATCH {
            filled = 0;
            count(lines, &batch);
        }
    };
    if is_mapped {
        let file = sys::map(&File::open(path).with_context(|| path.display().to_string())?)?;
        for (octets, frame) in pcap::records(&file) {
            let number = frame.get(FLOW_NUMBER).and_then(|number| number.first_chunk());
            each(number.map_or(u32::MAX, |number| u32::from_be_bytes(*number)), octets);
        }
    } else {
        walk(path, each)?;
    }
    count(lines, batch.get(..filled).unwrap_or_default());
    let sum = |at| lines.iter().map(|line| get(line, at)).sum::<u64>();
    let used = lines.iter().filter(|line| get(line, 0) > 0).count();
    println!("flows: {used}\npackets: {}\noctets: {}", sum(0), sum(8));
    Ok(())
}

#[inline]
fn count(lines: &mut [[u8; LINE]], batch: &[(u32, u32)]) {
    for (number, octets) in batch {
        if let Some(line) = lines.get_mut(*number as usize) {
            add(line, 0, 1);
            add(line, 8, u64::from(*octets));
        }
    }
}

#[inline]
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

/// What reading alone runs: looks at the header of each packet.
///
/// # Errors
///
/// If the file cannot be read.
pub fn run_reading(path: &Path) -> Result<()> {
    let (mut packets, mut octets) = (0_u64, 0_u64);
    walk(path, |_, of_packet| {
        packets += 1;
        octets += u64::from(of_packet);
    })?;
    println!("flows: 0\npackets: {packets}\noctets: {octets}");
    Ok(())
}

/// A header of a capture file, and of the frame as much as has the number of its flow.
const HEAD: usize = RECORD_HEADER + FLOW_NUMBER.end;
/// Octets that are read at a time. With 256 KiB to 4 MiB it is the fastest way on the machines at hand: faster than a mapped
/// file, whose pages cost a fault each.
const PIECE: usize = 1 << 20;

/// Hands over the number of the flow and the octets of each packet.
#[inline]
fn walk(path: &Path, mut each: impl FnMut(u32, u32)) -> Result<()> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let mut buffer = vec![0; PIECE];
    let (mut filled, mut at) = (0, FILE_HEADER);
    loop {
        let read = file.read(buffer.get_mut(filled..).unwrap_or_default())?;
        if read == 0 {
            break;
        }
        filled += read;
        while let Some(head) = buffer.get(at..filled).and_then(<[u8]>::first_chunk::<HEAD>) {
            let [_, _, _, _, _, _, _, _, a, b, c, d, e, f, g, h, _, _, i, j, k, l] = *head;
            each(u32::from_be_bytes([i, j, k, l]), u32::from_le_bytes([e, f, g, h]));
            at += RECORD_HEADER + u32::from_le_bytes([a, b, c, d]) as usize;
        }
        // What has come of the next header goes to the front; of the frame before it, what has not come is passed over.
        let begin = at.min(filled);
        buffer.copy_within(begin..filled, 0);
        (filled, at) = (filled - begin, at - begin);
    }
    ensure!(filled == 0 && at == 0, "{} ends within a packet", path.display());
    Ok(())
}
