// SPDX-License-Identifier: MIT OR Apache-2.0
//! Captures made by hand.

use std::collections::{BTreeSet, VecDeque};
use std::io::Write;
use std::ops::Range;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use weir_flow::{BATCH, LinkType, SharedOctets, SourceState};

use super::*;

/// A packet as the tests compare it: data, wire octets, nanoseconds, interface, link type.
type Seen = (Vec<u8>, u32, u64, u32, LinkType);

/// All packets, and how it ended.
fn drain(source: &mut dyn PacketSource) -> (Vec<Seen>, Result<(), SourceError>) {
    let mut seen = Vec::new();
    loop {
        let state = source.poll(&mut |batch| {
            assert!((1..=BATCH).contains(&batch.len()));
            for packet in batch {
                seen.push((
                    packet.data.to_vec(),
                    packet.wire_octets,
                    packet.ts.as_nanos(),
                    packet.interface,
                    packet.link,
                ));
            }
        });
        match state {
            Ok(SourceState::More) => {}
            Ok(SourceState::End) => return (seen, Ok(())),
            Ok(SourceState::Idle) => panic!("a file is never idle"),
            Err(error) => return (seen, Err(error)),
        }
    }
}

/// Reads `file` by its name, and as a stream that comes in pieces of `piece` octets; both must agree.
fn read_in(file: &[u8], piece: usize) -> Result<(Vec<Seen>, Result<(), SourceError>), OpenError> {
    struct Pieces(io::Cursor<Vec<u8>>, usize);
    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = buffer.len().min(self.1);
            self.0.read(&mut buffer[..len])
        }
    }
    let mut on_disk = tempfile::NamedTempFile::new().unwrap();
    on_disk.write_all(file).unwrap();
    let named = open(on_disk.path().to_str().unwrap()).map(|mut source| drain(&mut *source));
    let pieces = Pieces(io::Cursor::new(file.to_vec()), piece);
    let streamed = open_stream("-", Box::new(pieces), None).map(|mut source| drain(&mut *source));
    match (&named, &streamed) {
        (Ok((named, end)), Ok((streamed, other_end))) => {
            assert_eq!(named, streamed);
            assert_eq!(format!("{end:?}"), format!("{other_end:?}"));
        }
        (named, streamed) => assert_eq!(named.is_err(), streamed.is_err(), "{named:?} {streamed:?}"),
    }
    named
}

fn read(file: &[u8]) -> (Vec<Seen>, Result<(), SourceError>) {
    read_in(file, 7).unwrap()
}

fn damage(end: Result<(), SourceError>) -> (u64, String) {
    match end {
        Err(SourceError::Damaged { offset, what }) => (offset, what),
        other => panic!("not damaged: {other:?}"),
    }
}

fn refused(file: &[u8]) -> String {
    read_in(file, 7).map(|_| ()).unwrap_err().to_string()
}

/// Writes numbers in either order.
#[derive(Clone, Copy)]
struct Out {
    big: bool,
}

impl Out {
    fn n(self, octets: usize, value: u64) -> Vec<u8> {
        let little = value.to_le_bytes()[..octets].to_vec();
        if self.big { little.into_iter().rev().collect() } else { little }
    }

    fn all(self, fields: &[(usize, u64)]) -> Vec<u8> {
        fields.iter().flat_map(|(octets, value)| self.n(*octets, *value)).collect()
    }

    fn pcap(self, magic: u64, version: (u64, u64), link: u64) -> Vec<u8> {
        self.all(&[(4, magic), (2, version.0), (2, version.1), (4, 0), (4, 0), (4, 65_535), (4, link)])
    }

    fn record(self, secs: u64, fraction: u64, data: &[u8], wire: u64) -> Vec<u8> {
        [&self.all(&[(4, secs), (4, fraction), (4, data.len() as u64), (4, wire)]), data].concat()
    }

    /// A pcapng block, its body padded.
    fn block(self, kind: u64, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let total = body.len() as u64 + 12;
        [self.all(&[(4, kind), (4, total)]), body, self.n(4, total)].concat()
    }

