// SPDX-License-Identifier: MIT OR Apache-2.0
//! Damaged and hostile messages: nothing panics, nothing grows beyond its cap, and others go on.

mod wire;

use proptest::prelude::*;
use weir_collector::{FileError, Limits, read};
use weir_ipfix::decode::DecodeError;
use wire::*;

/// Three messages of each protocol, each with its template and two records; the packets say which is which.
fn stream(first: u32) -> Vec<Vec<u8>> {
    let data = |n: u32| [record(n), record(n + 1)].concat();
    (0..3)
        .map(|i| (first + 10 * i, i))
        .map(|(n, i)| match first {
            0 => ipfix(1, 2 * i, &[set(2, &template(256, FIELDS)), set(256, &data(n))]),
            _ => v9(1, i, 1_000, &[set(0, &template(256, FIELDS)), set(256, &data(n))]),
        })
        .collect()
}

/// The middle one of three messages is damaged; the other two must be decoded all the same.
fn others_decode(messages: &[Vec<u8>], damaged: &[u8], first: u64) {
    let mut rig = Rig::new(Limits::default());
    rig.udp(&messages[0]);
    rig.udp(damaged);
    // What was damaged may have set a template of another domain or ID; the third message brings its own.
    rig.udp(&messages[2]);
    let packets = rig.kept.packets();
    assert_eq!(packets[..2], [first, first + 1]);
    assert_eq!(packets[packets.len() - 2..], [first + 20, first + 21]);
}

#[test]
fn a_message_cut_anywhere_does_not_harm_the_others() {
    for first in [0, 100] {
        let messages = stream(first);
        for len in 0..messages[1].len() {
            others_decode(&messages, &messages[1][..len], first.into());
        }
    }
}

#[test]
fn a_message_with_a_flipped_octet_does_not_harm_the_others() {
    for first in [0, 100] {
        let messages = stream(first);
        for at in 0..messages[1].len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = messages[1].clone();
                damaged[at] ^= flip;
                others_decode(&messages, &damaged, first.into());
            }
        }
    }
}

#[test]
fn a_file_is_read_up_to_the_damage_which_is_named() {
    let whole = stream(0).concat();
    let one = whole.len() / 3;
    for len in 0..=whole.len() {
        let mut kept = Keep::default();
        let (snapshot, result) = read(&whole[..len], 4711, &mut kept);
        assert_eq!(snapshot.decoded.records as usize, 2 * (len / one));
        assert_eq!(kept.0.len(), 2 * (len / one));
        match result {
            Ok(()) => assert_eq!(len % one, 0),
            Err(FileError::EndsWithinMessage { offset, available, .. }) => {
                assert_eq!((offset as usize, available), (len - len % one, len % one));
            }
            Err(error) => panic!("{error}"),
        }
    }
    let mut damaged = whole;
    damaged[one + 1] = 9;
    let (_, result) = read(&damaged[..], 4711, &mut Keep::default());
    let Err(FileError::NotAMessage { offset, source }) = result else { panic!("not refused") };
    assert_eq!((offset as usize, source), (one, DecodeError::Version { found: 9 }));
}

const SMALL: Limits = Limits {
    tcp_sessions: 4,
    tcp_sessions_per_address: 4,
    udp_sessions: 4,
    domains_per_session: 3,
    domains: 6,
    templates_per_session: 5,
    template_octets_per_session: 4_000,
    template_octets: 10_000,
    waiting_octets_per_session: 600,
    waiting_octets: 1_000,
    exporters: 5,
    udp_session_idle: std::time::Duration::from_secs(60),
};

/// Sets that are likely to mean something: templates that are right or wrong, data for them, and any octets.
fn any_set(netflow: bool) -> impl Strategy<Value = Vec<u8>> {
    let field = (prop::sample::select(vec![1_u16, 2, 4, 8, 11, 21, 22, 27, 95, 160, 210, 291, 0x8001]), 0_u16..9);
    let fields = prop::collection::vec(field, 0..6);
    let ids = 254_u16..262;
    let (templates, options) = if netflow { (0, 1) } else { (2, 3) };
    prop_oneof![
        (ids.clone(), fields).prop_map(move |(id, fields)| set(templates, &template(id, &fields))),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(move |body| set(options, &body)),
        (ids, prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(id, body)| set(id, &body)),
        prop::collection::vec(any::<u8>(), 0..20),
    ]
}

fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let sets = |netflow| prop::collection::vec(any_set(netflow), 0..6);
    prop_oneof![
        (0_u32..8, any::<u32>(), sets(false)).prop_map(|(domain, number, sets)| ipfix(domain, number, &sets)),
        (0_u32..8, any::<u32>(), any::<u32>(), sets(true))
            .prop_map(|(domain, number, uptime, sets)| v9(domain, number, uptime, &sets)),
        (prop::sample::select(vec![5_u8, 9, 10, 7]), prop::collection::vec(any::<u8>(), 0..300)).prop_map(
            |(version, mut octets)| {
                octets.splice(0..0, [0, version]);
                octets
            }
        ),
    ]
}

proptest! {
    #[test]
    fn no_messages_panic_or_grow_beyond_the_caps(
        messages in prop::collection::vec((0_u16..8, any_message()), 1..40),
        closes in prop::collection::vec(0_u16..8, 0..4),
    ) {
        let mut rig = Rig::new(SMALL);
        for (from, message) in messages {
            let peer = if from % 3 == 0 { tcp_peer((from / 3).into()) } else { udp_peer(from) };
            rig.from(peer, &message);
            rig.now = rig.now.after(std::time::Duration::from_secs(1));
            let held = *rig.decoder.held();
            prop_assert!(held.sessions <= 4 + 3, "{held:?}");
            prop_assert!(held.domains <= SMALL.domains, "{held:?}");
            prop_assert!(held.templates <= 7 * SMALL.templates_per_session, "{held:?}");
            prop_assert!(held.template_octets <= SMALL.template_octets, "{held:?}");
            prop_assert!(held.waiting_octets <= SMALL.waiting_octets, "{held:?}");
            prop_assert!(rig.decoder.exporters().len() <= SMALL.exporters);
        }
        for from in closes.into_iter().chain(0..8) {
            rig.decoder.close(udp_peer(from));
            rig.decoder.close(tcp_peer((from / 3).into()));
            rig.check();
        }
        prop_assert_eq!(*rig.decoder.held(), weir_collector::Held::default());
    }
}
