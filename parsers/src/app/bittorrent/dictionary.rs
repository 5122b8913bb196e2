// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages of the distributed hash table (BEP 5): dictionaries in the encoding of BEP 3.
//!
//! ```text
//!   d1:ad2:id20:...9:info_hash20:...e1:q9:get_peers1:t2:aa1:y1:qe
//! ```

use weir_flow::app::Bittorrent;

use super::super::Direction;

/// Most values that are walked over.
const MAX_VALUES: usize = 512;

/// Most dictionaries and lists in each other.
const MAX_DEPTH: usize = 16;

/// Octets of the identifier of a node, and of the hash of a torrent.
const ID: usize = 20;

/// What is of interest in a message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dictionary<'a> {
    /// Kind of a query.
    query: &'a [u8],
    id: &'a [u8],
    info_hash: &'a [u8],
}

/// A part of the encoding.
#[derive(Clone, Copy, Debug)]
enum Token<'a> {
    Text(&'a [u8]),
    Number,
    List,
    Dictionary,
    End,
}

fn token<'a>(rest: &mut &'a [u8]) -> Option<Token<'a>> {
    let (&first, behind) = rest.split_first()?;
    let token = match first {
        b'0'..=b'9' => {
            // No datagram holds a text whose length has more digits.
            let colon = rest.iter().take(6).position(|&octet| octet == b':')?;
            let (digits, behind) = (rest.get(..colon)?, rest.get(colon + 1..)?);
            let is_number = digits.iter().all(u8::is_ascii_digit);
            let len = digits.iter().fold(0, |len, &digit| len * 10 + usize::from(digit.wrapping_sub(b'0')));
            let (text, behind) = behind.split_at_checked(len).filter(|_| is_number)?;
            *rest = behind;
            return Some(Token::Text(text));
        }
        b'i' => {
            let end = behind.iter().take(22).position(|&octet| octet == b'e')?;
            let digits = behind.get(..end)?;
            let digits = digits.strip_prefix(b"-").unwrap_or(digits);
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            *rest = behind.get(end + 1..)?;
            return Some(Token::Number);
        }
        b'l' => Token::List,
        b'd' => Token::Dictionary,
        b'e' => Token::End,
        _ => return None,
    };
    *rest = behind;
    Some(token)
}

impl<'a> Dictionary<'a> {
    /// Reads a message; `None` if the octets are none.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        // All keys of a message are short, and the first is `1:a` of a query, `1:r` of a response, `1:e` of an error, or one that
        // extensions put before them, such as `2:ip`.
        if !(bytes.starts_with(b"d1:") || bytes.starts_with(b"d2:ip")) || !bytes.ends_with(b"e") {
            return None;
        }
        let mut rest = bytes.get(1..)?;
        let mut message = Self::default();
        let (mut has_transaction, mut kind) = (false, None);
        // Whether the key of each dictionary is still to come; of a list nothing is.
        let mut open = [None; MAX_DEPTH];
        open[0] = Some(true);
        let mut depth = 1;
        let mut keys = [&b""[..]; 2];
        for _ in 0..MAX_VALUES {
            let token = token(&mut rest)?;
            let place = open.get_mut(depth - 1)?;
            if let (Token::Text(key), Some(true)) = (token, *place) {
                *place = Some(false);
                keys.get_mut(depth - 1).into_iter().for_each(|place| *place = key);
                continue;
            }
            // A key is a text, and a dictionary ends before a key.
            match (token, &mut *place) {
                (Token::End, Some(false)) => return None,
                (Token::End, _) => {}
                (_, Some(true)) => return None,
                (_, Some(key_is_next)) => *key_is_next = true,
                (_, None) => {}
            }
            match token {
                Token::End => {
                    depth -= 1;
                    if depth == 0 {
                        let is_it = rest.is_empty() && has_transaction;
                        return kind.filter(|_| is_it).map(|()| message);
                    }
                }
                Token::List | Token::Dictionary => {
                    *open.get_mut(depth)? = matches!(token, Token::Dictionary).then_some(true);
                    keys.get_mut(depth).into_iter().for_each(|key| *key = b"");
                    depth += 1;
                }
                Token::Text(text) => match (depth, keys[0], keys[1]) {
                    (1, b"q", _) => message.query = text,
                    (1, b"t", _) => has_transaction = true,
                    (1, b"y", _) => kind = matches!(text, b"q" | b"r" | b"e").then_some(()),
                    (2, b"a" | b"r", b"id") if text.len() == ID => message.id = text,
                    (2, b"a", b"info_hash") if text.len() == ID => message.info_hash = text,
                    _ => {}
                },
                Token::Number => {}
            }
        }
        None
    }

    /// Writes what it says.
    pub(super) fn write(&self, direction: Direction, fields: &mut Bittorrent) {
        if !self.query.is_empty() {
            fields.query.push_new(self.query, &mut fields.memory);
        }
        if fields.info_hash.is_empty() {
            fields.info_hash.set(self.info_hash);
        }
        if !self.id.is_empty() {
            super::write_sender(direction, self.id, fields);
        }
    }
}
