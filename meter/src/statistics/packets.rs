// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path, where it is asked for. The first packets of a record, one by one.

use weir_flow::{Statistics, Timestamp};

use super::Sample;

/// One packet, in twelve octets. All zero at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Upper and lower half of its time.
    ts: [u32; 2],
    length: u16,
    flags: u8,
    side: u8,
}

impl Seen {
    /// Writes the packets that one was on the wire to the places that are left, and says how many that were.
    pub fn note(places: &mut [Self], sample: &Sample<'_>) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "halves, and the octet of flags that the element has")]
        let (ts, flags) = ([(sample.ts >> 32) as u32, sample.ts as u32], sample.flags as u8);
        let ((smaller, _), (larger, larger_ones)) = sample.lengths();
        let mut noted = 0;
        for (index, place) in (0..sample.packets).zip(places) {
            let length = if index < larger_ones { larger } else { smaller };
            let length = u16::try_from(length).unwrap_or(u16::MAX);
            *place = Self { ts, length, flags, side: u8::from(sample.side != 0) };
            noted += 1;
        }
        noted
    }

    /// Adds it to a record of which `forward` is the direction of the key.
    pub fn list(&self, forward: usize, out: &mut Statistics) {
        let [high, low] = self.ts;
        let memory = &mut out.memory;
        out.packet_lengths.push(i16::try_from(self.length).unwrap_or(i16::MAX), memory);
        out.packet_times.push(Timestamp::from_nanos(u64::from(high) << 32 | u64::from(low)), memory);
        out.packet_flags.push(self.flags, memory);
        out.packet_directions.push(if usize::from(self.side) == forward { 1 } else { -1 }, memory);
    }

    /// Its direction.
    pub fn side(&self) -> usize {
        self.side.into()
    }
}
