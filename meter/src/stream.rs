// SPDX-License-Identifier: MIT OR Apache-2.0
//! One direction of a TCP connection, put into order for the application parsers (RFC 9293 section 3.4).
//!
//! Octets that are simply the next are passed on without a copy. What comes too early is kept, within bounds; what comes
//! again is passed over. When the bound is reached, the missing octets are taken for lost, which is a gap. Segments that
//! overlap with different content: the octets that came first count.

/// Most octets kept for one direction.
const MAX_HELD: usize = 64 * 1024;
/// Most segments kept for one direction.
const MAX_SEGMENTS: usize = 32;
/// Nothing is kept for a segment further ahead than this: more is missing than could come yet, so it is a gap.
const MAX_AHEAD: u32 = 1 << 24;

/// What a stream passes on.
pub enum Piece<'a> {
    /// The next octets.
    Bytes(&'a [u8]),
    /// This many octets are missing here.
    Gap(u64),
}

/// A segment as it was captured.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Sequence number of the first octet of the payload.
    pub sequence: u32,
    /// The captured payload.
    pub payload: &'a [u8],
    /// Octets of the payload on the wire, at least those captured.
    pub octets: u32,
}

/// Order of one direction.
#[derive(Debug, Default)]
pub struct Stream {
    /// Sequence number of the next octet; `None` before the first segment.
    next: Option<u32>,
    held: Vec<Held>,
    held_octets: usize,
}

#[derive(Debug)]
struct Held {
    sequence: u32,
    payload: Vec<u8>,
    octets: u32,
}

impl Stream {
    /// Forgets everything, keeps the memory of the list.
    pub fn clear(&mut self) {
        self.next = None;
        self.held.clear();
        self.held_octets = 0;
    }

    /// The connection begins: the first octet of data has this sequence number.
    pub fn begin(&mut self, sequence: u32) {
        if self.next.is_none() {
            self.next = Some(sequence);
        }
    }

