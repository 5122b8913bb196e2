// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sender of a destination behind a connection, TCP or TLS.
//!
//! ```text
//!   queue ─► numbered ─► spool: memory, then disk ─► connection ─► the other side's system ─► collector
//!                          ▲                              │ acknowledged │ read
//!                          └── again, in a new connection ┘◄─────────────┘ if it was reset
//! ```
//!
//! The thread never waits for the connection alone: whatever that does, messages are taken from the queue into the spool, and what
//! has no room there is dropped and counted. Names are resolved and connections made by a thread of their own.
//!
//! What was written to a connection has not arrived. The system says what that of the other side has acknowledged; until then
//! messages are kept, and when the connection breaks they are sent in the next one, whole, under the numbers that they had. If it was
//! closed orderly, the collector had read all that was acknowledged, and each message arrives once. If it was reset, or not answered,
//! nobody can know what of the acknowledged octets was read: as much of them as is kept is sent again too. So nothing is missing,
//! and what comes twice has the same sequence number twice.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use weir_ipfix::message::HEADER_LEN;

use crate::{
    announce::{Announcer, Numbering},
    back_off::BackOff,
    channel::{Channel, Message},
    clock::Clock,
    queue::BATCH,
    sender::SendCounters,
    spool::{Amount, Kept, MIN_MEMORY, Piece, Spool, disk::Announce, no_slices},
    sys,
    tcp::{Connection, Target, is_orderly},
};

/// Attempts to reach a destination, after the first, before its records are given up by a run that has time.
const RETRIES: u32 = 5;
/// How long a connection may stand still, in a run that has time, or without any answer.
const STALL: Duration = Duration::from_secs(30);
/// How long a connection must have stood to have been worth the attempt.
const WORTH: Duration = Duration::from_secs(2);
/// How long a connection that is to be made anew may take to end.
const REOPEN: Duration = Duration::from_secs(3);
/// Octets that there must be room for in the spool of a destination that is ready for more.
const READY: usize = MIN_MEMORY / 2;
/// Octets that are written with one call.
const WRITE: usize = 1 << 20;
/// Calls in a row without a look at the queue.
const WRITES: usize = 8;
/// How long who waits for room in the connection does not look at the queue.
const ROOM: Duration = Duration::from_millis(10);
/// How often one who waits for an acknowledgement, and nothing else, looks; and at the end, when somebody waits for him.
const ACKNOWLEDGEMENT: Duration = Duration::from_millis(50);
const LAST_ACKNOWLEDGEMENT: Duration = Duration::from_millis(1);
/// How often somebody who waits for a connection looks, in case that he was not told.
const ATTEMPT: Duration = Duration::from_millis(100);
/// How often somebody who has nothing to do looks whether the other side is still there.
const LOOK: Duration = Duration::from_secs(1);

/// The sender of one destination.
#[derive(Debug)]
pub struct StreamSender {
    target: Target,
    announcer: Announcer,
    is_for_lines: bool,
    numbering: Numbering,
    clock: Clock,
    /// Whether a connection is tried for as long as there are workers, and they never wait for it.
    is_live: bool,
    spool: Spool,
    /// Taken from the queue, without room in the spool, by one who has time.
    pending: VecDeque<Message>,
    link: Link,
    back_off: BackOff,
    /// Whether the connection is to be made anew: it ends when all that was written was acknowledged, or then.
    reopen_by: Option<Instant>,
    /// Whether the last attempt to connect failed.
    is_refused: bool,
    /// Whether one was made since nothing more comes.
    has_tried_last: bool,
    has_been_up: bool,
    /// What was acknowledged, and is sent again: it was counted already.
    doubted: Amount,
    error: Option<io::Error>,
    pub counters: SendCounters,
}

/// What there is of a connection.
#[derive(Debug)]
enum Link {
    /// None, until then.
    Away(Instant),
    /// One is being made.
    Trying(Attempt),
    /// It stands.
    Up(Box<Session>),
}

