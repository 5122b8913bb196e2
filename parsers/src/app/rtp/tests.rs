// SPDX-License-Identifier: MIT OR Apache-2.0
use proptest::prelude::*;
use weir_flow::{
    Timestamp,
    app::{AppRef, Rtp},
};

use super::{MAX_DOUBTS, MAX_STRAYS, Parser};
use crate::app::{
    Direction::{self, Forward, Reverse},
    Feed, Input, Parser as _, Pools, Probe, Session, Transport,
};

const SSRC: u32 = 0x1234_abcd;
const PCMU: u8 = 0;

fn rtp(payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type]; // version 2, no padding, no extension, no contributing sources; no marker
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0xd5; 160]);
    packet
}

fn sender_report(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x81, 200, 0, 12]; // version 2, one block; sender report; 12 words follow
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0x83, 0xaa, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66]); // NTP timestamp: the middle is 0x11223344
    packet.extend([0, 0, 0, 7]); // RTP timestamp
    packet.extend([0, 0, 0x03, 0xe8]); // 1000 packets
    packet.extend([0, 2, 0x71, 0]); // 160000 octets
    packet.extend([0, 0, 0, 9]); // about source 9
    packet.extend([0x40, 0, 0, 5]); // a quarter is lost, 5 since the beginning
    packet.extend([0, 1, 0, 2]); // highest sequence number, with its cycles
    packet.extend([0, 0, 0, 33]); // jitter
    packet.extend([0; 8]); // no sender report has come
    packet
}

fn receiver_report(ssrc: u32, last: [u8; 4], delay: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0x81, 201, 0, 7]; // version 2, one block; receiver report; 7 words follow
    packet.extend(ssrc.to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    packet.extend([0x80, 0xff, 0xff, 0xfe]); // half is lost; since the beginning two more came than were sent
    packet.extend([0, 0, 0, 1]);
    packet.extend([0, 0, 0, 44]);
    packet.extend(last);
    packet.extend(delay);
    packet
}

/// A source description: CNAME "a@b" behind a NAME.
const DESCRIPTION: [u8; 20] = [
    0x81, 202, 0, 4, // version 2, one chunk; source description; 4 words follow
    0x12, 0x34, 0xab, 0xcd, // SSRC
    2, 1, b'x', // NAME
    1, 3, b'a', b'@', b'b', // CNAME
    0, 0, 0, 0, // end, and up to a whole word
];

fn probe(bytes: &[u8]) -> Probe {
    Parser::probe(Input { bytes, direction: Forward, transport: Transport::Datagram, hinted: false, snapped: false })
}

/// A flow as the meter treats it.
#[derive(Default)]
struct Flow {
    session: Session,
    pools: Pools,
    closed: Vec<Rtp>,
    /// Whether every datagram is parsed.
    is_slow: bool,
}

impl Flow {
    fn feed(&mut self, direction: Direction, bytes: &[u8], micros: u64) -> Feed {
        let now = Timestamp::from_micros(micros);
        let input = Input { bytes, direction, transport: Transport::Datagram, hinted: false, snapped: false };
        if !self.is_slow && self.session.count(input, now) {
            return Feed::More;
        }
        let Self { session, pools, closed, .. } = self;
        let feed = session.feed(input, now, pools);
        session.settle(pools, &mut |fields, _| closed.extend(of(fields)));
        feed
    }

    fn cut(&mut self) {
        let Self { session, pools, closed, .. } = self;
        session.close_current(pools, &mut |fields, _| closed.extend(of(fields)));
    }

    fn finish(mut self) -> Vec<Rtp> {
        let Self { session, pools, closed, .. } = &mut self;
        session.finish(pools, &mut |fields, _| closed.extend(of(fields)));
        session.recycle(pools);
        self.closed
    }
}

fn of(fields: AppRef<'_>) -> Option<Rtp> {
    match fields {
        AppRef::Rtp(rtp) => Some(rtp.clone()),
        _ => None,
    }
}

/// Packets with these sequence numbers, 20 ms apart.
fn counted(sequences: &[u16]) -> Rtp {
    let mut flow = Flow::default();
    for (index, &sequence) in (0..).zip(sequences) {
        flow.feed(Forward, &rtp(PCMU, sequence, 160 * u32::from(sequence), SSRC), 20_000 * index);
    }
    let [rtp] = flow.finish().try_into().unwrap();
    rtp
}

