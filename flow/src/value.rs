// SPDX-License-Identifier: MIT OR Apache-2.0
//! Values of fields, and the bounded types that hold them.
//!
//! Every type that network bytes flow into has its bound in its type. What does not fit is cut off, and that is remembered.
//!
//! Texts and lists of a field struct lie one behind the other in its [`Memory`]: a field is a few octets that say where. So
//! what a record has is in one piece, which a processor finds at once. Clearing keeps the memory, so that a recycled struct
//! allocates nothing.

use std::{fmt, marker::PhantomData, ops::Range};

/// One value on its way between a field and its encoding; borrowed.
#[derive(Clone, Copy, PartialEq)]
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
    List(Values<'a>),
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(v) => v.fmt(f),
            Self::Signed(v) => v.fmt(f),
            Self::Float(v) => v.fmt(f),
            Self::Text(v) | Self::Octets(v) => write!(f, "\"{}\"", v.escape_ascii()),
            Self::Ipv4(v) => v.fmt(f),
            Self::Ipv6(v) => v.fmt(f),
            Self::Time(v) => v.fmt(f),
            Self::List(v) => v.fmt(f),
        }
    }
}

/// Several values of one kind.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    octets: &'a [u8],
    split: Split,
}

/// Takes the first value off; `None` if there is none.
type Split = for<'a> fn(&'a [u8]) -> Option<(Value<'a>, &'a [u8])>;

impl<'a> Values<'a> {
    /// The values in the order in which they came.
    pub fn iter(self) -> impl Iterator<Item = Value<'a>> {
        let Self { mut octets, split } = self;
        std::iter::from_fn(move || {
            let (value, rest) = split(octets)?;
            octets = rest;
            Some(value)
        })
    }
}

impl PartialEq for Values<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
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

/// Texts and lists of one field struct, in one piece. Fields say where in it they are.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    bytes: Vec<u8>,
    cut: bool,
}

impl Memory {
    /// Least octets that are allocated.
    const LEAST: usize = 120;
    /// A value longer than this gets room for all it may become: moved again, it would leave as much behind.
    const LARGE: usize = 32 << 10;
    /// Most octets that are allocated beyond what is needed.
    const SLACK: usize = 16 << 10;

    /// Forgets all values, keeps the memory. Fields that lie in it must be cleared as well.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.cut = false;
    }

    /// Whether something was left out of a list, or cut before it came here. Texts know it of themselves.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.cut
    }

    /// Says that something was cut before it came here.
    pub const fn mark_cut(&mut self) {
        self.cut = true;
    }

    /// Bytes of memory that it takes beside itself, as [`allocated`] counts them.
    #[must_use]
    pub const fn held(&self) -> usize {
        allocated(self.bytes.capacity())
    }

    /// All that lies in it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the next values will lie, as far as it reaches without growing.
    #[must_use]
    pub fn room(&self) -> Range<*const u8> {
        let end = self.bytes.as_ptr_range().end;
        end..end.wrapping_add(self.bytes.capacity() - self.bytes.len())
    }

    fn get(&self, place: Place) -> &[u8] {
        let at = place.at as usize;
        self.bytes.get(at..at + place.len as usize).unwrap_or_default()
    }

    /// Appends to the octets at a place, which is at most `max` octets long. Behind the last place there is room for all;
    /// elsewhere, what has not enough room moves to the end and gets room for twice as much, so that of each value not more is
    /// lost than it has. A large one gets all its room at once, and stays.
    fn append(&mut self, place: Place, octets: &[u8], max: usize) -> Place {
        let Place { at, len, room } = place;
        let end = self.bytes.len();
        let (start, needed) = (if room == 0 { end } else { at as usize }, len as usize + octets.len());
        if start + len as usize == end && needed <= Self::LARGE {
            self.reserve(octets.len());
            self.bytes.extend_from_slice(octets);
            return Place { at: start as u32, len: needed as u32, room: room.max(needed as u32) };
        }
        self.append_within(place, octets, max)
    }

    #[inline(never)]
    fn append_within(&mut self, place: Place, octets: &[u8], max: usize) -> Place {
        let Place { mut at, len, mut room } = place;
        if at as usize + room as usize > self.bytes.len() {
            // Of other memory, or of this before it was cleared: as for `get`, there is nothing.
            return self.append(Place::default(), octets, max);
        }
        let needed = len as usize + octets.len();
        if needed > room as usize {
            let end = self.bytes.len();
            let wanted = if needed > Self::LARGE { max } else { Self::LARGE.min(2 * room as usize) };
            let wanted = needed.max(max.min(wanted));
            let (from, behind) = (at as usize, (at + len) as usize);
            let start = if behind == end { from } else { end };
            self.reserve(start + wanted - end);
            if start == end {
                self.bytes.extend_from_within(from..behind);
            }
            self.bytes.resize(start + wanted, 0);
            (at, room) = (start as u32, wanted as u32);
        }
        let behind = (at + len) as usize;
        if let Some(to) = self.bytes.get_mut(behind..behind + octets.len()) {
            to.copy_from_slice(octets);
        }
        Place { at, len: needed as u32, room }
    }

    /// Appends octets behind their number, and says where: the index of the number, and one more.
    fn push_counted(&mut self, octets: &[u8]) -> u32 {
        self.reserve(COUNT + octets.len());
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&(octets.len() as u16).to_ne_bytes());
        self.bytes.extend_from_slice(octets);
        at as u32 + 1
    }

    /// The same of a piece of what is longer: a short piece is copied with what follows it, which is then forgotten, so that
    /// the number of octets, which is different each time, decides nothing.
    #[inline]
    fn push_piece(&mut self, within: &[u8], piece: Range<usize>) -> u32 {
        const SHORT: usize = 64;
        let len = piece.len();
        let rest = within.get(piece.start..).unwrap_or_default();
        let Some(fixed) = rest.first_chunk::<SHORT>().filter(|_| len <= SHORT) else {
            return self.push_counted(rest.get(..len).unwrap_or(rest));
        };
        self.reserve(COUNT + SHORT);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&(len as u16).to_ne_bytes());
        self.bytes.extend_from_slice(fixed);
        self.bytes.truncate(at + COUNT + len);
        at as u32 + 1
    }

    fn reserve(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            // Whole lines of a cache with what an allocator notes of them, and a bit more, so that long values are not copied
            // all the time. Memory that is used again soon grows no more.
            let capacity = ((needed + (needed / 8).min(Self::SLACK) + 8).next_multiple_of(64) - 8).max(Self::LEAST);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
    }
}