/// A connection, and what happened in it.
#[derive(Debug)]
struct Session {
    connection: Connection,
    /// Templates announced.
    announced: usize,
    /// Announcements on their way, and how much of them was written.
    control: Vec<u8>,
    control_written: usize,
    /// When it was made, and when something was written or acknowledged last.
    begun_at: Instant,
    moved_at: Instant,
    acknowledged: u64,
}

/// A connection that is being made.
#[derive(Debug)]
struct Attempt(Arc<Mutex<Option<io::Result<Connection>>>>);

/// What there is to wait for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    /// Nothing: there is more to do.
    Now,
    /// The connection takes no more.
    Room,
    /// A message, or this much time.
    Message(Duration),
}

impl Attempt {
    fn begin(target: &Target, channel: &Arc<Channel>) -> io::Result<Self> {
        let place = Arc::new(Mutex::new(None));
        let (target, channel, result) = (target.clone(), channel.clone(), place.clone());
        let connect = move || {
            let connection = target.connect();
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
            channel.queue.nudge();
        };
        thread::Builder::new().name("connect".into()).spawn(connect)?;
        Ok(Self(place))
    }

    fn result(&self) -> Option<io::Result<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl StreamSender {
    /// One that connects when it runs.
    pub fn new(target: Target, announcer: Announcer, domain: u32, clock: Clock, is_live: bool, spool: Spool) -> Self {
        Self {
            target,
            is_for_lines: announcer.is_for_lines(),
            announcer,
            numbering: Numbering::new(domain),
            link: Link::Away(clock.now()),
            clock,
            is_live,
            spool,
            pending: VecDeque::with_capacity(BATCH),
            back_off: BackOff::new(),
            reopen_by: None,
            is_refused: false,
            has_tried_last: false,
            has_been_up: false,
            doubted: Amount::default(),
            error: None,
            counters: SendCounters::default(),
        }
    }

    /// Sends until the queue is closed and everything was acknowledged.
    ///
    /// # Errors
    ///
    /// If it was given up before.
    pub fn run(&mut self, channel: &Arc<Channel>) -> io::Result<()> {
        let mut batch = Vec::with_capacity(BATCH);
        let mut next = Next::Now;
        loop {
            self.take_in(next, &mut batch, channel);
            if channel.is_to_reopen() {
                self.reopen_by = Some(self.clock.now() + REOPEN);
            }
            next = self.drive(channel)?;
            self.tell(channel);
            if channel.queue.is_finished() && self.pending.is_empty() && self.spool.is_settled() {
                if let Link::Up(session) = &mut self.link {
                    // Everything was acknowledged: nothing that could go wrong now matters.
                    let _ = session.connection.end();
                }
                return Ok(());
            }
            self.check_end(channel)?;
        }
    }

    /// Counts what is not sent any more; leaves it on disk if there is a folder.
    pub fn give_up(&mut self, channel: &Channel) {
        channel.queue.close();
        let mut batch = Vec::new();
        loop {
            self.keep_pending(channel, true);
            if channel.queue.is_finished() {
                break;
            }
            channel.queue.pop_batch(&mut batch, Duration::ZERO);
            self.pending.extend(batch.drain(..));
        }
        // What was acknowledged once was counted as sent.
        let open = self.spool.unsettled().records.saturating_sub(self.doubted.records);
        let left = self.spool.leave(&self.announcer).unwrap_or_else(|error| {
            channel.tell_trouble(Some(format!("the spool cannot be written: {error}")));
            Amount::default()
        });
        let left = left.records.min(open);
        self.counters.records_left_in_spool += left;
        self.counters.records_not_sent += open - left;
        self.counters.records_in_doubt += self.doubted.records;
        self.spool.forget();
        self.doubted = Amount::default();
        self.tell(channel);
    }

    /// Takes messages from the queue into the spool; waits for them, if there is nothing else to do.
    fn take_in(&mut self, next: Next, batch: &mut Vec<Message>, channel: &Channel) {
        let patience = if let Next::Message(patience) = next { patience } else { Duration::ZERO };
        if !self.pending.is_empty() || channel.queue.is_finished() {
            channel.queue.sleep(patience);
        } else {
            channel.queue.pop_batch(batch, patience);
            self.pending.extend(batch.drain(..));
        }
        self.keep_pending(channel, self.is_live && !channel.has_time());
    }

    /// Moves messages into the spool; those that have no room stay, or are dropped.
    fn keep_pending(&mut self, channel: &Channel, may_drop: bool) {
        while let Some(message) = self.pending.front_mut() {
            if !may_drop && !self.spool.takes(message.octets().len()) {
                return;
            }
            self.numbering.number(message, &self.clock, channel.lost_records());
            let piece = Piece { octets: message.octets(), records: message.records(), templates: message.templates() };
            match self.spool.push(&piece, &self.announcer) {
                Kept::Yes => {}
                Kept::NoRoom => self.counters.records_dropped_spool += u64::from(piece.records),
                Kept::Failed(error) => {
                    self.counters.records_dropped_spool_disk += u64::from(piece.records);
                    channel.tell_trouble(Some(format!("the spool cannot be written: {error}")));
                }
            }
            channel.recycle(self.pending.pop_front().into_iter());
        }
    }

    /// Gets on with the connection.
    ///
    /// # Errors
    ///
    /// If it is given up.
    fn drive(&mut self, channel: &Arc<Channel>) -> io::Result<Next> {
        if let Link::Trying(attempt) = &self.link
            && let Some(result) = attempt.result()
        {
            match result {
                Ok(connection) => self.begin(connection, channel),
                Err(error) => self.fail(error, channel)?,
            }
        }
        match &mut self.link {
            Link::Up(_) => match self.end_to_reopen().and_then(|()| self.exchange(channel)) {
                Ok(next) => Ok(next),
                Err(error) => {
                    self.lose(&error);
                    self.fail(error, channel)?;
                    self.is_refused = false;
                    Ok(Next::Now)
                }
            },
            Link::Trying(_) => Ok(Next::Message(ATTEMPT)),
            Link::Away(until) => {
                let left = until.saturating_duration_since(self.clock.now());
                if !left.is_zero() {
                    return Ok(Next::Message(left.min(LOOK)));
                }
                match Attempt::begin(&self.target, channel) {
                    Ok(attempt) => self.link = Link::Trying(attempt),
                    Err(error) => self.fail(error, channel)?,
                }
                Ok(Next::Now)
            }
        }
    }

    fn begin(&mut self, connection: Connection, channel: &Channel) {
        let now = self.clock.now();
        let session = Session {
            connection,
            announced: 0,
            control: Vec::new(),
            control_written: 0,
            begun_at: now,
            moved_at: now,
            acknowledged: 0,
        };
        self.link = Link::Up(Box::new(session));
        self.counters.reconnects += u64::from(std::mem::replace(&mut self.has_been_up, true));
        self.is_refused = false;
        self.error = None;
        channel.tell_trouble(None);
    }

    /// There is no connection for a while.
    ///
    /// # Errors
    ///
    /// Gives the error back if that was one too many.
    fn fail(&mut self, error: io::Error, channel: &Channel) -> io::Result<()> {
        channel.set_ready(false);
        self.is_refused = true;
        self.counters.connection_failures += u64::from(matches!(self.link, Link::Trying(_)));
        let pause = self.back_off.fail();
        self.link = Link::Away(self.clock.now() + pause);
        if !self.is_live && self.back_off.failures() > RETRIES {
            return Err(error);
        }
        channel.tell_trouble(Some(error.to_string()));
        self.error = Some(error);
        Ok(())
    }

    /// A connection has broken: what must be sent again is not sent any more.
    fn lose(&mut self, error: &io::Error) {
        let Link::Up(session) = &mut self.link else { return };
        let memory = self.spool.memory();
        let mut settled = Amount::default();
        if let Ok(octets) = session.connection.acknowledged() {
            let octets = octets.max(session.acknowledged);
            settled = memory.acknowledge(octets);
            if self.is_for_lines && !session.connection.is_encrypted() {
                settled.add(memory.acknowledge_lines(octets));
            }
        }
        session.connection.abort();
        let (doubted, others) = memory.begin_again(!is_orderly(error));
        self.count_sent(settled);
        self.doubted.add(doubted);
        self.counters.records_sent_again += doubted.records + others.records;
    }

    /// Ends a connection that is to be made anew, as soon as nothing of it is under way.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    fn end_to_reopen(&mut self) -> io::Result<()> {
        let (Some(by), Link::Up(session)) = (self.reopen_by, &mut self.link) else { return Ok(()) };
        let now = self.clock.now();
        if self.spool.memory().is_quiet() && session.control.is_empty() {
            // Everything was acknowledged: nothing that could go wrong now matters.
            let _ = session.connection.end();
            self.spool.memory().begin_again(false);
            self.link = Link::Away(now);
            self.reopen_by = None;
        } else if now >= by {
            self.reopen_by = None;
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long to take the rest"));
        }
        Ok(())
    }

