// SPDX-License-Identifier: MIT OR Apache-2.0
//! One destination's thread: takes messages from its queue, announces templates, numbers, sends.

use std::{io, sync::Arc};

use crate::{channel::Channel, datagram::DatagramSender, file::FileSender, stream::StreamSender};

weir_flow::counters! {
    /// What was done for one destination.
    pub struct SendCounters {
        #[doc = "messages with data, or chunks of lines, that the system took; over TCP and TLS, that the other side's system has acknowledged"]
        pub messages_sent,
        #[doc = "records in them"]
        pub records_sent,
        #[doc = "octets given to the system, headers, templates and repetitions included; over TLS, as encrypted"]
        pub octets_sent,
        #[doc = "templates announced, repetitions included"]
        pub templates_sent,
        #[doc = "records given up: their destination could not be reached when the export ended, or failed for good; a connection's last ones may have arrived"]
        pub records_not_sent,
        #[doc = "records that were left in files of the spool's folder when the export ended"]
        pub records_left_in_spool,
        #[doc = "records for which the spool had no room, while their destination was away or did not keep up"]
        pub records_dropped_spool,
        #[doc = "records that the folder of the spool did not take, or did not give back"]
        pub records_dropped_spool_disk,
        #[doc = "records for datagrams while the destination's name had no address"]
        pub records_dropped_away,
        #[doc = "records that alone are longer than the path of datagrams takes"]
        pub records_dropped_mtu,
        #[doc = "records in datagrams that the system refused"]
        pub records_refused,
        #[doc = "records written again in a new connection, since it is not known whether they arrived in the one before; under the same sequence numbers"]
        pub records_sent_again,
        #[doc = "records, of those sent, that were acknowledged in a connection that was reset, and not again in another: nobody knows whether the collector has read them"]
        pub records_in_doubt,
        #[doc = "messages that were longer than the path of datagrams takes, and sent as several"]
        pub messages_split,
        #[doc = "datagrams that the system refused"]
        pub send_errors,
        #[doc = "attempts that failed to resolve a name or make a connection"]
        pub connection_failures,
        #[doc = "times that a connection was made again, or a file that was moved away"]
        pub reconnects,
        #[doc = "files that were complete, and got their names"]
        pub files_finished,
    }
}

impl SendCounters {
    /// Records that did not get to the destination, for whatever reason.
    #[must_use]
    pub const fn lost_records(&self) -> u64 {
        self.records_not_sent
            + self.records_dropped_spool
            + self.records_dropped_spool_disk
            + self.records_dropped_away
            + self.records_dropped_mtu
            + self.records_refused
    }

    /// Records of which it is known what became of them.
    #[must_use]
    pub const fn settled_records(&self) -> u64 {
        self.records_sent + self.records_left_in_spool + self.lost_records()
    }
}

/// The sender of a destination.
#[derive(Debug)]
pub enum Sender {
    /// Datagrams.
    Datagram(Box<DatagramSender>),
    /// A file, or several, or standard output.
    File(Box<FileSender>),
    /// A connection.
    Stream(Box<StreamSender>),
}

impl Sender {
    /// Sends until the queue is closed and empty; what cannot be sent then is counted.
    ///
    /// # Errors
    ///
    /// If it was given up before.
    pub fn run(&mut self, channel: &Arc<Channel>) -> io::Result<()> {
        let result = match self {
            Self::Datagram(sender) => {
                sender.run(channel);
                Ok(())
            }
            Self::File(sender) => sender.run(channel),
            Self::Stream(sender) => sender.run(channel),
        };
        if let Err(error) = &result {
            channel.tell_trouble(Some(error.to_string()));
        }
        self.give_up(channel);
        result
    }

    /// Closes the queue; what is still there is not sent.
    pub fn give_up(&mut self, channel: &Channel) {
        match self {
            Self::Datagram(sender) => sender.give_up(channel),
            Self::File(sender) => sender.give_up(channel),
            Self::Stream(sender) => sender.give_up(channel),
        }
    }

    /// What was done.
    pub const fn counters(&self) -> SendCounters {
        match self {
            Self::Datagram(sender) => sender.counters,
            Self::File(sender) => sender.counters,
            Self::Stream(sender) => sender.counters,
        }
    }

    /// Why the last datagram that was refused was.
    pub fn refusal(self) -> Option<io::Error> {
        match self {
            Self::Datagram(sender) => sender.refusal,
            Self::File(_) | Self::Stream(_) => None,
        }
    }
}