    fn section(self) -> Vec<u8> {
        self.block(0x0a0d_0d0a, &self.all(&[(4, 0x1a2b_3c4d), (2, 1), (2, 0), (8, u64::MAX)]))
    }

    fn interface(self, link: u64, snap: u64, options: &[u8]) -> Vec<u8> {
        self.block(1, &[&self.all(&[(2, link), (2, 0), (4, snap)]), options].concat())
    }

    fn enhanced(self, interface: u64, ticks: u64, data: &[u8], wire: u64) -> Vec<u8> {
        let fields = [(4, interface), (4, ticks >> 32), (4, ticks & 0xffff_ffff), (4, data.len() as u64), (4, wire)];
        self.block(6, &[&self.all(&fields), data].concat())
    }
}

const LITTLE: Out = Out { big: false };
const BIG: Out = Out { big: true };
const SEC: u64 = 1_000_000_000;

/// Three packets: of three octets, of none, of 70 octets of which 5 were captured.
fn classic() -> Vec<u8> {
    [
        LITTLE.pcap(0xa1b2_c3d4, (2, 4), 1),
        LITTLE.record(1, 2, b"abc", 3),
        LITTLE.record(3, 4, b"", 60),
        LITTLE.record(5, 6, b"defgh", 70),
    ]
    .concat()
}

#[test]
fn classic_pcap_in_both_orders_and_resolutions() {
    for out in [LITTLE, BIG] {
        for (magic, nanos) in [(0xa1b2_c3d4, 1_000), (0xa1b2_3c4d, 1)] {
            // The upper half of the link type says that there is a frame check sequence of four octets.
            let file =
                [out.pcap(magic, (2, 4), 0x5000_0065), out.record(u32::MAX.into(), 999_999, b"abc", 1500)].concat();
            let (seen, end) = read(&file);
            let ts = u64::from(u32::MAX) * SEC + 999_999 * nanos;
            assert_eq!(seen, [(b"abc".to_vec(), 1500, ts, 0, LinkType::RAW)]);
            end.unwrap();
        }
    }
    let (seen, end) = read(&classic());
    end.unwrap();
    let lengths: Vec<_> = seen.iter().map(|(data, wire, ..)| (data.len(), *wire)).collect();
    assert_eq!(lengths, [(3, 3), (0, 60), (5, 70)]);
}

#[test]
fn old_and_modified_pcap() {
    // Version 2.2: wire length first. Kuznetzov: eight octets more in each record header.
    let old = [LITTLE.pcap(0xa1b2_c3d4, (2, 2), 1), LITTLE.all(&[(4, 1), (4, 0), (4, 60), (4, 2)]), b"ab".to_vec()];
    let modified = [
        BIG.pcap(0xa1b2_cd34, (2, 4), 1),
        BIG.all(&[(4, 1), (4, 0), (4, 2), (4, 60), (4, 7), (2, 8), (1, 0), (1, 0)]),
        b"ab".to_vec(),
    ];
    for file in [old.concat(), modified.concat()] {
        let (seen, end) = read(&file);
        assert_eq!(seen, [(b"ab".to_vec(), 60, SEC, 0, LinkType::ETHERNET)]);
        end.unwrap();
    }
}

#[test]
fn more_captured_than_on_the_wire() {
    let file = [LITTLE.pcap(0xa1b2_c3d4, (2, 4), 1), LITTLE.record(0, 0, b"abcd", 2)].concat();
    assert_eq!(read(&file).0, [(b"abcd".to_vec(), 4, 0, 0, LinkType::ETHERNET)]);
}