#[test]
fn content_decides() {
    assert_eq!(probe(&rtp(PCMU, 1, 2, SSRC)), Probe::Yes);
    assert_eq!(probe(&rtp(96 | 0x80, 1, 2, SSRC)), Probe::Yes);
    assert_eq!(probe(&sender_report(SSRC)), Probe::Yes);
    assert_eq!(probe(&receiver_report(SSRC, [0; 4], [0; 4])), Probe::Yes);
    assert_eq!(probe(b"\x10\0\0\x01ZRTP\x12\x34\xab\xcd"), Probe::Yes);
    // A report that says nothing: no blocks.
    assert_eq!(probe(&[0x80, 201, 0, 1, 0x12, 0x34, 0xab, 0xcd]), Probe::Yes);
}

#[test]
fn others_are_not_taken_for_it() {
    // Queries of DNS with identifiers that begin like RTP and RTCP, alone and with EDNS; a response with answers.
    for id in [[0x80, 0x00], [0xbf, 0x60], [0x80, 0xc8], [0x81, 0xc9]] {
        for counts in [[0, 1, 0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 1], [0, 1, 0, 6, 0, 2, 0, 13]] {
            let message = [&id[..], &[1, 0], &counts, b"\x03www\x07example\x03org\0\0\x01\0\x01"].concat();
            assert_eq!(probe(&message), Probe::No, "{message:02x?}");
        }
    }
    let with_first = |first: u8| [&[first][..], &rtp(PCMU, 1, 2, SSRC)[1..]].concat();
    // STUN, ZRTP, DTLS, TURN, QUIC with a short and a long header (RFC 7983, RFC 9443).
    for first in [0, 1, 16, 20, 22, 63, 64, 79, 0x40, 0x5f, 0x7f, 0xc0, 0xff] {
        assert_eq!(probe(&with_first(first)), Probe::No, "{first}");
    }
    // Payload types that are reserved or not in use.
    for kind in [1, 2, 19, 20, 30, 35, 72, 95] {
        assert_eq!(probe(&rtp(kind, 1, 2, SSRC)), Probe::No, "{kind}");
    }
    // Long headers of QUIC without the fixed bit.
    for version in [[0, 0, 0, 1], [0x6b, 0x33, 0x43, 0xcf]] {
        assert_eq!(probe(&[&[0x80][..], &version, &[8; 40]].concat()), Probe::No);
    }
    // A header alone, one cut short.
    assert_eq!(probe(&rtp(PCMU, 1, 2, SSRC)[..12]), Probe::No);
    assert_eq!(probe(&rtp(PCMU, 1, 2, SSRC)[..11]), Probe::No);
    // Padding that is not there, and more of it than payload.
    for padding in [0, 161] {
        let mut packet = with_first(0xa0);
        *packet.last_mut().unwrap() = padding;
        assert_eq!(probe(&packet), Probe::No);
    }
    // An extension of 0xd5d5 words, and contributing sources where there are not so many octets.
    assert_eq!(probe(&with_first(0x90)), Probe::No);
    assert_eq!(probe(&with_first(0x8f)[..60]), Probe::No);
    // Reports with another length than their count says, and others that do not begin a datagram.
    assert_eq!(probe(&[&[0x82][..], &sender_report(SSRC)[1..]].concat()), Probe::No);
    assert_eq!(probe(&DESCRIPTION), Probe::No);
}

#[test]
fn one_packet_is_not_enough_and_a_strange_second_is_none() {
    let mut flow = Flow::default();
    flow.feed(Forward, &rtp(PCMU, 1, 0, SSRC), 0);
    assert_eq!((flow.session.is_recognised(), flow.session.application()), (true, None));
    flow.feed(Forward, &rtp(PCMU, 2, 160, SSRC), 20_000);
    assert!(flow.session.application().is_some());
    let mut flow = Flow::default();
    flow.feed(Forward, &rtp(PCMU, 1, 0, SSRC), 0);
    assert!(flow.finish().is_empty());
    // The same number again, a far one, another source.
    for (sequence, ssrc) in [(1, SSRC), (99, SSRC), (2, SSRC + 1)] {
        let mut flow = Flow::default();
        flow.feed(Forward, &rtp(PCMU, 1, 0, SSRC), 0);
        flow.feed(Forward, &rtp(PCMU, sequence, 160, ssrc), 20_000);
        // In the other direction it confirms nothing.
        flow.feed(Reverse, &rtp(PCMU, 2, 160, SSRC), 20_000);
        assert!(flow.finish().is_empty());
    }
}

