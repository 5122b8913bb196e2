// SPDX-License-Identifier: MIT OR Apache-2.0
//! What signals ask for.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::Sender,
    },
    thread,
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
    flag,
    iterator::Signals,
};
use weir_flow::{Packet, PacketSource, SharedOctets, SourceError, SourceState, ledger::Captured};
use weir_metering::capture::IsOver;

/// What the operator asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// Read the configuration again.
    Reload,
    /// Print a line of status.
    Status,
    /// Export everything and end.
    Stop,
}

/// Signals of live capture: from now on they are orders.
#[derive(Debug)]
pub struct Orders(Signals);

impl Orders {
    /// Begins; what comes before [`Self::pass_on`] waits.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn new() -> io::Result<Self> {
        Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1]).map(Self)
    }

    /// Passes them on from a thread of its own.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub fn pass_on(mut self, to: Sender<Order>) -> io::Result<()> {
        let work = move || {
            for signal in self.0.forever() {
                let order = match signal {
                    SIGHUP => Order::Reload,
                    SIGUSR1 => Order::Status,
                    _ => Order::Stop,
                };
                if to.send(order).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("signals".into()).spawn(work).map(drop)
    }
}

/// The signal that ended the reading of files, if there was one. A second one ends the program at once.
#[derive(Clone, Debug, Default)]
pub struct Interrupted(Arc<AtomicUsize>);

impl Interrupted {
    /// Begins.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn new() -> io::Result<Self> {
        let interrupted = Self::default();
        let again = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_default(signal, again.clone())?;
            flag::register(signal, again.clone())?;
            flag::register_usize(signal, interrupted.0.clone(), usize::try_from(signal).unwrap_or(0))?;
        }
        Ok(interrupted)
    }

    /// The same as a question.
    pub fn is_over(&self) -> IsOver {
        let interrupted = self.clone();
        Arc::new(move || interrupted.by().is_some())
    }

    /// Its number.
    pub fn by(&self) -> Option<u8> {
        u8::try_from(self.0.load(Ordering::Relaxed)).ok().filter(|signal| *signal > 0)
    }
}

/// A source that ends when a signal says so.
#[derive(Debug)]
pub struct Interruptible<S> {
    source: S,
    interrupted: Interrupted,
}

impl<S> Interruptible<S> {
    /// This source.
    pub const fn new(source: S, interrupted: Interrupted) -> Self {
        Self { source, interrupted }
    }

    fn or_end(&self, polled: Result<SourceState, SourceError>) -> Result<SourceState, SourceError> {
        // What is half read then is no damage.
        if self.interrupted.by().is_some() { Ok(SourceState::End) } else { polled }
    }
}

impl PacketSource for Interruptible<Box<dyn PacketSource + Send>> {
    fn poll(&mut self, visit: &mut dyn FnMut(&[Packet<'_>])) -> Result<SourceState, SourceError> {
        let polled = self.source.poll(visit);
        self.or_end(polled)
    }

    fn poll_shared(
        &mut self,
        visit: &mut dyn FnMut(&[Packet<'_>], Option<&SharedOctets>),
    ) -> Result<SourceState, SourceError> {
        let polled = self.source.poll_shared(visit);
        self.or_end(polled)
    }

    fn may_wait(&self) -> bool {
        self.source.may_wait()
    }

    fn captured(&mut self) -> Captured {
        self.source.captured()
    }
}