/// Where in a [`Memory`] octets lie, how many, and for how many there is room.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    at: u32,
    len: u32,
    room: u32,
}

/// What a field of an application struct can do; texts and lists lie in the struct's memory. See [`crate::app`].
pub trait Field {
    /// Forgets the value.
    fn clear(&mut self);
    /// Whether something did not fit. Of a list, its memory knows.
    fn is_cut(&self) -> bool {
        false
    }
    /// The value; `None` if the field was never set.
    fn value<'a>(&'a self, memory: &'a Memory) -> Option<Value<'a>>;
    /// Takes over a value: a scalar is replaced, a list grows by one. False if the kind of value does not fit.
    fn assign(&mut self, value: Value<'_>, memory: &mut Memory) -> bool;
}

macro_rules! unsigned_field {
    ($($int:ty)*) => {$(
        impl Field for Option<$int> {
            fn clear(&mut self) {
                *self = None;
            }
            fn value<'a>(&'a self, _: &'a Memory) -> Option<Value<'a>> {
                self.map(|v| Value::Unsigned(u64::from(v)))
            }
            fn assign(&mut self, value: Value<'_>, _: &mut Memory) -> bool {
                let v = match value {
                    Value::Unsigned(v) => <$int>::try_from(v).ok(),
                    _ => None,
                };
                let Some(v) = v else { return false };
                *self = Some(v);
                true
            }
        }
    )*};
}
unsigned_field!(u8 u16 u32 u64);

macro_rules! signed_field {
    ($($int:ty, $unsigned:ty;)*) => {$(
        impl Field for Option<$int> {
            fn clear(&mut self) {
                *self = None;
            }
            fn value<'a>(&'a self, _: &'a Memory) -> Option<Value<'a>> {
                self.map(|v| Value::Signed(i64::from(v)))
            }
            fn assign(&mut self, value: Value<'_>, _: &mut Memory) -> bool {
                let v = match value {
                    Value::Signed(v) => <$int>::try_from(v).ok(),
                    // Some registries declare a signed quantity as unsigned; the octets are the same.
                    Value::Unsigned(v) => <$unsigned>::try_from(v).ok().map(<$unsigned>::cast_signed),
                    _ => None,
                };
                let Some(v) = v else { return false };
                *self = Some(v);
                true
            }
        }
    )*};
}
signed_field!(i8, u8; i16, u16; i64, u64;);

/// A number that takes no more than its octets, where an [`Option`] takes twice as many. The largest that there is means none.
///
/// For counters of what every packet changes, and wherever many numbers lie in one struct.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Compact<T>(T);

macro_rules! compact {
    ($($value:ident $wide:ident: $($int:ty)*;)*) => {$($(
        impl Compact<$int> {
            /// The largest number that it holds.
            pub const MAX: $int = <$int>::MAX - 1;

            /// Sets it; what is too large becomes the largest.
            #[inline]
            pub fn set(&mut self, value: $int) {
                self.0 = value.min(Self::MAX);
            }

            /// Adds to it, from nothing on; what would be too large becomes the largest.
            #[inline]
            pub fn add(&mut self, value: $int) {
                self.set(self.get().unwrap_or(0).saturating_add(value));
            }

            /// The number; `None` if it was never set.
            #[inline]
            #[must_use]
            pub fn get(self) -> Option<$int> {
                (self.0 != <$int>::MAX).then_some(self.0)
            }
        }

        impl Default for Compact<$int> {
            fn default() -> Self {
                Self(<$int>::MAX)
            }
        }

        impl fmt::Debug for Compact<$int> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.get().fmt(f)
            }
        }

        impl Field for Compact<$int> {
            fn clear(&mut self) {
                *self = Self::default();
            }
            fn value<'a>(&'a self, _: &'a Memory) -> Option<Value<'a>> {
                self.get().map(|v| Value::$value($wide::from(v)))
            }
            fn assign(&mut self, value: Value<'_>, memory: &mut Memory) -> bool {
                let mut option: Option<$int> = None;
                let is_assigned = option.assign(value, memory);
                option.into_iter().for_each(|v| self.set(v));
                is_assigned
            }
        }
    )*)*};
}
compact!(Unsigned u64: u8 u16 u32 u64; Signed i64: i64;);