#[test]
fn what_is_never_confirmed_is_given_up() {
    let mut flow = Flow::default();
    for number in 1..u16::from(MAX_DOUBTS) {
        assert_eq!(flow.feed(Forward, &rtp(PCMU, 100 * number, 0, SSRC), 0), Feed::More);
    }
    assert_eq!(flow.feed(Forward, &rtp(PCMU, 0, 0, SSRC), 0), Feed::Done);
    assert!(flow.finish().is_empty());
}

#[test]
fn packets_in_both_directions_are_one_record() {
    let mut flow = Flow::default();
    for number in 0..50_u16 {
        let time = u64::from(number) * 20_000;
        flow.feed(Forward, &rtp(PCMU, number, 160 * u32::from(number), SSRC), time);
        flow.feed(Reverse, &rtp(8, number + 7, 160 * u32::from(number), SSRC + 1), time + 5);
    }
    let [rtp] = flow.finish().try_into().unwrap();
    assert_eq!((rtp.ssrc.get(), rtp.payload_type, rtp.packets.get()), (Some(SSRC), Some(0), Some(50)));
    assert_eq!(
        (rtp.reverse_ssrc.get(), rtp.reverse_payload_type, rtp.reverse_packets.get()),
        (Some(SSRC + 1), Some(8), Some(50))
    );
    assert_eq!((rtp.lost.get(), rtp.jitter.get(), rtp.clock_rate.get()), (Some(0), Some(0), Some(8000)));
    assert_eq!((rtp.reverse_lost.get(), rtp.reverse_max_jitter.get()), (Some(0), Some(0)));
    assert_eq!((rtp.late.get(), rtp.duplicates.get(), rtp.other_packets.get()), (None, None, None));
}

#[test]
fn sequence_numbers_tell_what_is_lost_late_and_repeated() {
    let told = |sequences: &[u16]| {
        let rtp = counted(sequences);
        [rtp.packets, rtp.lost, rtp.late, rtp.duplicates].map(|number| number.get().unwrap_or(0))
    };
    assert_eq!(told(&[1, 2, 3]), [3, 0, 0, 0]);
    assert_eq!(told(&[1, 2, 5, 6]), [4, 2, 0, 0]);
    // Over the end of the numbers, with a loss there.
    assert_eq!(told(&[65_533, 65_534, 1, 2]), [4, 2, 0, 0]);
    assert_eq!(told(&[65_534, 65_535, 0, 1]), [4, 0, 0, 0]);
    // Late ones were not lost; also where the first two come the wrong way round.
    assert_eq!(told(&[1, 2, 4, 3, 5]), [5, 0, 1, 0]);
    assert_eq!(told(&[2, 1, 3]), [3, 0, 1, 0]);
    assert_eq!(told(&[1, 2, 2, 3, 1]), [5, 0, 0, 2]);
    assert_eq!(told(&[1, 2, 4, 3, 3]), [5, 0, 1, 1]);
    // One far off is counted, no more; from two on it is another beginning, of which nothing is lost.
    assert_eq!(told(&[1, 2, 30_000, 3, 4]), [5, 0, 0, 0]);
    assert_eq!(told(&[1, 2, 30_000, 30_001, 30_003]), [5, 1, 0, 0]);
}

#[test]
fn a_record_has_the_numbers_of_its_time() {
    let mut flow = Flow::default();
    let feed = |flow: &mut Flow, number: u16| {
        flow.feed(Forward, &rtp(PCMU, number, 160 * u32::from(number), SSRC), 20_000 * u64::from(number));
    };
    (0..10).chain(12..20).for_each(|number| feed(&mut flow, number));
    flow.cut();
    feed(&mut flow, 11);
    (20..25).for_each(|number| feed(&mut flow, number));
    flow.cut();
    // Nothing has come in this time.
    flow.cut();
    flow.feed(Reverse, &receiver_report(7, [0; 4], [0; 4]), 1_000_000);
    let records = flow.finish();
    let told: Vec<_> = records.iter().map(|r| (r.packets.get(), r.lost.get(), r.late.get())).collect();
    assert_eq!(told, [(Some(18), Some(2), None), (Some(6), Some(0), Some(1)), (None, None, None)]);
    assert_eq!((records[1].ssrc.get(), records[1].payload_type), (Some(SSRC), Some(PCMU)));
    assert_eq!(records[2].reverse_rtcp_packets.get(), Some(1));
}

