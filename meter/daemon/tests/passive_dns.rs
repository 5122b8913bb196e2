// SPDX-License-Identifier: MIT OR Apache-2.0
//! Passive DNS of a capture: what is added up is what the flow records hold, for any number of workers.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Name, type and data.
type Record = [String; 3];

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// Counts of passive DNS, with those of the flow records, and the ledger.
fn play(workers: &str) -> (BTreeMap<Record, u64>, BTreeMap<Record, u64>, Value) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("passive-dns-{workers}"));
    fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name);
    let output = Command::new(env!("CARGO_BIN_EXE_weir-meter"))
        .args(["-q", "--workers", workers, "-r"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pcaps/dns/dns-lo.pcap"))
        .args(["--export", &format!("passive-dns:{}", path("names").display())])
        .args(["--export", &format!("json:{}", path("flows").display())])
        .args(["--ledger", &path("ledger").display().to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut passive = BTreeMap::new();
    for line in lines(&path("names")) {
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        assert!(number(&line["time_first"]) <= number(&line["time_last"]) && text("sensor_id") == "1", "{line}");
        *passive.entry(["rrname", "rrtype", "rdata"].map(text)).or_default() += number(&line["count"]);
    }
    let mut flows = BTreeMap::new();
    for record in lines(&path("flows")).iter().filter(|record| record["dnsQueryClass"] == 1) {
        for answer in record["dnsAnswers"].as_array().into_iter().flatten() {
            let answer = answer.as_str().unwrap();
            let mut parts = answer.splitn(4, ' ').map(str::to_owned);
            let [name, _, kind, data] = [(); 4].map(|()| parts.next().unwrap());
            if answer.len() < 512 {
                *flows.entry([name.to_lowercase(), kind, data]).or_default() += 1;
            }
        }
    }
    (passive, flows, serde_json::from_str(&fs::read_to_string(path("ledger")).unwrap()).unwrap())
}

#[test]
fn passive_dns_adds_up_the_answers_of_the_flow_records() {
    let (one, flows, ledger) = play("1");
    assert!(one.len() > 30 && one == flows, "{one:?}\n{flows:?}");
    let sink = |name: &str| number(&ledger["records"][name]);
    assert_eq!(sink("passive_dns_answers"), one.values().sum::<u64>());
    // Flow records are made and handed over as without it, and nothing is lost on the way.
    assert_eq!(number(&ledger["metered"]["records_created"]), sink("records"));
    let sent = number(&ledger["sent"]["records_sent"]);
    assert_eq!((sink("records_queued"), sink("records_dropped_queue")), (sent, 0));
    assert!(sent > sink("records"));
    let (several, _, ledger) = play("3");
    assert_eq!((several, number(&ledger["records"]["passive_dns_answers"])), (one, sink("passive_dns_answers")));
}
