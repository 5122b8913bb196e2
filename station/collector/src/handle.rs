// SPDX-License-Identifier: MIT OR Apache-2.0
//! The running collector: two threads, and the handle that watches and stops them.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use socket2::SockRef;
use tokio::sync::{mpsc, watch};
use weir_flow::{RecordSink, Timestamp};

use crate::{
    Config, Decoder, Listen, Received, Snapshot,
    intake::{self, Bound, Item},
    kernel,
};

/// Ticks between two searches for UDP sessions that are silent for too long.
const TICKS_PER_EXPIRY: u32 = 60;

/// Why a collector did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A socket could not be bound.
    #[error("cannot listen on {listen}: {source}")]
    Bind {
        /// The address asked for.
        listen: Listen,
        /// What the system says.
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// Why a collector did not stop in order.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// The sink or the decoder panicked; what was in flight is lost.
    #[error("the thread that stores the records panicked")]
    Panicked,
}

/// What the threads and the handle share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    snapshot: Mutex<Snapshot>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        // Counters are never half changed.
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the counters of the sockets, and the number of open sessions.
    pub(crate) fn received<T>(&self, change: impl FnOnce(&mut Received, &mut usize) -> T) -> T {
        let mut snapshot = self.lock();
        let Snapshot { received, open_sessions, .. } = &mut *snapshot;
        let result = change(received, open_sessions);
        self.changed.notify_all();
        result
    }

    /// Takes over what the decoder says, of the exporters only the one at `index`.
    fn decoded(&self, decoder: &Decoder, index: Option<usize>) {
        let mut snapshot = self.lock();
        snapshot.decoded = *decoder.counters();
        snapshot.held = *decoder.held();
        if let Some((index, exporter)) = index.and_then(|i| Some((i, *decoder.exporters().get(i)?))) {
            match snapshot.exporters.get_mut(index) {
                Some(place) => *place = exporter,
                None => snapshot.exporters.push(exporter),
            }
        }
        self.changed.notify_all();
    }
}

/// Starts collecting processes.
#[derive(Clone, Copy, Debug)]
pub struct Collector;

impl Collector {
    /// Listens, and gives every flow record to `sink`, on a thread of its own. `tick` is called on that thread every
    /// [`Config::tick`], unless the sink is busy: the place to flush.
    ///
    /// # Errors
    ///
    /// If a socket cannot be bound or a thread cannot be started; then nothing is left behind.
    pub fn start<S>(config: Config, sink: S, tick: impl FnMut(&mut S) + Send + 'static) -> Result<Handle<S>, StartError>
    where
        S: RecordSink + Send + 'static,
    {
        let config = Arc::new(config);
        let shared = Arc::new(Shared::default());
        let (mut sockets, mut listening, mut inodes) = (Vec::new(), Vec::new(), Vec::new());
        for &listen in &config.listen {
            let error = |source| StartError::Bind { listen, source };
            let socket = intake::bind(listen, config.receive_buffer).map_err(error)?;
            listening.push(match &socket {
                Bound::Tcp(socket) => Listen::Tcp(socket.local_addr().map_err(error)?),
                Bound::Udp(socket) => {
                    inodes.extend(kernel::inode(socket));
                    shared.lock().receive_buffer += SockRef::from(socket).recv_buffer_size().unwrap_or(0);
                    Listen::Udp(socket.local_addr().map_err(error)?)
                }
            });
            sockets.push(socket);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        let (queue, items) = mpsc::channel(config.queue.max(1));
        let (stop, stopping) = watch::channel(false);
        let decoding = thread::Builder::new().name("weir-collect".to_owned());
        let decoder = Decoder::new(config.limits, config.enterprise);
        let state = Arc::clone(&shared);
        let decoding =
            decoding.spawn(move || decode(items, decoder, sink, tick, &state)).map_err(StartError::Thread)?;
        let intake = thread::Builder::new().name("weir-intake".to_owned());
        let state = Arc::clone(&shared);
        let drops = inodes.clone();
        let intake = intake.spawn(move || {
            runtime.block_on(intake::run(config, sockets, queue, state, stopping));
        });
        let intake = intake.map_err(StartError::Thread)?;
        Ok(Handle { listening, inodes: drops, shared, stop, intake: Some(intake), decoding: Some(decoding) })
    }
}

/// Takes items until the intake is gone and the queue is empty.
fn decode<S: RecordSink>(
    mut items: mpsc::Receiver<Item>,
    mut decoder: Decoder,
    mut sink: S,
    mut tick: impl FnMut(&mut S),
    shared: &Shared,
) -> S {
    let mut ticks = 0_u32;
    while let Some(item) = items.blocking_recv() {
        let index = match item {
            Item::Message(peer, octets) => decoder.message(peer, &octets, now(), &mut sink),
            Item::Closed(peer) => {
                decoder.close(peer);
                None
            }
            Item::Tick => {
                tick(&mut sink);
                ticks = ticks.wrapping_add(1);
                if ticks.is_multiple_of(TICKS_PER_EXPIRY) {
                    decoder.expire(now());
                }
                None
            }
        };
        shared.decoded(&decoder, index);
    }
    sink
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::ZERO.after(since)
}

/// A running collector. Dropped without [`Self::stop`], it stops all the same, and the sink is dropped.
#[derive(Debug)]
pub struct Handle<S> {
    listening: Vec<Listen>,
    inodes: Vec<u64>,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    intake: Option<JoinHandle<()>>,
    decoding: Option<JoinHandle<S>>,
}

impl<S> Handle<S> {
    /// Where it listens, in the order of [`Config::listen`], with the ports that the kernel chose.
    #[must_use]
    pub fn listening(&self) -> &[Listen] {
        &self.listening
    }

    /// All that is known at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let kernel_drops = kernel::drops(&self.inodes);
        Snapshot { kernel_drops, ..self.shared.lock().clone() }
    }

    /// False after the sink has panicked: then nothing is taken any more, and all that is left is [`Self::stop`].
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.decoding.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Waits until `condition` holds, which is asked after each change of a counter but the kernel's; false if it does not
    /// hold within `patience`.
    pub fn wait_for(&self, patience: Duration, mut condition: impl FnMut(&Snapshot) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        let mut snapshot = self.shared.lock();
        loop {
            if condition(&snapshot) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            snapshot = self.shared.changed.wait_timeout(snapshot, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes nothing new, and everything that is in flight: what exporters sent before, as far as it has reached this
    /// machine. Gives back the sink, which then has every record, and the last snapshot. Takes at most [`Config::drain`]
    /// and what the sink needs.
    ///
    /// # Errors
    ///
    /// If the sink panicked.
    pub fn stop(mut self) -> Result<(S, Snapshot), StopError> {
        let kernel_drops = self.snapshot().kernel_drops;
        let sink = self.join().ok_or(StopError::Panicked)?;
        Ok((sink, Snapshot { kernel_drops, ..self.shared.lock().clone() }))
    }

    fn join(&mut self) -> Option<S> {
        self.stop.send_replace(true);
        self.intake.take().map(JoinHandle::join);
        self.decoding.take()?.join().ok()
    }
}

impl<S> Drop for Handle<S> {
    fn drop(&mut self) {
        self.join();
    }
}