/// Text of at most `MAX` octets, as it came from the wire. Empty and absent are the same.
#[derive(Clone, Debug, Default)]
pub struct Text<const MAX: usize> {
    at: u32,
    /// One more than `MAX` if it was cut: eight octets are enough.
    len: u16,
    room: u16,
}

impl<const MAX: usize> Text<MAX> {
    /// Replaces the value; all after `MAX` octets is cut off.
    pub fn set(&mut self, bytes: &[u8], memory: &mut Memory) {
        self.len = 0;
        self.extend(bytes, memory);
    }

    /// Appends to the value; all after `MAX` octets is cut off.
    pub fn extend(&mut self, bytes: &[u8], memory: &mut Memory) {
        const { assert!(MAX < u16::MAX as usize) };
        let place = self.place();
        let fitting = bytes.get(..MAX - place.len as usize).unwrap_or(bytes);
        let is_cut = Field::is_cut(self) || fitting.len() < bytes.len();
        let Place { at, len, room } = memory.append(place, fitting, MAX);
        // At most `MAX`, which fits, as does one more.
        *self = Self { at, len: if is_cut { MAX as u16 + 1 } else { len as u16 }, room: room as u16 };
    }

    /// The octets; empty if never set.
    #[must_use]
    pub fn as_bytes<'a>(&self, memory: &'a Memory) -> &'a [u8] {
        memory.get(self.place())
    }

    /// Whether it was never set, or set to nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn place(&self) -> Place {
        Place { at: self.at, len: u32::from(self.len).min(MAX as u32), room: self.room.into() }
    }
}

impl<const MAX: usize> Field for Text<MAX> {
    fn clear(&mut self) {
        *self = Self::default();
    }
    fn is_cut(&self) -> bool {
        usize::from(self.len) > MAX
    }
    fn value<'a>(&'a self, memory: &'a Memory) -> Option<Value<'a>> {
        if self.is_empty() { None } else { Some(Value::Text(self.as_bytes(memory))) }
    }
    fn assign(&mut self, value: Value<'_>, memory: &mut Memory) -> bool {
        let (Value::Text(bytes) | Value::Octets(bytes)) = value else { return false };
        self.set(bytes, memory);
        true
    }
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
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
            fn value<'a>(&'a self, _: &'a Memory) -> Option<Value<'a>> {
                if self.is_empty() { None } else { Some(Value::$variant(self.as_bytes())) }
            }
            fn assign(&mut self, value: Value<'_>, _: &mut Memory) -> bool {
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

/// At most `ITEMS` texts of at most `MAX` octets each.
#[derive(Clone, Debug, Default)]
pub struct TextList<const ITEMS: usize, const MAX: usize> {
    /// Each text behind its length in two octets.
    place: Place,
    count: u16,
}

impl<const ITEMS: usize, const MAX: usize> TextList<ITEMS, MAX> {
    /// Octets of the length of a text.
    const LENGTH: usize = size_of::<u16>();

    /// Appends a text. A text that is too long is cut off, one too many is left out.
    pub fn push(&mut self, text: &[u8], memory: &mut Memory) {
        const { assert!(ITEMS <= u16::MAX as usize && MAX <= u16::MAX as usize) };
        let fits = usize::from(self.count) < ITEMS;
        memory.cut |= text.len() > MAX || !fits;
        if !fits {
            return;
        }
        let fitting = text.get(..MAX).unwrap_or(text);
        let most = ITEMS * (Self::LENGTH + MAX);
        // At most `MAX`, which fits.
        self.place = memory.append(self.place, &(fitting.len() as u16).to_ne_bytes(), most);
        self.place = memory.append(self.place, fitting, most);
        self.count += 1;
    }

    /// Appends a text unless it is there already.
    pub fn push_new(&mut self, text: &[u8], memory: &mut Memory) {
        if !self.iter(memory).any(|t| t == text) {
            self.push(text, memory);
        }
    }

    /// The texts in the order in which they came.
    pub fn iter<'a>(&self, memory: &'a Memory) -> impl Iterator<Item = &'a [u8]> {
        let mut octets = memory.get(self.place);
        std::iter::from_fn(move || {
            let (text, rest) = first_text(octets)?;
            octets = rest;
            Some(text)
        })
    }

