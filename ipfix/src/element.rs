// SPDX-License-Identifier: MIT OR Apache-2.0
//! Information elements, and templates made of them.

/// Enterprise number of reverse information elements (RFC 5103 section 6.1).
pub const REVERSE: u32 = 29305;
/// Enterprise number of elements that have a number nowhere else: reserved for documentation by RFC 5612.
pub const WEIR: u32 = 32473;
/// Field length that says: the length stands in the record (RFC 7011 section 7).
pub const VARIABLE: u16 = 0xffff;

/// An information element by number (RFC 7012).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Element {
    /// Private enterprise number, zero for IANA's elements.
    pub enterprise: u32,
    /// Identifier, without the enterprise bit: below 0x8000.
    pub id: u16,
}

impl Element {
    /// A list of values of one element (RFC 6313 section 4.5.1).
    pub const BASIC_LIST: Self = Self::new(0, 291);

    /// An element by numbers.
    #[must_use]
    pub const fn new(enterprise: u32, id: u16) -> Self {
        Self { enterprise, id }
    }
}

/// Abstract data types (RFC 7012 section 3.1, RFC 6313 section 4.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(missing_docs, reason = "the names are those of RFC 7012, which says it better")]
pub enum AbstractType {
    Unsigned8,
    Unsigned16,
    Unsigned32,
    Unsigned64,
    Signed8,
    Signed16,
    Signed32,
    Signed64,
    Float32,
    Float64,
    Boolean,
    MacAddress,
    OctetArray,
    String,
    DateTimeSeconds,
    DateTimeMilliseconds,
    DateTimeMicroseconds,
    DateTimeNanoseconds,
    Ipv4Address,
    Ipv6Address,
    BasicList,
    SubTemplateList,
    SubTemplateMultiList,
}

impl AbstractType {
    /// Octets of a value that is encoded in full; [`VARIABLE`] where that depends on the value.
    #[must_use]
    pub const fn length(self) -> u16 {
        match self {
            Self::Unsigned8 | Self::Signed8 | Self::Boolean => 1,
            Self::Unsigned16 | Self::Signed16 => 2,
            Self::Unsigned32 | Self::Signed32 | Self::Float32 | Self::DateTimeSeconds | Self::Ipv4Address => 4,
            Self::MacAddress => 6,
            Self::Unsigned64
            | Self::Signed64
            | Self::Float64
            | Self::DateTimeMilliseconds
            | Self::DateTimeMicroseconds
            | Self::DateTimeNanoseconds => 8,
            Self::Ipv6Address => 16,
            Self::OctetArray | Self::String | Self::BasicList | Self::SubTemplateList | Self::SubTemplateMultiList => {
                VARIABLE
            }
        }
    }
}

/// One field of a template (RFC 7011 section 3.2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FieldSpecifier {
    /// What stands there.
    pub element: Element,
    /// Octets that it takes, or [`VARIABLE`].
    pub length: u16,
}

/// A template or options template (RFC 7011 section 3.4).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Template {
    /// Template ID, 256 or above.
    pub id: u16,
    /// Number of scope fields, which come first; zero for a template that is not an options template.
    pub scope_count: u16,
    /// Its fields in order.
    pub fields: Vec<FieldSpecifier>,
}

impl Template {
    /// Fewest octets of a data record.
    #[must_use]
    pub fn min_record_len(&self) -> usize {
        self.fields.iter().map(|f| if f.length == VARIABLE { 1 } else { usize::from(f.length) }).sum()
    }
}
