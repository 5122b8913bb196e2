// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program on real interfaces, in network namespaces of the test's own. Without the rights for that, tests say so and pass.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{
    METER, Meter, PATIENCE, assert_closes, datagrams, each_worker, folder, netns::Wire, number, packets_in, udp,
};

#[test]
fn the_ledger_closes_through_every_layer() {
    for (layer, queues) in [("packet", 1), ("packet --workers 2", 1), ("pcap", 1), ("xdp --steal", 1), ("xdp", 3)] {
        let Some(wire) = Wire::with_queues(queues) else { return };
        let meter =
            Meter::start(&wire.right, &format!("-i {} --capture {layer} --export json:DIR/flows.json", Wire::RIGHT));
        // Not so many at once that one of the rings, which are small, might be full.
        let mut sent = 0;
        for part in datagrams(3000, 7).chunks(500) {
            sent += wire.send(part);
            meter.wait_for_packets(sent);
        }
        assert_eq!(sent, 3000);
        let flows = meter.path("flows.json");
        let all = meter.wait_until("all of them", |all| number(all, "metered", "delivered_packets") == sent);
        assert_eq!(all["interfaces"][0]["interface"]["rx_packets"], sent, "{all:#}");
        // Its folder must outlive it.
        let copy = tempfile::tempdir().unwrap();
        let kept = copy.path().join("flows.json");
        fs::hard_link(&flows, &kept).unwrap();
        let (status, all, said) = meter.end("TERM");
        assert!(status.success(), "{layer}: {said}");
        assert_closes(&all, sent);
        for line in ["✓ 3000 offered = 3000 taken", "✓ 3000 taken = 3000 delivered", "✓ 3000 delivered = 3000 metered"]
        {
            assert!(said.contains(line) && !said.contains('✗'), "{layer}: {said}");
        }
        assert_eq!(packets_in(&kept), 3000, "{layer}");
        // Where a queue decides, a flow may come to both workers.
        let records = fs::read_to_string(&kept).unwrap().lines().count();
        assert!(records == 7 || (queues > 1 && records <= 7 * queues as usize), "{layer}: {records}");
    }
}

#[test]
fn status_and_metrics_answer_and_signals_are_obeyed() {
    let Some(wire) = Wire::new() else { return };
    wire.right.ip("link set lo up");
    let mut meter = Meter::start(
        &wire.right,
        &format!("-i {} --capture packet --metrics 127.0.0.1:9739 --export json:DIR/flows.json", Wire::RIGHT),
    );
    wire.send(&datagrams(500, 5));
    meter.wait_for_packets(500);
    let page = meter.status(&[]);
    assert!(page.contains("500 offered = 500 taken + 0 lost + 0 waiting"), "{page}");
    assert!(page.contains("right0, through AF_PACKET: capturing"), "{page}");
    let explained = meter.status(&["--explain"]);
    for (counter, why) in
        [("lost_ring_full 0", "What helps"), ("offered_packets 500", "kernel"), ("rx_packets 500", "")]
    {
        let line = explained.lines().find(|line| line.contains(counter)).unwrap_or_else(|| panic!("{explained}"));
        assert!(line.contains(why), "{line}");
    }
    let get = |path: &str| {
        wire.right.enter(|| {
            let mut stream = std::net::TcpStream::connect("127.0.0.1:9739").unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        })
    };
    let metrics = get("/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
    let line = "weir_meter_metered_delivered_packets_total{interface=\"right0\",worker=\"0\"} 500\n";
    assert!(metrics.contains(line), "{metrics}");
    assert!(metrics.contains("# HELP weir_meter_capture_lost_ring_full_total packets lost in the kernel"), "{metrics}");
    for gauge in ["capturing{interface=\"right0\",worker=\"0\"} 1\n", "destination_given_up{destination=\"json:"] {
        assert!(metrics.contains(&format!("weir_meter_{gauge}")), "{metrics}");
    }
    assert!(get("/").starts_with("HTTP/1.1 404"));
    // One who says nothing keeps nobody waiting.
    let _silent = wire.right.enter(|| std::net::TcpStream::connect("127.0.0.1:9739").unwrap());
    assert!(get("/metrics?name=x").starts_with("HTTP/1.1 200"));
    assert!(get(&format!("/{}", "x".repeat(20_000))).starts_with("HTTP/1.1 431"));
    meter.signal("USR1");
    let line = meter.wait_for("packets/s");
    assert!(line.contains("500 packets = 500 metered + 0 ignored, 0 lost, 5 flows"), "{line}");
    let socket = meter.path("status.sock");
    assert!(socket.exists());
    let (status, _, _) = meter.end("INT");
    assert!(status.success());
    assert!(!socket.exists());
}

#[test]
fn who_was_killed_is_replaced_at_once() {
    let Some(wire) = Wire::new() else { return };
    let arguments = format!("-i {} --capture auto --export json:DIR/flows.json", Wire::RIGHT);
    let mut meter = Meter::start(&wire.right, &arguments);
    meter.child.kill().unwrap();
    assert_eq!(meter.child.wait().unwrap().signal(), Some(9));
    let socket = meter.path("status.sock");
    assert!(socket.exists(), "this is what it is about");
    let folder = std::mem::replace(&mut meter.folder, tempfile::tempdir().unwrap());
    let second = Meter::start_in(&wire.right, &arguments, folder, &[]);
    wire.send(&datagrams(10, 1));
    second.wait_for_packets(10);
    let flags = wire.right.ip(&format!("-d link show {}", Wire::RIGHT));
    assert!(flags.contains("promiscuity 1"), "the first one's is gone: {flags}");
    // A socket on which somebody answers is not taken away.
    let mut third = wire.right.command(METER);
    let third = third.args(["-i", Wire::RIGHT, "--export", "json:-", "--status-socket"]).arg(&socket).output().unwrap();
    assert_eq!(third.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&third.stderr).contains("another weir-meter"), "{third:?}");
    assert!(second.end("TERM").0.success());
}

