// SPDX-License-Identifier: MIT OR Apache-2.0
//! Splits a message that is longer than the path takes. That is rare: messages are made to fit, and a path seldom becomes narrower.

use weir_ipfix::{
    Template,
    decode::sets,
    message::{HEADER_LEN, Header, SET_HEADER_LEN},
};

/// Length of a field that says in each record how long it is (RFC 7011 section 7).
const VARIABLE: u16 = 65_535;

/// A part of a message: a message.
#[derive(Debug, Eq, PartialEq)]
pub struct Part {
    /// Its octets.
    pub octets: Vec<u8>,
    /// Records in it.
    pub records: u32,
}

/// Messages of at most `limit` octets with the data records of `message`, in order and numbered one after the other; and how many
/// records fit into none of them. These are counted by the numbers all the same: they are a gap.
pub fn split(message: &[u8], templates: &[Template], limit: usize) -> (Vec<Part>, u32) {
    let Ok(header) = Header::parse(message) else { return (Vec::new(), 0) };
    let mut parts = Parts { header, limit, done: Vec::new(), set: None, too_long: 0 };
    for set in sets(message, HEADER_LEN).map_while(Result::ok) {
        let Some(template) = templates.iter().find(|template| template.id == set.id) else { continue };
        let mut left = set.body;
        while let Some((record, rest)) = record_len(left, template).and_then(|len| left.split_at_checked(len)) {
            parts.add(set.id, record);
            left = rest;
        }
        parts.set = None;
    }
    parts.done.retain(|part| part.records > 0);
    (parts.done, parts.too_long)
}

/// Octets of the record that stands at the beginning; none if there is none.
fn record_len(octets: &[u8], template: &Template) -> Option<usize> {
    let mut at = 0_usize;
    for field in &template.fields {
        at += match field.length {
            VARIABLE => match *octets.get(at)? {
                255 => 3 + usize::from(u16::from_be_bytes([*octets.get(at + 1)?, *octets.get(at + 2)?])),
                short => 1 + usize::from(short),
            },
            fixed => usize::from(fixed),
        };
    }
    (at > 0 && at <= octets.len()).then_some(at)
}

/// Messages under construction.
#[derive(Debug)]
struct Parts {
    header: Header,
    limit: usize,
    done: Vec<Part>,
    /// ID of the open set, and where it begins in the last message.
    set: Option<(u16, usize)>,
    too_long: u32,
}

impl Parts {
    fn add(&mut self, id: u16, record: &[u8]) {
        if HEADER_LEN + SET_HEADER_LEN + record.len() > self.limit {
            self.too_long += 1;
            // The next message is numbered behind it.
            self.header.sequence_number = self.header.sequence_number.wrapping_add(1);
            self.begin();
            return;
        }
        let more = record.len() + if self.set.is_some_and(|set| set.0 == id) { 0 } else { SET_HEADER_LEN };
        if self.done.last().is_none_or(|part| part.octets.is_empty() || part.octets.len() + more > self.limit) {
            self.begin();
        }
        let Some(part) = self.done.last_mut() else { return };
        if part.octets.is_empty() {
            part.octets.extend(self.header.to_bytes());
        }
        if self.set.is_none_or(|set| set.0 != id) {
            self.set = Some((id, part.octets.len()));
            part.octets.extend(id.to_be_bytes());
            part.octets.extend([0, 0]);
        }
        part.octets.extend(record);
        part.records += 1;
        self.header.sequence_number = self.header.sequence_number.wrapping_add(1);
        if let Some((_, start)) = self.set {
            write_len(&mut part.octets, start);
        }
        write_len(&mut part.octets, 0);
    }

    /// The next record begins a message, unless there is an empty one.
    fn begin(&mut self) {
        self.set = None;
        if self.done.last().is_none_or(|part| !part.octets.is_empty()) {
            self.done.push(Part { octets: Vec::new(), records: 0 });
        }
    }
}

/// Writes the length of what begins there, message or set: both have it in their third and fourth octet.
fn write_len(octets: &mut [u8], start: usize) {
    let len = u16::try_from(octets.len() - start).unwrap_or(u16::MAX);
    if let Some(place) = octets.get_mut(start + 2..start + 4) {
        place.copy_from_slice(&len.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use weir_ipfix::{Element, FieldSpecifier, message::SetWriter};

    use super::*;

    fn templates() -> Vec<Template> {
        let field = |length| FieldSpecifier { element: Element::new(0, 1), length };
        let template = |id, lengths: &[u16]| Template {
            id,
            scope_count: 0,
            fields: lengths.iter().map(|length| field(*length)).collect(),
        };
        vec![template(256, &[4, 2]), template(257, &[VARIABLE, 1])]
    }

    /// Ten records of six octets, then texts of such lengths, each with an octet behind it; number 100 and so on.
    fn message(texts: &[usize]) -> Vec<u8> {
        let mut writer = SetWriter::new(65_535);
        (0..10).for_each(|n| assert!(writer.push(256, &[n; 6])));
        for len in texts {
            let long = u16::try_from(*len).unwrap().to_be_bytes();
            let head = if *len < 255 { vec![long[1]] } else { vec![255, long[0], long[1]] };
            assert!(writer.push(257, &[head, vec![b'x'; *len], vec![7]].concat()));
        }
        let mut buffer = writer.finish();
        buffer.number(5, 100, 3);
        buffer.message().to_vec()
    }

    #[test]
    fn every_record_is_in_one_part_and_no_part_is_too_long() {
        let message = message(&[3, 300, 20]);
        for limit in 330..message.len() + 10 {
            let (parts, too_long) = split(&message, &templates(), limit);
            assert_eq!(too_long, 0);
            let mut number = 100;
            let mut bodies = Vec::new();
            for part in &parts {
                let header = Header::parse(&part.octets).unwrap();
                assert_eq!((header.sequence_number, header.export_time, header.domain), (number, 5, 3));
                assert_eq!(usize::from(header.length), part.octets.len());
                assert!(part.octets.len() <= limit, "{limit}");
                number += part.records;
                let sets: Vec<_> = sets(&part.octets, HEADER_LEN).map(|set| set.unwrap()).collect();
                bodies.extend(sets.iter().flat_map(|set| set.body.to_vec()));
            }
            assert_eq!(number, 113);
            let whole: Vec<u8> = sets(&message, HEADER_LEN).flat_map(|set| set.unwrap().body.to_vec()).collect();
            assert!(bodies == whole, "{limit}");
        }
    }

    #[test]
    fn what_fits_nowhere_is_a_gap() {
        let (parts, too_long) = split(&message(&[3, 300, 20]), &templates(), 100);
        assert_eq!(too_long, 1);
        let numbers: Vec<_> =
            parts.iter().map(|part| (Header::parse(&part.octets).unwrap().sequence_number, part.records)).collect();
        assert_eq!(numbers, [(100, 11), (112, 1)]);
    }

    #[test]
    fn what_is_no_message_ends() {
        assert_eq!(split(&[], &templates(), 100), (Vec::new(), 0));
        let message = message(&[3]);
        for end in 0..message.len() {
            let _ = split(&message[..end], &templates(), 100);
        }
    }
}
