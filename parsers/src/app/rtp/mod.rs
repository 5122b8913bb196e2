// SPDX-License-Identifier: MIT OR Apache-2.0
//! RTP and RTCP (RFC 3550) over UDP, recognised by content, on one port or on two (RFC 5761); also where it is encrypted (SRTP,
//! RFC 3711), which leaves the headers as they are.
//!
//! A flow is looked at when a datagram has the header of RTP: version 2, a payload type that is in use (RFC 3551 section 6, or
//! 96 to 127), lengths that hold, a timestamp and an SSRC that are not the small counts of a DNS message, and no version of
//! QUIC where one would be. Nothing is said before a second packet of the same direction has the same SSRC and a sequence
//! number next to the first. A datagram of RTCP begins with a sender or receiver report whose count and length agree; that is
//! enough by itself. A Hello of ZRTP (RFC 6189) is enough to go on looking.
//!
//! One transaction is what is seen of a flow until the record is closed, by the active timeout or the flow's end. The next
//! record counts anew: its numbers are those of its own time. Jitter goes on where it was, and a packet that was lost in one
//! record and comes in the next is late there, and still lost in the first. What reports say is their sender's, mostly since
//! its own beginning.
//!
//! In each direction one source is followed: the first that is confirmed. Of others (as of video beside audio) packets are
//! counted, no more. When it is silent for two seconds and another one goes on, that is followed, in a record of its own.
//!
//! - **Parsed**: sequence numbers: loss, late and repeated packets among the last 64; a jump of 3000 or more is another
//!   beginning (RFC 3550 appendix A.1). Jitter, of packets with the source's first payload type. Sender and receiver reports,
//!   CNAME.
//! - **Clock rate**: of static payload types by RFC 3551. That of others is in a session description, which goes over another
//!   flow, so it is estimated: timestamps are compared with the time that has passed, each second, until they agree within
//!   3 % with a rate in use (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 90000). Before that there is no jitter.
//! - **Round trip**: between the observation point and who sends the report; those of both directions together are that between
//!   the two ends.
//! - **Not parsed**: payload, header extensions, contributing sources, redundancy (RFC 2198), extended reports (RFC 3611),
//!   feedback (RFC 4585); of encrypted RTCP nothing but packets, octets and SSRC; RTP within TURN channels and over TCP.
//! - **Passed over** in such a flow: STUN, ZRTP, DTLS, TURN (RFC 7983 section 7), and what else is no RTP, up to 64 datagrams
//!   in a row of the latter.
//! - **Bounds**: numbers of two sources; the CNAMEs are the only texts. Six datagrams without a source confirmed are the end.
//! - **Fields**: all of `weir_flow::app::Rtp`.
//! - **Fixtures**: hand-made packets in `tests.rs`; `pcaps/rtp/`, and the calls in `pcaps/sip/`.

mod packet;
mod report;
mod source;
#[cfg(test)]
mod tests;

use weir_flow::{Timestamp, app::Rtp};

use self::{
    packet::{FIXED, Header, is_rtcp_type, is_version_2, is_zrtp},
    report::{Kind, Reading, Sent},
    source::{Numbers, Phase, Source},
};
use super::{AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport};

/// Datagrams without a source confirmed, after which the flow is given up.
const MAX_DOUBTS: u8 = 6;

/// Datagrams in a row that are nothing that belongs to RTP, after which the flow is given up.
const MAX_STRAYS: u8 = 64;

/// How long a source is silent, in nanoseconds, before another one takes its place.
const SILENCE: u64 = 2_000_000_000;

/// State of one flow.
#[derive(Debug, Default)]
pub struct Parser {
    sources: [Source; 2],
    /// Sources that are not followed, by their last packets: SSRC and sequence number.
    others: [(u32, u16); 2],
    sent: [Sent; 2],
    /// Whether it is RTP beyond doubt.
    is_certain: bool,
    doubts: u8,
    strays: u8,
}

impl super::Parser for Parser {
    type Fields = Rtp;
    type Scratch = ();

    const IDENTITY: Identity = Identity {
        slug: "rtp",
        transports: &[Transport::Datagram],
        port_hints: &[],
        max_buffered: 0,
        max_inspected: u32::MAX,
        max_open: 1,
    };

    const BEGINS: &[Octets] = &[Octets::from(0x80..=0xbf).and(&[0x10])];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        let Input { bytes, snapped, .. } = input;
        let is_it = match bytes.first() {
            Some(&first) if is_version_2(first) => {
                Header::read_first(bytes, snapped).is_some() || report::kind(bytes, false) != Kind::None
            }
            _ => is_zrtp(bytes),
        };
        if is_it { Probe::Yes } else { Probe::No }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Rtp>, (): &mut ()) -> Step {
        let Input { bytes, snapped, .. } = input;
        let side = input.direction.index();
        let is_read = match bytes {
            // They come before, and between (RFC 7983): STUN, ZRTP, DTLS, TURN; and keep-alives.
            [0..=79, ..] | [] => !is_doubtful(bytes) || self.is_certain,
            [_, second, ..] if is_rtcp_type(*second) => self.reports(input, transactions),
            _ => Header::read(bytes, snapped).is_some_and(|header| self.media(header, side, input, transactions)),
        };
        if is_read {
            self.strays = 0;
        } else if self.is_certain {
            self.strays = self.strays.saturating_add(1);
        } else {
            self.doubts = self.doubts.saturating_add(1);
        }
        let is_over = self.doubts >= MAX_DOUBTS || self.strays >= MAX_STRAYS;
        if is_over { Step::Reject } else { Step::Consumed(bytes.len().max(1)) }
    }

    #[inline(always)]
    fn count(&mut self, input: Input<'_>, now: Timestamp, current: &mut Rtp) -> bool {
        let Some(fixed) = input.bytes.first_chunk::<FIXED>() else { return false };
        let header = Header::of(fixed);
        let side = input.direction.index();
        let (source, numbers) = (&mut self.sources[side], Numbers::of(current, side));
        let is_usual = is_version_2(fixed[0]) && source.is_next(header) && numbers.packets.get().is_some();
        if is_usual {
            self.strays = 0;
            source.count_next(header, now, numbers);
        }
        is_usual
    }

    fn is_certain(&self) -> bool {
        self.is_certain
    }

    fn gap(&mut self, _: Direction) -> AfterGap {
        AfterGap::Resume
    }
}

