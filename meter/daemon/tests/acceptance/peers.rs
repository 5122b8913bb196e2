// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs of others.

use std::{
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Stdio},
    thread,
};

use crate::common::netns::Namespace;

/// Whether all of these programs are there; if not, says so.
pub fn are_there(names: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from)).collect();
    let is_there = |name: &str| folders.iter().any(|folder| folder.join(name).is_file());
    let missing: Vec<_> = names.iter().filter(|name| !is_there(name)).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var("WEIR_REQUIRE_PEERS").as_deref() != Ok("1"), "not installed: {missing:?}");
    println!("skipped: not installed: {missing:?}");
    false
}

/// Runs a program in a namespace to its end, which must be a good one; gives what it prints on both.
pub fn run(namespace: &Namespace, program: &str, arguments: &[&str]) -> String {
    let output = namespace.command(program).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].map(|octets| String::from_utf8_lossy(&octets).into_owned()).concat();
    assert!(output.status.success(), "{program} {arguments:?}: {}: {text}", output.status);
    text
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server(Child);

impl Server {
    /// Starts one in a namespace, and waits until it says that it is ready, on either output.
    pub fn start(namespace: &Namespace, program: &str, arguments: &[&str], ready: &str) -> Self {
        let mut command = namespace.command("sh");
        // One pipe for both outputs.
        command.args(["-c", "exec \"$@\" 2>&1", "sh", program]).args(arguments);
        let mut server = Self(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut output = BufReader::new(server.0.stdout.take().unwrap());
        let mut said = String::new();
        while !said.contains(ready) {
            let octets = output.read_line(&mut said).unwrap();
            assert!(octets > 0, "{program} ended: {said}");
        }
        // What it says later is read, so that it never waits for us.
        thread::spawn(move || output.read_to_end(&mut Vec::new()));
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