    /// Number of texts.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The first of texts behind their lengths, and the rest.
fn first_text(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = octets.split_first_chunk()?;
    rest.split_at_checked(u16::from_ne_bytes(len).into())
}

impl<const ITEMS: usize, const MAX: usize> Field for TextList<ITEMS, MAX> {
    fn clear(&mut self) {
        *self = Self::default();
    }
    fn value<'a>(&'a self, memory: &'a Memory) -> Option<Value<'a>> {
        let split: Split = |octets| first_text(octets).map(|(text, rest)| (Value::Text(text), rest));
        (!self.is_empty()).then(|| Value::List(Values { octets: memory.get(self.place), split }))
    }
    fn assign(&mut self, value: Value<'_>, memory: &mut Memory) -> bool {
        let (Value::Text(bytes) | Value::Octets(bytes)) = value else { return false };
        self.push(bytes, memory);
        true
    }
}

/// Octets of the number in front of what a [`Slot`] points to.
const COUNT: usize = size_of::<u16>();

/// What a [`List`] can hold.
pub trait Item: Copy + PartialEq {
    /// The item as it lies in memory.
    type Octets: AsRef<[u8]> + for<'a> TryFrom<&'a [u8]>;
    /// To memory.
    fn to_octets(self) -> Self::Octets;
    /// From memory.
    fn from_octets(octets: Self::Octets) -> Self;
    /// The item as a value.
    fn to_value(self) -> Value<'static>;
    /// The item of a value; `None` if the kind does not fit.
    fn from_value(value: Value<'_>) -> Option<Self>;
}

macro_rules! number_item {
    ($variant:ident: $($int:ty)*) => {$(
        impl Item for $int {
            type Octets = [u8; size_of::<$int>()];
            fn to_octets(self) -> Self::Octets {
                self.to_ne_bytes()
            }
            fn from_octets(octets: Self::Octets) -> Self {
                Self::from_ne_bytes(octets)
            }
            fn to_value(self) -> Value<'static> {
                Value::$variant(self.into())
            }
            fn from_value(value: Value<'_>) -> Option<Self> {
                match value {
                    Value::$variant(v) => Self::try_from(v).ok(),
                    _ => None,
                }
            }
        }
    )*};
}
number_item!(Unsigned: u8 u16 u32);
number_item!(Signed: i8 i16);

macro_rules! address_item {
    ($octets:literal $variant:ident) => {
        impl Item for [u8; $octets] {
            type Octets = Self;
            fn to_octets(self) -> Self {
                self
            }
            fn from_octets(octets: Self) -> Self {
                octets
            }
            fn to_value(self) -> Value<'static> {
                Value::$variant(self)
            }
            fn from_value(value: Value<'_>) -> Option<Self> {
                match value {
                    Value::$variant(address) => Some(address),
                    _ => None,
                }
            }
        }
    };
}
address_item!(4 Ipv4);
address_item!(16 Ipv6);

impl Item for crate::Timestamp {
    type Octets = [u8; 8];
    fn to_octets(self) -> [u8; 8] {
        self.as_nanos().to_ne_bytes()
    }
    fn from_octets(octets: [u8; 8]) -> Self {
        Self::from_nanos(u64::from_ne_bytes(octets))
    }
    fn to_value(self) -> Value<'static> {
        Value::Time(self)
    }
    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Time(ts) => Some(ts),
            _ => None,
        }
    }
}

macro_rules! address_field {
    ($octets:literal) => {
        impl Field for Option<[u8; $octets]> {
            fn clear(&mut self) {
                *self = None;
            }
            fn value<'a>(&'a self, _: &'a Memory) -> Option<Value<'a>> {
                self.map(Item::to_value)
            }
            fn assign(&mut self, value: Value<'_>, _: &mut Memory) -> bool {
                let Some(address) = Item::from_value(value) else { return false };
                *self = Some(address);
                true
            }
        }
    };
}
address_field!(4);
address_field!(16);

/// At most `ITEMS` numbers or addresses.
#[derive(Clone, Debug)]
pub struct List<T, const ITEMS: usize> {
    place: Place,
    items: PhantomData<T>,
}

impl<T, const ITEMS: usize> Default for List<T, ITEMS> {
    fn default() -> Self {
        Self { place: Place::default(), items: PhantomData }
    }
}

impl<T: Item, const ITEMS: usize> List<T, ITEMS> {
    /// Appends an item; one too many is left out.
    pub fn push(&mut self, item: T, memory: &mut Memory) {
        let most = ITEMS * size_of::<T::Octets>();
        if (self.place.len as usize) < most {
            self.place = memory.append(self.place, item.to_octets().as_ref(), most);
        } else {
            memory.cut = true;
        }
    }

    /// Appends an item unless it is there already.
    pub fn push_new(&mut self, item: T, memory: &mut Memory) {
        if !self.iter(memory).any(|other| other == item) {
            self.push(item, memory);
        }
    }

    /// The items in the order in which they came.
    pub fn iter<'a>(&self, memory: &'a Memory) -> impl Iterator<Item = T> + use<'a, T, ITEMS> {
        let octets = memory.get(self.place);
        octets.chunks_exact(size_of::<T::Octets>()).filter_map(|item| item.try_into().ok().map(T::from_octets))
    }
}

