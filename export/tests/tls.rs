// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS to a collector: whom it trusts, what it shows, and that nothing is lost when it goes away.
#![cfg(feature = "tls")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::{
    io::{self, Read},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
};

use common::{Session, dns, record, to};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use weir_export::{DestinationReport, Exporter, ExporterConfig, WhenFull};
use weir_flow::RecordSink;

fn path(name: &str) -> String {
    format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A server's settings, which ask for a client's certificate if told to.
fn server(asks: bool) -> Arc<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let certificates = |name| CertificateDer::pem_file_iter(path(name)).unwrap().map(|c| c.unwrap());
    let key = PrivateKeyDer::from_pem_file(path("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let config = if asks {
        let mut roots = RootCertStore::empty();
        certificates("authority.pem").for_each(|c| roots.add(c).unwrap());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        config.with_client_cert_verifier(verifier)
    } else {
        config.with_no_client_auth()
    };
    Arc::new(config.with_single_cert(certificates("server.pem").collect(), key).unwrap())
}

/// What was read of a connection, and how it ended.
type Collected = (Vec<u8>, io::Result<()>);

/// Takes so many connections, one after the other: of each what could be read, up to so many octets, and why it ended.
fn collect(config: Arc<ServerConfig>, most: Vec<usize>) -> (SocketAddr, JoinHandle<Vec<Collected>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let take = move |most: usize| {
        let stream = listener.accept().unwrap().0;
        let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
        let mut octets = Vec::new();
        let result = Read::by_ref(&mut stream).take(most as u64).read_to_end(&mut octets);
        (octets, result.map(drop))
    };
    (address, thread::spawn(move || most.into_iter().map(take).collect()))
}

fn export(destination: &str, count: u64) -> Vec<DestinationReport> {
    let exporter = Exporter::start(&to(&[destination.to_owned()])).unwrap();
    let mut sink = exporter.sink();
    let dns = dns(20);
    (0..count).for_each(|n| sink.record(&record(n, &dns)));
    exporter.finish(vec![sink]).1
}

#[test]
fn everything_arrives_at_who_is_trusted() {
    for client in ["", "&cert=CLIENT.pem&key=CLIENT.key"] {
        let client = client.replace("CLIENT", &path("client"));
        let (address, collector) = collect(server(!client.is_empty()), vec![usize::MAX]);
        let destination = format!("tls://{address}?ca={}&name=station.example{client}", path("authority.pem"));
        let reports = export(&destination, 50_000);
        assert!(reports[0].error.is_none(), "{reports:?}");
        let (octets, result) = collector.join().unwrap().remove(0);
        // Its end was said.
        result.unwrap();
        let mut session = Session::default();
        session.messages(&octets);
        assert!(session.records.iter().map(|record| record.0).eq(1..=50_000));
        let sent = reports[0].counters;
        assert_eq!((sent.records_sent, sent.lost_records(), sent.records_sent_again), (50_000, 0, 0));
        assert!(sent.octets_sent > octets.len() as u64);
    }
}

/// Another name, another authority, no certificate where one is asked for: nothing is sent, and it is said why.
#[test]
fn nothing_goes_to_who_is_not_trusted() {
    let authority = path("authority.pem");
    for (asks, options, why) in [
        (false, format!("ca={authority}&name=other.example"), "not valid for name"),
        (false, format!("ca={}&name=station.example", path("stranger.pem")), "UnknownIssuer"),
        (false, format!("ca={authority}"), "not valid for name"),
        (true, format!("ca={authority}&name=station.example"), "CertificateRequired"),
    ] {
        // One that has time tries six times.
        let (address, collector) = collect(server(asks), vec![usize::MAX; 6]);
        let reports = export(&format!("tls://{address}?{options}"), 100);
        let error = reports[0].error.as_ref().unwrap().to_string();
        assert!(error.contains(why), "{options}: {error}");
        // One who asks for a certificate refuses when the connection is made already, and his system has acknowledged.
        let sent = reports[0].counters;
        assert_eq!(sent.records_sent, sent.records_in_doubt, "{options}");
        assert_eq!(sent.records_sent + sent.records_not_sent, 100, "{options}");
        assert!(collector.join().unwrap().iter().all(|(octets, result)| octets.is_empty() && result.is_err()));
    }
}

#[test]
fn files_that_are_wrong_are_named_at_the_start() {
    for (options, why) in [
        (format!("ca={}", path("nothing.pem")), "nothing.pem"),
        (format!("ca={}", path("README.md")), "no certificate"),
        (format!("ca={0}&cert={0}", path("authority.pem")), "takes its key"),
        (format!("ca={}&cert={}&key={}", path("authority.pem"), path("client.pem"), path("server.key")), "key"),
    ] {
        let error = Exporter::start(&to(&[format!("tls://localhost?{options}")])).unwrap_err();
        let text = format!("{:?}", error.error);
        assert!(text.to_lowercase().contains(&why.to_lowercase()), "{options}: {text}");
    }
}

/// The collector ends in the middle, with something unread, twice.
#[test]
fn nothing_is_missing_after_it_went_away() {
    let (address, collector) = collect(server(false), vec![300_000, 1_000_000, usize::MAX]);
    let destination = format!("tls://{address}?ca={}&name=station.example", path("authority.pem"));
    let config = ExporterConfig { when_full: WhenFull::Drop, ..to(&[destination]) };
    let exporter = Exporter::start(&config).unwrap();
    let mut sink = exporter.sink();
    sink.wait_when_full();
    let dns = dns(20);
    (0..100_000).for_each(|n| sink.record(&record(n, &dns)));
    let (_, reports) = exporter.finish(vec![sink]);
    assert_eq!((reports[0].counters.reconnects, reports[0].counters.records_sent), (2, 100_000), "{reports:?}");
    let mut records = Vec::new();
    for (octets, _) in collector.join().unwrap() {
        let mut session = Session::default();
        let mut left = &octets[..];
        // The last message may have been cut.
        while let Ok(header) = weir_ipfix::message::Header::parse(left) {
            let (message, rest) = left.split_at(header.length.into());
            session.message(message);
            left = rest;
        }
        // As many as are known go on where it stopped, or before.
        let first = session.numbers.unwrap().0 as usize;
        assert!(first <= records.len());
        records.truncate(first);
        records.extend(session.records.iter().map(|record| record.0));
    }
    assert!(records.into_iter().eq(1..=100_000));
}
