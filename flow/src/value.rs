// SPDX-License-Identifier: MIT OR Apache-2.0
//! Values of fields, and the bounded types that hold them.
//!
//! Every type that network bytes flow into has its bound in its type. What does not fit is cut off, and the value
//! remembers that it was cut. Clearing keeps the memory, so that a recycled value allocates nothing.

/// One value on its way between a field and its encoding; borrowed.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// An unsigned integer of any width.
    Unsigned(u64),
    /// A signed integer of any width.
    Signed(i64),
    /// A floating-point number.
    Float(f64),
    /// Text as it came from the wire: mostly UTF-8, but nobody promises.
    Text(&'a [u8]),
    /// Octets that are no text.
    Octets(&'a [u8]),
    /// An IPv4 address in network byte order.
    Ipv4([u8; 4]),
    /// An IPv6 address in network byte order.
    Ipv6([u8; 16]),
    /// A point in time.
    Time(crate::Timestamp),
    /// Several values of one kind.
    List(&'a dyn ValueList),
}

/// Several values of one kind, by index.
pub trait ValueList {
    /// Number of values.
    fn count(&self) -> usize;
    /// The value at `index`; `None` at `count()` and beyond.
    fn at(&self, index: usize) -> Option<Value<'_>>;
}

/// Bytes that an allocator takes for a block of this capacity: with what it notes of the block, and rounded up.
#[must_use]
pub const fn allocated(capacity: usize) -> usize {
    // As the allocator of glibc does: a word before each block, steps of 16 bytes, and no block below 32.
    match capacity {
        0 => 0,
        1..=24 => 32,
        _ => capacity.saturating_add(8 + 15) & !15,
    }
}

/// What a field of an application struct can do. See [`crate::app`].
pub trait Field {
    /// Forgets the value, keeps the memory.
    fn clear(&mut self);
    /// Bytes of memory that it holds beside itself, as [`allocated`] counts them.
    fn held(&self) -> usize {
        0
    }
    /// Whether something did not fit.
    fn is_cut(&self) -> bool {
        false
    }
    /// The value; `None` if the field was never set.
    fn value(&self) -> Option<Value<'_>>;
    /// Takes over a value: a scalar is replaced, a list grows by one. False if the kind of value does not fit.
    fn assign(&mut self, value: Value<'_>) -> bool;
}

macro_rules! unsigned_field {
    ($($int:ty)*) => {$(
        impl Field for Option<$int> {
            fn clear(&mut self) {
                *self = None;
            }
            fn value(&self) -> Option<Value<'_>> {
                self.map(|v| Value::Unsigned(u64::from(v)))
            }
            fn assign(&mut self, value: Value<'_>) -> bool {
                let Some(v) = <$int as Item>::from_value(value) else { return false };
                *self = Some(v);
                true
            }
        }
        impl Item for $int {
            fn to_value(&self) -> Value<'_> {
                Value::Unsigned(u64::from(*self))
            }
            fn from_value(value: Value<'_>) -> Option<Self> {
                match value {
                    Value::Unsigned(v) => Self::try_from(v).ok(),
                    _ => None,
                }
            }
        }
    )*};
}
unsigned_field!(u8 u16 u32 u64);

impl Field for Option<i8> {
    fn clear(&mut self) {
        *self = None;
    }
    fn value(&self) -> Option<Value<'_>> {
        self.map(|v| Value::Signed(i64::from(v)))
    }
    fn assign(&mut self, value: Value<'_>) -> bool {
        let v = match value {
            Value::Signed(v) => i8::try_from(v).ok(),
            // Some registries declare a signed quantity as unsigned8; the octet is the same.
            Value::Unsigned(v) => u8::try_from(v).ok().map(u8::cast_signed),
            _ => None,
        };
        let Some(v) = v else { return false };
        *self = Some(v);
        true
    }
}

/// Makes room for `more` octets, `max` in all: in steps by which a value that is used again soon grows no more.
fn reserve(bytes: &mut Vec<u8>, more: usize, max: usize) {
    let needed = bytes.len() + more;
    if needed > bytes.capacity() {
        // A power of two with what an allocator notes of it, but not more than can be used.
        let capacity = ((needed + 8).next_power_of_two().max(64) - 8).min(max.max(24)).max(needed);
        bytes.reserve_exact(capacity - bytes.len());
    }
}