/// From inside: a name is resolved when its collector comes late, files get their names, and what is left at the end goes to disk.
#[test]
fn inside_the_sandbox_destinations_come_back_files_are_finished_and_the_spool_is_written() {
    let Some(wire) = Wire::new() else { return };
    wire.right.ip("link set lo up");
    let arguments = format!(
        "-i {} --capture packet --idle-timeout 1s --export json:tcp://localhost:5170 --export file:DIR/flows.ipfix \
         --rotate-interval 1s --spool-dir DIR/spool",
        Wire::RIGHT
    );
    let mut meter = Meter::start(&wire.right, &arguments);
    let mut sent = wire.send(&datagrams(3, 1));
    meter.wait_for_packets(sent);
    meter.wait_for("it is connected to again as soon as that succeeds");
    // There is a collector now.
    let listener = wire.right.enter(|| TcpListener::bind("127.0.0.1:5170").unwrap());
    let mut collector = BufReader::new(listener.accept().unwrap().0);
    let mut line = String::new();
    collector.read_line(&mut line).unwrap();
    assert!(line.contains("\"packetDeltaCount\":3"), "{line}");
    meter.wait_until("a file that is finished", |all| number(all, "sent", "files_finished") > 0);
    let is_finished = |name: &str| name.starts_with("flows-") && name.ends_with(".ipfix");
    let names: Vec<_> =
        fs::read_dir(meter.path("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().any(|name| is_finished(name)), "{names:?}");
    // And now there is none again.
    drop((collector, listener));
    let before = meter.wait_until("it is missed", |all| number(all, "sent", "connection_failures") > 1);
    sent += wire.send(&datagrams(2, 2));
    meter.wait_for_packets(sent);
    let records = number(&before, "records", "records_queued");
    meter.wait_until("two flows", |all| number(all, "records", "records_queued") >= records + 4);
    let (_, all, said) = meter.end("TERM");
    assert_eq!(number(&all, "sent", "records_left_in_spool"), 2, "{all:#}");
    assert!(said.contains("2 left in the spool") && !said.contains('✗'), "{said}");
}

#[test]
fn the_sandbox_holds_while_exporting_goes_on() {
    let Some(wire) = Wire::new() else { return };
    wire.right.ip("link set lo up");
    let listener = wire.right.enter(|| TcpListener::bind("127.0.0.1:5170").unwrap());
    let elsewhere = wire.right.enter(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let elsewhere = elsewhere.local_addr().unwrap().to_string();
    let arguments = format!(
        "-i {} --capture packet --idle-timeout 1s --export json:tcp://127.0.0.1:5170 --export json:DIR/flows.json",
        Wire::RIGHT
    );
    let mut meter =
        Meter::start_in(&wire.right, &arguments, folder(), &[("WEIR_METER_PROBE_SANDBOX", elsewhere.as_str())]);
    for what in
        ["open /etc/passwd", "list /", "write /tmp", "execute", "connect elsewhere", "listen", "become root", "capture"]
    {
        assert!(meter.said.contains(&format!("sandbox: {what}: refused")), "{what}: {}", meter.said);
    }
    let status = fs::read_to_string(format!("/proc/{}/status", meter.child.id())).unwrap();
    for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    assert!(!status.contains("Uid:\t0"), "{status}");
    // Every thread is confined.
    for task in fs::read_dir(format!("/proc/{}/task", meter.child.id())).unwrap() {
        // One that has ended meanwhile has no status any more.
        let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else { continue };
        assert!(status.contains("Seccomp:\t2") && status.contains("CapPrm:\t0000000000000000"), "{status}");
    }
    let read_line = |stream: std::net::TcpStream| {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    };
    wire.send(&datagrams(3, 1));
    let first = listener.accept().unwrap().0;
    assert!(read_line(first).contains("\"packetDeltaCount\":3"));
    // The connection is closed; it is made again, from inside the sandbox.
    let mut sent = 3;
    let end = Instant::now() + PATIENCE;
    listener.set_nonblocking(true).unwrap();
    let second = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(_) => assert!(Instant::now() < end, "no second connection"),
        }
        sent += wire.send(&datagrams(1, 1));
        meter.wait_for_packets(sent);
        thread::park_timeout(Duration::from_millis(500));
    };
    second.set_nonblocking(false).unwrap();
    // A file that was moved away is made anew.
    fs::rename(meter.path("flows.json"), meter.path("moved.json")).unwrap();
    meter.signal("HUP");
    meter.wait_for("reloaded");
    sent += wire.send(&datagrams(2, 2));
    meter.wait_for_packets(sent);
    meter.wait_until("two files", |_| meter.path("flows.json").exists());
    let copy = tempfile::tempdir().unwrap();
    for name in ["flows.json", "moved.json"] {
        fs::hard_link(meter.path(name), copy.path().join(name)).unwrap();
    }
    let (status, all, said) = meter.end("TERM");
    assert!(status.success(), "{said}");
    assert_eq!(number(&all, "metered", "metered_packets"), sent);
    let packets = ["flows.json", "moved.json"].map(|name| packets_in(&copy.path().join(name)));
    assert_eq!(packets[0] + packets[1], sent, "{packets:?}");
    assert!(packets[0] >= 2, "{packets:?}");
}

#[test]
fn a_reload_changes_destinations_without_a_loss() {
    let Some(wire) = Wire::new() else { return };
    let folder = folder();
    let config = folder.path().join("meter.toml");
    let path = folder.path().display().to_string();
    let write = |export: &str, more: &str| fs::write(&config, format!("export = [{export}]\n{more}")).unwrap();
    write(&format!("\"json:{path}/a.json\""), "");
    let arguments = format!("-i {} --capture packet --config DIR/meter.toml --idle-timeout 1s", Wire::RIGHT);
    let mut meter = Meter::start_in(&wire.right, &arguments, folder, &[]);
    wire.send(&datagrams(100, 3));
    meter.wait_for_packets(100);
    write(&format!("\"json:{path}/b.json\""), "memory = \"64MiB\"\n");
    meter.signal("HUP");
    meter.wait_for("reloaded");
    assert!(!meter.said.contains("memory: a change"), "a flag is stronger than the file: {}", meter.said);
    wire.send(&datagrams(50, 3));
    meter.wait_for_packets(150);
    meter.wait_for("a.json: no longer a destination");
    // Nonsense changes nothing.
    write("\"ftp://nowhere\"", "");
    meter.signal("HUP");
    assert!(meter.wait_for("not reloaded").contains("ftp://nowhere"));
    write(&format!("\"json:{path}/b.json\""), "key = [\"none\"]\n");
    meter.signal("HUP");
    assert!(meter.wait_for("takes a restart").contains("key"));
    let copy = tempfile::tempdir().unwrap();
    for name in ["a.json", "b.json"] {
        fs::hard_link(meter.path(name), copy.path().join(name)).unwrap();
    }
    let (status, all, said) = meter.end("TERM");
    assert!(status.success(), "{said}");
    assert_closes(&all, 150);
    let packets: u64 = ["a.json", "b.json"].map(|name| packets_in(&copy.path().join(name))).iter().sum();
    assert_eq!(packets, 150);
}

#[test]
fn an_interface_may_disappear_and_come_back() {
    for layer in ["packet", "xdp"] {
        let Some(wire) = Wire::new() else { return };
        wire.right.ip("link add other0 type veth peer name other1");
        wire.right.ip("link set other0 up");
        let interfaces = format!("-i {} -i other0", Wire::RIGHT);
        let other = if layer == "xdp" { format!("-i {}", Wire::RIGHT) } else { format!("{interfaces} --workers 2") };
        // Four rings, which shall hold what comes while a busy machine lets none of the workers read.
        let other = format!("{other} --memory 256MiB");
        let mut meter = Meter::start(&wire.right, &format!("{other} --capture {layer} --export json:DIR/flows.json"));
        wire.send(&datagrams(10, 1));
        meter.wait_for_packets(10);
        wire.disconnect();
        meter.wait_for("it is down or away");
        wire.connect(1);
        meter.wait_for("it is back");
        wire.send(&datagrams(10, 1));
        meter.wait_for_packets(20);
        let meter_said = meter.said.clone();
        let (status, all, said) = meter.end("TERM");
        assert!(status.success(), "{said}");
        let whole = meter_said + &said;
        for once in ["right0: it is down or away", "right0: it is back"] {
            assert_eq!(whole.matches(once).count(), 1, "{layer}: {whole}");
        }
        assert!(number(&all, "source", "interruptions") >= 1);
        assert_eq!(number(&all, "metered", "metered_packets"), 20, "{layer}");
    }
}

#[test]
fn a_destination_that_is_given_up_is_said_and_a_ledger_that_fails_hides_nothing() {
    let Some(wire) = Wire::new() else { return };
    let arguments = format!(
        "-i {} --capture packet --idle-timeout 1s --export json:/dev/full --export json:DIR/flows.json --ledger /dev/full",
        Wire::RIGHT
    );
    let mut meter = Meter::start_without_ledger(&wire.right, &arguments);
    wire.send(&datagrams(10, 1));
    assert!(meter.wait_for("given up").contains("json:/dev/full: given up, no more records go there: No space left"));
    meter.wait_for_packets(10);
    meter.signal("TERM");
    let mut said = String::new();
    meter.stderr.read_to_string(&mut said).unwrap();
    assert_eq!(meter.child.wait().unwrap().code(), Some(1));
    assert!(said.contains("✓ 10 offered = 10 taken") && said.contains("cannot write the ledger"), "{said}");
}

#[test]
fn status_is_found_in_no_folder_and_nothing_of_it_is_left() {
    let Some(wire) = Wire::new() else { return };
    let ask = || wire.right.command(METER).args(["status", "--json"]).output().unwrap();
    for round in 1..3 {
        let mut command = wire.right.command(METER);
        command.args(["-i", Wire::RIGHT, "--capture", "packet", "--memory", "48MiB", "--export", "json:/dev/null"]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(said.by_ref().any(|line| line.unwrap().contains("capturing on")), "round {round}");
        let Output { stdout, status, .. } = ask();
        assert!(status.success() && String::from_utf8_lossy(&stdout).contains("offered_packets"), "round {round}");
        child.kill().unwrap();
        child.wait().unwrap();
        let Output { stderr, status, .. } = ask();
        assert!(!status.success() && String::from_utf8_lossy(&stderr).contains("no weir-meter runs"), "round {round}");
    }
}

#[test]
fn standard_error_that_takes_nothing_changes_nothing() {
    let Some(wire) = Wire::new() else { return };
    let (_reader, mut full) = std::io::pipe().unwrap();
    // What a pipe holds (pipe(7)), but for less than the shortest line.
    full.write_all(&[b'x'; (1 << 16) - 1]).unwrap();
    let no_room = fs::File::options().write(true).open("/dev/full").unwrap();
    for stderr in [Stdio::from(full), Stdio::from(no_room)] {
        let folder = folder();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut command = wire.right.command(METER);
        command.args(["-i", Wire::RIGHT, "--capture", "packet", "--memory", "48MiB", "--status-interval", "1s"]);
        command.args(["--export", &format!("json:{}", path("flows.json")), "--ledger", &path("ledger.json")]);
        command.args(["--status-socket", &path("status.sock")]);
        let child = command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let nothing = BufReader::new(Box::new(std::io::empty()) as Box<dyn Read>);
        let mut meter = Meter { child, stderr: nothing, said: String::new(), folder };
        let end = Instant::now() + PATIENCE;
        while std::os::unix::net::UnixStream::connect(meter.path("status.sock")).is_err() {
            assert!(meter.child.try_wait().unwrap().is_none() && Instant::now() < end, "it did not start");
            thread::park_timeout(Duration::from_millis(20));
        }
        wire.send(&datagrams(10, 1));
        meter.wait_for_packets(10);
        for _ in 0..3 {
            meter.signal("USR1");
            let _ = meter.status(&[]);
        }
        let (status, all, _) = meter.end("TERM");
        assert!(status.success(), "{status}");
        assert_closes(&all, 10);
    }
}

#[test]
fn an_interface_may_come_back_again_and_again_without_privileges() {
    // More memory than may be pinned without CAP_IPC_LOCK, as systems have it (8 MiB).
    for layer in ["packet --workers 2", "xdp --memory 256MiB"] {
        let Some(wire) = Wire::new() else { return };
        let meter =
            Meter::start(&wire.right, &format!("-i {} --capture {layer} --export json:DIR/flows.json", Wire::RIGHT));
        for round in 1..=3 {
            wire.disconnect();
            meter.wait_until("gone", |all| each_worker(all, "capturing", false));
            wire.connect(1);
            meter.wait_until("back", |all| each_worker(all, "capturing", true));
            wire.send(&datagrams(10, 1));
            meter.wait_for_packets(round * 10);
        }
        let (status, all, said) = meter.end("TERM");
        assert!(status.success(), "{layer}: {said}");
        assert_closes(&all, 30);
    }
}

#[test]
fn an_interface_that_cannot_be_taken_up_again_is_told() {
    // The ninth time, a ring of a group has no socket left.
    for (layer, times) in [("pcap", 1), ("packet --workers 2", 9)] {
        let Some(wire) = Wire::new() else { return };
        let mut meter =
            Meter::start(&wire.right, &format!("-i {} --capture {layer} --export json:DIR/flows.json", Wire::RIGHT));
        for time in 1..=times {
            wire.disconnect();
            meter.wait_until("gone", |all| each_worker(all, "capturing", false));
            wire.connect(1);
            if time < times {
                meter.wait_until("back", |all| each_worker(all, "capturing", true));
            }
        }
        let told = meter.wait_for("cannot be taken up again: ");
        assert!(told.contains("capabilities") || layer == "pcap", "{told}");
        meter.wait_until("refused", |all| each_worker(all, "refused", true));
        let page = meter.status(&[]);
        assert!(page.contains(": cannot be taken up again"), "{page}");
        let (status, _, said) = meter.end("TERM");
        assert_eq!(status.code(), Some(1), "{layer}: {said}");
        assert!(said.contains("✗ right0 was up, and not captured, for the last"), "{layer}: {said}");
    }
}

#[test]
fn an_interface_that_is_down_is_told_and_counted() {
    for layer in ["packet", "pcap", "xdp"] {
        let Some(wire) = Wire::new() else { return };
        let mut meter =
            Meter::start(&wire.right, &format!("-i {} --capture {layer} --export json:DIR/flows.json", Wire::RIGHT));
        for round in 1..=2 {
            wire.right.ip(&format!("link set {} down", Wire::RIGHT));
            assert!(meter.wait_for("it is down or away").contains("goes on when it is"), "{layer}");
            wire.right.ip(&format!("link set {} up", Wire::RIGHT));
            meter.wait_for("it is back");
            wire.send(&datagrams(10, 1));
            meter.wait_for_packets(round * 10);
        }
        let (status, all, said) = meter.end("TERM");
        assert!(status.success(), "{layer}: {said}");
        assert_eq!(number(&all, "source", "interruptions"), 2, "{layer}");
    }
}

#[test]
fn what_makes_no_sense_is_wrong_usage() {
    for (arguments, named) in [
        ("-r x.pcap -i eth0 --export json:-", "interface"),
        ("-r x.pcap --capture packet --export json:-", "capture"),
        ("-r x.pcap --metrics 127.0.0.1:1 --export json:-", "metrics"),
        ("-r x.pcap --no-sandbox --export json:-", "no-sandbox"),
        ("-i lo --capture dpdk --export json:-", "capture"),
        ("-i lo --fanout luck --export json:-", "fanout"),
        ("-i lo --cores 1-a --export json:-", "cores"),
        ("-i lo --cores 0,4095 --export json:-", "core 4095"),
        ("-i lo --snaplen 3 --export json:-", "snaplen"),
        ("-i lo --capture pcap --workers 2 --export json:-", "workers"),
        ("-i lo -i lo --export json:-", "interface"),
        ("-i a/b --export json:-", "interface"),
        ("-i lo --metrics here --export json:-", "metrics"),
        ("-i lo", "nowhere to send"),
        ("", "-i"),
    ] {
        // What is not refused would run.
        let mut command = Command::new("timeout");
        let output = command.args(["20", METER]).args(arguments.split_whitespace()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {said}");
        assert!(said.contains(named), "{arguments}: {said}");
    }
}

#[test]
fn an_interrupted_file_is_metered_as_far_as_it_was_read() {
    for (signal, status) in [("TERM", 143), ("INT", 130)] {
        let mut command = Command::new(METER);
        command.args(["-r", "-", "--export", "json:-"]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A capture of one flow, long enough that some of it is read for sure, and then a half of a record.
        let mut capture = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
        let frame = udp(7);
        let length = u32::try_from(frame.len()).unwrap().to_le_bytes();
        for second in 0..20_000_u32 {
            capture.extend([&(second / 1000).to_le_bytes()[..], &[0; 4], &length, &length, &frame].concat());
        }
        capture.extend([0; 10]);
        // It returns when all but what a pipe holds was read.
        stdin.write_all(&capture).unwrap();
        let done = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(done.success());
        let Output { status: ended, stdout, stderr } = child.wait_with_output().unwrap();
        assert_eq!(ended.code(), Some(status), "{}", String::from_utf8_lossy(&stderr));
        assert!(String::from_utf8_lossy(&stdout).contains("\"packetDeltaCount\""), "{stdout:?}");
        drop(stdin);
    }
}

#[test]
fn a_service_manager_is_told() {
    let Some(wire) = Wire::new() else { return };
    let folder = folder();
    let path = folder.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let env = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "30000000")];
    let arguments = format!("-i {} --capture packet --export json:DIR/flows.json", Wire::RIGHT);
    let meter = Meter::start_in(&wire.right, &arguments, folder, &env);
    let hears = |what: &str| {
        let mut datagram = [0; 256];
        loop {
            let octets = manager.recv(&mut datagram).unwrap();
            if datagram[..octets].starts_with(what.as_bytes()) {
                break;
            }
        }
    };
    hears("READY=1");
    hears("WATCHDOG=1");
    meter.signal("HUP");
    hears("RELOADING=1");
    hears("READY=1");
    assert!(meter.end("TERM").0.success());
    hears("STOPPING=1");
}

#[test]
fn the_unit_for_systemd_is_one() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd/weir-meter.service");
    let unit = fs::read_to_string(unit).unwrap().replace("/usr/bin/weir-meter", METER);
    let folder = folder();
    let path = folder.path().join("weir-meter.service");
    fs::write(&path, unit).unwrap();
    match Command::new("systemd-analyze").arg("verify").arg(&path).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            // Units of this machine are none of ours.
            assert!(output.status.success() && !said.contains("weir-meter.service:"), "{said}");
        }
        Err(error) => println!("skipped: no program systemd-analyze: {error}"),
    }
}
