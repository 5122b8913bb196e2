// SPDX-License-Identifier: MIT OR Apache-2.0
//! Words, numbers and signs of the filter language.

use super::FilterError;

/// What a token is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Token {
    /// A bare word: keyword, number, address, time, name.
    Word(String),
    /// A word in quotes; never a keyword.
    Quoted(String),
    /// One of `( ) [ ] , ! && || = == != < > <= >= =~`.
    Sign(&'static str),
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(word) | Self::Quoted(word) => write!(f, "'{word}'"),
            Self::Sign(sign) => write!(f, "'{sign}'"),
        }
    }
}

/// Longer signs first.
const SIGNS: &[&str] = &["&&", "||", "==", "!=", "<=", ">=", "=~", "(", ")", "[", "]", ",", "!", "=", "<", ">"];

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | ':' | '.' | '-' | '/' | '*' | '@' | '%' | '+')
}

/// Splits a filter; each token with the column, counted in characters from one, where it starts.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, FilterError> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut column = 1;
    while let Some(c) = rest.chars().next() {
        let skip = |rest: &mut &str, column: &mut usize, octets: usize| {
            let (taken, left) = rest.split_at(octets);
            *column += taken.chars().count();
            *rest = left;
        };
        if c.is_whitespace() {
            skip(&mut rest, &mut column, c.len_utf8());
        } else if c == '#' {
            let end = rest.find('\n').unwrap_or(rest.len());
            skip(&mut rest, &mut column, end);
        } else if c == '"' || c == '\'' {
            let Some(end) = rest.get(1..).and_then(|r| r.find(c)) else {
                return Err(FilterError::new(column, format!("no closing {c}")));
            };
            found.push((column, Token::Quoted(rest.get(1..=end).unwrap_or_default().to_owned())));
            skip(&mut rest, &mut column, end + 2);
        } else if let Some(sign) = SIGNS.iter().find(|s| rest.starts_with(**s)) {
            found.push((column, Token::Sign(sign)));
            skip(&mut rest, &mut column, sign.len());
        } else if is_word(c) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            found.push((column, Token::Word(rest.get(..end).unwrap_or_default().to_owned())));
            skip(&mut rest, &mut column, end);
        } else {
            return Err(FilterError::new(column, format!("'{}' has no meaning here", c.escape_default())));
        }
    }
    Ok(found)
}
