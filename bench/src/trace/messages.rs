// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages of application protocols, as programs send them.

use std::fmt::Write;

use super::draw::Draw;

/// The name of a host, one of some ten thousand.
pub fn host(draw: &mut Draw) -> String {
    const FIRST: [&str; 6] = ["www", "api", "cdn", "mail", "static", "img"];
    let first = FIRST.get(draw.below(6) as usize).copied().unwrap_or("www");
    format!("{first}.site-{:04}.example", draw.below(2_000))
}

/// A request for a page.
pub fn http_request(draw: &mut Draw, host: &str) -> Vec<u8> {
    let path = draw.below(100_000);
    let mut text = format!("GET /articles/{path}/index.html?page={} HTTP/1.1\r\nHost: {host}\r\n", draw.below(20));
    text.push_str("User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n");
    text.push_str("Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n");
    text.push_str("Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate\r\n");
    // Writing to a string does not fail.
    let _ = write!(text, "Referer: http://{host}/\r\nConnection: keep-alive\r\n\r\n");
    text.into_bytes()
}

/// The head of an answer with a body of `octets`.
pub fn http_response(draw: &mut Draw, octets: usize) -> Vec<u8> {
    let (status, reason) = if draw.chance(900) { (200, "OK") } else { (404, "Not Found") };
    let tag = draw.any();
    format!(
        "HTTP/1.1 {status} {reason}\r\nServer: nginx/1.26.1\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n\
         Content-Type: text/html; charset=utf-8\r\nContent-Length: {octets}\r\nETag: \"{tag:016x}\"\r\n\
         Connection: keep-alive\r\n\r\n"
    )
    .into_bytes()
}

/// A question for the addresses of a name, and the answer.
pub fn dns(draw: &mut Draw, name: &str) -> [Vec<u8>; 2] {
    let id = draw.below(1 << 16).to_be_bytes();
    let is_ipv6 = draw.chance(300);
    let mut question = Vec::with_capacity(64);
    for label in name.split('.') {
        question.extend(u8::try_from(label.len()).ok());
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, if is_ipv6 { 28 } else { 1 }, 0, 1]);
    let answers = 1 + draw.below(4).to_be_bytes()[3];
    let mut query = vec![id[2], id[3], 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.extend(&question);
    let mut response = vec![id[2], id[3], 0x81, 0x80, 0, 1, 0, answers, 0, 0, 0, 0];
    response.extend(&question);
    for answer in 0..answers {
        // The name: where it stands in the question.
        response.extend([0xc0, 12, 0, if is_ipv6 { 28 } else { 1 }, 0, 1, 0, 0, 1, 44]);
        if is_ipv6 {
            response.extend([0, 16, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, id[2], id[3], 0, answer]);
        } else {
            response.extend([0, 4, 192, 0, 2, id[3] ^ answer]);
        }
    }
    [query, response]
}

/// Octets with their number in front, in `width` octets.
fn counted(width: usize, octets: &[u8]) -> Vec<u8> {
    let length = octets.len().to_be_bytes();
    length.get(length.len() - width..).unwrap_or_default().iter().chain(octets).copied().collect()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &counted(2, content)].concat()
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let message = [&[kind][..], &counted(3, body)].concat();
    [&[22, 3, 1][..], &counted(2, &message)].concat()
}

fn random(draw: &mut Draw) -> Vec<u8> {
    (0..4).flat_map(|_| draw.any().to_be_bytes()).collect()
}

