// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS (RFC 8446, RFC 5246) and DTLS (RFC 9147, RFC 6347): one ClientHello, and what the server answers.

use crate::{Compact, List, OnceOctets, OnceText, ShortOctets, ShortText, Text, TextList};

crate::fields! {
    /// Fields of a TLS handshake.
    pub struct Tls = "tls" {
        /// Host name of the server name extension (RFC 6066 section 3). With Encrypted Client Hello the public one.
        pub server_name: Text<256>,
        /// Legacy version of the ClientHello.
        pub client_version: Option<u16>,
        /// Versions offered with supported_versions (RFC 8446 section 4.2.1), in the client's order, without those reserved by
        /// RFC 8701. Absent: the legacy version is the only one.
        pub client_versions: List<u16, 16>,
        /// Version chosen by the server: supported_versions of the ServerHello, else its legacy version.
        pub version: Option<u16>,
        /// Cipher suite chosen by the server.
        pub cipher_suite: Option<u16>,
        /// Application protocols offered by the client (RFC 7301), in its order.
        pub alpn: TextList<256, 64>,
        /// Application protocol chosen by the server (RFC 7301). From TLS 1.3 on it is encrypted.
        pub alpn_chosen: OnceText<255>,
        /// Whether the handshake resumes a session: 0 no, 1 by its identifier (RFC 5246 section 7.3), 2 by a ticket
        /// (RFC 5077), 3 by a pre-shared key that was chosen (RFC 8446 section 4.2.11). Absent: cannot be told.
        pub resumption: Option<u8>,
        /// 1: the client offers encrypted_client_hello (RFC 9849), 2: its forerunner encrypted_server_name. Whether that is meant or
        /// is GREASE cannot be told from outside.
        pub ech: Option<u8>,
        /// 1: the server asked for another ClientHello (RFC 8446 section 4.1.4), which makes a transaction of its own.
        pub hello_retry: Option<u8>,
        /// JA3 fingerprint of the ClientHello: MD5 octets.
        pub ja3: ShortOctets<16>,
        /// JA3S fingerprint of the ServerHello: MD5 octets.
        pub ja3s: ShortOctets<16>,
        /// JA4 fingerprint of the ClientHello.
        pub ja4: ShortText<40>,
        /// Description of an alert sent before the handshake was encrypted: the first fatal one, else the first.
        pub alert: Option<u8>,
        /// Cipher suites offered, as they stand in the ClientHello: two octets each.
        pub cipher_suites: OnceOctets<512>,
        /// Types of the extensions of the ClientHello in its order: two octets each.
        pub extension_types: OnceOctets<256>,
        /// Lengths of the extensions of the ClientHello in its order: two octets each.
        pub extension_lengths: OnceOctets<256>,
        /// Named groups offered (RFC 8446 section 4.2.7), as they stand there: two octets each.
        pub groups: OnceOctets<128>,
        /// Point formats offered (RFC 8422 section 5.1.2), an octet each.
        pub point_formats: OnceOctets<16>,
        /// Subject of the server's certificate (RFC 5280 section 4.1.2.6), written as in RFC 4514.
        pub certificate_subject: OnceText<512>,
        /// Issuer of the server's certificate (RFC 5280 section 4.1.2.4), written as in RFC 4514.
        pub certificate_issuer: OnceText<512>,
        /// Common name of the subject: the most specific one.
        pub certificate_subject_name: OnceText<128>,
        /// Organisation of the subject: the most specific one.
        pub certificate_organization: OnceText<128>,
        /// Common name of the issuer: the most specific one.
        pub certificate_issuer_name: OnceText<128>,
        /// Names of subjectAltName (RFC 5280 section 4.2.1.6): DNS names, mail addresses, URIs, IP addresses.
        pub certificate_alternative_names: TextList<64, 255>,
        /// The certificate is valid from then on (RFC 5280 section 4.1.2.5): seconds since 1970-01-01 00:00 UTC.
        pub certificate_not_before: Compact<i64>,
        /// The certificate is valid until then, in the same unit.
        pub certificate_not_after: Compact<i64>,
        /// Serial number of the certificate (RFC 5280 section 4.1.2.2), without an octet that only says that it is positive.
        pub certificate_serial: OnceOctets<32>,
        /// SHA-256 of the certificate.
        pub certificate_sha256: OnceOctets<32>,
        /// Length of the certificate's public key in bits: the modulus of RSA, the order of a curve.
        pub certificate_key_bits: Option<i16>,
        /// Algorithm of the public key (RFC 5280 section 4.1.2.7): object identifier in decimals.
        pub certificate_key_algorithm: OnceText<64>,
        /// Algorithm that the certificate was signed with (RFC 5280 section 4.1.1.2): object identifier in decimals.
        pub certificate_signature_algorithm: OnceText<64>,
        /// Subject of the client's certificate, as the next three until TLS 1.2, where the server has asked for one (RFC 5246 section
        /// 7.4.6), written as in RFC 4514.
        pub client_certificate_subject: OnceText<512>,
        /// Issuer of the client's certificate, written as in RFC 4514.
        pub client_certificate_issuer: OnceText<512>,
        /// Serial number of the client's certificate, without an octet that only says that it is positive.
        pub client_certificate_serial: OnceOctets<32>,
        /// SHA-256 of the client's certificate.
        pub client_certificate_sha256: OnceOctets<32>,
    }
}