macro_rules! bytes_field {
    ($(#[$doc:meta])* $name:ident $variant:ident) => {
        $(#[$doc])*
        #[derive(Default, Eq, PartialEq)]
        pub struct $name<const MAX: usize> {
            bytes: Vec<u8>,
            cut: bool,
        }

        impl<const MAX: usize> Clone for $name<MAX> {
            fn clone(&self) -> Self {
                Self { bytes: self.bytes.clone(), cut: self.cut }
            }

            fn clone_from(&mut self, source: &Self) {
                self.bytes.clone_from(&source.bytes);
                self.cut = source.cut;
            }
        }

        impl<const MAX: usize> $name<MAX> {
            /// Replaces the value; all after `MAX` octets is cut off.
            pub fn set(&mut self, bytes: &[u8]) {
                self.bytes.clear();
                self.cut = false;
                self.extend(bytes);
            }

            /// Appends to the value; all after `MAX` octets is cut off.
            pub fn extend(&mut self, bytes: &[u8]) {
                let room = MAX.saturating_sub(self.bytes.len());
                let fitting = bytes.get(..room).unwrap_or(bytes);
                reserve(&mut self.bytes, fitting.len(), MAX);
                self.bytes.extend_from_slice(fitting);
                self.cut |= bytes.len() > room;
            }

            /// The octets; empty if never set.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.bytes
            }

            /// Whether it was never set, or set to nothing.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.bytes.is_empty()
            }
        }

        impl<const MAX: usize> std::fmt::Debug for $name<MAX> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "\"{}\"", self.bytes.escape_ascii())
            }
        }

        impl<const MAX: usize> Field for $name<MAX> {
            fn clear(&mut self) {
                self.bytes.clear();
                self.cut = false;
            }
            fn held(&self) -> usize {
                allocated(self.bytes.capacity())
            }
            fn is_cut(&self) -> bool {
                self.cut
            }
            fn value(&self) -> Option<Value<'_>> {
                if self.bytes.is_empty() { None } else { Some(Value::$variant(&self.bytes)) }
            }
            fn assign(&mut self, value: Value<'_>) -> bool {
                let (Value::Text(bytes) | Value::Octets(bytes)) = value else { return false };
                self.set(bytes);
                true
            }
        }
    };
}
bytes_field! {
    /// Text of at most `MAX` octets, as it came from the wire. Empty and absent are the same.
    Text Text
}
bytes_field! {
    /// At most `MAX` octets that are no text. Empty and absent are the same.
    Octets Octets
}

macro_rules! short_field {
    ($(#[$doc:meta])* $name:ident $variant:ident) => {
        $(#[$doc])*
        #[derive(Clone, Eq, PartialEq)]
        pub struct $name<const MAX: usize> {
            // What is behind `len` is zero, so that equal values are equal as a whole.
            bytes: [u8; MAX],
            len: u8,
            cut: bool,
        }

        impl<const MAX: usize> Default for $name<MAX> {
            fn default() -> Self {
                const { assert!(MAX <= u8::MAX as usize) };
                Self { bytes: [0; MAX], len: 0, cut: false }
            }
        }

        impl<const MAX: usize> $name<MAX> {
            /// Replaces the value; all after `MAX` octets is cut off.
            pub fn set(&mut self, bytes: &[u8]) {
                let fitting = bytes.get(..MAX).unwrap_or(bytes);
                let (value, rest) = self.bytes.split_at_mut(fitting.len());
                value.copy_from_slice(fitting);
                rest.fill(0);
                // At most `MAX`, which fits.
                self.len = fitting.len() as u8;
                self.cut = bytes.len() > MAX;
            }

            /// The octets; empty if never set.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                self.bytes.get(..usize::from(self.len)).unwrap_or_default()
            }

            /// Whether it was never set, or set to nothing.
            #[must_use]
            pub const fn is_empty(&self) -> bool {
                self.len == 0
            }
        }

        impl<const MAX: usize> std::fmt::Debug for $name<MAX> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "\"{}\"", self.as_bytes().escape_ascii())
            }
        }

        impl<const MAX: usize> Field for $name<MAX> {
            fn clear(&mut self) {
                *self = Self::default();
            }
            fn is_cut(&self) -> bool {
                self.cut
            }
            fn value(&self) -> Option<Value<'_>> {
                if self.is_empty() { None } else { Some(Value::$variant(self.as_bytes())) }
            }
            fn assign(&mut self, value: Value<'_>) -> bool {
                let (Value::Text(bytes) | Value::Octets(bytes)) = value else { return false };
                self.set(bytes);
                true
            }
        }
    };
}
short_field! {
    /// Text of at most `MAX` octets, as it came from the wire, without memory beside itself: for values of few octets, or of
    /// always as many. Empty and absent are the same.
    ShortText Text
}
short_field! {
    /// At most `MAX` octets that are no text, without memory beside itself. Empty and absent are the same.
    ShortOctets Octets
}

