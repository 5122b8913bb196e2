// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the octets of a fuzzer become several inputs: one octet that says how all are treated, then pieces.
//!
//! ```text
//! +------+---------+-----------+--------- - - - ---+---------+----
//! | head | control |  length   |  octets           | control | ...
//! +------+---------+-----------+--------- - - - ---+---------+----
//! ```
//!
//! A length that claims too much takes what is there, so every input means something.

/// One input among several.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// How it is treated; each target has its own meaning for the bits.
    pub control: u8,
    /// The octets.
    pub bytes: &'a [u8],
}

/// The head and the pieces of an input.
#[must_use]
pub fn pieces(data: &[u8]) -> (u8, Vec<Piece<'_>>) {
    let Some((&head, mut rest)) = data.split_first() else { return (0, Vec::new()) };
    let mut pieces = Vec::new();
    while let [control, high, low, behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        let (bytes, next) = behind.split_at(length);
        pieces.push(Piece { control: *control, bytes });
        rest = next;
    }
    (head, pieces)
}

/// The input that [`pieces`] takes apart; a piece of more than 65,535 octets is cut off.
#[must_use]
pub fn join<'a>(head: u8, pieces: impl IntoIterator<Item = Piece<'a>>) -> Vec<u8> {
    let mut data = vec![head];
    for Piece { control, bytes } in pieces {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        data.push(control);
        data.extend(length.to_be_bytes());
        data.extend(bytes.iter().take(length.into()));
    }
    data
}
