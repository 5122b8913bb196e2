// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made messages.

use proptest::prelude::*;
use weir_flow::app::{AppFields, Ssdp};

use super::{
    super::{Direction, Feed, Probe, Transport, testing},
    *,
};
use testing::{Flow, Part};

use Direction::{Forward, Reverse};

const PORTS: [u16; 2] = [40_000, 1900];

const SEARCH: &[u8] = b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 2\r\nST: upnp:rootdevice\r\nUSER-AGENT: x/1\r\n\r\n";
const FOUND: &[u8] = b"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\nEXT:\r\nLOCATION: http://192.0.2.7:49152/d.xml\r\nSERVER: Linux UPnP/1.0 dev/2\r\nST: upnp:rootdevice\r\nUSN: uuid:1::upnp:rootdevice\r\n\r\n";
const NOTIFY: &[u8] = b"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nnt: urn:service:1\r\nNTS: ssdp:alive\r\nUSN: uuid:1::urn:service:1\r\n\r\n";

fn ssdp(parts: &[Part]) -> Ssdp {
    match testing::read(Transport::Datagram, PORTS, parts).swap_remove(0) {
        (AppFields::Ssdp(ssdp), false) => *ssdp,
        other => panic!("{other:?}"),
    }
}

#[test]
fn searches_and_announcements() {
    let parts = [SEARCH, FOUND, FOUND, NOTIFY].map(|message| (Forward, message.to_vec()));
    let ssdp = ssdp(&parts);
    let m = &ssdp.memory;
    assert_eq!(ssdp.method.iter(m).collect::<Vec<_>>(), [&b"M-SEARCH"[..], b"RESPONSE", b"NOTIFY"]);
    assert_eq!(ssdp.search_target.iter(m).collect::<Vec<_>>(), [&b"upnp:rootdevice"[..]]);
    assert_eq!(ssdp.notification_type.iter(m).collect::<Vec<_>>(), [&b"urn:service:1"[..]]);
    assert_eq!(ssdp.unique_name.iter(m).count(), 2);
    assert_eq!((ssdp.server.as_bytes(m), ssdp.user_agent.as_bytes(m)), (&b"Linux UPnP/1.0 dev/2"[..], &b"x/1"[..]));
    assert_eq!((ssdp.location.as_bytes(m), ssdp.location_port), (&b"http://192.0.2.7:49152/d.xml"[..], Some(49_152)));
}

#[test]
fn ports_of_locations() {
    for (location, expected) in [
        ("http://a/x", Some(80)),
        ("https://a", Some(443)),
        ("HTTP://[2001:db8::1]:8080/", Some(8080)),
        ("http://[2001:db8::1]/", Some(80)),
        ("http://a:99999/", None),
        ("http://a:/", None),
        ("ftp://a:1/", None),
        ("", None),
    ] {
        assert_eq!(port(location.as_bytes()), expected, "{location}");
    }
}

#[test]
fn devices_repeat_themselves() {
    let mut flow = Flow::new(Transport::Datagram, PORTS);
    let feeds: Vec<Feed> = (0..64).map(|_| flow.feed(Reverse, NOTIFY)).collect();
    assert_eq!((feeds[62], feeds[63]), (Feed::More, Feed::Done));
}

#[test]
fn what_is_none() {
    let probe = |bytes: &[u8]| testing::probe::<Parser>(Transport::Datagram, true, bytes);
    for message in [SEARCH, FOUND, NOTIFY] {
        assert_eq!(testing::claimed_by(Transport::Datagram, message), ["ssdp"]);
    }
    for bad in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..],
        b"NOTIFY sip:a@b SIP/2.0\r\n\r\n",
        b"NOTIFY * HTTP/1.1",
        b"M-SEARCH * HTTP/1.1\r\n\r\n",
        b"GET * HTTP/1.1\r\n\r\n",
        b"",
    ] {
        assert_eq!(probe(bad), Probe::No, "{bad:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn damage_is_survived(
        parts in testing::damaged([SEARCH, FOUND, NOTIFY].map(|message| (Forward, message.to_vec())).to_vec(), 0),
    ) {
        prop_assert!(testing::read(Transport::Datagram, PORTS, &parts).len() <= 1);
    }

    #[test]
    fn anything_is_survived(parts in testing::anything()) {
        let parts: Vec<Part> = [vec![(Forward, SEARCH.to_vec())], parts].concat();
        prop_assert_eq!(testing::read(Transport::Datagram, PORTS, &parts).len(), 1);
    }
}
