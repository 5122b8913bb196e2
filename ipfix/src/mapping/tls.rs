// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of TLS.

use super::{cesnet, flowmon, weir};

rows! { Tls:
    server_name "tlsServerName" String = cesnet(808), flowmon(338);
    client_version "tlsClientVersion" Unsigned16 = flowmon(340);
    client_versions "tlsClientVersions" [Unsigned16] = weir(100);
    version "tlsVersion" Unsigned16 = flowmon(333);
    cipher_suite "tlsCipherSuite" Unsigned16 = flowmon(336);
    alpn "tlsAlpn" [String] = weir(101);
    alpn_chosen "tlsAlpnChosen" String = flowmon(337);
    resumption "tlsResumption" Unsigned8 = weir(102);
    ech "tlsEncryptedClientHello" Unsigned8 = weir(103);
    hello_retry "tlsHelloRetryRequest" Unsigned8 = weir(104);
    ja3 "tlsJa3" OctetArray = flowmon(357);
    ja3s "tlsJa3s" OctetArray = weir(30);
    ja4 "tlsJa4" String = cesnet(809);
    alert "tlsAlert" Unsigned8 = weir(31);
    cipher_suites "tlsCipherSuites" OctetArray = flowmon(341);
    extension_types "tlsExtensionTypes" OctetArray = flowmon(344);
    extension_lengths "tlsExtensionLengths" OctetArray = flowmon(345);
    groups "tlsSupportedGroups" OctetArray = flowmon(346);
    point_formats "tlsPointFormats" OctetArray = flowmon(347);
    certificate_subject "tlsCertificateSubject" String = weir(105);
    certificate_issuer "tlsCertificateIssuer" String = weir(106);
    certificate_subject_name "tlsCertificateSubjectCommonName" String = flowmon(350);
    certificate_organization "tlsCertificateSubjectOrganization" String = flowmon(351);
    certificate_issuer_name "tlsCertificateIssuerCommonName" String = flowmon(349);
    certificate_alternative_names "tlsCertificateSubjectAlternativeName" [String] = weir(107);
    certificate_not_before "tlsCertificateNotBeforeSeconds" Signed64 = flowmon(352);
    certificate_not_after "tlsCertificateNotAfterSeconds" Signed64 = flowmon(353);
    certificate_serial "tlsCertificateSerialNumber" OctetArray = weir(108);
    certificate_sha256 "tlsCertificateSha256" OctetArray = weir(109);
    certificate_key_bits "tlsCertificateKeyBits" Signed32 = flowmon(356);
    certificate_key_algorithm "tlsCertificateKeyAlgorithm" String = weir(110);
    certificate_signature_algorithm "tlsCertificateSignatureAlgorithm" String = weir(111);
    client_certificate_subject "tlsClientCertificateSubject" String = weir(480);
    client_certificate_issuer "tlsClientCertificateIssuer" String = weir(481);
    client_certificate_serial "tlsClientCertificateSerialNumber" OctetArray = weir(482);
    client_certificate_sha256 "tlsClientCertificateSha256" OctetArray = weir(483);
}