    /// Counts what was acknowledged, once.
    fn count_sent(&mut self, mut settled: Amount) {
        let again = Amount {
            messages: settled.messages.min(self.doubted.messages),
            records: settled.records.min(self.doubted.records),
        };
        self.doubted.subtract(again);
        settled.subtract(again);
        self.counters.messages_sent += settled.messages;
        self.counters.records_sent += settled.records;
    }

    /// Writes what the connection takes, and learns what was acknowledged.
    fn exchange(&mut self, channel: &Channel) -> io::Result<Next> {
        // It may just have been ended.
        let Link::Up(session) = &mut self.link else { return Ok(Next::Now) };
        session.connection.look()?;
        let octets = session.connection.acknowledged()?;
        let now = self.clock.now();
        if octets > session.acknowledged {
            (session.acknowledged, session.moved_at) = (octets, now);
            let settled = self.spool.memory().acknowledge(octets);
            // Who takes something and closes at once does not make attempts worth more.
            if settled.messages > 0 && now.saturating_duration_since(session.begun_at) >= WORTH {
                self.back_off.succeed();
            }
            self.count_sent(settled);
        }
        if let Err((error, lost)) = self.spool.refill(self.announcer.known()) {
            self.counters.records_dropped_spool_disk += lost.records;
            channel.tell_trouble(Some(format!("the spool cannot be read: {error}")));
        }
        let mut writes = 0;
        while writes < WRITES && self.write()? {
            writes += 1;
        }
        let Link::Up(session) = &mut self.link else { return Ok(Next::Now) };
        if writes > 0 {
            session.moved_at = now;
        }
        let memory = self.spool.memory();
        let (is_written, is_settled) = (memory.is_written() && session.control.is_empty(), memory.is_settled());
        if is_settled {
            // It may have been long since: there was nothing to be acknowledged.
            session.moved_at = now;
        }
        if now.saturating_duration_since(session.moved_at) >= STALL {
            let answered = session.connection.since_last_answer();
            if !self.is_live || answered >= STALL {
                let why = if answered >= STALL { "it does not answer any more" } else { "it takes nothing any more" };
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
        }
        Ok(match (is_written, is_settled) {
            _ if writes == WRITES => Next::Now,
            (false, _) => {
                sys::wait_for_room(&session.connection, ROOM);
                Next::Room
            }
            (true, false) if channel.queue.is_finished() || !self.pending.is_empty() => {
                Next::Message(LAST_ACKNOWLEDGEMENT)
            }
            (true, false) => Next::Message(ACKNOWLEDGEMENT),
            (true, true) => Next::Message(LOOK),
        })
    }

    /// Makes one call: whether there may be use for another one.
    fn write(&mut self) -> io::Result<bool> {
        let Link::Up(session) = &mut self.link else { return Ok(false) };
        let memory = self.spool.memory();
        let before = session.connection.written();
        let is_flushed = session.connection.flush()?;
        self.counters.octets_sent += session.connection.written() - before;
        if !is_flushed {
            return Ok(false);
        }
        memory.locate(session.connection.written());
        if self.reopen_by.is_some() && session.control.is_empty() && memory.is_at_boundary() {
            return Ok(false);
        }
        let (templates, octets) = memory.ready(WRITE);
        if session.control.is_empty() && octets > 0 && templates > session.announced && memory.is_at_boundary() {
            let mut header = memory.header::<HEADER_LEN>();
            if let Some(place) = header.get_mut(4..8) {
                place.copy_from_slice(&self.clock.export_time().to_be_bytes());
            }
            let (messages, announced) = self.announcer.announce(session.announced, &header);
            self.counters.templates_sent += (announced - session.announced) as u64;
            session.announced = announced;
            session.control = messages.concat();
        }
        let before = session.connection.written();
        if !session.control.is_empty() {
            let left = session.control.get(session.control_written..).unwrap_or_default();
            let Some(written) = taken(session.connection.write(&[io::IoSlice::new(left)]))? else { return Ok(false) };
            session.control_written += written;
            if session.control_written == session.control.len() {
                session.control.clear();
                session.control_written = 0;
            }
            session.connection.flush()?;
            self.counters.octets_sent += session.connection.written() - before;
            return Ok(true);
        }
        if octets == 0 {
            return Ok(false);
        }
        // What is encrypted is acknowledged as a whole: the less of it at a time, the less comes twice.
        let octets = if session.connection.is_encrypted() { memory.ready(0).1 } else { octets };
        if !self.is_for_lines {
            memory.stamp(octets, self.clock.export_time());
        }
        let mut slices = no_slices();
        let count = memory.slices(octets, &mut slices);
        let result = session.connection.write(slices.get(..count).unwrap_or_default());
        let Some(written) = taken(result)? else { return Ok(false) };
        if session.connection.is_encrypted() {
            memory.advance_somewhere(written);
        } else {
            memory.advance(written, before);
        }
        if session.connection.flush()? && session.connection.is_encrypted() {
            memory.locate(session.connection.written());
        }
        self.counters.octets_sent += session.connection.written() - before;
        Ok(true)
    }

    /// Publishes what was done, and how it is.
    fn tell(&self, channel: &Channel) {
        channel.publish(self.counters);
        channel.set_ready(matches!(self.link, Link::Up(_)) && self.spool.has_room(READY));
    }

    /// Gives up if nobody waits any more.
    fn check_end(&mut self, channel: &Channel) -> io::Result<()> {
        if !channel.queue.is_closed() {
            return Ok(());
        }
        let is_late = channel.deadline().is_some_and(|deadline| self.clock.now() >= deadline);
        let is_hopeless = self.is_live && self.is_refused && matches!(self.link, Link::Away(_));
        if is_hopeless && !is_late && !std::mem::replace(&mut self.has_tried_last, true) {
            // It may be there again.
            self.link = Link::Away(self.clock.now());
            self.is_refused = false;
            return Ok(());
        }
        if !is_late && !is_hopeless {
            return Ok(());
        }
        let too_long = || io::Error::new(io::ErrorKind::TimedOut, "it took too long to take the rest");
        Err(self.error.take().unwrap_or_else(too_long))
    }
}

/// How many octets were taken; none if there was no room.
fn taken(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        Ok(octets) => Ok(Some(octets)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}
