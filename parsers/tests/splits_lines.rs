// SPDX-License-Identifier: MIT OR Apache-2.0
//! FTP, IMAP, POP3 and SMTP: however the streams are cut, the transactions are the same; and nothing makes a session panic.

use proptest::{prelude::*, sample::Index};
use weir_flow::{
    Timestamp,
    app::{AppFields, AppRef},
};
use weir_parsers::app::{Direction, Input, Pools, Session, Transport};

use Direction::{Forward, Reverse};

/// What one side says, whole lines.
type Turn = (Direction, &'static str);

struct Case {
    slug: &'static str,
    port: u16,
    turns: &'static [Turn],
    /// Records that come of it, those of other protocols included.
    count: usize,
}

const CASES: &[Case] = &[
    Case {
        slug: "ftp",
        port: 21,
        turns: &[
            (Reverse, "220-Welcome\n530 not this\n220 FTP ready\n"),
            (Forward, "USER alice\nPASS secret\nPORT 192,0,2,1,80,0\nSTOR example.txt\n"),
            (Reverse, "331 password\n230 in\n200 ok\n150 here\n226 done\n"),
            (Forward, "EPSV\nPASV\nRETR example.txt\nQUIT\n"),
            (Reverse, "229 ok (|||5000|)\n227 ok (192,0,2,2,1,1)\n550 no\n221 bye\n"),
        ],
        count: 1,
    },
    Case {
        slug: "imap",
        port: 143,
        turns: &[
            (Reverse, "* OK IMAP example ready\n"),
            (Forward, "a1 LOGIN {7}\n"),
            (Reverse, "+ go\n"),
            (Forward, "example {6+}\nsecret\na2 SELECT \"example\\\"\"\na3 UID FETCH 1 BODY[]\n"),
            (Reverse, "a1 OK\na2 NO\n* 1 FETCH (BODY[] {12}\na9 OK\n\x16\x03\n\n)\na3 BAD\n"),
            (Forward, "a4 AUTHENTICATE PLAIN\n"),
            (Reverse, "+ \n"),
            (Forward, "a4\n"),
            (Reverse, "a4 NO\n"),
            (Forward, "a5 STARTTLS\n"),
            (Reverse, "a5 OK\n"),
            (Reverse, "* OK example again\n"),
        ],
        count: 2,
    },
    Case {
        slug: "pop3",
        port: 110,
        turns: &[
            (Reverse, "+OK POP3 example <1@example>\n"),
            (Forward, "USER example\nPASS secret\nRETR 1\nRETR 2\nAUTH PLAIN\n"),
            (Reverse, "+OK\n+OK\n+OK\n-ERR\n..\n+OK\n.\n-ERR\n+ \n"),
            (Forward, "QUIT\n"),
            (Reverse, "-ERR\n"),
            (Forward, "QUIT\n"),
            (Reverse, "+OK\n"),
        ],
        count: 1,
    },
    Case {
        slug: "smtp",
        port: 25,
        turns: &[
            (Reverse, "220-mx.example ESMTP\n220 ready\n"),
            (Forward, "LHLO client.example\nAUTH PLAIN\n"),
            (Reverse, "250 ok\n334 \n"),
            (Forward, "QUIT\n"),
            (Reverse, "535 no\n"),
            (Forward, "MAIL FROM:<a@example> SIZE=12\nRCPT TO:<b@example>\nDATA\n"),
            (Reverse, "250 ok\n250 ok\n354 go\n"),
            (
                Forward,
                "Subject: example\n two\nContent-Type: multipart/mixed;\n boundary=\"example\"\n\n-\n--\n--example\nContent-Type: message/rfc822; name=example.eml\n\nContent-Disposition: a; filename*0=example;\n filename*1=\".txt\"\n\n--examp\n..\n--example--\n.x\n.\n",
            ),
            (Reverse, "250 ok\n452 full\n"),
            (
                Forward,
                "MAIL FROM:<c@example>\nBDAT 73\nSubject: parts\nContent-Type: multipart/mixed;\n boundary=\"example\"\n\n--BDAT 5\nexampBDAT 104 LAST\nle\nContent-Disposition: a; filename*0=example;\n filename*1=\".txt\"\n\n-\n--\n--exa\n--example--\ntext\nQUIT\n",
            ),
            (Reverse, "250 ok\n250 ok\n250 ok\n250 ok\n221 bye\n"),
        ],
        count: 2,
    },
];

impl Case {
    fn turns(&self) -> Vec<(Direction, Vec<u8>)> {
        self.turns.iter().map(|(direction, text)| (*direction, text.replace('\n', "\r\n").into_bytes())).collect()
    }
}

/// The transactions of a conversation whose octets come in these pieces, and whether something of them was cut.
fn transactions<'a>(port: u16, pieces: impl IntoIterator<Item = (Direction, &'a [u8])>) -> Vec<(AppFields, bool)> {
    let mut pools = Pools::default();
    let mut session = Session::default();
    session.begin([40_000, port]);
    let mut found = Vec::new();
    let mut close = |fields: AppRef<'_>, _| found.push((fields.to_owned(), fields.is_cut()));
    for (direction, bytes) in pieces {
        session.feed(input(direction, bytes), Timestamp::ZERO, &mut pools);
        session.settle(&mut pools, &mut close);
    }
    session.finish(&mut pools, &mut close);
    found
}

