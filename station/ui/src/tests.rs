// SPDX-License-Identifier: MIT OR Apache-2.0
//! The console over real sockets, in front of a store that the test made.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use weir_flow::{
    Counters, FlowKey, FlowRecord, Timestamp,
    app::{AppFields, Dns},
};
use weir_store::{StoreWriter, WriterOptions};

use crate::{Config, Console, Exporter, Stage, StartError, Status, StatusSource, api::Limits};

/// 2026-11-20T14:05:00Z, the first second of a slot.
const T0: u64 = 1_795_183_500;
/// What an attacker may ask a resolver for.
const HOSTILE: &str = "</script><img src=x onerror=alert(1)>\"\\\u{202e}\n";

/// A console, and the folder of its store.
struct Fixture {
    console: Console,
    _dir: tempfile::TempDir,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert!(self.head.contains("content-type: application/json"), "{}", self.head);
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

fn store() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = StoreWriter::open(dir.path(), WriterOptions::default()).unwrap();
    for n in 0..5_u8 {
        let at = Timestamp::from_secs(T0 + u64::from(n));
        let forward = Counters { packets: 1, octets: 100 * (u64::from(n) + 1), first: at, last: at, tcp_flags: 0 };
        let key = FlowKey::new([192, 0, 2, n].into(), [198, 51, 100, 1].into(), 1024, 53, 17);
        let name = if n == 0 { HOSTILE } else { "www.example" };
        let mut dns = Dns::default();
        dns.query_name.set(name.as_bytes(), &mut dns.memory);
        let app = AppFields::Dns(Box::new(dns));
        let record = FlowRecord { key, forward, app: Some(app.borrow()), ..FlowRecord::default() };
        writer.append(&record).unwrap();
    }
    writer.close().unwrap();
    dir
}

fn start(status: Option<StatusSource>, limits: Limits) -> Fixture {
    let dir = store();
    let config = Config { address: ([127, 0, 0, 1], 0).into(), without_tls: false, data: dir.path().to_path_buf() };
    Fixture { console: Console::start_with(config, status, limits).unwrap(), _dir: dir }
}

fn fixture() -> Fixture {
    start(None, Limits::default())
}

fn exchange(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

impl Fixture {
    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &format!("Host: {}\r\n", self.console.address()))
    }

    fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        exchange(self.console.address(), &format!("{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"))
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|o| format!("%{o:02x}")).collect()
}

#[test]
fn flows_are_listed_the_latest_first_up_to_the_limit() {
    let fixture = fixture();
    let sources = |answer: &Value| -> Vec<String> {
        answer["flows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| f["sourceIPv4Address"].as_str().unwrap().to_owned())
            .collect()
    };
    let answer = fixture.get("/api/query?limit=2").json();
    assert_eq!(
        (sources(&answer), answer["more"].as_bool()),
        (vec!["192.0.2.4".into(), "192.0.2.3".into()], Some(true))
    );
    let answer = fixture.get(&format!("/api/query?filter={}&order=bytes:a", encoded("bytes < 400"))).json();
    let expected = ["192.0.2.0", "192.0.2.1", "192.0.2.2"];
    assert_eq!((sources(&answer), answer["more"].as_bool()), (expected.map(str::to_owned).to_vec(), Some(false)));
    let answer = fixture.get("/api/query?window=2026/11/20.14:05:01-2026/11/20.14:05:02").json();
    assert_eq!(sources(&answer), ["192.0.2.2", "192.0.2.1"]);
    assert!(sources(&fixture.get("/api/query?window=2026/11/19").json()).is_empty());
}

#[test]
fn statistics_are_sums() {
    let fixture = fixture();
    let answer = fixture.get("/api/top?stat=srcip/bytes&n=1").json();
    let row = &answer["rows"][0];
    assert_eq!((row["val"].as_str(), row["bytes"].as_u64()), (Some("192.0.2.4"), Some(500)));
    assert_eq!(answer["more"].as_bool(), Some(true));
    let answer =
        fixture.get(&format!("/api/top?stat=dns.qname&filter={}", encoded("dns.qname contains example"))).json();
    assert_eq!((answer["rows"][0]["flows"].as_u64(), answer["more"].as_bool()), (Some(4), Some(false)));
}

#[test]
fn hostile_strings_stay_strings() {
    let fixture = fixture();
    let answer = fixture.get("/api/query?window=2026/11/20.14:05:00");
    assert_eq!(answer.json()["flows"][0]["dnsQueryName"].as_str(), Some(HOSTILE));
    assert!(answer.head.contains("x-content-type-options: nosniff"));
    let answer = fixture.get("/api/top?stat=dns.qname/bytes:a").json();
    // The store prints no control characters in a statistic.
    assert_eq!(answer["rows"][0]["val"].as_str(), Some(HOSTILE.replace('\n', "\u{fffd}").as_str()));
    // What is asked comes back in an error.
    let answer = fixture.get(&format!("/api/query?window={}", encoded(HOSTILE)));
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("onerror"), "{}", answer.body);
}

