// SPDX-License-Identifier: MIT OR Apache-2.0
//! EDNS (RFC 6891): the record that says more of its message.

use weir_flow::app::Dns;

use super::{
    message::{Header, Record},
    rdata,
};
use crate::{Cursor, app::line};

/// Type of the record (RFC 6891 section 6.1.1).
pub(super) const OPT: u16 = 41;

/// Option with the subnet of the client (RFC 7871 section 6).
const CLIENT_SUBNET: u16 = 8;
/// Option with an extended error (RFC 8914 section 2).
const EXTENDED_ERROR: u16 = 15;

/// Reads the record of a message. An option that is odd does not hide those behind it.
pub(super) fn read(record: &Record<'_>, header: Header, fields: &mut Dns, text: &mut Vec<u8>) {
    let [upper_code, _, flags, _] = record.ttl.to_be_bytes();
    if fields.edns_udp_size.is_none() {
        fields.edns_udp_size = Some(record.class);
        fields.edns_dnssec_ok.set(flags >> 7);
    }
    if header.is_response() && upper_code != 0 && fields.extended_response_code.is_none() {
        fields.extended_response_code = Some(u16::from(upper_code) << 4 | u16::from(header.response_code()));
    }
    let mut c = Cursor::new(record.data);
    while let (Some(code), Some(len)) = (c.u16(), c.u16()) {
        let Some(data) = c.take(len.into()) else { return };
        match code {
            CLIENT_SUBNET => {
                let _: Option<()> = client_subnet(data, header, fields, text);
            }
            EXTENDED_ERROR if fields.extended_error.is_none() => fields.extended_error = Cursor::new(data).u16(),
            _ => {}
        }
    }
}

/// `None` if the option is not what it should be.
fn client_subnet(data: &[u8], header: Header, fields: &mut Dns, text: &mut Vec<u8>) -> Option<()> {
    let mut c = Cursor::new(data);
    let (family, source, scope) = (c.u16()?, c.u8()?, c.u8()?);
    // As many octets as the prefix needs; the rest of the address is zero.
    let mut address = [0; 16];
    address.iter_mut().zip(c.take(usize::from(source).div_ceil(8))?).for_each(|(to, from)| *to = *from);
    let [a, b, c, d, ..] = address;
    text.clear();
    match (family, source) {
        (1, ..=32) => rdata::write_ipv4([a, b, c, d], text),
        (2, ..=128) => rdata::write_ipv6(address, text),
        _ => return None,
    }
    text.push(b'/');
    line::decimal(source.into(), text);
    if fields.client_subnet.is_empty() {
        fields.client_subnet.set(text, &mut fields.memory);
    }
    if header.is_response() && fields.client_subnet_scope.get().is_none() {
        fields.client_subnet_scope.set(scope);
    }
    Some(())
}
