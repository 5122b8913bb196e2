// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names and types of the elements that are known by number: IANA's, and those in use in the field.

use crate::{AbstractType, Element, REVERSE};

static ELEMENTS: &[(Element, &str, AbstractType)] = include!(concat!(env!("OUT_DIR"), "/registry.rs"));

/// Name and type of an element; a reverse element has the name and type of its forward one. `None` if unknown.
#[must_use]
pub fn lookup(element: Element) -> Option<(&'static str, AbstractType)> {
    let find = |element| ELEMENTS.binary_search_by_key(&element, |row| row.0).ok().and_then(|i| ELEMENTS.get(i));
    let row = find(element)
        .or_else(|| (element.enterprise == REVERSE).then(|| find(Element::new(0, element.id))).flatten())?;
    Some((row.1, row.2))
}

/// An element by its name in the registry; the first of those that share a name. `None` if unknown.
#[must_use]
pub fn by_name(name: &str) -> Option<(Element, AbstractType)> {
    ELEMENTS.iter().find(|row| row.1.eq_ignore_ascii_case(name)).map(|row| (row.0, row.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_by_number_and_name() {
        assert_eq!(lookup(Element::new(0, 1)), Some(("octetDeltaCount", AbstractType::Unsigned64)));
        assert_eq!(lookup(Element::new(39499, 1)), Some(("httpHost", AbstractType::String)));
        assert_eq!(lookup(Element::new(REVERSE, 153)).unwrap().1, AbstractType::DateTimeMilliseconds);
        assert_eq!(lookup(Element::new(4711, 1)), None);
        assert_eq!(by_name("tcpControlBits").unwrap().0, Element::new(0, 6));
    }
}
