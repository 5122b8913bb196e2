// SPDX-License-Identifier: MIT OR Apache-2.0
//! NetFlow versions 5 and 9, read as if they were IPFIX.
//!
//! Version 9 (RFC 3954) has sets and templates like IPFIX, with other numbers and without enterprise elements; version 5
//! has records of one shape, which is [`v5_template`]. So both need a header, and [`crate::decode::Plan`] does the rest.
//!
//! ```text
//! version 5, 24 octets                          version 9, 20 octets
//!  0 version 5        2 records                  0 version 9        2 templates and records
//!  4 milliseconds since the exporter's start     4 milliseconds since the exporter's start
//!  8 seconds since 1970                          8 seconds since 1970
//! 12 nanoseconds of that second                 12 messages sent before
//! 16 flows sent before                          16 source ID
//! 20 engine type   21 engine ID                 then sets: 0 templates, 1 options templates,
//! 22 sampling: two bits mode, 14 bits interval  256 and above: data of that template
//! then records of 48 octets
//! ```
//!
//! Times of flows are milliseconds since the exporter's start in 32 bits, which wrap after 49.7 days: [`absolute`].
//! Versions 1, 7 and 8 are not read.

use weir_flow::Timestamp;

use crate::{
    Element, FieldSpecifier, Template,
    decode::{DecodeError, MAX_FIELDS, Set, bytes_at, u16_at, u32_at},
};

/// Version number 5.
pub const V5: u16 = 5;
/// Version number 9.
pub const V9: u16 = 9;
/// Octets of the header of version 5.
pub const V5_HEADER_LEN: usize = 24;
/// Octets of a record of version 5.
pub const V5_RECORD_LEN: usize = 48;
/// Octets of the header of version 9.
pub const V9_HEADER_LEN: usize = 20;
/// Set ID of templates in version 9.
pub const V9_TEMPLATE_SET: u16 = 0;
/// Set ID of options templates in version 9.
pub const V9_OPTIONS_TEMPLATE_SET: u16 = 1;
/// Enterprise number under which field types of version 9 from 32,768 on are kept: they are Cisco's own, and in IPFIX
/// that bit says that an enterprise number follows.
pub const CISCO: u32 = 9;

const PADDING: Element = Element::new(0, 210);

/// Header of a message of either version.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Header {
    /// 5 or 9.
    pub version: u16,
    /// Records that are claimed to follow; in version 9 templates count too, and exporters disagree.
    pub count: u16,
    /// Milliseconds since the exporter's start, modulo 2^32.
    pub uptime_millis: u32,
    /// When the message was sent.
    pub export_time: Timestamp,
    /// Version 5: flows sent before. Version 9: messages sent before. Modulo 2^32.
    pub sequence_number: u32,
    /// Version 5: engine type in the upper octet, engine ID in the lower one. Version 9: source ID.
    pub domain: u32,
    /// One of how many packets was sampled; zero where the header does not say.
    pub sampling_interval: u16,
    /// Octets of the header itself.
    pub header_len: usize,
}

impl Header {
    /// Reads the header at the start of `input`; what follows is not looked at.
    ///
    /// # Errors
    ///
    /// If fewer octets are there than the header has, or if it is of neither version.
    pub fn parse(input: &[u8]) -> Result<Self, DecodeError> {
        let version = u16_at(input, 0)?;
        let header_len = match version {
            V5 => V5_HEADER_LEN,
            V9 => V9_HEADER_LEN,
            found => return Err(DecodeError::Version { found }),
        };
        bytes_at(input, 0, header_len)?;
        let seconds = u64::from(u32_at(input, 8)?) * 1_000_000_000;
        let header = Self {
            version,
            count: u16_at(input, 2)?,
            uptime_millis: u32_at(input, 4)?,
            export_time: Timestamp::from_nanos(seconds),
            sequence_number: u32_at(input, 12)?,
            domain: u32_at(input, 16)?,
            sampling_interval: 0,
            header_len,
        };
        if version == V9 {
            return Ok(header);
        }
        Ok(Self {
            export_time: Timestamp::from_nanos(seconds + u64::from(u32_at(input, 12)?).min(999_999_999)),
            sequence_number: u32_at(input, 16)?,
            domain: u32::from(u16_at(input, 20)?),
            sampling_interval: u16_at(input, 22)? & 0x3fff,
            ..header
        })
    }
}

