// SPDX-License-Identifier: MIT OR Apache-2.0
//! Application fields: one struct per protocol, one value of it per transaction.
//!
//! [`app_protocols!`](crate::app_protocols) is the list of protocols that Weir knows. Parsers, mapping tables, columns
//! and filter names are made from it: a protocol is registered by one line there.

/// The application protocols: type and slug of each, handed to the macro named.
///
/// The order is that of the names. Parsers are asked in it, those with a hint first, and the first yes wins; so no two may say
/// yes to the same octets.
#[macro_export]
macro_rules! app_protocols {
    ($callback:ident) => {
        $callback! {
            Bittorrent bittorrent,
            Dhcp dhcp,
            Dhcpv6 dhcpv6,
            Dns dns,
            Ftp ftp,
            Http http,
            Imap imap,
            Kerberos kerberos,
            Ldap ldap,
            Mqtt mqtt,
            Netbios netbios,
            Ntp ntp,
            Openvpn openvpn,
            Pop3 pop3,
            Quic quic,
            Rdp rdp,
            Rtp rtp,
            Rtsp rtsp,
            Sip sip,
            Smb smb,
            Smtp smtp,
            Snmp snmp,
            Ssdp ssdp,
            Ssh ssh,
            Stun stun,
            Tls tls,
            Wireguard wireguard,
        }
    };
}

use std::{fmt::Debug, sync::LazyLock};

// Has fields as well, so that the tables of `weir-ipfix` find it here.
#[doc(hidden)]
pub use crate::Statistics;
use crate::{Memory, Value};

/// What every field struct can do, by index of the field. Made by [`fields!`](crate::fields).
pub trait Fields: Clone + Debug + Default + PartialEq {
    /// The protocol's slug: its name in paths, configuration, filters and applicationName.
    const SLUG: &'static str;
    /// Names of the fields, in the order of their indices.
    const FIELDS: &'static [&'static str];
    /// The value of a field; `None` if it was never set, or if there is no such field.
    fn value(&self, field: usize) -> Option<Value<'_>>;
    /// Sets a field; a list grows by one. False if there is no such field or the kind of value does not fit.
    fn assign(&mut self, field: usize, value: Value<'_>) -> bool;
    /// Forgets all values, keeps the memory.
    fn clear(&mut self);
    /// What texts and lists lie in.
    fn memory(&self) -> &Memory;
    /// Whether something did not fit into its field.
    fn is_cut(&self) -> bool;
}

/// Declares a field struct: bounded fields, each known by name and index.
#[macro_export]
macro_rules! fields {
    (
        $(#[$doc:meta])*
        pub struct $name:ident = $slug:literal {
            $($(#[$field_doc:meta])* pub $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Default)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
            /// What texts and lists lie in.
            pub memory: $crate::Memory,
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut shown = f.debug_struct(stringify!($name));
                $(shown.field(stringify!($field), &$crate::Field::value(&self.$field, &self.memory));)*
                shown.finish()
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                $($crate::Field::value(&self.$field, &self.memory)
                    == $crate::Field::value(&other.$field, &other.memory) &&)* true
            }
        }

        impl $name {
            /// Index of a field by its name, for tables that are made at compile time.
            ///
            /// # Panics
            ///
            /// If there is no such field; in a constant this is an error of the compiler.
            #[must_use]
            #[allow(clippy::panic, reason = "evaluated by the compiler")]
            pub const fn field(name: &str) -> usize {
                let names = <Self as $crate::app::Fields>::FIELDS;
                let mut i = 0;
                while i < names.len() {
                    if $crate::app::same(names[i], name) {
                        return i;
                    }
                    i += 1;
                }
                panic!("no such field")
            }
        }

        impl $crate::app::Fields for $name {
            const SLUG: &'static str = $slug;
            const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];

            fn value(&self, field: usize) -> Option<$crate::Value<'_>> {
                let fields: &[&dyn $crate::Field] = &[$(&self.$field),*];
                fields.get(field)?.value(&self.memory)
            }

            fn assign(&mut self, field: usize, value: $crate::Value<'_>) -> bool {
                let fields: &mut [&mut dyn $crate::Field] = &mut [$(&mut self.$field),*];
                fields.get_mut(field).is_some_and(|f| f.assign(value, &mut self.memory))
            }

            fn clear(&mut self) {
                $($crate::Field::clear(&mut self.$field);)*
                self.memory.clear();
            }

            fn memory(&self) -> &$crate::Memory {
                &self.memory
            }

            fn is_cut(&self) -> bool {
                $($crate::Field::is_cut(&self.$field) ||)* self.memory.is_cut()
            }
        }
    };
}

/// Whether two strings are the same; usable in constants.
#[doc(hidden)]
#[must_use]
pub const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

macro_rules! declare {
    ($($name:ident $slug:ident,)*) => {
        $(
            pub mod $slug;
            pub use $slug::$name;
        )*

        /// Fields of one transaction, owned.
        #[derive(Clone, Debug, PartialEq)]
        pub enum AppFields {
            $(#[doc = concat!("Fields of `", stringify!($slug), "`.")] $name(Box<$name>),)*
        }

        /// Fields of one transaction, borrowed.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum AppRef<'a> {
            $(#[doc = concat!("Fields of `", stringify!($slug), "`.")] $name(&'a $name),)*
        }

        /// The slugs of all protocols.
        pub const SLUGS: &[&str] = &[$($name::SLUG),*];

        /// Fields of the protocol with this index of [`SLUGS`], none of them set: what is known of a flow is its protocol.
        #[must_use]
        pub fn unset(protocol: usize) -> Option<AppRef<'static>> {
            static UNSET: LazyLock<Vec<AppFields>> =
                LazyLock::new(|| vec![$(AppFields::$name(Box::default())),*]);
            UNSET.get(protocol).map(AppFields::borrow)
        }

        impl AppFields {
            /// Empty fields of the protocol with this slug; `None` if there is none.
            #[must_use]
            pub fn new(slug: &str) -> Option<Self> {
                $(if slug == $name::SLUG { return Some(Self::$name(Box::default())); })*
                None
            }

            /// The same, borrowed.
            #[must_use]
            pub fn borrow(&self) -> AppRef<'_> {
                match self { $(Self::$name(fields) => AppRef::$name(fields),)* }
            }

            /// Sets a field by index; see [`Fields::assign`].
            pub fn assign(&mut self, field: usize, value: Value<'_>) -> bool {
                match self { $(Self::$name(fields) => fields.assign(field, value),)* }
            }
        }

        impl<'a> AppRef<'a> {
            /// The protocol's slug.
            #[must_use]
            pub fn slug(&self) -> &'static str {
                match self { $(Self::$name(_) => $name::SLUG,)* }
            }

            /// The value of a field by index; see [`Fields::value`].
            #[must_use]
            pub fn value(&self, field: usize) -> Option<Value<'a>> {
                match *self { $(Self::$name(fields) => fields.value(field),)* }
            }

            /// Whether something did not fit into its field.
            #[must_use]
            pub fn is_cut(&self) -> bool {
                match self { $(Self::$name(fields) => fields.is_cut(),)* }
            }

            /// An owned copy.
            #[must_use]
            pub fn to_owned(&self) -> AppFields {
                match *self { $(Self::$name(fields) => AppFields::$name(Box::new(fields.clone())),)* }
            }
        }

        $(impl<'a> From<&'a $name> for AppRef<'a> {
            fn from(fields: &'a $name) -> Self {
                Self::$name(fields)
            }
        })*
    };
}
app_protocols!(declare);
