// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reporters: where alerts go.

use std::io::{self, Write};

use crate::{alert::Alert, idea::idea};

/// Takes alerts in the order in which they are made.
pub trait AlertSink: Send {
    /// Takes one alert; it is borrowed for the duration of the call.
    fn alert(&mut self, alert: &Alert);

    /// The input is over: what is buffered goes out.
    fn finish(&mut self) {}
}

impl<F: FnMut(&Alert) + Send> AlertSink for F {
    fn alert(&mut self, alert: &Alert) {
        self(alert);
    }
}

/// Several sinks, each given every alert.
#[derive(Default)]
pub struct Fanout(pub Vec<Box<dyn AlertSink>>);

impl AlertSink for Fanout {
    fn alert(&mut self, alert: &Alert) {
        self.0.iter_mut().for_each(|sink| sink.alert(alert));
    }

    fn finish(&mut self) {
        self.0.iter_mut().for_each(|sink| sink.finish());
    }
}

/// The form of a line.
#[derive(Clone, Debug)]
enum Form {
    Json,
    /// With the name of the node.
    Idea(String),
}

/// Writes each alert as one line of JSON: as it is, or as IDEA.
///
/// After a failed write nothing more is written; alerts that are not written are counted, and the error is kept.
pub struct Lines<W> {
    writer: W,
    form: Form,
    error: Option<io::Error>,
    not_written: u64,
}

impl<W: Write> Lines<W> {
    /// Alerts as they are: the keys are the fields of [`Alert`].
    pub const fn json(writer: W) -> Self {
        Self { writer, form: Form::Json, error: None, not_written: 0 }
    }

    /// Alerts as IDEA messages. `node` is this installation's name in reversed-domain form, as in `org.example.weir`.
    pub fn idea(writer: W, node: impl Into<String>) -> Self {
        Self { writer, form: Form::Idea(node.into()), error: None, not_written: 0 }
    }

    /// Alerts that could not be written.
    #[must_use]
    pub const fn not_written(&self) -> u64 {
        self.not_written
    }

    /// The first error, if there was one.
    #[must_use]
    pub const fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// Flushes, and gives the writer back.
    ///
    /// # Errors
    ///
    /// The first that occurred.
    pub fn into_inner(mut self) -> io::Result<W> {
        self.flush();
        self.error.map_or(Ok(self.writer), Err)
    }

    fn flush(&mut self) {
        if self.error.is_none() {
            self.error = self.writer.flush().err();
        }
    }
}

impl<W: Write + Send> AlertSink for Lines<W> {
    fn alert(&mut self, alert: &Alert) {
        if self.error.is_none() {
            let line = match &self.form {
                Form::Json => serde_json::to_vec(alert),
                Form::Idea(node) => serde_json::to_vec(&idea(alert, node)),
            };
            let written = line.map_err(io::Error::from).and_then(|mut line| {
                line.push(b'\n');
                self.writer.write_all(&line)
            });
            self.error = written.err();
        }
        self.not_written += u64::from(self.error.is_some());
    }

    fn finish(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_alert_is_a_line() {
        let mut json = Lines::json(Vec::new());
        let mut idea = Lines::idea(Vec::new(), "org.example.weir");
        for _ in 0..2 {
            json.alert(&Alert::default());
            idea.alert(&Alert::default());
        }
        for octets in [json.into_inner().unwrap(), idea.into_inner().unwrap()] {
            let text = String::from_utf8(octets).unwrap();
            assert_eq!(text.lines().filter(|l| serde_json::from_str::<serde_json::Value>(l).is_ok()).count(), 2);
        }
    }

    #[test]
    fn what_is_not_written_is_counted() {
        let mut room = [0_u8; 10];
        let mut lines = Lines::json(&mut room[..]);
        lines.alert(&Alert::default());
        lines.alert(&Alert::default());
        assert_eq!(lines.not_written(), 2);
        assert!(lines.into_inner().is_err());
    }
}
