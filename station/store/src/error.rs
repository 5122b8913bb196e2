// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can go wrong with a store.

use std::{
    io,
    path::{Path, PathBuf},
};

use datafusion::{arrow::error::ArrowError, error::DataFusionError};
use parquet::errors::ParquetError;

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The filter is not one.
    #[error(transparent)]
    Filter(#[from] crate::filter::FilterError),
    /// A file or directory cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another writer has the store.
    #[error("{0}: another process writes to this store")]
    Locked(PathBuf),
    /// There is no store.
    #[error("{0}: no flow store here (no directory `flows`)")]
    Missing(PathBuf),
    /// An option of a query says nothing that is known.
    #[error("{option}: {found:?} is not known; allowed: {allowed}")]
    Option {
        /// The option, as on the command line.
        option: &'static str,
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// The answer could not be written.
    #[error("output: {0}")]
    Output(#[source] io::Error),
    /// The query engine failed.
    #[error("query: {0}")]
    Query(#[source] Box<DataFusionError>),
    /// A segment cannot be encoded or decoded.
    #[error("segment: {0}")]
    Segment(#[source] Box<ParquetError>),
    /// A time window is not one.
    #[error("time window {0:?}: expected YYYY/MM/dd.hh:mm:ss[-YYYY/MM/dd.hh:mm:ss], a prefix of it, or `last 1h`")]
    Window(String),
}

impl Error {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }

    pub(crate) fn parquet(source: ParquetError) -> Self {
        Self::Segment(Box::new(source))
    }

    pub(crate) fn arrow(source: ArrowError) -> Self {
        Self::Query(Box::new(source.into()))
    }
}

impl From<DataFusionError> for Error {
    fn from(source: DataFusionError) -> Self {
        Self::Query(Box::new(source))
    }
}