#[test]
fn a_dynamic_clock_rate_is_estimated() {
    for rate in [8_000_u32, 16_000, 24_000, 44_100, 48_000, 90_000] {
        let mut flow = Flow::default();
        for number in 0..200_u16 {
            // Comes up to 3 ms late.
            let late = u64::from(number % 4) * 1000;
            let timestamp = 77_u32.wrapping_sub(9).wrapping_add(rate / 50 * u32::from(number));
            flow.feed(Forward, &rtp(111, number, timestamp, SSRC), 20_000 * u64::from(number) + late);
        }
        let [rtp] = flow.finish().try_into().unwrap();
        assert_eq!(rtp.clock_rate.get(), Some(rate));
        // A jump of 3 ms back, and steps of 1 ms: 1.5 ms on average.
        assert!((1200..1800).contains(&rtp.jitter.get().unwrap()), "{rtp:?}");
    }
    // Timestamps that say nothing.
    let mut flow = Flow::default();
    for number in 0..200_u16 {
        flow.feed(Forward, &rtp(111, number, u32::from(number), SSRC), 20_000 * u64::from(number));
    }
    let [rtp] = flow.finish().try_into().unwrap();
    assert_eq!((rtp.clock_rate.get(), rtp.jitter.get(), rtp.packets.get()), (None, None, Some(200)));
}

#[test]
fn a_source_that_goes_on_takes_the_place_of_a_silent_one() {
    let mut flow = Flow::default();
    let mut feed = |ssrc, number: u16, millis| {
        flow.feed(Forward, &rtp(PCMU, number, 160 * u32::from(number), ssrc), 1000 * millis);
    };
    (0..10).for_each(|number| feed(SSRC, number, 20 * u64::from(number)));
    // Beside each other: the second is counted only.
    (10..20).for_each(|number| {
        feed(SSRC, number, 20 * u64::from(number));
        feed(7, number, 20 * u64::from(number));
    });
    // The first is silent.
    (20..200).for_each(|number| feed(7, number, 20 * u64::from(number)));
    let [one, two] = flow.finish().try_into().unwrap();
    assert_eq!((one.ssrc.get(), one.packets.get()), (Some(SSRC), Some(20)));
    assert_eq!((two.ssrc.get(), two.lost.get()), (Some(7), Some(0)));
    let [a, b] = [one.other_packets, two.packets].map(|number| number.get().unwrap());
    assert_eq!(a + b, 190);
    assert!(b > 50, "{b}");
}

#[test]
fn reports_are_read() {
    let mut flow = Flow::default();
    flow.feed(Forward, &[&sender_report(SSRC)[..], &DESCRIPTION].concat(), 1_000_000);
    // 300 ms later; of these it waited 0x4000/65536 s = 250 ms.
    let report = receiver_report(9, [0x11, 0x22, 0x33, 0x44], [0, 0, 0x40, 0]);
    flow.feed(Reverse, &report, 1_300_000);
    let [rtp] = flow.finish().try_into().unwrap();
    assert_eq!((rtp.ssrc.get(), rtp.cname.as_bytes(&rtp.memory)), (Some(SSRC), &b"a@b"[..]));
    assert_eq!((rtp.rtcp_packets.get(), rtp.rtcp_octets.get()), (Some(1), Some(72)));
    assert_eq!((rtp.sender_packets.get(), rtp.sender_octets.get()), (Some(1000), Some(160_000)));
    assert_eq!(
        (rtp.reported_fraction, rtp.reported_lost.get(), rtp.reported_jitter.get()),
        (Some(64), Some(5), Some(33))
    );
    assert_eq!(rtp.round_trip.get(), None);
    assert_eq!((rtp.reverse_ssrc.get(), rtp.reverse_rtcp_octets.get()), (Some(9), Some(32)));
    assert_eq!((rtp.reverse_reported_fraction, rtp.reverse_reported_lost.get()), (Some(128), Some(0)));
    assert_eq!(rtp.reverse_round_trip.get(), Some(50_000));
    assert_eq!((rtp.packets.get(), rtp.payload_type), (None, None));
}

#[test]
fn encrypted_reports_are_counted() {
    let mut flow = Flow::default();
    let mut report = receiver_report(9, [1; 4], [2; 4]);
    report.extend([0x80, 0, 0, 1, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]); // encrypted, first packet, tag
    flow.feed(Forward, &report, 0);
    let [rtp] = flow.finish().try_into().unwrap();
    assert_eq!((rtp.ssrc.get(), rtp.rtcp_packets.get(), rtp.reported_fraction), (Some(9), Some(1), None));
}

