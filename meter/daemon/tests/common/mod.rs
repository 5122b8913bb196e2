// SPDX-License-Identifier: MIT OR Apache-2.0
//! A `weir-meter` that captures in a network namespace of a test's own, and what tests ask of it.
#![allow(dead_code, reason = "not every test needs all of it")]

#[path = "../../../tests/common/netns.rs"]
pub mod netns;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use self::netns::Namespace;

/// The program.
pub const METER: &str = env!("CARGO_BIN_EXE_weir-meter");
/// Longer than anything takes here, on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A meter that runs, and what belongs to it. Dropped, it is killed.
pub struct Meter {
    pub child: Child,
    pub stderr: BufReader<Box<dyn Read>>,
    pub said: String,
    pub folder: tempfile::TempDir,
}

impl Meter {
    /// Starts one on the right of a wire; in `arguments`, `DIR` is its folder.
    pub fn start(namespace: &Namespace, arguments: &str) -> Self {
        Self::start_in(namespace, arguments, folder(), &[])
    }

    pub fn start_without_ledger(namespace: &Namespace, arguments: &str) -> Self {
        Self::start_with(namespace, arguments, folder(), &[])
    }

    pub fn start_in(namespace: &Namespace, arguments: &str, folder: tempfile::TempDir, env: &[(&str, &str)]) -> Self {
        Self::start_with(namespace, &format!("--ledger DIR/ledger.json {arguments}"), folder, env)
    }

    fn start_with(namespace: &Namespace, arguments: &str, folder: tempfile::TempDir, env: &[(&str, &str)]) -> Self {
        let path = folder.path().to_str().unwrap();
        let mut command = namespace.command(METER);
        command.args(["--status-socket", &format!("{path}/status.sock")]);
        // As little memory as serves, since tests run side by side.
        if !arguments.contains("--memory") {
            command.args(["--memory", "48MiB"]);
        }
        command.args(arguments.split(' ').map(|argument| argument.replace("DIR", path)));
        let mut child = command.envs(env.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(Box::new(child.stderr.take().unwrap()) as Box<dyn Read>);
        let mut meter = Self { child, stderr, said: String::new(), folder };
        meter.wait_for("capturing on");
        meter
    }

    /// Reads what it says until a line has this in it, and gives that line.
    pub fn wait_for(&mut self, what: &str) -> String {
        loop {
            let mut line = String::new();
            let octets = self.stderr.read_line(&mut line).unwrap();
            assert!(octets > 0, "it ended without saying '{what}': {}", self.said);
            self.said += &line;
            if line.contains(what) {
                return line;
            }
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// What `weir-meter status` prints.
    pub fn status(&self, flags: &[&str]) -> String {
        let socket = self.path("status.sock");
        let Output { stdout, stderr, status } =
            Command::new(METER).arg("status").args(flags).arg("--socket").arg(socket).output().unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    /// Asks for all counters until something is so.
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let counters: Value = serde_json::from_str(&self.status(&["--json"])).unwrap();
            if is_so(&counters) {
                return counters;
            }
            assert!(Instant::now() < end, "not {what}: {counters:#}");
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Waits until so many packets were metered or ignored.
    pub fn wait_for_packets(&self, packets: u64) {
        self.wait_until("as many packets", |all| number(all, "metered", "delivered_packets") >= packets);
    }

    /// Ends it by a signal: how it ended, the ledger, what it said at last.
    pub fn end(mut self, signal: &str) -> (ExitStatus, Value, String) {
        let begin = Instant::now();
        self.signal(signal);
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        assert!(begin.elapsed() < Duration::from_secs(5), "it took {:?}", begin.elapsed());
        let ledger = fs::read_to_string(self.path("ledger.json")).unwrap();
        (status, serde_json::from_str(&ledger).unwrap(), rest)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder that any user may write to, as the meter becomes another one.
pub fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    folder
}

pub fn number(all: &Value, section: &str, counter: &str) -> u64 {
    all[section][counter].as_u64().unwrap_or_else(|| panic!("no {section}.{counter}: {all:#}"))
}

/// Whether something is so of every worker of the first interface.
pub fn each_worker(all: &Value, what: &str, is: bool) -> bool {
    all["interfaces"][0]["workers"].as_array().unwrap().iter().all(|worker| worker[what] == is)
}

/// A frame with a UDP datagram of 64 octets from 10.0.0.1, its port `flow`, to 10.0.0.2.
pub fn udp(flow: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00];
    // IPv4 of 92 octets, without a check sum, which nobody looks at.
    frame.extend([0x45, 0, 0, 92, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([&flow.to_be_bytes()[..], &9_u16.to_be_bytes(), &72_u16.to_be_bytes(), &[0, 0]].concat());
    frame.resize(14 + 92, b'x');
    frame
}

/// So many datagrams of so many flows.
pub fn datagrams(count: u16, flows: u16) -> Vec<Vec<u8>> {
    (0..count).map(|index| udp(1024 + index % flows)).collect()
}

/// Packets in records of a file of JSON lines.
pub fn packets_in(path: &Path) -> u64 {
    let text = fs::read_to_string(path).unwrap();
    let of = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        let count = |name: &str| record[name].as_u64().unwrap_or(0);
        count("packetDeltaCount") + count("reversePacketDeltaCount")
    };
    text.lines().map(of).sum()
}

/// Everything that was sent is metered, ignored or lost, and every record sent.
pub fn assert_closes(all: &Value, sent: u64) {
    let sum = |section: &str| all[section].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum::<u64>();
    let lost = all["capture"].as_object().unwrap().iter().filter(|(name, _)| name.starts_with("lost"));
    let lost: u64 = lost.map(|(_, value)| value.as_u64().unwrap()).sum();
    let metered = number(all, "metered", "metered_packets");
    assert_eq!(number(all, "capture", "offered_packets"), sent, "{all:#}");
    assert_eq!(sent, metered + sum("ignored") + lost, "{all:#}");
    assert_eq!(number(all, "source", "waiting_packets"), 0);
    let created = number(all, "metered", "records_created");
    assert_eq!(created, number(all, "records", "records"));
    assert_eq!(created, number(all, "sent", "records_sent"));
    assert_eq!(number(all, "records", "records_dropped_queue") + number(all, "sent", "records_not_sent"), 0);
}
