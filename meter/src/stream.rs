// SPDX-License-Identifier: MIT OR Apache-2.0
//! One direction of a TCP connection, put into order for the application parsers (RFC 9293 section 3.4).
//!
//! Octets that are simply the next are passed on without a copy. What comes too early is kept, within bounds; what comes
//! again is passed over. When the bound is reached, the missing octets are taken for lost, which is a gap. Segments that
//! overlap with different content: the octets that came first count.
//!
//! What is kept lies in chunks, each with a part of a segment, in a list in the order of their sequence numbers. Chunks come
//! from who feeds the stream, and go back there. If there is none, the missing octets are a gap, too.

/// Most octets kept for one direction.
const MAX_HELD: u32 = 64 * 1024;
/// Most segments kept for one direction.
const MAX_SEGMENTS: u32 = 32;
/// Nothing is kept for a segment further ahead than this: more is missing than could come yet, so it is a gap.
const MAX_AHEAD: u32 = 1 << 24;
/// Octets that one chunk takes: a segment of an Ethernet frame, and the whole chunk in two kilobytes.
const CHUNK: usize = 2000;

/// What a stream passes on.
pub enum Piece<'a> {
    /// The next octets.
    Bytes(&'a [u8]),
    /// This many octets are missing here.
    Gap(u64),
}

/// Who feeds a stream: takes what is in order, and has the memory for what is not.
pub trait Outlet {
    /// Takes the next piece.
    fn pass(&mut self, piece: Piece<'_>);
    /// A chunk, whatever it holds; `None` if there is no memory for one.
    fn chunk(&mut self) -> Option<Box<Chunk>>;
    /// Takes a chunk back.
    fn give_back(&mut self, chunk: Box<Chunk>);
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

/// Part of a segment that came too early, up to [`CHUNK`] octets of it.
#[derive(Debug)]
pub struct Chunk {
    next: Option<Box<Chunk>>,
    sequence: u32,
    /// Octets on the wire.
    octets: u32,
    /// Octets that were captured.
    len: u16,
    /// It begins a segment.
    begins: bool,
    bytes: [u8; CHUNK],
}

impl Default for Chunk {
    fn default() -> Self {
        Self { next: None, sequence: 0, octets: 0, len: 0, begins: false, bytes: [0; CHUNK] }
    }
}

impl Chunk {
    fn fill(&mut self, segment: Segment<'_>, begins: bool) {
        let len = segment.payload.len().min(CHUNK);
        if let (Some(to), Some(from)) = (self.bytes.get_mut(..len), segment.payload.get(..len)) {
            to.copy_from_slice(from);
        }
        self.sequence = segment.sequence;
        self.octets = segment.octets;
        // At most the size of a chunk.
        self.len = len as u16;
        self.begins = begins;
    }
}

/// Order of one direction.
#[derive(Debug, Default)]
pub struct Stream {
    /// Sequence number of the next octet; `None` before the first segment.
    next: Option<u32>,
    /// What came too early, in order.
    held: Option<Box<Chunk>>,
}

impl Stream {
    /// Forgets everything.
    pub fn clear(&mut self, outlet: &mut impl Outlet) {
        while let Some(chunk) = self.take_first() {
            outlet.give_back(chunk);
        }
        *self = Self::default();
    }

    /// The connection begins: the first octet of data has this sequence number.
    pub const fn begin(&mut self, sequence: u32) {
        if self.next.is_none() {
            self.next = Some(sequence);
        }
    }

    /// Whether nothing is kept.
    pub const fn is_in_order(&self) -> bool {
        self.held.is_none()
    }

    /// Whether this sequence number is that of the next octet, and nothing is kept that may come after it.
    #[inline]
    pub fn is_next(&self, sequence: u32) -> bool {
        self.next == Some(sequence) && self.held.is_none()
    }

    /// The next octets were taken without passing through here.
    #[inline]
    pub const fn advance(&mut self, octets: u32) {
        if let Some(next) = &mut self.next {
            *next = next.wrapping_add(octets);
        }
    }

    /// Takes a segment and passes on what is in order now. False if it had to be kept, but could not: that made a gap.
    pub fn push(&mut self, segment: Segment<'_>, outlet: &mut impl Outlet) -> bool {
        if segment.octets == 0 {
            return true;
        }
        let next = *self.next.get_or_insert(segment.sequence);
        let ahead = segment.sequence.wrapping_sub(next);
        let mut is_kept = true;
        if ahead == 0 || ahead > u32::MAX / 2 {
            self.pass(segment, outlet);
        } else if ahead >= MAX_AHEAD {
            self.pass_after_gap(segment, outlet);
        } else if let Err(rest) = self.hold(segment, outlet) {
            is_kept = false;
            self.pass_after_gap(rest, outlet);
        }
        if self.held.is_some() {
            self.pass_held(outlet);
            while self.is_too_much() {
                self.skip_gap(outlet);
            }
        }
        is_kept
    }

    /// Passes on what is kept, with the gaps: nothing more will come.
    pub fn finish(&mut self, outlet: &mut impl Outlet) {
        while self.held.is_some() {
            self.skip_gap(outlet);
        }
    }

    /// Passes on all that is kept, and the segment behind it, without waiting for what is missing.
    fn pass_after_gap(&mut self, segment: Segment<'_>, outlet: &mut impl Outlet) {
        self.finish(outlet);
        let ahead = ahead(segment.sequence, self.next.unwrap_or(segment.sequence));
        if ahead > 0 {
            outlet.pass(Piece::Gap(ahead.into()));
            self.next = Some(segment.sequence);
        }
        self.pass(segment, outlet);
    }

    /// Passes on the part of a segment from the next octet on.
    fn pass(&mut self, segment: Segment<'_>, outlet: &mut impl Outlet) {
        let next = self.next.unwrap_or(segment.sequence);
        let again = next.wrapping_sub(segment.sequence);
        if again >= segment.octets {
            return;
        }
        let fresh = segment.payload.get(again as usize..).unwrap_or_default();
        if !fresh.is_empty() {
            outlet.pass(Piece::Bytes(fresh));
        }
        let captured = u32::try_from(segment.payload.len()).unwrap_or(u32::MAX);
        let missing = segment.octets - captured.clamp(again, segment.octets);
        if missing > 0 {
            outlet.pass(Piece::Gap(missing.into()));
        }
        self.next = Some(segment.sequence.wrapping_add(segment.octets));
    }

    /// Keeps a segment in parts. What there is no memory for comes back.
    fn hold<'a>(&mut self, segment: Segment<'a>, outlet: &mut impl Outlet) -> Result<(), Segment<'a>> {
        let mut rest = segment;
        loop {
            let begins = rest.sequence == segment.sequence;
            let (here, behind) = rest.payload.split_at_checked(CHUNK).unwrap_or((rest.payload, &[]));
            // The last part has what was not captured.
            let octets = if behind.is_empty() { rest.octets } else { CHUNK as u32 };
            let part = Segment { sequence: rest.sequence, payload: here, octets };
            if !self.has(part) {
                let Some(mut chunk) = outlet.chunk() else { return Err(rest) };
                chunk.fill(part, begins);
                self.insert(chunk);
            }
            if behind.is_empty() {
                return Ok(());
            }
            let sequence = rest.sequence.wrapping_add(octets);
            rest = Segment { sequence, payload: behind, octets: rest.octets - octets };
        }
    }