/// At most `ITEMS` texts of at most `MAX` octets each, in one piece of memory.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct TextList<const ITEMS: usize, const MAX: usize> {
    bytes: Vec<u8>,
    /// End of each text in `bytes`.
    ends: Vec<u32>,
    cut: bool,
}

impl<const ITEMS: usize, const MAX: usize> TextList<ITEMS, MAX> {
    /// Appends a text. A text that is too long is cut off, one too many is left out.
    pub fn push(&mut self, text: &[u8]) {
        self.cut |= text.len() > MAX || self.ends.len() >= ITEMS;
        if self.ends.len() >= ITEMS {
            return;
        }
        let fitting = text.get(..MAX).unwrap_or(text);
        reserve(&mut self.bytes, fitting.len(), usize::MAX);
        self.bytes.extend_from_slice(fitting);
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }

    /// Appends a text unless it is there already.
    pub fn push_new(&mut self, text: &[u8]) {
        if !self.iter().any(|t| t == text) {
            self.push(text);
        }
    }

    /// The texts in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).map(|i| self.text(i))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn text(&self, index: usize) -> &[u8] {
        let end = |i: usize| self.ends.get(i).map_or(0, |&e| e as usize);
        let start = if index == 0 { 0 } else { end(index - 1) };
        self.bytes.get(start..end(index)).unwrap_or_default()
    }
}

impl<const ITEMS: usize, const MAX: usize> std::fmt::Debug for TextList<ITEMS, MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|t| t.escape_ascii().to_string())).finish()
    }
}

impl<const ITEMS: usize, const MAX: usize> ValueList for TextList<ITEMS, MAX> {
    fn count(&self) -> usize {
        self.ends.len()
    }
    fn at(&self, index: usize) -> Option<Value<'_>> {
        (index < self.ends.len()).then(|| Value::Text(self.text(index)))
    }
}

impl<const ITEMS: usize, const MAX: usize> Field for TextList<ITEMS, MAX> {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.cut = false;
    }
    fn held(&self) -> usize {
        allocated(self.bytes.capacity()) + allocated(self.ends.capacity() * size_of::<u32>())
    }
    fn is_cut(&self) -> bool {
        self.cut
    }
    fn value(&self) -> Option<Value<'_>> {
        if self.is_empty() { None } else { Some(Value::List(self)) }
    }
    fn assign(&mut self, value: Value<'_>) -> bool {
        let (Value::Text(bytes) | Value::Octets(bytes)) = value else { return false };
        self.push(bytes);
        true
    }
}

/// What a [`List`] can hold.
pub trait Item: Sized {
    /// The item as a value.
    fn to_value(&self) -> Value<'_>;
    /// The item of a value; `None` if the kind does not fit.
    fn from_value(value: Value<'_>) -> Option<Self>;
}

impl Item for [u8; 4] {
    fn to_value(&self) -> Value<'_> {
        Value::Ipv4(*self)
    }
    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Ipv4(address) => Some(address),
            _ => None,
        }
    }
}

impl Item for [u8; 16] {
    fn to_value(&self) -> Value<'_> {
        Value::Ipv6(*self)
    }
    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Ipv6(address) => Some(address),
            _ => None,
        }
    }
}

