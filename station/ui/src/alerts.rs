// SPDX-License-Identifier: MIT OR Apache-2.0
//! Alerts of a store: the last state of each attack in `alerts.jsonl`.
//!
//! The file only grows, so no more than its end is read: [`MAX_OCTETS`], and of the attacks in it the [`MAX_ATTACKS`]
//! that were active last.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use serde::Serialize;
use weir_analysis::Alert;

/// Most octets that are read.
const MAX_OCTETS: u64 = 16 << 20;
/// Most attacks in an answer.
const MAX_ATTACKS: usize = 1000;

/// The last state of each attack, the latest first.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Alerts {
    /// Whether anybody has looked for attacks: there is a file.
    judged: bool,
    /// Whether older alerts were left out.
    cut: bool,
    /// Lines that are no alerts.
    unreadable: u64,
    alerts: Vec<Alert>,
}

/// Reads the alerts of the store at `data`; none if there is no file.
pub(crate) fn read(data: &Path) -> io::Result<Alerts> {
    read_end(data, MAX_OCTETS, MAX_ATTACKS)
}

fn read_end(data: &Path, max_octets: u64, max_attacks: usize) -> io::Result<Alerts> {
    let mut file = match File::open(data.join("alerts.jsonl")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Alerts::default()),
        Err(error) => return Err(error),
    };
    let skipped = file.metadata()?.len().saturating_sub(max_octets);
    // From the octet before: if that ends a line, the line after it is whole.
    file.seek(SeekFrom::Start(skipped.saturating_sub(1)))?;
    let mut octets = Vec::new();
    file.take(max_octets + 1).read_to_end(&mut octets)?;
    let mut found = Alerts { judged: true, cut: skipped > 0, ..Alerts::default() };
    let mut last: HashMap<_, Alert> = HashMap::new();
    let mut lines = octets.split_inclusive(|o| *o == b'\n');
    if found.cut {
        lines.next();
    }
    // A line without an end is being written.
    for line in lines.filter_map(|l| l.strip_suffix(b"\n")) {
        match serde_json::from_slice::<Alert>(line) {
            Ok(alert) => drop(last.insert(alert.id, alert)),
            Err(_) => found.unreadable += 1,
        }
    }
    found.alerts = last.into_values().collect();
    found.alerts.sort_by_key(|a| (std::cmp::Reverse(a.last_time), a.id));
    found.cut |= found.alerts.len() > max_attacks;
    found.alerts.truncate(max_attacks);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use weir_analysis::{AlertId, AlertState};
    use weir_flow::Timestamp;

    use super::*;

    fn line(attack: u64, sequence: u32, state: AlertState) -> String {
        let at = Timestamp::from_secs(attack);
        let id = AlertId::derive("d", "k", "i", at);
        let last_time = Timestamp::from_secs(100 + attack);
        let alert = Alert { id, sequence, state, last_time, ..Alert::default() };
        serde_json::to_string(&alert).unwrap() + "\n"
    }

    #[test]
    fn the_last_state_of_each_attack_counts() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!read(dir.path()).unwrap().judged);
        let half = line(9, 0, AlertState::New);
        let text = [
            line(1, 0, AlertState::New),
            line(2, 0, AlertState::New),
            "no alert\n".to_owned(),
            line(1, 1, AlertState::Ended),
            half[..half.len() - 1].to_owned(),
        ];
        fs::write(dir.path().join("alerts.jsonl"), text.concat()).unwrap();
        let found = read(dir.path()).unwrap();
        assert_eq!((found.judged, found.cut, found.unreadable), (true, false, 1));
        let states: Vec<_> = found.alerts.iter().map(|a| (a.last_time.as_secs(), a.state)).collect();
        assert_eq!(states, [(102, AlertState::New), (101, AlertState::Ended)]);
    }

    #[test]
    fn only_the_end_of_a_long_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let lines: Vec<_> = (1..=5).map(|n| line(n, 0, AlertState::New)).collect();
        fs::write(dir.path().join("alerts.jsonl"), lines.concat()).unwrap();
        let two = (lines[3].len() + lines[4].len()) as u64;
        for (octets, attacks, seen) in [(two, 9, 2), (two + 1, 9, 2), (two - 1, 9, 1), (1 << 20, 3, 3)] {
            let found = read_end(dir.path(), octets, attacks).unwrap();
            assert_eq!((found.cut, found.unreadable, found.alerts.len()), (true, 0, seen), "{octets}");
            assert_eq!(found.alerts[0].last_time.as_secs(), 105);
        }
    }
}