impl<T: Item, const ITEMS: usize> Field for List<T, ITEMS> {
    fn clear(&mut self) {
        *self = Self::default();
    }
    fn value<'a>(&'a self, memory: &'a Memory) -> Option<Value<'a>> {
        let split: Split = |octets| {
            let (item, rest) = octets.split_at_checked(size_of::<T::Octets>())?;
            Some((T::from_octets(item.try_into().ok()?).to_value(), rest))
        };
        (self.place.len > 0).then(|| Value::List(Values { octets: memory.get(self.place), split }))
    }
    fn assign(&mut self, value: Value<'_>, memory: &mut Memory) -> bool {
        let Some(item) = T::from_value(value) else { return false };
        self.push(item, memory);
        true
    }
}

/// Where in a [`Memory`] octets lie behind their length: one more than the offset, and 0 for none.
///
/// Half of what a [`Text`] takes in its struct, for values that are set once: what was there before stays behind.
#[derive(Clone, Copy, Debug, Default)]
struct Slot(u32);

impl Slot {
    fn set(&mut self, octets: &[u8], max: usize, memory: &mut Memory) {
        self.set_piece(octets, 0..octets.len(), max, memory);
    }

    /// Sets a piece of what is longer.
    #[inline]
    fn set_piece(&mut self, within: &[u8], piece: Range<usize>, max: usize, memory: &mut Memory) {
        let fitting = piece.start..piece.end.min(piece.start.saturating_add(max));
        memory.cut |= fitting.end < piece.end;
        self.0 = if fitting.is_empty() { 0 } else { memory.push_piece(within, fitting) };
    }

    fn get(self, memory: &Memory) -> &[u8] {
        let behind = self.0.checked_sub(1).and_then(|at| memory.bytes.get(at as usize..)).unwrap_or_default();
        first_text(behind).map_or(&[], |(octets, _)| octets)
    }

    /// Sets what is there and more, in its place if nothing lies behind it.
    fn extend(&mut self, more: &[u8], max: usize, memory: &mut Memory) {
        let before = self.get(memory);
        let octets = [before, more].concat();
        if let Some(at) = self.0.checked_sub(1).map(|at| at as usize)
            && at + size_of::<u16>() + before.len() == memory.bytes.len()
        {
            memory.bytes.truncate(at);
        }
        self.set(&octets, max, memory);
    }
}

macro_rules! once_field {
    ($(#[$doc:meta])* $name:ident $variant:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub struct $name<const MAX: usize>(Slot);

        impl<const MAX: usize> $name<MAX> {
            /// Sets the value; all after `MAX` octets is cut off. What a second call sets in place of the first is not given
            /// back to the memory.
            pub fn set(&mut self, bytes: &[u8], memory: &mut Memory) {
                const { assert!(MAX <= u16::MAX as usize) };
                self.0.set(bytes, MAX, memory);
            }

            /// The octets; empty if never set.
            #[must_use]
            pub fn as_bytes<'a>(&self, memory: &'a Memory) -> &'a [u8] {
                self.0.get(memory)
            }
        }

        impl<const MAX: usize> Field for $name<MAX> {
            fn clear(&mut self) {
                *self = Self::default();
            }
            fn value<'a>(&'a self, memory: &'a Memory) -> Option<Value<'a>> {
                Some(self.as_bytes(memory)).filter(|octets| !octets.is_empty()).map(Value::$variant)
            }
            fn assign(&mut self, value: Value<'_>, memory: &mut Memory) -> bool {
                let (Value::Text(bytes) | Value::Octets(bytes)) = value else { return false };
                self.set(bytes, memory);
                true
            }
        }
    };
}
once_field! {
    /// Text of at most `MAX` octets that is set once, in four octets of its struct. Empty and absent are the same.
    OnceText Text
}
once_field! {
    /// At most `MAX` octets that are no text and are set once, in four octets of their struct. Empty and absent are the same.
    OnceOctets Octets
}

impl<const MAX: usize> OnceText<MAX> {
    /// Sets the value to a piece of what is longer, which is quicker than to cut it out first.
    #[inline]
    pub fn set_piece(&mut self, within: &[u8], piece: Range<usize>, memory: &mut Memory) {
        const { assert!(MAX <= u16::MAX as usize) };
        self.0.set_piece(within, piece, MAX, memory);
    }

    /// Whether it was never set, or set to nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.0 == 0
    }
}

/// At most `ITEMS` texts of at most `MAX` octets each, in four octets of their struct: for what is rare, or is
/// written in one go. Each text that comes after something else was written moves all.
#[derive(Clone, Debug, Default)]
pub struct OnceTexts<const ITEMS: usize, const MAX: usize> {
    /// Texts, each behind its length.
    slot: Slot,
}

impl<const ITEMS: usize, const MAX: usize> OnceTexts<ITEMS, MAX> {
    /// Appends a text. A text that is too long is cut off, one too many is left out.
    pub fn push(&mut self, text: &[u8], memory: &mut Memory) {
        const { assert!(ITEMS * (COUNT + MAX) <= u16::MAX as usize) };
        let fitting = text.get(..MAX).unwrap_or(text);
        if self.slot.0 == 0 && ITEMS > 0 {
            memory.cut |= fitting.len() < text.len();
            memory.reserve(2 * COUNT + fitting.len());
            self.slot = Slot(memory.bytes.len() as u32 + 1);
            memory.bytes.extend_from_slice(&((COUNT + fitting.len()) as u16).to_ne_bytes());
            memory.bytes.extend_from_slice(&(fitting.len() as u16).to_ne_bytes());
            memory.bytes.extend_from_slice(fitting);
            return;
        }
        self.push_behind(text.len() > MAX, fitting, memory);
    }