/// At most `ITEMS` numbers or addresses.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct List<T, const ITEMS: usize> {
    items: Vec<T>,
    cut: bool,
}

impl<T: Item + Copy + PartialEq, const ITEMS: usize> List<T, ITEMS> {
    /// Appends an item; one too many is left out.
    pub fn push(&mut self, item: T) {
        if self.items.len() < ITEMS {
            self.items.push(item);
        } else {
            self.cut = true;
        }
    }

    /// Appends an item unless it is there already.
    pub fn push_new(&mut self, item: T) {
        if !self.items.contains(&item) {
            self.push(item);
        }
    }

    /// The items in the order in which they came.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.items
    }
}

impl<T: Item, const ITEMS: usize> ValueList for List<T, ITEMS> {
    fn count(&self) -> usize {
        self.items.len()
    }
    fn at(&self, index: usize) -> Option<Value<'_>> {
        self.items.get(index).map(Item::to_value)
    }
}

impl<T: Item + Copy + PartialEq, const ITEMS: usize> Field for List<T, ITEMS> {
    fn clear(&mut self) {
        self.items.clear();
        self.cut = false;
    }
    fn held(&self) -> usize {
        allocated(self.items.capacity() * size_of::<T>())
    }
    fn is_cut(&self) -> bool {
        self.cut
    }
    fn value(&self) -> Option<Value<'_>> {
        if self.items.is_empty() { None } else { Some(Value::List(self)) }
    }
    fn assign(&mut self, value: Value<'_>) -> bool {
        let Some(item) = T::from_value(value) else { return false };
        self.push(item);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_to_its_bound_and_says_so() {
        let mut text = Text::<4>::default();
        text.set(b"abc");
        assert!(!text.is_cut());
        text.extend(b"de");
        assert_eq!(text.as_bytes(), b"abcd");
        assert!(text.is_cut());
        text.set(b"x");
        assert!(!text.is_cut());
    }

    #[test]
    fn a_short_text_keeps_to_its_bound_and_says_so() {
        let mut text = ShortText::<4>::default();
        assert!(text.value().is_none());
        text.set(b"abcde");
        assert_eq!((text.as_bytes(), text.is_cut(), text.held()), (&b"abcd"[..], true, 0));
        text.set(b"x");
        let mut other = ShortText::<4>::default();
        other.set(b"x");
        assert_eq!(text, other);
        text.clear();
        assert!(text.is_empty());
    }

    #[test]
    fn a_list_of_texts_leaves_out_what_is_too_much() {
        let mut list = TextList::<2, 3>::default();
        for text in [&b"ab"[..], b"", b"c"] {
            list.push(text);
        }
        assert_eq!(list.iter().collect::<Vec<_>>(), [&b"ab"[..], b""]);
        assert!(list.is_cut());
        list.clear();
        list.push(b"abcd");
        assert_eq!(list.iter().collect::<Vec<_>>(), [&b"abc"[..]]);
    }

    #[test]
    fn what_is_held_grows_with_the_value_and_stays_when_it_is_cleared() {
        let (mut text, mut texts, mut list) =
            (Text::<100>::default(), TextList::<4, 9>::default(), List::<u16, 4>::default());
        let held = |fields: [&dyn Field; 3]| fields.map(Field::held);
        assert_eq!(held([&text, &texts, &list]), [0; 3]);
        text.set(&[b'x'; 100]);
        texts.push(b"x");
        list.push(1);
        let full = held([&text, &texts, &list]);
        assert!(full[0] >= 112 && full[1] >= 64 && full[2] >= 32, "{full:?}");
        for field in [&mut text as &mut dyn Field, &mut texts, &mut list] {
            field.clear();
        }
        assert_eq!(held([&text, &texts, &list]), full);
        assert_eq!([0, 1, 24, 25, 40, 41].map(allocated), [0, 32, 32, 48, 48, 64]);
    }

    #[test]
    fn a_number_that_is_too_large_is_refused() {
        let mut field: Option<u8> = None;
        assert!(!field.assign(Value::Unsigned(256)));
        assert!(field.assign(Value::Unsigned(255)));
        assert_eq!(field, Some(255));
    }
}