/// The one shape of the records of version 5, as a template.
#[must_use]
pub fn v5_template() -> Template {
    const FIELDS: [(u16, u16); 20] = [
        (8, 4),   // source address
        (12, 4),  // destination address
        (15, 4),  // next hop
        (10, 2),  // input interface
        (14, 2),  // output interface
        (2, 4),   // packets
        (1, 4),   // octets
        (22, 4),  // uptime at the first packet
        (21, 4),  // uptime at the last packet
        (7, 2),   // source port
        (11, 2),  // destination port; ICMP type and code
        (210, 1), // unused
        (6, 1),   // TCP control bits
        (4, 1),   // protocol
        (5, 1),   // class of service
        (16, 2),  // source AS
        (17, 2),  // destination AS
        (9, 1),   // source prefix length
        (13, 1),  // destination prefix length
        (210, 2), // unused
    ];
    let fields = FIELDS.iter().map(|&(id, length)| FieldSpecifier { element: Element::new(0, id), length });
    Template { id: V5, scope_count: 0, fields: fields.collect() }
}

/// Reads the templates of a template set of version 9, or of an options template set if `options`. Scope fields are
/// system, interface, line card, cache and template, not elements: they become padding. Padding at the end is passed over.
///
/// # Errors
///
/// The last item is an error if the set is damaged; the templates before it are good.
pub fn templates(set: Set<'_>, options: bool) -> impl Iterator<Item = Result<Template, DecodeError>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = set.body.get(at..).unwrap_or_default();
        // Some exporters pad with more octets than the three that are needed.
        if rest.len() < 4 || rest.iter().all(|b| *b == 0) {
            return None;
        }
        let result = template_at(set, at, options);
        at = result.as_ref().map_or(set.body.len(), |(_, end)| *end);
        Some(result.map(|(template, _)| template))
    })
}

fn template_at(set: Set<'_>, start: usize, options: bool) -> Result<(Template, usize), DecodeError> {
    let id = u16_at(set.body, start)?;
    let impossible = DecodeError::Template { offset: set.offset + start, id };
    let (scope_count, count, first) = if options {
        // Here lengths are in octets.
        let scope = usize::from(u16_at(set.body, start + 2)?);
        let option = usize::from(u16_at(set.body, start + 4)?);
        if !scope.is_multiple_of(4) || !option.is_multiple_of(4) {
            return Err(impossible);
        }
        // A scope of no fields is met in the field; it is an options template all the same.
        (scope / 4, (scope + option) / 4, start + 6)
    } else {
        (0, usize::from(u16_at(set.body, start + 2)?), start + 4)
    };
    if id < 256 || count == 0 || count > MAX_FIELDS {
        return Err(impossible);
    }
    let specifiers = bytes_at(set.body, first, count * 4)?;
    let fields = specifiers.chunks_exact(4).enumerate().map(|(index, octets)| {
        let number = |at: usize| octets.iter().skip(at).take(2).fold(0, |v, b| v << 8 | u16::from(*b));
        let element = match number(0) {
            _ if index < scope_count => PADDING,
            own if own & 0x8000 != 0 => Element::new(CISCO, own & 0x7fff),
            id => Element::new(0, id),
        };
        FieldSpecifier { element, length: number(2) }
    });
    let scope_count = if options { u16::try_from(scope_count).unwrap_or(u16::MAX).max(1) } else { 0 };
    let template = Template { id, scope_count, fields: fields.collect() };
    if template.min_record_len() == 0 {
        return Err(impossible);
    }
    Ok((template, first + count * 4))
}