/// Whether a datagram that is not RTP tells against it, where RTP is only likely.
fn is_doubtful(bytes: &[u8]) -> bool {
    bytes.len() > super::KEEP_ALIVE && !is_zrtp(bytes)
}

/// The fields that packets now count in.
fn current(transactions: &mut Transactions<Rtp>) -> Option<&mut Rtp> {
    let index = transactions.find_any(|_| true).unwrap_or_else(|| begin(transactions));
    transactions.fields_mut(index)
}

/// Begins a record: there is nothing that it waits for.
fn begin(transactions: &mut Transactions<Rtp>) -> usize {
    let (index, _) = transactions.open();
    transactions.complete(index);
    index
}

impl Parser {
    /// Counts a packet of RTP. False if it tells nothing.
    fn media(&mut self, header: Header, side: usize, input: Input<'_>, transactions: &mut Transactions<Rtp>) -> bool {
        let now = transactions.now();
        let source = &mut self.sources[side];
        match source.phase {
            Phase::Followed if source.ssrc == header.ssrc => {}
            Phase::Followed => return self.other(header, side, transactions),
            Phase::Likely if source.is_confirmed_by(header) => {
                source.phase = Phase::Followed;
                self.is_certain = true;
                // The packet that made it likely.
                if let Some(rtp) = current(transactions) {
                    name(source, side, rtp);
                    Numbers::of(rtp, side).packets.add(1);
                }
            }
            Phase::None | Phase::Likely => {
                let is_likely = Header::read_first(input.bytes, input.snapped).is_some();
                if is_likely {
                    *source = Source::new(header, now);
                }
                return is_likely && self.is_certain;
            }
        }
        let Some(rtp) = current(transactions) else { return true };
        if Numbers::of(rtp, side).packets.get().is_none() {
            name(source, side, rtp);
        }
        source.count(header, now, Numbers::of(rtp, side));
        true
    }

    /// Counts a packet of a source that is not followed, or follows it from now on.
    fn other(&mut self, header: Header, side: usize, transactions: &mut Transactions<Rtp>) -> bool {
        let now = transactions.now();
        let source = &mut self.sources[side];
        let (ssrc, sequence) = std::mem::replace(&mut self.others[side], (header.ssrc, header.sequence));
        if source.is_silent(now, SILENCE) && ssrc == header.ssrc && source::are_near(sequence, header.sequence) {
            *source = Source::new(header, now);
            source.phase = Phase::Followed;
            let index = begin(transactions);
            if let Some(rtp) = transactions.fields_mut(index) {
                name(source, side, rtp);
                Numbers::of(rtp, side).packets.add(1);
            }
            return true;
        }
        if let Some(rtp) = current(transactions) {
            let count = if side == 0 { &mut rtp.other_packets } else { &mut rtp.reverse_other_packets };
            count.add(1);
        }
        true
    }

    /// Reads a datagram of RTCP. False if it is none.
    fn reports(&mut self, input: Input<'_>, transactions: &mut Transactions<Rtp>) -> bool {
        let side = input.direction.index();
        let kind = report::kind(input.bytes, self.is_certain);
        if kind == Kind::None {
            return false;
        }
        self.is_certain = true;
        let now = transactions.now();
        let Some(rtp) = current(transactions) else { return true };
        let (packets, octets) = match side {
            0 => (&mut rtp.rtcp_packets, &mut rtp.rtcp_octets),
            _ => (&mut rtp.reverse_rtcp_packets, &mut rtp.reverse_rtcp_octets),
        };
        packets.add(1);
        octets.add(input.bytes.len() as u64);
        let other = &self.sources[input.direction.opposite().index()];
        let other = (other.phase == Phase::Followed).then_some(other.ssrc);
        report::read(input.bytes, kind, Reading { side, now, sent: &mut self.sent, other }, rtp);
        true
    }
}

/// Writes of which source a direction's numbers are.
fn name(source: &Source, side: usize, rtp: &mut Rtp) {
    let (ssrc, payload_type) = match side {
        0 => (&mut rtp.ssrc, &mut rtp.payload_type),
        _ => (&mut rtp.reverse_ssrc, &mut rtp.reverse_payload_type),
    };
    ssrc.set(source.ssrc);
    *payload_type = Some(source.payload_type);
    source.begin(&mut Numbers::of(rtp, side));
}
