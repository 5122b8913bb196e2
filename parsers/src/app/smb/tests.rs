// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made messages.

use proptest::prelude::*;
use weir_flow::app::{AppFields, Smb};

use super::{
    super::{Direction, Probe, Transport, testing},
    Parser,
};
use testing::Part;

use Direction::{Forward, Reverse};

const PORTS: [u16; 2] = [40_000, 445];

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A message without its frame.
fn bare(command: u16, is_response: bool, status: u32, next: u32, body: &[u8]) -> Vec<u8> {
    let mut message = b"\xfeSMB\x40\0\0\0".to_vec(); // signature, size of the header, credit charge
    message.extend(status.to_le_bytes());
    message.extend(command.to_le_bytes());
    message.extend([1, 0]); // credits
    message.extend(u32::from(is_response).to_le_bytes()); // flags
    message.extend(next.to_le_bytes());
    message.extend([0; 40]); // message, process, tree, session, signature
    message.extend(body);
    message
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes()[..], message].concat()
}

fn request(command: u16, body: &[u8]) -> Vec<u8> {
    framed(&bare(command, false, 0, 0, body))
}

fn response(command: u16, status: u32, body: &[u8]) -> Vec<u8> {
    framed(&bare(command, true, status, 0, body))
}

/// CREATE: 44 octets, offset and length of the name, 8 octets, the name.
fn create(name: &str) -> Vec<u8> {
    let name = utf16(name);
    let mut body = vec![57, 0];
    body.extend([0; 42]);
    body.extend(120_u16.to_le_bytes());
    body.extend((name.len() as u16).to_le_bytes());
    body.extend([0; 8]);
    body.extend(name);
    body
}

fn tree_connect(path: &str) -> Vec<u8> {
    let path = utf16(path);
    let mut body = vec![9, 0, 0, 0, 72, 0]; // size, flags, offset
    body.extend((path.len() as u16).to_le_bytes());
    body.extend(path);
    body
}

/// SESSION_SETUP with an NTLM message of the third type behind four octets of something else.
fn session_setup() -> Vec<u8> {
    let mut ntlm = b"NTLMSSP\0\x03\0\0\0".to_vec();
    let texts = [utf16("CORP"), utf16("alice"), utf16("DESK")];
    ntlm.extend([0; 16]); // the two responses
    let mut offset = 64_u32;
    for text in &texts {
        ntlm.extend((text.len() as u16).to_le_bytes());
        ntlm.extend((text.len() as u16).to_le_bytes());
        ntlm.extend(offset.to_le_bytes());
        offset += text.len() as u32;
    }
    ntlm.extend([0; 8]); // session key
    ntlm.extend([1, 0, 0, 0]); // flags: Unicode
    ntlm.extend(texts.concat());
    let token = [&b"\x60\x48\x06\x06"[..], &ntlm].concat();
    let mut body = vec![25, 0, 0, 1]; // size, flags, security mode
    body.extend([0; 8]); // capabilities, channel
    body.extend(88_u16.to_le_bytes());
    body.extend((token.len() as u16).to_le_bytes());
    body.extend([0; 8]); // earlier session
    body.extend(token);
    body
}

fn connection() -> Vec<Part> {
    let chained = {
        let mut first = bare(5, false, 0, 0, &create("docs\\ü.txt"));
        first.resize(first.len().next_multiple_of(8), 0);
        let next = first.len() as u32;
        first[20..24].copy_from_slice(&next.to_le_bytes());
        framed(&[first, bare(6, false, 0, 0, &[0; 24])].concat())
    };
    vec![
        (Forward, framed(&[&b"\xffSMB\x72"[..], &[0; 40]].concat())), // a negotiation of the first version
        (Reverse, response(0, 0, &[65, 0, 1, 0, 0xff, 2, 0, 0])),     // whose answer asks for another
        (Forward, request(0, &[36, 0])),
        (Reverse, response(0, 0, &[65, 0, 1, 0, 0x11, 3, 0, 0])),
        (Forward, request(1, &session_setup())),
        (Reverse, response(1, 0xc000_0016, &[9, 0])),
        (Reverse, response(1, 0, &[9, 0])),
        (
            Forward,
            [request(3, &tree_connect("\\\\files\\IPC$")), request(3, &tree_connect("\\\\files\\home"))].concat(),
        ),
        (Reverse, [response(3, 0xc000_00cc, &[9, 0]), response(3, 0, &[16, 0])].concat()),
        (Forward, chained),
        (Forward, [request(8, &[49, 0]), request(9, &[0; 5000]), request(5, &create("docs\\ü.txt"))].concat()),
        (Reverse, response(8, 0, &[7; 20_000])),
    ]
}