    #[inline(never)]
    fn push_behind(&mut self, is_cut: bool, fitting: &[u8], memory: &mut Memory) {
        let fits = self.iter(memory).count() < ITEMS;
        memory.cut |= is_cut || !fits;
        if !fits {
            return;
        }
        let (from, len) = ((self.slot.0 as usize).wrapping_sub(1), self.octets(memory).len());
        memory.reserve(2 * COUNT + len + COUNT + fitting.len());
        let mut at = memory.bytes.len();
        if len > 0 && from.saturating_add(COUNT + len) == at {
            at = from;
        } else {
            memory.bytes.extend_from_slice(&[0; COUNT]);
            if len > 0 {
                memory.bytes.extend_from_within(from + COUNT..from + COUNT + len);
            }
        }
        memory.bytes.extend_from_slice(&(fitting.len() as u16).to_ne_bytes());
        memory.bytes.extend_from_slice(fitting);
        let all = ((len + COUNT + fitting.len()) as u16).to_ne_bytes();
        if let Some(count) = memory.bytes.get_mut(at..at + COUNT) {
            count.copy_from_slice(&all);
        }
        self.slot = Slot(at as u32 + 1);
    }

    /// The texts in the order in which they came.
    pub fn iter<'a>(&self, memory: &'a Memory) -> impl Iterator<Item = &'a [u8]> + use<'a, ITEMS, MAX> {
        let mut octets = self.octets(memory);
        std::iter::from_fn(move || {
            let (text, rest) = first_text(octets)?;
            octets = rest;
            Some(text)
        })
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.slot.0 == 0
    }

    fn octets<'a>(&self, memory: &'a Memory) -> &'a [u8] {
        let octets = self.slot.get(memory);
        // More there is only in other memory than its own.
        if octets.len() > ITEMS * (COUNT + MAX) { &[] } else { octets }
    }
}

impl<const ITEMS: usize, const MAX: usize> Field for OnceTexts<ITEMS, MAX> {
    fn clear(&mut self) {
        *self = Self::default();
    }
    fn value<'a>(&'a self, memory: &'a Memory) -> Option<Value<'a>> {
        let split: Split = |octets| first_text(octets).map(|(text, rest)| (Value::Text(text), rest));
        (!self.is_empty()).then(|| Value::List(Values { octets: self.octets(memory), split }))
    }
    fn assign(&mut self, value: Value<'_>, memory: &mut Memory) -> bool {
        let (Value::Text(bytes) | Value::Octets(bytes)) = value else { return false };
        self.push(bytes, memory);
        true
    }
}

/// At most `ITEMS` numbers or addresses that are set once, in four octets of their struct.
#[derive(Clone, Debug)]
pub struct OnceList<T, const ITEMS: usize> {
    slot: Slot,
    items: PhantomData<T>,
}

impl<T, const ITEMS: usize> Default for OnceList<T, ITEMS> {
    fn default() -> Self {
        Self { slot: Slot::default(), items: PhantomData }
    }
}

impl<T: Item, const ITEMS: usize> OnceList<T, ITEMS> {
    /// Octets that a full list takes.
    const MOST: usize = ITEMS * size_of::<T::Octets>();

    /// Appends items; those that are too many are left out. All at once, since each call may move what is there.
    pub fn extend(&mut self, items: impl IntoIterator<Item = T>, memory: &mut Memory) {
        const { assert!(Self::MOST <= u16::MAX as usize) };
        let mut octets = Vec::new();
        items.into_iter().for_each(|item| octets.extend_from_slice(item.to_octets().as_ref()));
        self.slot.extend(&octets, Self::MOST, memory);
    }

    /// The items in the order in which they came.
    pub fn iter<'a>(&self, memory: &'a Memory) -> impl Iterator<Item = T> + use<'a, T, ITEMS> {
        let octets = self.slot.get(memory);
        octets.chunks_exact(size_of::<T::Octets>()).filter_map(|item| item.try_into().ok().map(T::from_octets))
    }
}

