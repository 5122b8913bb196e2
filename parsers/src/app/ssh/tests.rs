// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made connections, and the lists whose fingerprints are published.

use proptest::prelude::*;
use weir_flow::app::{AppFields, Ssh};

use super::{
    super::{Direction, Feed, Probe, Transport, testing},
    Parser,
};
use testing::{Flow, Part};

use Direction::{Forward, Reverse};

const PORTS: [u16; 2] = [40_000, 22];

/// Lists of which the fingerprint 06046964c022c6407d15a27b12a6a4fb is published: OpenSSH 7.6 as a client.
const CLIENT: [&str; 4] = [
    "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group-exchange-sha1,diffie-hellman-group14-sha256,diffie-hellman-group14-sha1,ext-info-c",
    "chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com",
    "umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha1-etm@openssh.com,umac-64@openssh.com,umac-128@openssh.com,hmac-sha2-256,hmac-sha2-512,hmac-sha1",
    "none,zlib@openssh.com,zlib",
];

/// The same for b12d2871a1189eff20364cf5333619ee: OpenSSH 7.6 as a server.
const SERVER: [&str; 4] = [
    "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group14-sha256,diffie-hellman-group14-sha1",
    CLIENT[1],
    CLIENT[2],
    "none,zlib@openssh.com",
];

/// An SSH_MSG_KEXINIT: `other` stands for the lists of the opposite direction, which a fingerprint leaves out.
fn kexinit([kex, cipher, mac, compression]: [&str; 4], host_keys: &str, of_client: bool) -> Vec<u8> {
    let other = "other";
    let pair = |own| if of_client { [own, other] } else { [other, own] };
    let mut payload = vec![20]; // message number
    payload.extend([7; 16]); // cookie
    for list in
        [kex, host_keys].into_iter().chain(pair(cipher)).chain(pair(mac)).chain(pair(compression)).chain(["", ""])
    {
        payload.extend((list.len() as u32).to_be_bytes());
        payload.extend(list.as_bytes());
    }
    payload.extend([0, 0, 0, 0, 0]); // no guess follows; reserved
    packet(&payload)
}

/// A packet with padding to a multiple of eight octets, at least four (RFC 4253 section 6).
fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 4 + (8 - (4 + 1 + payload.len() + 4) % 8) % 8;
    let mut packet = (1 + payload.len() as u32 + padding as u32).to_be_bytes().to_vec();
    packet.push(padding as u8);
    packet.extend(payload);
    packet.extend(vec![0; padding]);
    packet
}

fn connection() -> Vec<Part> {
    vec![
        (Reverse, b"welcome, all is logged\r\nSSH-2.0-OpenSSH_7.6p1\r\n".to_vec()),
        (Forward, [&b"SSH-2.0-client comment\r\n"[..], &kexinit(CLIENT, "ssh-ed25519,rsa-sha2-256", true)].concat()),
        (Reverse, [packet(b"\x02\0\0\0\x01x"), kexinit(SERVER, "rsa-sha2-512,rsa-sha2-256", false)].concat()),
        (Forward, packet(&[30; 40])),
        (Reverse, vec![0x9f; 300]),
    ]
}

