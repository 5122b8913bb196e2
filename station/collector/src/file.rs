// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPFIX files (RFC 5655): messages one after the other, as on a stream.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use weir_flow::{RecordSink, Timestamp};
use weir_ipfix::{
    decode::DecodeError,
    message::{HEADER_LEN, Header},
};

use crate::{Decoder, Limits, Peer, Snapshot};

/// Why a file was not read to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file cannot be opened or read.
    #[error("at octet {offset}: {source}")]
    Io {
        /// Octets read before.
        offset: u64,
        /// What the system says.
        source: io::Error,
    },
    /// What should be a message is none.
    #[error("no IPFIX message at octet {offset}: {source}")]
    NotAMessage {
        /// Where the message should begin.
        offset: u64,
        /// What is wrong with it; its offset counts from there.
        source: DecodeError,
    },
    /// The file ends within a message.
    #[error("the file ends within the message at octet {offset}: {needed} octets needed, {available} there")]
    EndsWithinMessage {
        /// Where the message begins.
        offset: u64,
        /// Its octets.
        needed: usize,
        /// Octets that are there.
        available: usize,
    },
}

/// Reads the file at `path` and gives its flow records to `sink`. What stands before an error has been given; the snapshot
/// says how much that was. `enterprise`: see [`Config::enterprise`](crate::Config::enterprise).
pub fn read_file(path: &Path, enterprise: u32, sink: &mut dyn RecordSink) -> (Snapshot, Result<(), FileError>) {
    match File::open(path) {
        Ok(file) => read(BufReader::new(file), enterprise, sink),
        Err(source) => (Snapshot::default(), Err(FileError::Io { offset: 0, source })),
    }
}

/// Like [`read_file`], from anything that can be read; it should be buffered.
pub fn read(mut input: impl Read, enterprise: u32, sink: &mut dyn RecordSink) -> (Snapshot, Result<(), FileError>) {
    let mut decoder = Decoder::new(Limits::default(), enterprise);
    let result = read_messages(&mut input, &mut decoder, sink);
    decoder.close(Peer::File);
    let exporters = decoder.exporters().to_vec();
    (Snapshot { decoded: *decoder.counters(), held: *decoder.held(), exporters, ..Snapshot::default() }, result)
}

fn read_messages(input: &mut impl Read, decoder: &mut Decoder, sink: &mut dyn RecordSink) -> Result<(), FileError> {
    let mut offset = 0;
    let mut message = Vec::new();
    loop {
        message.clear();
        let io = |source| FileError::Io { offset, source };
        input.by_ref().take(HEADER_LEN as u64).read_to_end(&mut message).map_err(io)?;
        if message.is_empty() {
            return Ok(());
        }
        if message.len() < HEADER_LEN {
            return Err(FileError::EndsWithinMessage { offset, needed: HEADER_LEN, available: message.len() });
        }
        let header = Header::parse_claim(&message).map_err(|source| FileError::NotAMessage { offset, source })?;
        let needed = usize::from(header.length);
        input.by_ref().take((needed - HEADER_LEN) as u64).read_to_end(&mut message).map_err(io)?;
        if message.len() < needed {
            return Err(FileError::EndsWithinMessage { offset, needed, available: message.len() });
        }
        // A file has no time of arrival; the export time stands in for it.
        decoder.message(Peer::File, &message, Timestamp::from_secs(header.export_time.into()), sink);
        offset += needed as u64;
    }
}
