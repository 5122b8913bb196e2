// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the program says on standard error. Whether that can be written, and how fast somebody reads it, changes nothing else:
//! capture goes on, and ends when it is told to.
//!
//! Until [`start`], lines are written at once. From then on a thread writes them, from a queue that is bounded: lines that find
//! it full are lost, and the next ones that are written are preceded by how many.

use std::{
    collections::VecDeque,
    fmt::Arguments,
    io::{self, Write},
    panic,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Says a line, as `say!` does.
macro_rules! say {
    ($($what:tt)*) => { $crate::say::line(format_args!($($what)*)) };
}
pub(crate) use say;

/// Texts that wait at most.
const QUEUE: usize = 512;
/// How long the end waits for somebody to read.
const PATIENCE: Duration = Duration::from_millis(300);

static TO_SAY: ToSay = ToSay::new();

/// Says a line; see [`say!`].
pub fn line(what: Arguments<'_>) {
    text(format!("{what}\n"));
}

/// Says a text, of whole lines.
pub fn text(text: String) {
    if let Some(text) = TO_SAY.put(text) {
        // There is nobody to tell.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// An error with its causes, but for those whose text stands in it already.
pub fn chain(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |mut text, cause| {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text += if text.is_empty() { "" } else { ": " };
            text += &cause;
        }
        text
    })
}

/// From now on nobody waits for standard error.
///
/// # Errors
///
/// If the system gives no thread.
pub fn start() -> io::Result<()> {
    thread::Builder::new().name("say".into()).spawn(|| TO_SAY.write_to(&mut io::stderr()))?;
    TO_SAY.lock().has_writer = true;
    say_panics();
    Ok(())
}

/// Dropped at the end of the program, it waits until everything is written, for a moment at most.
#[derive(Debug)]
pub struct UntilSaid;

impl Drop for UntilSaid {
    fn drop(&mut self) {
        let waits = |queue: &mut Queue| queue.has_writer && (queue.is_writing || !queue.texts.is_empty());
        drop(TO_SAY.changed.wait_timeout_while(TO_SAY.lock(), PATIENCE, waits));
    }
}

/// A panic is said like anything else: a worker's must not wait either.
fn say_panics() {
    panic::set_hook(Box::new(|what| {
        let thread = thread::current();
        say!("weir-meter: thread '{}' {what}", thread.name().unwrap_or("?"));
    }));
}

#[derive(Debug)]
struct ToSay {
    queue: Mutex<Queue>,
    /// Something was put into the queue, or written.
    changed: Condvar,
}

#[derive(Debug)]
struct Queue {
    texts: VecDeque<String>,
    /// Lines that found the queue full since the last text that was put.
    lost: u64,
    has_writer: bool,
    /// Whether the writer holds a text.
    is_writing: bool,
}

impl ToSay {
    const fn new() -> Self {
        let queue = Queue { texts: VecDeque::new(), lost: 0, has_writer: false, is_writing: false };
        Self { queue: Mutex::new(queue), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing under this lock can leave it half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a text into the queue; gives it back if there is none.
    fn put(&self, text: String) -> Option<String> {
        let mut queue = self.lock();
        if !queue.has_writer {
            return Some(text);
        }
        queue.put(text);
        drop(queue);
        self.changed.notify_all();
        None
    }

    /// Writes what is put, for ever.
    fn write_to(&self, out: &mut impl Write) {
        loop {
            let text = self.next();
            let _ = out.write_all(text.as_bytes());
            self.lock().is_writing = false;
            self.changed.notify_all();
        }
    }

    /// Waits for a text.
    fn next(&self) -> String {
        let mut queue = self.lock();
        loop {
            if let Some(text) = queue.take() {
                queue.is_writing = true;
                return text;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Queue {
    fn put(&mut self, text: String) {
        if self.texts.len() < QUEUE {
            self.note_lost();
            self.texts.push_back(text);
        } else {
            self.lost += text.lines().count() as u64;
        }
    }

    fn take(&mut self) -> Option<String> {
        if self.texts.is_empty() {
            self.note_lost();
        }
        self.texts.pop_front()
    }

    /// Says what was lost, between what came before that and what comes after it.
    fn note_lost(&mut self) {
        if self.lost > 0 {
            self.texts.push_back(format!("weir-meter: {} lines were lost: nobody read them in time\n", self.lost));
            self.lost = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let error =
            anyhow::anyhow!("not permitted (1)").context("socket: not permitted (1), it takes more").context("eth0");
        assert_eq!(chain(&error), "eth0: socket: not permitted (1), it takes more");
    }

    #[test]
    fn what_finds_the_queue_full_is_counted_and_said() {
        let to_say = ToSay::new();
        assert_eq!(to_say.put("early".to_owned()).as_deref(), Some("early"));
        to_say.lock().has_writer = true;
        for number in 0..QUEUE + 3 {
            assert_eq!(to_say.put(format!("{number}\n")), None);
        }
        assert_eq!(to_say.next(), "0\n");
        to_say.put("again\n".to_owned());
        let said: Vec<_> = (0..QUEUE + 1).map(|_| to_say.next()).collect();
        assert_eq!(said[QUEUE - 2], format!("{}\n", QUEUE - 1));
        assert!(said[QUEUE - 1].contains("3 lines were lost"), "{said:?}");
        assert_eq!(said[QUEUE], "again\n");
        assert!(to_say.lock().take().is_none());
    }

    #[test]
    fn what_was_lost_last_is_said_without_a_further_line() {
        let mut queue = ToSay::new().queue.into_inner().unwrap();
        (0..QUEUE).for_each(|_| queue.put("x\n".to_owned()));
        queue.put("a\nb\n".to_owned());
        let said: Vec<_> = std::iter::from_fn(|| queue.take()).collect();
        assert_eq!(said.len(), QUEUE + 1);
        assert!(said[QUEUE].contains("2 lines were lost"));
    }
}