fn ssh(parts: &[Part]) -> Ssh {
    let mut found = testing::read(Transport::Stream, PORTS, parts);
    assert_eq!(found.len(), 1, "{found:?}");
    let Some((AppFields::Ssh(ssh), false)) = found.pop() else { panic!("not whole") };
    *ssh
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[test]
fn versions_fingerprints_and_what_is_agreed() {
    let ssh = ssh(&connection());
    assert_eq!(ssh.client_version.as_bytes(&ssh.memory), b"SSH-2.0-client comment");
    assert_eq!(ssh.server_version.as_bytes(&ssh.memory), b"SSH-2.0-OpenSSH_7.6p1");
    assert_eq!(hex(ssh.hassh.as_bytes()), "06046964c022c6407d15a27b12a6a4fb");
    assert_eq!(hex(ssh.hassh_server.as_bytes()), "b12d2871a1189eff20364cf5333619ee");
    assert_eq!(ssh.kex_algorithm.as_bytes(&ssh.memory), b"curve25519-sha256");
    assert_eq!(ssh.host_key_algorithm.as_bytes(&ssh.memory), b"rsa-sha2-256");
    // Of the client's cipher list only what the server has in the same direction counts: none here.
    assert!(ssh.cipher.is_empty() && ssh.mac.is_empty());
}

#[test]
fn a_client_that_answers_is_known_by_its_lists() {
    let parts = [
        (Forward, b"SSH-2.0-server\r\n".to_vec()),
        (Reverse, [&b"SSH-2.0-client\r\n"[..], &kexinit(CLIENT, "a", true)].concat()),
        (Forward, kexinit(SERVER, "a", false)),
    ];
    let ssh = ssh(&parts);
    assert_eq!(ssh.client_version.as_bytes(&ssh.memory), b"SSH-2.0-client");
    assert_eq!(ssh.server_version.as_bytes(&ssh.memory), b"SSH-2.0-server");
    assert_eq!(hex(ssh.hassh.as_bytes()), "06046964c022c6407d15a27b12a6a4fb");
    assert_eq!(hex(ssh.hassh_server.as_bytes()), "b12d2871a1189eff20364cf5333619ee");
}

#[test]
fn after_both_lists_nothing_is_wanted() {
    let mut flow = Flow::new(Transport::Stream, PORTS);
    assert_eq!(flow.feed(Reverse, b"SSH-2.0-s\r\n"), Feed::More);
    assert_eq!(flow.feed(Forward, b"SSH-2.0-c\r\n"), Feed::More);
    assert_eq!(flow.feed(Forward, &kexinit(CLIENT, "a", true)), Feed::More);
    assert_eq!(flow.feed(Reverse, &kexinit(SERVER, "a", false)), Feed::Done);
    assert_eq!(flow.finish().len(), 1);
}

#[test]
fn the_first_version_has_identification_strings_only() {
    let parts = [(Reverse, b"SSH-1.5-old\n".to_vec()), (Forward, b"SSH-1.5-older\n\0\0\0\x0a".to_vec())];
    let ssh = ssh(&parts);
    assert_eq!(ssh.server_version.as_bytes(&ssh.memory), b"SSH-1.5-old");
    assert_eq!(ssh.client_version.as_bytes(&ssh.memory), b"SSH-1.5-older");
    assert!(ssh.hassh.is_empty());
}

#[test]
fn lengths_that_lie_end_a_direction() {
    for bad in [&[0xff, 0xff, 0xff, 0xff, 4, 20][..], &[0, 0, 0, 1, 0, 20], &[0, 0, 0, 12, 200, 20, 0, 0, 0, 0, 0, 0]] {
        let parts = [(Forward, [&b"SSH-2.0-c\r\n"[..], bad].concat()), (Reverse, b"SSH-2.0-s\r\n".to_vec())];
        let ssh = ssh(&parts);
        assert!(ssh.hassh.is_empty(), "{bad:?}");
        assert_eq!(ssh.server_version.as_bytes(&ssh.memory), b"SSH-2.0-s");
    }
    // A list that says it is longer than its packet.
    let mut lying = kexinit(CLIENT, "a", true);
    lying[22] = 0xff;
    let parts = [(Forward, [&b"SSH-2.0-c\r\n"[..], &lying].concat())];
    assert!(ssh(&parts).hassh.is_empty());
}

#[test]
fn other_protocols_are_none() {
    for (bytes, expected) in [
        (&b"SSH"[..], Probe::More),
        (b"SSH-", Probe::More),
        (b"SSH-2.0-x", Probe::Yes),
        (b"SSH-1.99-x", Probe::Yes),
        (b"SSH-x", Probe::No),
        (b"ssh-2.0", Probe::No),
        (b"GET / HTTP/1.1\r\n", Probe::No),
        (b"220 mail ESMTP\r\n", Probe::No),
    ] {
        assert_eq!(testing::probe::<Parser>(Transport::Stream, false, bytes), expected, "{bytes:?}");
    }
    // On the port, a server may say something before.
    for (bytes, expected) in [
        (&b"all is logged\r\nSSH-"[..], Probe::More),
        (b"all is logged\r\nSSH-2", Probe::Yes),
        (b"\0\r\nSSH-2", Probe::No),
    ] {
        assert_eq!(testing::probe::<Parser>(Transport::Stream, true, bytes), expected, "{bytes:?}");
    }
    assert_eq!(testing::claimed_by(Transport::Stream, b"SSH-2.0-OpenSSH_9.2p1\r\n"), ["ssh"]);
}

#[test]
fn pieces_do_not_matter() {
    testing::assert_the_same_in_any_pieces(PORTS, &connection());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn damage_is_the_same_in_any_pieces(
        parts in testing::damaged(connection(), 40),
        size in 1_usize..200,
    ) {
        let whole = testing::read(Transport::Stream, PORTS, &parts);
        prop_assert_eq!(testing::read(Transport::Stream, PORTS, &testing::in_pieces(&parts, size)), whole);
    }

    #[test]
    fn anything_is_survived(parts in testing::anything()) {
        let parts: Vec<Part> = [vec![(Forward, b"SSH-2.0-x\r\n".to_vec())], parts].concat();
        testing::read(Transport::Stream, PORTS, &parts);
    }
}