#[test]
fn damage_has_its_offset() {
    let whole = classic();
    let last = whole.len() - 16 - 5;
    // In the last record's body, in its header.
    for (cut, what) in [
        (whole.len() - 1, "the file ends 20 octets into a packet record of 21"),
        (last + 3, "the file ends 3 octets into a packet header of 16"),
    ] {
        let (seen, end) = read(&whole[..cut]);
        assert_eq!((seen.len(), damage(end)), (2, (last as u64, what.to_owned())));
    }
    // A lying length, then junk.
    let mut lying = whole.clone();
    lying[last + 8..last + 12].copy_from_slice(&262_145_u32.to_le_bytes());
    let (seen, end) = read(&lying);
    let what = "a packet of 262145 octets, more than the 262144 that are possible";
    assert_eq!((seen.len(), damage(end)), (2, (last as u64, what.to_owned())));
    let (seen, end) = read(&[&whole[..], b"\0\0\0\0\0\0\0\0\xff\xff\xff\xffjunk"].concat());
    assert_eq!((seen.len(), damage(end).0), (3, whole.len() as u64));
}

#[test]
fn damage_is_told_again() {
    let whole = classic();
    let mut source = open_stream("-", Box::new(io::Cursor::new(whole[..whole.len() - 1].to_vec())), None).unwrap();
    assert_eq!(drain(&mut *source).0.len(), 2);
    let (seen, end) = drain(&mut *source);
    assert_eq!((seen.len(), damage(end).0), (0, whole.len() as u64 - 21));
}

#[test]
fn what_is_no_capture_is_refused() {
    assert!(refused(b"").ends_with("the file has 0 octets, too few for a capture"));
    assert!(refused(&classic()[..23]).ends_with("the file ends 23 octets into its header of 24"));
    assert!(refused(&LITTLE.pcap(0xa1b2_c3d4, (3, 0), 1)).ends_with("pcap version 3.0 is not known"));
    let streamed = open_stream("-", Box::new(&b"#!/bin/sh"[..]), None).map(|_| ()).unwrap_err();
    assert_eq!(
        streamed.to_string(),
        "cannot read capture -: it begins with 23 21 2f 62, which is neither pcap nor pcapng"
    );
    assert!(
        open("/nonexistent/capture.pcap").map(|_| ()).unwrap_err().to_string().contains("/nonexistent/capture.pcap")
    );
    assert!(matches!(open("/").map(|_| ()), Err(OpenError::Io { .. })));
}

#[test]
fn compressed_captures() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&classic()).unwrap();
    let compressed = encoder.finish().unwrap();
    let (seen, end) = read(&compressed);
    assert_eq!(seen, read(&classic()).0);
    end.unwrap();
    // Cut in the trailer: all packets, then damage behind them.
    let (seen, end) = read(&compressed[..compressed.len() - 4]);
    assert_eq!((seen.len(), damage(end).0), (3, classic().len() as u64));
}

/// Two sections of different byte order, three interfaces, blocks of every kind that is read and some that are not.
fn next_generation() -> Vec<u8> {
    let tsresol = |out: Out, octet: u8| [out.all(&[(2, 9), (2, 1)]), vec![octet, 0, 0, 0]].concat();
    let tsoffset = |out: Out, secs: i64| out.all(&[(2, 14), (2, 8), (8, secs.cast_unsigned())]);
    [
        LITTLE.section(),
        LITTLE.interface(1, 0, &[LITTLE.all(&[(2, 2), (2, 3)]), b"eth\0".to_vec(), tsresol(LITTLE, 9)].concat()),
        LITTLE.interface(113, 4, &[]),
        LITTLE.block(5, &[0; 20]), // statistics
        LITTLE.enhanced(0, 7 * SEC + 1, b"abc", 1500),
        LITTLE.enhanced(1, 8_000_001, b"d", 1),
        LITTLE.block(3, &[LITTLE.n(4, 2), b"ef".to_vec()].concat()), // simple packet
        BIG.section(),
        BIG.interface(101, 3, &[tsresol(BIG, 0x80 | 10), tsoffset(BIG, 100), BIG.all(&[(2, 0), (2, 0)])].concat()),
        BIG.block(0x0bad, b"custom"),
        BIG.block(2, &[BIG.all(&[(2, 0), (2, 9), (4, 0), (4, 1536), (4, 3), (4, 60)]), b"ghi".to_vec()].concat()),
        BIG.block(3, &[BIG.n(4, 60), b"jkl".to_vec()].concat()), // simple packet, snapped
    ]
    .concat()
}

