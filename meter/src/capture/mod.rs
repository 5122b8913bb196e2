// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path.
//!
//! Where packets come from.

use std::io;

use thiserror::Error;
use weir_flow::PacketSource;

/// Why a capture cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system refused.
    #[error("cannot open capture {path}: {source}")]
    Io {
        /// The path as given.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is none of the formats that are read.
    #[error("cannot read capture {path}: {reason}")]
    NotACapture {
        /// The path as given.
        path: String,
        /// What it begins with, or what libpcap said of it.
        reason: String,
    },
}

/// Opens a capture file; `-` is standard input.
///
/// # Errors
///
/// When the file cannot be opened, or is not a capture. A file that is damaged behind its header opens; its source yields
/// the packets before the damage first.
pub fn open(path: &str) -> Result<Box<dyn PacketSource + Send>, OpenError> {
    Err(OpenError::NotACapture { path: path.to_owned(), reason: "not read yet".to_owned() })
}