fn smb(parts: &[Part]) -> Smb {
    let mut found = testing::read(Transport::Stream, PORTS, parts);
    assert_eq!(found.len(), 1, "{found:?}");
    let Some((AppFields::Smb(smb), false)) = found.pop() else { panic!("not whole") };
    *smb
}

#[test]
fn a_connection() {
    let smb = smb(&connection());
    assert_eq!((smb.version, smb.dialect), (Some(3), Some(0x0311)));
    assert_eq!(smb.commands, Some(1 << 0 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 9));
    assert_eq!(smb.status, Some(0xc000_00cc));
    assert_eq!(smb.tree.iter(&smb.memory).collect::<Vec<_>>(), [&b"\\\\files\\IPC$"[..], b"\\\\files\\home"]);
    assert_eq!(smb.file.iter(&smb.memory).collect::<Vec<_>>(), ["docs\\ü.txt".as_bytes()]);
    assert_eq!(smb.user.as_bytes(&smb.memory), b"alice");
    assert_eq!(smb.domain.as_bytes(&smb.memory), b"CORP");
    assert_eq!(smb.host.as_bytes(&smb.memory), b"DESK");
}

#[test]
fn the_first_version_and_what_is_encrypted_are_recognised() {
    let one = [(Forward, framed(&[&b"\xffSMB"[..], &[0; 40]].concat()))];
    assert_eq!((smb(&one).version, smb(&one).commands), (Some(1), None));
    let encrypted = [(Forward, framed(&[&b"\xfdSMB"[..], &[0; 80]].concat()))];
    assert_eq!((smb(&encrypted).version, smb(&encrypted).commands), (Some(3), None));
}

#[test]
fn offsets_and_lengths_that_lie() {
    let mut body = create("name");
    body[44..46].copy_from_slice(&0xffff_u16.to_le_bytes());
    assert!(smb(&[(Forward, request(5, &body))]).file.is_empty());
    // A length beyond the message gives what is there.
    let mut body = create("name");
    body[46..48].copy_from_slice(&0xffff_u16.to_le_bytes());
    let found = smb(&[(Forward, request(5, &body))]);
    assert_eq!(found.file.iter(&found.memory).collect::<Vec<_>>(), [&b"name"[..]]);
    // A chain that goes round.
    let mut round = request(6, &[0; 24]);
    round[24..28].copy_from_slice(&1_u32.to_le_bytes());
    assert_eq!(smb(&[(Forward, round)]).commands, Some(1 << 6));
}

#[test]
fn what_begins_so() {
    let probe = |bytes: &[u8]| testing::probe::<Parser>(Transport::Stream, true, bytes);
    let whole = request(0, &[36, 0]);
    for len in 1..10 {
        assert_eq!(probe(&whole[..len]), Probe::More, "{len}");
    }
    assert_eq!(probe(&whole[..10]), Probe::Yes);
    let names = [&[0x81, 0, 0, 0x44, 32][..], &[b'C'; 32], &[0, 32], &[b'A'; 32], &[0]].concat();
    assert_eq!((probe(&names[..36]), probe(&names)), (Probe::More, Probe::Yes));
    for bad in [
        &b"\0\0\0\x40\xfeSMC"[..],
        b"\0\0\0\x10\xfeSMB",
        b"\0\0\0\x40\xfeSMB\x41\0",
        b"\0\0\0\x40\xfbSMB",
        b"\x01\0\0\x40",
    ] {
        assert_eq!(probe(bad), Probe::No, "{bad:?}");
    }
    assert_eq!(testing::claimed_by(Transport::Stream, &whole), ["smb"]);
}

#[test]
fn pieces_do_not_matter() {
    testing::assert_the_same_in_any_pieces(PORTS, &connection());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn damage_is_the_same_in_any_pieces(parts in testing::damaged(connection(), 10), size in 1_usize..200) {
        let whole = testing::read(Transport::Stream, PORTS, &parts);
        prop_assert_eq!(testing::read(Transport::Stream, PORTS, &testing::in_pieces(&parts, size)), whole);
    }

    #[test]
    fn anything_is_survived(parts in testing::anything()) {
        let parts: Vec<Part> = [vec![(Forward, request(0, &[36, 0]))], parts].concat();
        testing::read(Transport::Stream, PORTS, &parts);
    }
}