/// The time at which the exporter had been up for `at` milliseconds, if at `export_time` it has been up for `uptime`; both
/// modulo 2^32. Up to ten minutes after the export time is taken as that; anything else is before it.
#[must_use]
pub const fn absolute(export_time: Timestamp, uptime: u32, at: u32) -> Timestamp {
    const TOLERANCE: u32 = 600_000;
    let ahead = at.wrapping_sub(uptime);
    let nanos = if ahead <= TOLERANCE {
        export_time.as_nanos().saturating_add(ahead as u64 * 1_000_000)
    } else {
        export_time.as_nanos().saturating_sub(uptime.wrapping_sub(at) as u64 * 1_000_000)
    };
    Timestamp::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Draft, Plan};

    #[test]
    fn a_record_of_version_5_is_read_by_its_template() {
        let template = v5_template();
        assert_eq!(template.min_record_len(), V5_RECORD_LEN);
        let mut record = vec![192, 0, 2, 1, 192, 0, 2, 2, 0, 0, 0, 0, 0, 3, 0, 4];
        record.extend([0, 0, 0, 5, 0, 0, 1, 0]); // packets, octets
        record.extend([0, 0, 0, 10, 0, 0, 0, 20]); // uptime at first and last packet
        record.extend([0x30, 0x39, 0, 80, 0, 0x1b, 6, 8]); // ports, unused, flags, protocol, class of service
        record.extend([0; 8]);
        let mut draft = Draft::default();
        assert_eq!(Plan::new(&template, crate::WEIR).decode(&record, 0, &mut draft), Ok(48));
        let read = draft.record;
        assert_eq!(read.key.source().to_string(), "192.0.2.1");
        assert_eq!((read.key.src_port, read.key.dst_port, read.key.protocol), (12_345, 80, 6));
        assert_eq!((read.forward.packets, read.forward.octets, read.forward.tcp_flags), (5, 256, 0x1b));
        assert_eq!((read.ingress_interface, read.egress_interface, read.class_of_service), (3, 4, 8));
        assert_eq!(draft.uptime_millis, [Some(10), Some(20)]);
    }

    #[test]
    fn headers_say_what_is_missing() {
        let mut v5 = vec![0, 5, 0, 1, 0, 0, 3, 0xe8, 0, 0, 0, 100, 0, 0, 0, 7, 0, 0, 0, 42, 1, 2, 0x40, 100];
        let header = Header::parse(&v5).unwrap();
        assert_eq!((header.domain, header.sampling_interval, header.sequence_number), (0x0102, 100, 42));
        assert_eq!(header.export_time, Timestamp::from_nanos(100_000_000_007));
        v5.pop();
        assert_eq!(Header::parse(&v5), Err(DecodeError::TooShort { offset: 0, needed: 24, available: 23 }));
        assert_eq!(Header::parse(&[0, 7]), Err(DecodeError::Version { found: 7 }));
        assert_eq!(Header::parse(&[0]), Err(DecodeError::TooShort { offset: 0, needed: 2, available: 1 }));
    }

    #[test]
    fn templates_of_version_9_have_no_enterprise_bit() {
        let set = |body| Set { id: 0, offset: 24, body };
        // Template 256: element 8, Cisco's 33000; four octets of padding.
        let body = [1, 0, 0, 2, 0, 8, 0, 4, 0x80, 0xe8, 0, 2, 0, 0, 0, 0];
        let read: Vec<_> = templates(set(&body), false).collect::<Result<_, _>>().unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].fields[1].element, Element::new(CISCO, 232));
        // Options template 257: four octets of scope (system), four of options (sampling interval).
        let body = [1, 1, 0, 4, 0, 4, 0, 1, 0, 4, 0, 34, 0, 4];
        let read: Vec<_> = templates(set(&body), true).collect::<Result<_, _>>().unwrap();
        assert_eq!(read[0].scope_count, 1);
        assert_eq!(read[0].fields[0].element, PADDING);
        assert_eq!(read[0].fields[1].element, Element::new(0, 34));
        // ID below 256; fields cut off; scope of half a field.
        for (bad, options) in [
            (&[0, 9, 0, 1, 0, 8, 0, 4][..], false),
            (&[1, 0, 0, 2, 0, 8, 0, 4], false),
            (&[1, 1, 0, 3, 0, 4, 0, 1, 0, 4, 0, 34, 0, 4], true),
        ] {
            assert!(templates(set(bad), options).all(|t| t.is_err()), "{bad:?}");
        }
    }

    #[test]
    fn uptime_wraps() {
        let export = Timestamp::from_secs(1_000_000_000);
        let ago = |millis: u64| Timestamp::from_nanos(export.as_nanos() - millis * 1_000_000);
        assert_eq!(absolute(export, 10_000, 4_000), ago(6_000));
        assert_eq!(absolute(export, 100, u32::MAX - 899), ago(1_000));
        assert_eq!(absolute(export, u32::MAX, 499), Timestamp::from_nanos(export.as_nanos() + 500_000_000));
        // Up for 30 days, a flow from the start: in the past, however far.
        assert_eq!(absolute(export, 2_592_000_000, 0), ago(2_592_000_000));
    }
}