#[test]
fn what_is_not_understood_is_named() {
    let fixture = fixture();
    for (path, parameter, column) in [
        (format!("query?filter={}", encoded("proto tcp and port x")), "filter", Some(20)),
        (format!("query?filter={}", encoded("\u{e4}")), "filter", Some(1)),
        (format!("top?stat=srcip&filter={}", encoded("(")), "filter", Some(2)),
        ("query?window=yesterday".into(), "window", None),
        ("query?order=colour".into(), "order", None),
        ("query?limit=0".into(), "limit", None),
        ("query?limit=1001".into(), "limit", None),
        ("top?stat=srcip&n=1001".into(), "n", None),
        ("top?stat=colour".into(), "stat", None),
        ("top?stat=record/bytes".into(), "stat", None),
        ("top?stat=srcip/bytes/packets".into(), "stat", None),
    ] {
        let answer = fixture.get(&format!("/api/{path}"));
        let error = &answer.json()["error"];
        let found = (answer.status, error["parameter"].as_str(), error["column"].as_u64());
        assert_eq!(found, (400, Some(parameter), column), "{path}: {}", answer.body);
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
    for (path, status) in [
        ("/api/query?colour=blue", 400),
        ("/api/query?limit=many", 400),
        ("/api/top", 400),
        ("/api/nothing", 404),
        ("/../../etc/passwd", 404),
    ] {
        let answer = fixture.get(path);
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.json()["error"]["message"].is_string());
    }
}

#[test]
fn no_other_site_gets_an_answer() {
    let fixture = fixture();
    let port = fixture.console.address().port();
    let own = format!("Host: localhost:{port}\r\n");
    for (headers, status) in [
        (own.clone(), 200),
        ("Host: [::1]\r\n".to_owned(), 200),
        (format!("{own}Sec-Fetch-Site: same-origin\r\n"), 200),
        (format!("{own}Sec-Fetch-Site: none\r\n"), 200),
        (format!("{own}Sec-Fetch-Site: cross-site\r\n"), 403),
        (format!("{own}Sec-Fetch-Site: same-site\r\n"), 403),
        (format!("Host: evil.example:{port}\r\n"), 421),
        (format!("Host: 127.0.0.1.evil.example:{port}\r\n"), 421),
        (format!("{own}Host: evil.example\r\n"), 421),
        (String::new(), 421),
    ] {
        let answer = fixture.ask("GET", "/api/alerts", &headers);
        assert_eq!(answer.status, status, "{headers}");
        assert!(status == 200 || answer.json()["error"]["message"].is_string());
    }
    assert_eq!(fixture.ask("GET", "http://evil.example/api/alerts", &own).status, 421);
    // A link from elsewhere opens the page, not the API; what carries no name at all is no browser of these days.
    assert_eq!(fixture.ask("GET", "/", &format!("{own}Sec-Fetch-Site: cross-site\r\n")).status, 200);
    assert_eq!(fixture.ask("GET", "/", "Host: evil.example\r\n").status, 421);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = fixture.ask(method, "/api/query", &format!("{own}Content-Length: 0\r\n"));
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.head.contains("allow: get, head"));
    }
    let answer = fixture.ask("HEAD", "/api/alerts", &own);
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
}