fn input(direction: Direction, bytes: &[u8]) -> Input<'_> {
    Input { bytes, direction, transport: Transport::Stream, hinted: false, snapped: false }
}

fn whole(turns: &[(Direction, Vec<u8>)]) -> impl Iterator<Item = (Direction, &[u8])> {
    turns.iter().map(|(direction, bytes)| (*direction, bytes.as_slice()))
}

/// Every turn cut at these places.
fn cut<'a>(turns: &'a [(Direction, Vec<u8>)], cuts: &[Index]) -> Vec<(Direction, &'a [u8])> {
    let mut pieces = Vec::new();
    for (direction, bytes) in turns {
        let mut at: Vec<usize> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        at.dedup();
        pieces.extend(at.windows(2).map(|w| (*direction, &bytes[w[0]..w[1]])));
    }
    pieces
}

#[test]
fn conversations_are_read() {
    for case in CASES {
        let turns = case.turns();
        let found = transactions(case.port, whole(&turns));
        assert_eq!(found.len(), case.count, "{}: {found:#?}", case.slug);
        assert!(found.iter().all(|(fields, _)| fields.borrow().slug() == case.slug), "{found:#?}");
        // By content alone.
        assert_eq!(transactions(9999, whole(&turns)), found, "{}", case.slug);
        assert!(!format!("{found:?}").contains("secret"), "{found:?}");
    }
}

#[test]
fn octet_by_octet_gives_the_same() {
    for case in CASES {
        let turns = case.turns();
        let octets = turns.iter().flat_map(|(direction, bytes)| bytes.chunks(1).map(|b| (*direction, b)));
        assert_eq!(transactions(case.port, octets), transactions(case.port, whole(&turns)), "{}", case.slug);
    }
}

#[test]
fn one_side_alone_is_known() {
    for case in CASES {
        let turns = case.turns();
        for side in [Forward, Reverse] {
            let found = transactions(case.port, whole(&turns).filter(|(direction, _)| *direction == side));
            assert!(!found.is_empty(), "{} {side:?}", case.slug);
            assert!(found.iter().all(|(fields, _)| fields.borrow().slug() == case.slug), "{found:#?}");
            assert!(!format!("{found:?}").contains("secret"), "{found:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same(which in 0..CASES.len(), cuts in prop::collection::vec(any::<Index>(), 0..12)) {
        let case = &CASES[which];
        let turns = case.turns();
        prop_assert_eq!(transactions(case.port, cut(&turns, &cuts)), transactions(case.port, whole(&turns)));
    }

    /// Octets changed, left out and doubled: whatever is found, it is found without a panic, and within bounds.
    #[test]
    fn broken_streams_do_no_harm(
        which in 0..CASES.len(),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
        changes in prop::collection::vec((any::<Index>(), any::<Index>(), any::<u8>(), 0..4u8), 0..8),
        gaps in prop::collection::vec((any::<Index>(), any::<bool>(), 0..1000u64), 0..4),
        any in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..300)), 0..4),
    ) {
        let case = &CASES[which];
        let mut turns = case.turns();
        for (turn, place, value, kind) in changes {
            let turn = turn.index(turns.len());
            let bytes = &mut turns[turn].1;
            if bytes.is_empty() {
                continue;
            }
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = value,
                1 => bytes.truncate(at),
                2 => bytes.extend_from_within(..at),
                _ => drop(bytes.drain(..at)),
            }
        }
        turns.extend(any.into_iter().map(|(forward, bytes)| (if forward { Forward } else { Reverse }, bytes)));
        let pieces = cut(&turns, &cuts);
        let mut pools = Pools::default();
        let mut session = Session::default();
        session.begin([40_000, case.port]);
        for (number, (direction, bytes)) in pieces.iter().enumerate() {
            for (at, forward, missing) in &gaps {
                if at.index(pieces.len()) == number {
                    session.gap(if *forward { Forward } else { Reverse }, *missing, &mut pools);
                }
            }
            session.feed(input(*direction, bytes), Timestamp::ZERO, &mut pools);
            session.settle(&mut pools, &mut |_, _| {});
        }
        session.finish(&mut pools, &mut |_, _| {});
        session.recycle(&mut pools);
        prop_assert!(!session.is_done() && session.is_empty());
    }
}
