// SPDX-License-Identifier: MIT OR Apache-2.0
//! What time it is for the exporting process: the system's time, or one that a test puts forward.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// A clock that goes as fast as the system's, and may be ahead of it.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Nanoseconds by which it is ahead.
    ahead: Arc<AtomicU64>,
}

impl Clock {
    /// Puts it forward, for whoever has a copy of it.
    pub fn put_forward(&self, by: Duration) {
        self.ahead.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// For intervals.
    pub(crate) fn now(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.ahead()).unwrap_or(now)
    }

    /// Since 1970.
    pub(crate) fn since_epoch(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(self.ahead())
    }

    /// Seconds since 1970, as a message header has them.
    pub(crate) fn export_time(&self) -> u32 {
        u32::try_from(self.since_epoch().as_secs()).unwrap_or(u32::MAX)
    }

    fn ahead(&self) -> Duration {
        Duration::from_nanos(self.ahead.load(Ordering::Relaxed))
    }
}