impl<T: Item, const ITEMS: usize> Field for OnceList<T, ITEMS> {
    fn clear(&mut self) {
        *self = Self::default();
    }
    fn value<'a>(&'a self, memory: &'a Memory) -> Option<Value<'a>> {
        let split: Split = |octets| {
            let (item, rest) = octets.split_at_checked(size_of::<T::Octets>())?;
            Some((T::from_octets(item.try_into().ok()?).to_value(), rest))
        };
        let octets = self.slot.get(memory);
        (!octets.is_empty()).then_some(Value::List(Values { octets, split }))
    }
    fn assign(&mut self, value: Value<'_>, memory: &mut Memory) -> bool {
        let Some(item) = T::from_value(value) else { return false };
        self.extend([item], memory);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_once_takes_four_octets_and_keeps_to_its_bound() {
        let (mut memory, mut text) = (Memory::default(), OnceText::<4>::default());
        let (mut octets, mut list) = (OnceOctets::<4>::default(), OnceList::<u32, 3>::default());
        assert_eq!((size_of_val(&text), size_of_val(&octets), size_of_val(&list)), (4, 4, 4));
        assert_eq!((text.value(&memory), octets.value(&memory), list.value(&memory)), (None, None, None));
        text.set(b"abcd", &mut memory);
        octets.set(&[1, 2], &mut memory);
        list.extend([7, 8], &mut memory);
        let before = memory.as_bytes().len();
        assert!(list.assign(Value::Unsigned(9), &mut memory));
        // Nothing lies behind it, so it did not move.
        assert_eq!(memory.as_bytes().len(), before + 4);
        assert_eq!((text.as_bytes(&memory), octets.as_bytes(&memory)), (&b"abcd"[..], &[1, 2][..]));
        assert!(list.iter(&memory).eq([7, 8, 9]) && !memory.is_cut());
        text.set(b"12345", &mut memory);
        assert!(memory.is_cut());
        list.extend([10], &mut memory);
        assert_eq!(text.value(&memory), Some(Value::Text(b"1234")));
        assert!(list.iter(&memory).eq([7, 8, 9]));
        // Of other memory there is nothing, or what lies there: no harm.
        let _ = (text.as_bytes(&Memory::default()), list.iter(&Memory::default()).count());
        list.extend([1], &mut Memory::default());
    }

    #[test]
    fn a_text_keeps_to_its_bound_and_says_so() {
        let (mut memory, mut text) = (Memory::default(), Text::<4>::default());
        text.set(b"abc", &mut memory);
        text.extend(b"d", &mut memory);
        assert_eq!((text.as_bytes(&memory), text.is_cut()), (&b"abcd"[..], false));
        for more in [&b"ef"[..], b"", b"g"] {
            text.extend(more, &mut memory);
            assert_eq!((text.as_bytes(&memory), text.is_cut()), (&b"abcd"[..], true));
        }
        // What was cut is no longer there.
        text.set(b"x", &mut memory);
        assert_eq!((text.as_bytes(&memory), text.is_cut()), (&b"x"[..], false));
        assert_eq!(size_of_val(&text), 8);
    }

    #[test]
    fn a_place_in_other_memory_does_no_harm() {
        let (mut memory, mut other) = (Memory::default(), Memory::default());
        let (mut text, mut behind) = (Text::<9>::default(), Text::<9>::default());
        let (mut texts, mut numbers) = (TextList::<9, 9>::default(), List::<u16, 9>::default());
        text.set(b"abc", &mut memory);
        texts.push(b"abc", &mut memory);
        numbers.push(7, &mut memory);
        memory.clear();
        for used in [&mut memory, &mut other] {
            let (mut text, mut texts, mut numbers) = (text.clone(), texts.clone(), numbers.clone());
            assert!(text.as_bytes(used).is_empty());
            behind.set(b"xy", used);
            text.extend(b"defg", used);
            assert_eq!(text.as_bytes(used), b"defg");
            texts.push(b"de", used);
            numbers.push(8, used);
            // What they hold now is nobody's business, but it is within the bounds.
            assert!(texts.iter(used).count() <= 9 && numbers.iter(used).count() <= 9);
        }
    }

    #[test]
    fn a_short_text_keeps_to_its_bound_and_says_so() {
        let mut text = ShortText::<4>::default();
        assert!(text.is_empty());
        text.set(b"abcde");
        assert_eq!((text.as_bytes(), text.is_cut()), (&b"abcd"[..], true));
        text.set(b"x");
        let mut other = ShortText::<4>::default();
        other.set(b"x");
        assert_eq!(text, other);
        text.clear();
        assert!(text.is_empty());
    }

    #[test]
    fn a_list_of_texts_leaves_out_what_is_too_much() {
        let (mut memory, mut list) = (Memory::default(), TextList::<2, 3>::default());
        for text in [&b"ab"[..], b"", b"c"] {
            list.push(text, &mut memory);
        }
        assert_eq!(list.iter(&memory).collect::<Vec<_>>(), [&b"ab"[..], b""]);
        assert!(memory.is_cut());
        (list, memory.cut) = (TextList::default(), false);
        list.push(b"abcd", &mut memory);
        assert_eq!(list.iter(&memory).collect::<Vec<_>>(), [&b"abc"[..]]);
        assert!(memory.is_cut());
    }

    #[test]
    fn a_text_that_is_set_once_keeps_to_its_bound_wherever_it_is_cut_from() {
        let (mut memory, within) = (Memory::default(), [b'x'; 200]);
        for (from, len) in [(0, 0), (0, 1), (3, 64), (3, 65), (150, 50), (199, 1), (40, 100), (0, 200)] {
            let mut text = OnceText::<100>::default();
            text.set_piece(&within, from..from + len, &mut memory);
            assert_eq!(text.as_bytes(&memory), &within[..len.min(100)]);
            assert_eq!(text.value(&memory).is_some(), len > 0);
            assert_eq!(memory.is_cut(), len > 100);
        }
        assert_eq!(size_of::<OnceText<100>>(), 4);
    }

    #[test]
    fn lists_in_little_place_do_not_disturb_each_other() {
        let mut memory = Memory::default();
        let (mut a, mut b) = (OnceTexts::<3, 4>::default(), OnceTexts::<2, 4>::default());
        assert_eq!(a.value(&memory), None);
        for word in ["one", "", "three", "four"] {
            a.push(word.as_bytes(), &mut memory);
            b.push(word.as_bytes(), &mut memory);
        }
        assert_eq!(a.iter(&memory).collect::<Vec<_>>(), [&b"one"[..], b"", b"thre"]);
        assert_eq!(b.iter(&memory).collect::<Vec<_>>(), [&b"one"[..], b""]);
        assert!(memory.is_cut());
        // In other memory there is nothing, or whatever is there, but within the bounds.
        let mut other = Memory::default();
        a.push(b"x", &mut other);
        assert_eq!(a.iter(&other).collect::<Vec<_>>(), [b"x"]);
        assert_eq!(size_of_val(&a), 4);
    }

    #[test]
    fn what_is_held_grows_with_the_values_and_stays_when_they_are_cleared() {
        let (mut memory, mut text) = (Memory::default(), Text::<1000>::default());
        assert_eq!(memory.held(), 0);
        text.set(&[b'x'; 100], &mut memory);
        assert_eq!(memory.held(), 128);
        text.extend(&[b'x'; 100], &mut memory);
        assert_eq!(memory.held(), 256);
        memory.clear();
        assert_eq!((memory.held(), memory.as_bytes()), (256, &[][..]));
        assert_eq!([0, 1, 24, 25, 40, 41].map(allocated), [0, 32, 32, 48, 48, 64]);
    }

    /// Values that grow in turns are what each of them would be alone, and little is lost behind them.
    #[test]
    fn fields_in_one_memory_do_not_disturb_each_other() {
        let mut memory = Memory::default();
        let (mut a, mut b) = (Text::<300>::default(), Text::<5>::default());
        let (mut texts, mut numbers) = (TextList::<40, 6>::default(), List::<u16, 30>::default());
        let mut expected = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..3000_u16 {
            let word = round.to_string();
            if round % 50 == 49 {
                a.set(word.as_bytes(), &mut memory);
                expected.0 = word.clone().into_bytes();
            } else {
                a.extend(word.as_bytes(), &mut memory);
                expected.0.extend(word.bytes());
            }
            b.set(word.as_bytes(), &mut memory);
            texts.push_new(word.as_bytes(), &mut memory);
            numbers.push_new(round % 32, &mut memory);
            expected.0.truncate(300);
            expected.1.extend((round < 40).then(|| word.clone().into_bytes()));
            expected.2.extend((round < 30).then_some(round));
            assert_eq!((a.as_bytes(&memory), b.as_bytes(&memory)), (&expected.0[..], word.as_bytes()));
            assert!(texts.iter(&memory).eq(expected.1.iter().map(Vec::as_slice)));
            assert!(numbers.iter(&memory).eq(expected.2.iter().copied()));
        }
        let most = 300 + 5 + 40 * 8 + 30 * 2;
        assert!(memory.as_bytes().len() <= 3 * most, "{} of {most}", memory.as_bytes().len());
    }

    /// However values that can become large are written by turns, one step takes no more than they need and a bit.
    #[test]
    fn a_large_value_is_not_left_behind() {
        const MOST: usize = 1024 * 322;
        for interval in [1, 7, 33, 97, 101, 150, 512, 1000] {
            let (mut memory, mut list, mut text) =
                (Memory::default(), TextList::<1024, 320>::default(), Text::<256>::default());
            for round in 0..1024_usize {
                list.push(&[b'x'; 320], &mut memory);
                if round % interval == 0 {
                    text.set(&[b'y'; 256][..(round / interval).min(256)], &mut memory);
                }
            }
            assert_eq!(list.iter(&memory).filter(|text| *text == [b'x'; 320]).count(), 1024);
            assert!(!memory.is_cut());
            assert!(memory.held() < MOST + 96 * 1024, "{interval}: {}", memory.held());
        }
    }

    #[test]
    fn a_compact_number_is_none_until_it_is_set_and_saturates() {
        let (mut number, mut memory) = (Compact::<u32>::default(), Memory::default());
        assert_eq!((number.get(), number.value(&memory)), (None, None));
        number.add(0);
        assert_eq!(number.get(), Some(0));
        number.add(u32::MAX - 2);
        number.add(7);
        assert_eq!(number.get(), Some(Compact::<u32>::MAX));
        assert!(!number.assign(Value::Unsigned(1 << 32), &mut memory));
        assert!(number.assign(Value::Unsigned(5), &mut memory));
        assert_eq!(number.value(&memory), Some(Value::Unsigned(5)));
        number.clear();
        assert_eq!(number, Compact::default());
        assert_eq!((size_of::<Compact<u32>>(), size_of::<Compact<u64>>()), (4, 8));
    }

    #[test]
    fn a_number_that_is_too_large_is_refused() {
        let mut field: Option<u8> = None;
        let mut memory = Memory::default();
        assert!(!field.assign(Value::Unsigned(256), &mut memory));
        assert!(field.assign(Value::Unsigned(255), &mut memory));
        assert_eq!(field, Some(255));
    }
}
