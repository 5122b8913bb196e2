// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path.
//!
//! Where packets come from: capture files, and interfaces ([`open_pcap`]; [`ring`], on Linux).
//!
//! [`open`] reads
//!
//! | format | how |
//! |---|---|
//! | classic pcap, either byte order, µs or ns, versions 2.0 to 2.4, and Kuznetzov's modification | own reader |
//! | pcapng, several sections and interfaces, either byte order | own reader |
//! | one of these compressed with gzip | the same, behind `flate2` |
//! | what else the libpcap at hand may know | `pcap` crate, feature `libpcap` |
//!
//! All of them stream through a buffer, from which packets are borrowed: a reader of records sees a window of octets, and
//! says how many it wants if they are too few.
//!
//! Timestamps are in nanoseconds, and saturate at what [`weir_flow::Timestamp`] holds; a packet without one (simple
//! packet block) has that of the packet before it in the file, the first [`weir_flow::Timestamp::ZERO`].
//!
//! A damaged file yields every packet before the damage, then [`weir_flow::SourceError::Damaged`] with the offset of the
//! first octet of the record that cannot be right.

#[cfg(feature = "libpcap")]
mod libpcap;
mod order;
mod pcap;
mod pcapng;
mod records;
#[cfg(target_os = "linux")]
pub mod ring;
#[cfg(test)]
mod tests;
mod wait;
mod window;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use thiserror::Error;
use weir_flow::{PacketSource, SourceError};

use self::order::Order;
use self::pcap::Pcap;
use self::pcapng::Pcapng;
use self::records::RecordSource;
use self::window::Window;

/// Most octets that one packet may hold: what libpcap allows for every link type that is decoded (`MAXIMUM_SNAPLEN`).
/// A record that claims more is damage.
pub const MAX_CAPTURED: u32 = 262_144;

/// Octets of a buffer that a file is read into.
pub(crate) const BUFFER: usize = Window::BUFFER;

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
    /// An interface cannot be captured.
    #[error("cannot capture on {interface}: {reason}")]
    Interface {
        /// Its name as given.
        interface: String,
        /// What stands in the way.
        reason: String,
    },
}

/// Longest time that libpcap is waited for.
#[cfg(feature = "libpcap")]
const PATIENCE: Duration = Duration::from_millis(250);

/// How an interface is captured through libpcap.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PcapSettings {
    /// Octets of each packet that are captured at most.
    pub snap_octets: u32,
    /// Whether packets for others are captured too.
    pub promiscuous: bool,
    /// Which packets are captured, in the language of tcpdump; `None` for all.
    pub filter: Option<String>,
    /// Octets in which packets wait.
    pub buffer_octets: usize,
}

/// Opens an interface through libpcap.
///
/// # Errors
///
/// When there is no such interface, this process may not capture, or this build has no libpcap.
#[cfg(feature = "libpcap")]
pub fn open_pcap(interface: &str, settings: &PcapSettings) -> Result<Box<dyn PacketSource + Send>, OpenError> {
    libpcap::open_live(interface, settings)
}

/// This build has no libpcap.
///
/// # Errors
///
/// Always.
#[cfg(not(feature = "libpcap"))]
pub fn open_pcap(interface: &str, _settings: &PcapSettings) -> Result<Box<dyn PacketSource + Send>, OpenError> {
    Err(OpenError::Interface { interface: interface.to_owned(), reason: "built without libpcap".to_owned() })
}

/// The system's number of an interface.
#[cfg(feature = "libpcap")]
fn interface_index(name: &str) -> Option<u32> {
    std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok()?.trim().parse().ok()
}

/// Whether an interface is up, as far as its administrator goes; `None` if there is none.
#[must_use]
pub fn interface_is_up(name: &str) -> Option<bool> {
    /// `IFF_UP` (linux/if.h).
    const UP: u32 = 1;
    let flags = std::fs::read_to_string(format!("/sys/class/net/{name}/flags")).ok()?;
    let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).ok()?;
    Some(flags & UP != 0)
}

/// Opens a capture file; `-` is standard input.
///
/// The source ends with [`weir_flow::SourceState::End`], where the file ends when it is read there.
///
/// # Errors
///
/// When the file cannot be opened, or does not begin like a capture. A file that is damaged behind its header opens.
pub fn open(path: &str) -> Result<Box<dyn PacketSource + Send>, OpenError> {
    open_until(path, Arc::new(|| false))
}