/// What a client of TLS 1.3 begins with.
pub fn client_hello(draw: &mut Draw, server_name: &str) -> Vec<u8> {
    let ciphers: Vec<u8> = [0x1301_u16, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014]
        .iter()
        .flat_map(|cipher| cipher.to_be_bytes())
        .collect();
    let name = counted(2, &[&[0][..], &counted(2, server_name.as_bytes())].concat());
    let protocols = counted(2, &[counted(1, b"h2"), counted(1, b"http/1.1")].concat());
    let key_share = counted(2, &[&[0, 29][..], &counted(2, &random(draw))].concat());
    let extensions = [
        extension(0, &name),
        extension(23, &[]),
        extension(65281, &[0]),
        extension(10, &counted(2, &[0, 29, 0, 23, 0, 24])),
        extension(11, &[1, 0]),
        extension(16, &protocols),
        extension(5, &[1, 0, 0, 0, 0]),
        extension(13, &counted(2, &[4, 3, 5, 3, 8, 4, 8, 5, 4, 1, 5, 1])),
        extension(51, &key_share),
        extension(45, &[1, 1]),
        extension(43, &[4, 3, 4, 3, 3]),
    ]
    .concat();
    let parts = [
        vec![3, 3],
        random(draw),
        counted(1, &random(draw)),
        counted(2, &ciphers),
        vec![1, 0],
        counted(2, &extensions),
    ];
    handshake(1, &parts.concat())
}

/// What a server of TLS 1.3 answers, with the change of cipher and the first encrypted record behind it.
pub fn server_hello(draw: &mut Draw) -> Vec<u8> {
    let key_share = [&[0, 29][..], &counted(2, &random(draw))].concat();
    let extensions = [extension(43, &[3, 4]), extension(51, &key_share)].concat();
    let parts =
        [vec![3, 3], random(draw), counted(1, &random(draw)), vec![0x13, 0x01, 0], counted(2, &extensions)].concat();
    [handshake(2, &parts), vec![20, 3, 3, 0, 1, 1]].concat()
}

/// The head of an encrypted record of TLS.
pub fn tls_record(octets: usize) -> Vec<u8> {
    let [.., a, b] = octets.to_be_bytes();
    vec![23, 3, 3, a, b]
}

/// The head of a mail.
pub fn mail_head(draw: &mut Draw, sender: &str, recipient: &str) -> Vec<u8> {
    let id = draw.any();
    format!(
        "From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: Report {}\r\nMessage-ID: <{id:016x}@site.example>\r\n\
         MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        id % 1000
    )
    .into_bytes()
}

/// A dialogue of SIP.
#[derive(Debug)]
pub struct Dialogue {
    /// What ties its messages together.
    pub call_id: String,
    host: String,
    caller: u32,
    callee: u32,
}

impl Dialogue {
    /// Between two telephones.
    pub fn new(draw: &mut Draw) -> Self {
        let host = host(draw);
        let call_id = format!("{:016x}@{host}", draw.any());
        Self { call_id, host, caller: draw.below(100_000), callee: draw.below(100_000) }
    }

    /// A message: its first line, the method and number of its `CSeq`, and whether it describes a session.
    pub fn message(&self, first: &str, method: &str, number: u32, has_session: bool) -> Vec<u8> {
        let Self { call_id, host, caller, callee } = self;
        let session = if has_session {
            format!(
                "v=0\r\no=- {number} {number} IN IP4 192.0.2.10\r\ns=call\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
                 m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
            )
        } else {
            String::new()
        };
        let kind = if has_session { "Content-Type: application/sdp\r\n" } else { "" };
        format!(
            "{first}\r\nVia: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK{call_id:.12}{number}\r\nMax-Forwards: 70\r\n\
             From: <sip:{caller}@{host}>;tag={caller:x}\r\nTo: <sip:{callee}@{host}>\r\nCall-ID: {call_id}\r\n\
             CSeq: {number} {method}\r\nContact: <sip:{caller}@192.0.2.10:5060>\r\nUser-Agent: Phone/2.1\r\n\
             {kind}Content-Length: {}\r\n\r\n{session}",
            session.len()
        )
        .into_bytes()
    }

    /// The first line of a request.
    pub fn request(&self, method: &str) -> String {
        format!("{method} sip:{}@{} SIP/2.0", self.callee, self.host)
    }
}
