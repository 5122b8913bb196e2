// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers whoever connects: several at a time, so that one who is slow keeps nobody else waiting; but no more than a few, and
//! others are closed at once.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// Connections that are answered at a time.
const SEVERAL: usize = 8;
/// Pause when the system gives no connection: too many open files, say.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers every connection that `accept` gives, on threads of that name.
///
/// # Errors
///
/// If the system gives no thread to begin with.
pub fn each<S: Send + 'static>(
    name: &'static str,
    accept: impl Fn() -> io::Result<S> + Send + 'static,
    answer: impl Fn(S) + Send + Sync + 'static,
) -> io::Result<()> {
    let answer = Arc::new(answer);
    let busy = Arc::new(AtomicUsize::new(0));
    let work = move || {
        loop {
            match accept() {
                Ok(stream) => {
                    let (answer, place) = (answer.clone(), Place::take(&busy));
                    let Some(place) = place else { continue };
                    let work = move || {
                        answer(stream);
                        drop(place);
                    };
                    // Where there is no thread, the connection is closed.
                    let _ = thread::Builder::new().name(name.into()).spawn(work);
                }
                Err(_) => thread::sleep(PAUSE),
            }
        }
    };
    thread::Builder::new().name(name.into()).spawn(work).map(drop)
}

/// One of the few connections that are answered.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(busy: &Arc<AtomicUsize>) -> Option<Self> {
        // Only one thread takes places.
        (busy.load(Ordering::Acquire) < SEVERAL).then(|| {
            busy.fetch_add(1, Ordering::AcqRel);
            Self(busy.clone())
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::{UnixListener, UnixStream},
    };

    use super::*;

    #[test]
    fn one_who_is_slow_keeps_nobody_waiting_and_one_too_many_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let answer = |mut stream: UnixStream| {
            let mut octet = [0];
            if stream.write_all(b"h").is_ok() && stream.read(&mut octet).is_ok() {
                let _ = stream.write_all(&octet);
            }
        };
        each("test", move || listener.accept().map(|(stream, _)| stream), answer).unwrap();
        let greeted = |mut stream: &UnixStream| stream.read(&mut [0]).unwrap() == 1;
        let slow: Vec<_> = (0..SEVERAL).map(|_| UnixStream::connect(&path).unwrap()).collect();
        assert!(slow.iter().all(greeted));
        assert!(!greeted(&UnixStream::connect(&path).unwrap()));
        let mut last = &slow[SEVERAL - 1];
        last.write_all(b"x").unwrap();
        let mut text = String::new();
        last.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
    }
}