#[test]
fn media_behind_stun_are_found() {
    let mut flow = Flow::default();
    let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    (0..20).for_each(|_| {
        flow.feed(Forward, &stun, 0);
        flow.feed(Reverse, &stun, 0);
    });
    (0..20).for_each(|number| {
        flow.feed(Forward, &rtp(PCMU, number, 160 * u32::from(number), SSRC), 20_000 * u64::from(number));
        flow.feed(Reverse, &stun, 0);
    });
    let [rtp] = flow.finish().try_into().unwrap();
    assert_eq!((rtp.packets.get(), rtp.lost.get()), (Some(20), Some(0)));
}

#[test]
fn others_on_the_path_are_passed_over() {
    let mut flow = Flow::default();
    let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    for number in 0..200_u16 {
        flow.feed(Forward, &rtp(PCMU, number, 160 * u32::from(number), SSRC), 20_000 * u64::from(number));
        if number == 100 {
            assert_eq!(flow.feed(Reverse, &stun, 0), Feed::More);
        }
        assert_eq!(flow.feed(Reverse, &[0xff; 40], 0), Feed::More);
    }
    // One was before these.
    for number in 2..MAX_STRAYS {
        assert_eq!(flow.feed(Reverse, &[0xff; 40], 0), Feed::More, "{number}");
    }
    assert_eq!(flow.feed(Reverse, &[0xff; 40], 0), Feed::Done);
    assert_eq!(flow.finish()[0].packets.get(), Some(200));
}

proptest! {
    /// The jitter of RFC 3550, by its definition, with fractions.
    #[test]
    fn jitter_is_that_of_its_definition(delays in prop::collection::vec(0..40_000_u32, 3..200)) {
        let mut flow = Flow::default();
        let mut expected = 0.0_f64;
        for (index, &delay) in delays.iter().enumerate() {
            let number = index as u16;
            flow.feed(Forward, &rtp(PCMU, number, 160 * u32::from(number), SSRC), 20_000 * index as u64 + u64::from(delay));
            if let Some(before) = index.checked_sub(1) {
                let difference = f64::from(delay) - f64::from(delays[before]);
                expected += (difference.abs() - expected) / 16.0;
            }
        }
        let [rtp] = flow.finish().try_into().unwrap();
        let jitter = f64::from(rtp.jitter.get().unwrap());
        prop_assert!((jitter - expected).abs() < 3.0, "{jitter} for {expected}");
    }

    /// However packets come, the quick way counts as the long one does, and what is counted adds up.
    #[test]
    fn the_quick_way_is_the_long_one(
        packets in prop::collection::vec((any::<bool>(), 0..4_u16, 0..6_u8, 0..60_000_u64, any::<bool>()), 0..300),
    ) {
        let (mut quick, mut slow) = (Flow::default(), Flow { is_slow: true, ..Flow::default() });
        let (mut number, mut time) = (65_500_u16, 0);
        for (is_reverse, step, kind, pause, is_cut) in packets {
            number = number.wrapping_add(step).wrapping_sub(u16::from(kind == 5));
            time += pause;
            let direction = if is_reverse { Reverse } else { Forward };
            let bytes = match kind {
                0 => rtp(PCMU, number, 160 * u32::from(number), 3_000_000_000),
                1 => sender_report(SSRC),
                2 => rtp(96, number, 3000 * u32::from(number), SSRC),
                _ => rtp(PCMU, number, 160 * u32::from(number), SSRC),
            };
            for flow in [&mut quick, &mut slow] {
                flow.feed(direction, &bytes, time);
                if is_cut && step == 0 {
                    flow.cut();
                }
            }
        }
        prop_assert_eq!(quick.finish(), slow.finish());
    }

    /// Any octets: no panic, and nothing kept.
    #[test]
    fn any_octets_do_no_harm(
        datagrams in prop::collection::vec((any::<bool>(), prop::sample::select(vec![0x80, 0x81, 0x9f, 0xa0, 0x10, 0xff]), prop::sample::select(vec![0, 8, 96, 200, 201, 202, 203, 207]), prop::collection::vec(any::<u8>(), 0..120)), 0..30),
        length in any::<u8>(),
    ) {
        let mut flow = Flow::default();
        for (is_reverse, first, second, mut bytes) in datagrams {
            bytes.splice(0..0, [first, second, 0, length % 32]);
            flow.feed(if is_reverse { Reverse } else { Forward }, &bytes, 0);
        }
        flow.finish();
    }
}