    /// What is kept, in order.
    fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        std::iter::successors(self.held.as_deref(), |chunk| chunk.next.as_deref())
    }

    /// Whether a part is kept already.
    fn has(&self, part: Segment<'_>) -> bool {
        self.chunks().any(|chunk| chunk.sequence == part.sequence && chunk.octets >= part.octets)
    }

    fn is_too_much(&self) -> bool {
        let (octets, segments, chunks) = self.held();
        // Of segments that overlap, many chunks may hold little each.
        octets > MAX_HELD || segments > MAX_SEGMENTS || chunks > MAX_SEGMENTS + MAX_HELD / CHUNK as u32
    }

    /// Octets, segments and chunks that are kept. There are few, and mostly none.
    fn held(&self) -> (u32, u32, u32) {
        let count = |(octets, segments, chunks), chunk: &Chunk| {
            (octets + u32::from(chunk.len), segments + u32::from(chunk.begins), chunks + 1)
        };
        self.chunks().fold((0, 0, 0), count)
    }

    /// Puts a chunk into the list, behind those that begin at the same octet.
    fn insert(&mut self, mut chunk: Box<Chunk>) {
        let is_later = |other: &Chunk| ahead(other.sequence, chunk.sequence) > 0;
        let mut link = &mut self.held;
        while link.as_ref().is_some_and(|other| !is_later(other)) {
            // It was just seen to be there.
            let Some(other) = link else { return };
            link = &mut other.next;
        }
        chunk.next = link.take();
        *link = Some(chunk);
    }

    fn take_first(&mut self) -> Option<Box<Chunk>> {
        let mut chunk = self.held.take()?;
        self.held = chunk.next.take();
        Some(chunk)
    }

    /// Passes on what is kept and needs not wait any more.
    fn pass_held(&mut self, outlet: &mut impl Outlet) {
        while self.missing() == Some(0)
            && let Some(chunk) = self.take_first()
        {
            let payload = chunk.bytes.get(..usize::from(chunk.len)).unwrap_or_default();
            self.pass(Segment { sequence: chunk.sequence, payload, octets: chunk.octets }, outlet);
            outlet.give_back(chunk);
        }
    }

    /// Gives up waiting for the octets before the nearest kept segment.
    fn skip_gap(&mut self, outlet: &mut impl Outlet) {
        if let (Some(missing), Some(next)) = (self.missing(), self.next) {
            if missing > 0 {
                outlet.pass(Piece::Gap(missing.into()));
                self.next = Some(next.wrapping_add(missing));
            }
            self.pass_held(outlet);
        }
    }

    /// Octets that are missing before what is kept; `None` if nothing is.
    fn missing(&self) -> Option<u32> {
        let first = self.held.as_ref()?;
        Some(ahead(first.sequence, self.next?))
    }
}

