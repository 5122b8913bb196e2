// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages and their attributes (RFC 8489 sections 5 and 14).

use weir_flow::app::Stun;

/// Octets of the header: type, length, cookie, identifier of the transaction.
const HEADER: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// Most attributes of a message that are looked at.
const MAX_ATTRIBUTES: usize = 64;

const MAPPED_ADDRESS: u16 = 0x0001;
const USERNAME: u16 = 0x0006;
const ERROR_CODE: u16 = 0x0009;
const REALM: u16 = 0x0014;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const SOFTWARE: u16 = 0x8022;

/// A message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    kind: u16,
    /// Cookie and identifier: what addresses are masked with.
    mask: &'a [u8; 16],
    attributes: &'a [u8],
}

impl<'a> Message<'a> {
    /// The message that a datagram is; `None` if it is none. `is_classic`: one without the cookie may be one, if its attributes
    /// fill it (RFC 3489).
    pub(super) fn read(bytes: &'a [u8], snapped: bool, is_classic: bool) -> Option<Self> {
        let (header, attributes) = bytes.split_first_chunk::<HEADER>()?;
        let (&[a, b, c, d], mask) = header.split_first_chunk::<4>()?;
        let (kind, len) = (u16::from_be_bytes([a, b]), usize::from(u16::from_be_bytes([c, d])));
        if a & 0xc0 != 0 || len % 4 != 0 || attributes.len() > len || (attributes.len() < len && !snapped) {
            return None;
        }
        let message = Self { kind, mask: mask.first_chunk()?, attributes };
        let has_cookie = mask.starts_with(&COOKIE);
        let is_plain = || is_classic && matches!(kind, 0x0001 | 0x0101 | 0x0111) && message.is_filled();
        (has_cookie || is_plain()).then_some(message)
    }

    fn is_filled(&self) -> bool {
        let mut attributes = self.attributes();
        attributes.by_ref().for_each(drop);
        attributes.rest.is_empty()
    }

    fn attributes(&self) -> Attributes<'a> {
        Attributes { rest: self.attributes, left: MAX_ATTRIBUTES }
    }

    /// Whether it answers a request (RFC 8489 section 5: the upper bit of the class).
    const fn is_response(&self) -> bool {
        self.kind & 0x0100 != 0
    }

    /// Writes what it says, unless that was said already.
    pub(super) fn write(&self, stun: &mut Stun) {
        stun.message_type.push_new(self.kind, &mut stun.memory);
        for (kind, value) in self.attributes() {
            let memory = &mut stun.memory;
            let text = match kind {
                SOFTWARE if self.is_response() => &mut stun.server_software,
                SOFTWARE => &mut stun.software,
                REALM => &mut stun.realm,
                USERNAME => {
                    if stun.username.is_empty() {
                        stun.username.set(value, memory);
                    }
                    continue;
                }
                XOR_MAPPED_ADDRESS => {
                    write_address(value, self.mask, stun);
                    continue;
                }
                MAPPED_ADDRESS => {
                    write_address(value, &[0; 16], stun);
                    continue;
                }
                ERROR_CODE => {
                    if let Some(&[_, _, class, number]) = value.first_chunk() {
                        let code = 100 * u16::from(class & 7) + u16::from(number);
                        stun.error_code.push_new(code, memory);
                    }
                    continue;
                }
                _ => continue,
            };
            if text.is_empty() {
                text.set(value, memory);
            }
        }
    }
}

/// Type and value of each attribute.
struct Attributes<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (&[a, b, c, d], rest) = self.rest.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([c, d]));
        let value = rest.get(..len)?;
        // Each is filled up to whole words.
        self.rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_be_bytes([a, b]), value))
    }
}

/// Family, port, address (RFC 8489 sections 14.1 and 14.2).
fn write_address(value: &[u8], mask: &[u8; 16], stun: &mut Stun) {
    let Some((&[_, family, high, low], address)) = value.split_first_chunk::<4>() else { return };
    let [mask_high, mask_low, ..] = *mask;
    let port = u16::from_be_bytes([high ^ mask_high, low ^ mask_low]);
    match (family, address.first_chunk::<4>(), address.first_chunk::<16>()) {
        (1, Some(address), _) => stun.mapped_ipv4.push_new(masked(address, mask), &mut stun.memory),
        (2, _, Some(address)) => stun.mapped_ipv6.push_new(masked(address, mask), &mut stun.memory),
        _ => return,
    }
    stun.mapped_port.push_new(port, &mut stun.memory);
}

fn masked<const N: usize>(address: &[u8; N], mask: &[u8; 16]) -> [u8; N] {
    let mut octets = *address;
    octets.iter_mut().zip(mask).for_each(|(octet, mask)| *octet ^= mask);
    octets
}