#[test]
fn the_page_is_whole_and_loads_nothing_from_elsewhere() {
    let fixture = fixture();
    for (path, kind) in
        [("/", "text/html"), ("/app.js", "text/javascript"), ("/style.css", "text/css"), ("/icon.svg", "image/svg")]
    {
        let answer = fixture.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.head.contains(&format!("content-type: {kind}")), "{}", answer.head);
        assert!(answer.head.contains("content-security-policy: default-src 'self'"), "{}", answer.head);
        let text = answer.body.replace("http://www.w3.org/2000/svg", "");
        for forbidden in [
            "http://",
            "https://",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "style=\"",
            "onclick=",
        ] {
            assert!(!text.contains(forbidden), "{path} has {forbidden}");
        }
    }
    let page = fixture.get("/").body;
    for name in ["app.js", "style.css", "icon.svg"] {
        assert!(page.contains(&format!("\"{name}\"")), "{name}");
    }
}

#[test]
fn status_is_what_the_program_hands_in() {
    let stage = || Stage::new("store", &[("stored_records", " records in segments")], &[7]);
    let exporter = Exporter {
        address: Some([192, 0, 2, 9].into()),
        domain: 1,
        protocol: "IPFIX",
        transport: "tcp",
        messages: 2,
        records: 7,
        lost: 3,
        lost_unit: "records",
        sampling_interval: 0,
        last_seen_milliseconds: T0 * 1000,
    };
    let source: StatusSource = Arc::new(move || Status { stages: vec![stage()], exporters: vec![exporter] });
    let status = start(Some(source), Limits::default()).get("/api/status").json();
    assert_eq!(status["collecting"].as_bool(), Some(true));
    assert_eq!(status["exporters"][0]["address"].as_str(), Some("192.0.2.9"));
    assert_eq!(status["exporters"][0]["lost"].as_u64(), Some(3));
    let counter = &status["stages"][0]["counters"][0];
    assert_eq!((counter["name"].as_str(), counter["value"].as_u64()), (Some("stored_records"), Some(7)));
    assert_eq!(status["store"]["segments"].as_u64(), Some(1));
    assert_eq!(status["store"]["first_milliseconds"].as_u64(), Some(T0 * 1000));
    assert_eq!(status["store"]["last_milliseconds"].as_u64(), Some((T0 + 300) * 1000));
    let status = fixture().get("/api/status").json();
    assert_eq!((status["collecting"].as_bool(), status["exporters"].as_array().map(Vec::len)), (Some(false), Some(0)));
}

#[test]
fn questions_are_bounded() {
    let none = start(None, Limits { waiting: 0, ..Limits::default() });
    assert_eq!(none.get("/api/query").status, 503);
    let late = start(None, Limits { time: Duration::ZERO, ..Limits::default() });
    assert_eq!(late.get("/api/query").status, 504);
    let small = start(None, Limits { octets: 1000, ..Limits::default() });
    assert_eq!(small.get("/api/query?limit=1").status, 200);
    assert_eq!(small.get("/api/query").status, 413);
}

#[test]
fn more_ask_at_a_time_than_are_answered_at_a_time() {
    let fixture = start(None, Limits { running: 1, ..Limits::default() });
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| fixture.get("/api/top?stat=ip").status)).collect();
        assert!(all.into_iter().all(|one| one.join().unwrap() == 200));
    });
}

#[test]
fn an_address_that_others_reach_needs_a_word() {
    let dir = store();
    let config =
        |without_tls| Config { address: ([0, 0, 0, 0], 0).into(), without_tls, data: dir.path().to_path_buf() };
    assert!(matches!(Console::start(config(false), None), Err(StartError::NotLoopback(_))));
    Console::start(config(true), None).unwrap();
    let nowhere = Config { data: dir.path().join("nothing"), ..config(true) };
    assert!(matches!(Console::start(nowhere, None), Err(StartError::Store(_))));
}

#[test]
fn a_connection_that_says_nothing_does_not_hold_up_the_end() {
    let fixture = fixture();
    let _idle = TcpStream::connect(fixture.console.address()).unwrap();
    let address = fixture.console.address();
    drop(fixture);
    assert!(TcpStream::connect(address).is_err());
}