/// Octets from one place in the sequence to a later one; 0 if it is not later (RFC 9293 section 3.4).
const fn ahead(later: u32, than: u32) -> u32 {
    let ahead = later.wrapping_sub(than);
    if ahead > u32::MAX / 2 { 0 } else { ahead }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes down what it gets. At most so many chunks.
    struct Notes {
        passed: String,
        chunks: usize,
    }

    impl Outlet for Notes {
        fn pass(&mut self, piece: Piece<'_>) {
            match piece {
                Piece::Bytes(bytes) => self.passed.push_str(std::str::from_utf8(bytes).unwrap()),
                Piece::Gap(octets) => self.passed.push_str(&format!("[{octets}]")),
            }
        }

        fn chunk(&mut self) -> Option<Box<Chunk>> {
            self.chunks = self.chunks.checked_sub(1)?;
            Some(Box::default())
        }

        fn give_back(&mut self, _: Box<Chunk>) {
            self.chunks += 1;
        }
    }

    fn notes() -> Notes {
        Notes { passed: String::new(), chunks: 100 }
    }

    fn play(stream: &mut Stream, segments: &[(u32, &[u8], u32)], finish: bool) -> String {
        let mut notes = notes();
        for &(sequence, payload, octets) in segments {
            assert!(stream.push(Segment { sequence, payload, octets }, &mut notes));
        }
        if finish {
            stream.finish(&mut notes);
            assert_eq!(notes.chunks, 100);
        }
        notes.passed
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
        let mut notes = notes();
        stream.finish(&mut notes);
        assert_eq!(notes.passed, "[2]kl");
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
        let mut notes = notes();
        for i in 1..200_u32 {
            let segment = Segment { sequence: i * 1001, payload: &payload, octets: 1000 };
            stream.push(segment, &mut notes);
            let (octets, segments, _) = stream.held();
            assert!(segments <= MAX_SEGMENTS && octets <= MAX_HELD);
            assert_eq!(100 - notes.chunks, segments as usize);
        }
        assert!(!notes.passed.is_empty());
        stream.clear(&mut notes);
        assert_eq!(notes.chunks, 100);
    }

    #[test]
    fn without_memory_there_is_a_gap() {
        let mut stream = Stream::default();
        stream.begin(0);
        let mut notes = Notes { chunks: 2, ..notes() };
        let mut push = |sequence, payload: &[u8]| {
            stream.push(Segment { sequence, payload, octets: payload.len() as u32 }, &mut notes)
        };
        assert!(push(2, b"c"));
        assert!(push(6, b"g"));
        assert!(push(6, b"g"), "it is there already");
        assert!(!push(4, b"e"));
        assert!(push(7, b"h"));
        assert_eq!((notes.passed.as_str(), notes.chunks), ("[2]c[3]gh", 2));
    }

    #[test]
    fn a_segment_larger_than_a_chunk_is_kept_in_parts() {
        let long = vec![b'x'; 2 * CHUNK + 10];
        let octets = long.len() as u32 + 5;
        let segments: &[(u32, &[u8], u32)] = &[(0, b"a", 1), (2, &long, octets), (2, &long, octets), (1, b"b", 1)];
        let expected = format!("ab{}[5]", "x".repeat(long.len()));
        assert_eq!(play(&mut Stream::default(), segments, true), expected);
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
            let mut notes = notes();
            for (at, len) in segments {
                let payload = &text[at as usize..(at + len) as usize];
                let segment = Segment { sequence: start.wrapping_add(at), payload, octets: len };
                stream.push(segment, &mut notes);
            }
            prop_assert_eq!(notes.passed.as_bytes(), text);
        }
    }
}