/// The same; where reading may have to wait (standard input, a pipe), there is nothing more once `is_over`, which is asked a
/// few times a second.
///
/// # Errors
///
/// As of [`open`].
pub fn open_until(path: &str, is_over: IsOver) -> Result<Box<dyn PacketSource + Send>, OpenError> {
    let io_error = |source| OpenError::Io { path: path.to_owned(), source };
    let file = match path {
        // The standard library's buffer would hide what waits in it.
        "-" => File::from(io::stdin().as_fd().try_clone_to_owned().map_err(io_error)?),
        _ => File::open(path).map_err(io_error)?,
    };
    let kind = file.metadata().map_err(io_error)?.file_type();
    if kind.is_dir() {
        return Err(io_error(io::ErrorKind::IsADirectory.into()));
    }
    if path != "-" && kind.is_file() {
        return open_stream(path, Box::new(file), Some(path));
    }
    open_stream(path, Box::new(Stream { file, is_over }), None)
}

/// Whether reading is to end.
pub type IsOver = Arc<dyn Fn() -> bool + Send + Sync>;

/// How long a stream waits before it asks whether it is over.
const LOOK: Duration = Duration::from_millis(200);

/// What may keep its reader waiting.
struct Stream {
    file: File,
    is_over: IsOver,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !(self.is_over)() {
            if wait::readable(&self.file, LOOK)? {
                return self.file.read(buffer);
            }
        }
        Ok(0)
    }
}

/// First octets of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// `file` is the path of a regular file, which does not keep its reader waiting, and which libpcap may open in our place.
fn open_stream(
    path: &str,
    input: Box<dyn Read + Send>,
    file: Option<&str>,
) -> Result<Box<dyn PacketSource + Send>, OpenError> {
    let may_wait = file.is_none();
    let mut stream = Window::new(input, may_wait);
    fill(path, &mut stream, 4)?;
    if stream.bytes().starts_with(&GZIP) {
        let inner = Window::new_compressed(Box::new(MultiGzDecoder::new(stream.into_reader())), may_wait);
        return open_window(path, inner, None);
    }
    open_window(path, stream, file)
}

/// Chooses the reader by the first octets.
fn open_window(path: &str, mut window: Window, file: Option<&str>) -> Result<Box<dyn PacketSource + Send>, OpenError> {
    let not_a_capture = |reason: String| OpenError::NotACapture { path: path.to_owned(), reason };
    fill(path, &mut window, 4)?;
    match window.bytes().first_chunk::<4>() {
        Some(&pcapng::MAGIC) => return Ok(Box::new(RecordSource::new(window, Pcapng::new()))),
        Some(magic) if let Some(variant) = pcap::Variant::of(*magic) => {
            fill(path, &mut window, pcap::HEADER_OCTETS)?;
            let header = window.bytes().first_chunk().ok_or_else(|| {
                let held = window.bytes().len();
                not_a_capture(format!("the file ends {held} octets into its header of {}", pcap::HEADER_OCTETS))
            })?;
            let header = *header;
            window.consume(pcap::HEADER_OCTETS);
            return Ok(match variant.order {
                Order::Big => {
                    let records = Pcap::<true>::new(variant, &header).map_err(not_a_capture)?;
                    Box::new(RecordSource::new(window, records))
                }
                Order::Little => {
                    let records = Pcap::<false>::new(variant, &header).map_err(not_a_capture)?;
                    Box::new(RecordSource::new(window, records))
                }
            });
        }
        Some(_) => {}
        None => {
            let held = window.bytes().len();
            return Err(not_a_capture(format!("the file has {held} octets, too few for a capture")));
        }
    }
    let [a, b, c, d] = window.bytes().first_chunk().copied().unwrap_or_default();
    let reason = format!("it begins with {a:02x} {b:02x} {c:02x} {d:02x}, which is neither pcap nor pcapng");
    match file.map(foreign) {
        Some(Ok(source)) => Ok(source),
        Some(Err(also)) => Err(not_a_capture(format!("{reason}; {also}"))),
        None => Err(not_a_capture(reason)),
    }
}

/// Leaves a file to libpcap: today it reads no format that we do not, but later ones may.
#[cfg(feature = "libpcap")]
fn foreign(path: &str) -> Result<Box<dyn PacketSource + Send>, String> {
    libpcap::open(path).map_err(|error| error.to_string())
}

#[cfg(not(feature = "libpcap"))]
fn foreign(_path: &str) -> Result<Box<dyn PacketSource + Send>, String> {
    Err("built without libpcap, which may know it".to_owned())
}

/// Waits until the window holds `octets`, or all that there are.
fn fill(path: &str, window: &mut Window, octets: usize) -> Result<(), OpenError> {
    match window.fill(octets) {
        Ok(_) => Ok(()),
        Err(SourceError::Io(source)) => Err(OpenError::Io { path: path.to_owned(), source }),
        Err(error) => Err(OpenError::NotACapture { path: path.to_owned(), reason: error.to_string() }),
    }
}