#[test]
fn pcapng_sections_interfaces_and_clocks() {
    let (seen, end) = read(&next_generation());
    end.unwrap();
    let expected: [Seen; 5] = [
        (b"abc".to_vec(), 1500, 7 * SEC + 1, 0, LinkType::ETHERNET),
        (b"d".to_vec(), 1, 8 * SEC + 1_000, 1, LinkType::LINUX_SLL),
        (b"ef".to_vec(), 2, 8 * SEC + 1_000, 0, LinkType::ETHERNET),
        (b"ghi".to_vec(), 60, 101 * SEC + SEC / 2, 2, LinkType::RAW),
        (b"jkl".to_vec(), 60, 101 * SEC + SEC / 2, 2, LinkType::RAW),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn pcapng_clocks_saturate() {
    for resolution in 0..=u8::MAX {
        for offset in [i64::MIN, -1, 0, 1, i64::MAX] {
            let options = [
                LITTLE.all(&[(2, 9), (2, 1), (4, resolution.into())]),
                LITTLE.all(&[(2, 14), (2, 8), (8, offset.cast_unsigned())]),
            ];
            let file = [
                LITTLE.section(),
                LITTLE.interface(1, 0, &options.concat()),
                LITTLE.enhanced(0, u64::MAX, b"", 0),
                LITTLE.enhanced(0, 0, b"", 0),
            ];
            let mut window = Window::new(Box::new(io::Cursor::new(file.concat())), true);
            window.fill(4).unwrap();
            let (seen, end) = drain(&mut RecordSource::new(window, Pcapng::new()));
            end.unwrap();
            let zero = u64::try_from(offset.max(0)).unwrap().saturating_mul(SEC);
            assert_eq!((seen.len(), seen[1].2), (2, zero), "{resolution} {offset}");
            if resolution <= 9 && offset >= 0 {
                let exact =
                    (u128::from(u64::MAX) * 10_u128.pow(9 - u32::from(resolution))).saturating_add(u128::from(zero));
                assert_eq!(seen[0].2, u64::try_from(exact).unwrap_or(u64::MAX));
            }
        }
    }
}

#[test]
fn pcapng_damage_has_its_offset() {
    let whole = next_generation();
    let damaged = |file: &[u8]| {
        let (seen, end) = read(file);
        let (offset, what) = damage(end);
        (seen.len(), offset as usize, what)
    };
    let start = LITTLE.section().len() + LITTLE.interface(1, 0, &[]).len();
    let head = [LITTLE.section(), LITTLE.interface(1, 0, &[])].concat();
    let with = |block: &[u8]| damaged(&[&head[..], block].concat());

    assert_eq!(with(&LITTLE.enhanced(7, 0, b"", 0)).2, "a packet of interface 7, but the section has described 1");
    let mut packet = LITTLE.enhanced(0, 0, b"abcd", 4);
    packet[20] = 5;
    assert_eq!(with(&packet), (0, start, "a packet of 5 octets in a block with room for 4".to_owned()));
    let mut trailer = LITTLE.enhanced(0, 0, b"abcd", 4);
    *trailer.last_mut().unwrap() = 1;
    assert_eq!(with(&trailer), (0, start, "a block of 36 octets that says 16777252 at its end".to_owned()));
    assert_eq!(with(&LITTLE.all(&[(4, 6), (4, 8), (4, 8)])).2, "a block of type 0x6 and 8 octets");
    assert_eq!(with(&LITTLE.all(&[(4, 6), (4, 0xffff_fff0), (4, 0)])).2, "a block of type 0x6 and 4294967280 octets");
    assert_eq!(with(&LITTLE.block(6, &[0; 16])).2, "a packet block too short for its fields");
    assert_eq!(with(&LITTLE.block(1, &[0; 4])).2, "an interface description too short for its fields");
    assert_eq!(with(b"junk").2, "the file ends 4 octets into a block of 12");
    // A section of unknown byte order ends what can be read; a file cannot begin with it.
    let mut section = LITTLE.section();
    section[8] = 0;
    assert_eq!(with(&section), (0, start, "a section with byte order magic 003c2b1a".to_owned()));
    assert_eq!(damaged(&section).1, 0);
    // Cut in the last block.
    let last = whole.len() - 20;
    assert_eq!(damaged(&whole[..whole.len() - 1]), (4, last, "the file ends 19 octets into a block of 20".to_owned()));
}

#[test]
fn a_cut_capture_yields_a_prefix_of_its_packets() {
    for whole in [classic(), next_generation()] {
        let (all, _) = read(&whole);
        for len in 0..whole.len() {
            let Ok((seen, end)) = read_in(&whole[..len], 1 + len % 13) else {
                assert!(len < pcap::HEADER_OCTETS, "refused when cut at {len}");
                continue;
            };
            assert_eq!(seen[..], all[..seen.len()], "cut at {len}");
            if let Err(SourceError::Damaged { offset, .. }) = end {
                assert!(offset <= len as u64);
            }
        }
    }
}

#[test]
fn more_packets_than_a_batch() {
    let mut file = LITTLE.pcap(0xa1b2_c3d4, (2, 4), 1);
    for secs in 0..1_000 {
        file.extend(LITTLE.record(secs, 0, &vec![0xaa; secs as usize], 1_000));
    }
    let (seen, end) = read_in(&file, 1_000_000).unwrap();
    end.unwrap();
    assert!(seen.iter().enumerate().all(|(n, packet)| packet.0.len() == n && packet.2 == n as u64 * SEC));
    assert_eq!(seen.len(), 1_000);
}

/// Twenty buffers full of packets, some of them as large as they can be.
fn many() -> Vec<u8> {
    let mut file = LITTLE.pcap(0xa1b2_c3d4, (2, 4), 1);
    for n in 0..20_000_u32 {
        let octets = if n % 5_000 == 4_999 { MAX_CAPTURED as usize } else { 200 };
        file.extend(LITTLE.record(n.into(), 0, &n.to_le_bytes().repeat(octets / 4), octets as u64));
    }
    file
}

/// Reads `many` while the buffers of the latest `kept` polls are held; gives how many buffers there were at a time.
fn read_lent(kept: usize) -> usize {
    let mut source = open_stream("-", Box::new(io::Cursor::new(many())), None).unwrap();
    let mut held: VecDeque<Vec<(SharedOctets, Range<usize>, u32)>> = VecDeque::new();
    let (mut packets, mut buffers) = (0_u32, BTreeSet::new());
    let check = |poll: Vec<(SharedOctets, Range<usize>, u32)>| {
        for (octets, range, n) in poll {
            assert_eq!(octets[range].chunks(4).find(|word| **word != n.to_le_bytes()), None, "packet {n}");
        }
    };
    loop {
        let mut poll = Vec::new();
        let state = source.poll_shared(&mut |batch, octets| {
            let octets = octets.unwrap();
            buffers.insert((octets.as_ptr().addr(), octets.len()));
            for packet in batch {
                let at = packet.data.as_ptr().addr() - octets.as_ptr().addr();
                poll.push((octets.clone(), at..at + packet.data.len(), packets));
                packets += 1;
            }
        });
        held.push_back(poll);
        if held.len() > kept {
            check(held.pop_front().unwrap());
        }
        if state.unwrap() == SourceState::End {
            break;
        }
    }
    held.into_iter().for_each(check);
    assert_eq!(packets, 20_000);
    buffers.iter().filter(|buffer| buffer.1 == Window::BUFFER).count()
}

#[test]
fn packets_stay_where_they_are_as_long_as_somebody_holds_their_memory() {
    assert_eq!(read_lent(0), 1);
    for kept in [1, 2, 5] {
        assert!((2..=kept + 1).contains(&read_lent(kept)), "{kept}");
    }
}

proptest! {
    #[test]
    fn octets_changed_anywhere_end_in_packets_or_damage(
        which in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut file = if which { classic() } else { next_generation() };
        for (index, octet) in changes {
            *index.get_mut(&mut file) = octet;
        }
        if let Ok((seen, _)) = read_in(&file, 11) {
            prop_assert!(seen.iter().all(|packet| packet.0.len() <= packet.1 as usize));
        }
    }
}