    /// Takes a segment and passes on what is in order now.
    pub fn push(&mut self, segment: Segment<'_>, pass: &mut dyn FnMut(Piece<'_>)) {
        if segment.octets == 0 {
            return;
        }
        let next = *self.next.get_or_insert(segment.sequence);
        let ahead = segment.sequence.wrapping_sub(next);
        if ahead == 0 || ahead > u32::MAX / 2 {
            self.pass(segment, pass);
        } else if ahead < MAX_AHEAD {
            self.hold(segment);
        } else {
            self.finish(pass);
            let next = self.next.unwrap_or(segment.sequence);
            pass(Piece::Gap(segment.sequence.wrapping_sub(next).into()));
            self.next = Some(segment.sequence);
            self.pass(segment, pass);
        }
        self.pass_held(pass);
        while self.held_octets > MAX_HELD || self.held.len() > MAX_SEGMENTS {
            self.skip_gap(pass);
        }
    }

    /// Passes on what is kept, with the gaps: nothing more will come.
    pub fn finish(&mut self, pass: &mut dyn FnMut(Piece<'_>)) {
        while !self.held.is_empty() {
            self.skip_gap(pass);
        }
    }

    /// Passes on the part of a segment from the next octet on.
    fn pass(&mut self, segment: Segment<'_>, pass: &mut dyn FnMut(Piece<'_>)) {
        let next = self.next.unwrap_or(segment.sequence);
        let again = next.wrapping_sub(segment.sequence);
        if again >= segment.octets {
            return;
        }
        let fresh = segment.payload.get(again as usize..).unwrap_or_default();
        if !fresh.is_empty() {
            pass(Piece::Bytes(fresh));
        }
        let captured = u32::try_from(segment.payload.len()).unwrap_or(u32::MAX);
        let missing = segment.octets - captured.clamp(again, segment.octets);
        if missing > 0 {
            pass(Piece::Gap(missing.into()));
        }
        self.next = Some(segment.sequence.wrapping_add(segment.octets));
    }

    fn hold(&mut self, segment: Segment<'_>) {
        let same = |h: &Held| h.sequence == segment.sequence && h.octets >= segment.octets;
        if self.held.iter().any(same) {
            return;
        }
        self.held_octets += segment.payload.len();
        let Segment { sequence, payload, octets } = segment;
        self.held.push(Held { sequence, payload: payload.to_vec(), octets });
    }

    fn pass_held(&mut self, pass: &mut dyn FnMut(Piece<'_>)) {
        while let Some((index, ahead)) = self.nearest() {
            if ahead > 0 {
                return;
            }
            let Held { sequence, payload, octets } = self.held.swap_remove(index);
            self.held_octets -= payload.len();
            self.pass(Segment { sequence, payload: &payload, octets }, pass);
        }
    }

    /// Gives up waiting for the octets before the nearest kept segment.
    fn skip_gap(&mut self, pass: &mut dyn FnMut(Piece<'_>)) {
        if let (Some((_, ahead)), Some(next)) = (self.nearest(), self.next) {
            if ahead > 0 {
                pass(Piece::Gap(ahead.into()));
                self.next = Some(next.wrapping_add(ahead));
            }
            self.pass_held(pass);
        }
    }

    /// The kept segment that comes next, and how many octets are missing before it.
    fn nearest(&self) -> Option<(usize, u32)> {
        let next = self.next?;
        let ahead = |h: &Held| {
            let ahead = h.sequence.wrapping_sub(next);
            if ahead > u32::MAX / 2 { 0 } else { ahead }
        };
        self.held.iter().map(ahead).enumerate().min_by_key(|&(_, ahead)| ahead)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn play(stream: &mut Stream, segments: &[(u32, &[u8], u32)], finish: bool) -> String {
        let mut passed = String::new();
        let mut pass = |piece: Piece<'_>| match piece {
            Piece::Bytes(bytes) => passed.push_str(std::str::from_utf8(bytes).unwrap()),
            Piece::Gap(octets) => passed.push_str(&format!("[{octets}]")),
        };
        for &(sequence, payload, octets) in segments {
            stream.push(Segment { sequence, payload, octets }, &mut pass);
        }
        if finish {
            stream.finish(&mut pass);
        }
        passed
    }

    #[test]
    fn early_late_and_repeated_segments_are_put_in_order() {
        let mut stream = Stream::default();
        stream.begin(u32::MAX - 1);
        let segments: &[(u32, &[u8], u32)] = &[
            (1, b"def", 3),            // too early, beyond the wrap
            (u32::MAX - 1, b"abc", 3), // fills the gap
            (0, b"cde", 3),            // again
            (3, b"fgh", 3),            // overlaps
            (8, b"kl", 2),             // too early
        ];
        assert_eq!(play(&mut stream, segments, false), "abcdefgh");
        assert_eq!(play(&mut stream, &[], true), "[2]kl");
    }

    #[test]
    fn snapped_payload_is_a_gap() {
        assert_eq!(play(&mut Stream::default(), &[(5, b"ab", 10), (15, b"c", 1)], true), "ab[8]c");
        assert_eq!(play(&mut Stream::default(), &[(5, b"", 10), (10, b"", 7), (17, b"x", 1)], true), "[10][2]x");
    }

    #[test]
    fn far_ahead_is_a_gap_at_once() {
        let far = MAX_AHEAD + 10;
        let segments: &[(u32, &[u8], u32)] = &[(0, b"ab", 2), (5, b"f", 1), (far, b"xyz", 3)];
        assert_eq!(play(&mut Stream::default(), segments, false), format!("ab[3]f[{}]xyz", far - 6));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut stream = Stream::default();
        stream.begin(0);
        let payload = vec![b'x'; 1000];
        let mut passed = 0;
        for i in 1..200_u32 {
            let segment = Segment { sequence: i * 1001, payload: &payload, octets: 1000 };
            stream.push(segment, &mut |_| passed += 1);
            assert!(stream.held.len() <= MAX_SEGMENTS && stream.held_octets <= MAX_HELD);
        }
        assert!(passed > 0);
    }

    proptest! {
        #[test]
        fn any_order_of_any_cut_gives_the_same_octets(
            start: u32,
            cuts in prop::collection::vec((0..300_u32, 1..60_u32), 0..12),
            order in prop::collection::vec(any::<prop::sample::Index>(), 12),
        ) {
            let text: Vec<u8> = (0..300_u32).map(|i| b'a' + (i % 26) as u8).collect();
            let mut segments: Vec<(u32, u32)> = cuts.iter().map(|&(at, len)| (at, len.min(300 - at))).collect();
            for index in order {
                if !segments.is_empty() {
                    let last = segments.len() - 1;
                    let chosen = index.index(segments.len());
                    segments.swap(chosen, last);
                }
            }
            // In the end everything comes, and no more than can be kept: nothing may be missing.
            segments.extend((0..15).rev().map(|i| (i * 20, 20)));
            let mut stream = Stream::default();
            stream.begin(start);
            let mut passed: Vec<u8> = Vec::new();
            for (at, len) in segments {
                let payload = &text[at as usize..(at + len) as usize];
                let segment = Segment { sequence: start.wrapping_add(at), payload, octets: len };
                stream.push(segment, &mut |piece| if let Piece::Bytes(bytes) = piece { passed.extend(bytes) });
            }
            prop_assert_eq!(passed, text);
        }
    }
}
