// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. Memory that is shared with the kernel, and rings in it.

use std::{
    ffi::c_int,
    io,
    mem::offset_of,
    os::fd::{AsRawFd, OwnedFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, Ordering},
};

use super::invalid;

/// Memory that came from `mmap`, and goes with this value.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping owns its memory, as a vector does.
unsafe impl Send for Mapping {}
// SAFETY: a shared one gives out its extent and pointers; whoever follows them answers for it.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Memory of this process, all zeros.
    pub fn anonymous(len: usize) -> io::Result<Self> {
        Self::new(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    }

    /// A ring of a socket: `page_offset` is one of XDP_PGOFF_ and XDP_UMEM_PGOFF_ of linux/if_xdp.h.
    pub fn ring(socket: &OwnedFd, len: usize, page_offset: u64) -> io::Result<Self> {
        Self::new(len, libc::MAP_SHARED | libc::MAP_POPULATE, socket.as_raw_fd(), page_offset)
    }

    fn new(len: usize, flags: c_int, fd: c_int, offset: u64) -> io::Result<Self> {
        let offset = i64::try_from(offset).map_err(|_| invalid("offset of a mapping"))?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place that the kernel chooses touches no memory of this program. The 64-bit call, since
        // the offset of the fill ring takes 33 bits.
        let start = unsafe { libc::mmap64(ptr::null_mut(), len, access, flags, fd, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast::<u8>()).ok_or_else(|| invalid("a mapping at address zero"))?;
        Ok(Self { start, len })
    }

    /// Its address, and its octets.
    pub fn extent(&self) -> (u64, u64) {
        (self.start.as_ptr().addr() as u64, self.len as u64)
    }

    /// Pointer to `count` values of `T` from `offset` on, if they lie within and are aligned.
    pub fn place<T>(&self, offset: u64, count: usize) -> io::Result<NonNull<T>> {
        let wrong = || invalid("the kernel places a ring outside of its mapping");
        let offset = usize::try_from(offset).map_err(|_| wrong())?;
        let len = count.checked_mul(size_of::<T>()).ok_or_else(wrong)?;
        let end = offset.checked_add(len).ok_or_else(wrong)?;
        if end > self.len || offset % align_of::<T>() != 0 {
            return Err(wrong());
        }
        // SAFETY: `offset` is at most `len`, the length of the mapping.
        Ok(unsafe { self.start.add(offset) }.cast())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is exactly this, and whoever points into it owns this value.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// A type of which any octets are a value.
///
/// # Safety
///
/// Any octets must be a valid value.
pub unsafe trait Plain: Copy + Default {}

// SAFETY: a number.
unsafe impl Plain for u64 {}
// SAFETY: made of numbers.
unsafe impl Plain for Descriptor {}

/// A packet in the receive ring: `struct xdp_desc` of linux/if_xdp.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Descriptor {
    /// Where the packet begins, from the start of the memory.
    pub address: u64,
    /// Its octets.
    pub len: u32,
    /// Flags, of which none is asked for.
    pub options: u32,
}

const _: () = assert!(size_of::<Descriptor>() == size_of::<libc::xdp_desc>());
const _: () = assert!(offset_of!(Descriptor, len) == offset_of!(libc::xdp_desc, len));

/// One ring: the kernel is at one end of it, this program at the other.
///
/// The two positions count on without end; an entry lies at its position modulo the number of entries, which is a power of
/// two. Whatever number the kernel writes, an entry is looked up under the mask, and never more than all entries are counted.
#[derive(Debug)]
pub struct Ring<T> {
    /// Owns what the pointers point into.
    _mapping: Mapping,
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    mask: u32,
    /// The position of this program's end.
    own: u32,
}

// SAFETY: a ring owns its mapping; the other end is the kernel's, which does not care which thread is at this one.
unsafe impl<T: Send> Send for Ring<T> {}

impl<T: Plain> Ring<T> {
    /// Octets of a ring of `entries` entries.
    pub fn octets(offsets: &libc::xdp_ring_offset, entries: u32) -> io::Result<usize> {
        let entries = u64::from(entries) * size_of::<T>() as u64;
        let len = offsets.desc.checked_add(entries).and_then(|len| usize::try_from(len).ok());
        len.ok_or_else(|| invalid("offset of a ring"))
    }

    /// The ring of `entries` entries, a power of two, that lies in `mapping`.
    pub fn over(mapping: Mapping, offsets: &libc::xdp_ring_offset, entries: u32) -> io::Result<Self> {
        if !entries.is_power_of_two() {
            return Err(invalid("the size of a ring is no power of two"));
        }
        Ok(Self {
            producer: mapping.place(offsets.producer, 1)?,
            consumer: mapping.place(offsets.consumer, 1)?,
            flags: mapping.place(offsets.flags, 1)?,
            entries: mapping.place(offsets.desc, entries as usize)?,
            mask: entries - 1,
            own: 0,
            _mapping: mapping,
        })
    }

    fn size(&self) -> u32 {
        self.mask + 1
    }

    fn position(&self, of: NonNull<AtomicU32>, order: Ordering) -> u32 {
        // SAFETY: `over` has seen that it lies within the mapping, aligned, and both ends use it as an atomic number.
        unsafe { of.as_ref() }.load(order)
    }

    fn publish(&self, of: NonNull<AtomicU32>) {
        // SAFETY: as in `position`. Release: what was written or read before is done when the kernel sees the position.
        unsafe { of.as_ref() }.store(self.own, Ordering::Release);
    }

    /// Of a ring that this program consumes: entries that can be read.
    pub fn filled(&self) -> u32 {
        // Acquire: the entries are read after the position that says that they are there.
        self.position(self.producer, Ordering::Acquire).wrapping_sub(self.own).min(self.size())
    }

    /// Of a ring that this program fills: entries that can be written.
    pub fn free(&self) -> u32 {
        let taken = self.own.wrapping_sub(self.position(self.consumer, Ordering::Acquire));
        self.size().saturating_sub(taken)
    }

    fn read(&self, position: u32) -> T {
        let index = (position & self.mask) as usize;
        // SAFETY: `index` is below the number of entries, all of which `over` has seen within the mapping; any octets are a
        // value. Volatile, since the kernel writes here.
        unsafe { self.entries.add(index).read_volatile() }
    }

    fn write(&mut self, position: u32, value: T) {
        let index = (position & self.mask) as usize;
        // SAFETY: as in `read`.
        unsafe { self.entries.add(index).write_volatile(value) };
    }

    /// Of a ring that this program consumes: takes as many entries out of it as there are, and there is room for. How many?
    pub fn take(&mut self, into: &mut [T]) -> usize {
        let count = into.len().min(self.filled() as usize);
        for entry in into.iter_mut().take(count) {
            *entry = self.read(self.own);
            self.own = self.own.wrapping_add(1);
        }
        self.publish(self.consumer);
        count
    }

    /// Of a ring that this program fills: writes as many of these values as there is room for.
    pub fn put(&mut self, values: impl Iterator<Item = T>) {
        for value in values.take(self.free() as usize) {
            self.write(self.own, value);
            self.own = self.own.wrapping_add(1);
        }
        self.publish(self.producer);
    }

    /// Of a ring that this program fills: whether the kernel waits for a call before it looks at it again.
    pub fn needs_wakeup(&self) -> bool {
        self.position(self.flags, Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    const OFFSETS: libc::xdp_ring_offset = libc::xdp_ring_offset { producer: 0, consumer: 64, desc: 192, flags: 128 };

    /// A ring that no kernel looks at.
    pub fn ring<T: Plain>(entries: u32) -> Ring<T> {
        let len = Ring::<T>::octets(&OFFSETS, entries).unwrap();
        Ring::over(Mapping::anonymous(len).unwrap(), &OFFSETS, entries).unwrap()
    }

    impl<T: Plain> Ring<T> {
        /// What the kernel would do with values that it has.
        pub fn kernel_puts(&mut self, values: &[T]) {
            let producer = self.position(self.producer, Ordering::Relaxed);
            for (position, value) in (producer..).zip(values) {
                self.write(position, *value);
            }
            kernel_sets(self.producer, producer + values.len() as u32);
        }

        /// The entry at this position, and how many this program has put.
        pub fn seen_by_kernel(&self, position: u32) -> (T, u32) {
            (self.read(position), self.position(self.producer, Ordering::Acquire))
        }
    }

    /// What the kernel would do at its end.
    fn kernel_sets(position: NonNull<AtomicU32>, to: u32) {
        // SAFETY: a position of a ring that the test has.
        unsafe { position.as_ref() }.store(to, Ordering::Release);
    }

    #[test]
    fn whatever_the_kernel_says_no_more_than_all_entries_are_there() {
        let (mut rx, mut fill) = (ring::<Descriptor>(8), ring::<u64>(8));
        for own in [0, 7, u32::MAX - 3] {
            (rx.own, fill.own) = (own, own);
            for position in [0, 1, 7, 8, 9, 1 << 31, u32::MAX - 1, u32::MAX, own.wrapping_add(3)] {
                kernel_sets(rx.producer, position);
                kernel_sets(fill.consumer, position);
                assert!(rx.filled() <= 8 && fill.free() <= 8);
                let _ = rx.read(position);
                fill.write(position, u64::MAX);
            }
            kernel_sets(rx.producer, own.wrapping_add(3));
            kernel_sets(fill.consumer, own.wrapping_sub(3));
            assert_eq!((rx.filled(), fill.free()), (3, 5));
            assert_eq!(rx.take(&mut [Descriptor::default(); 8]), 3);
            fill.put(0..100);
            assert_eq!((rx.filled(), fill.free()), (0, 0));
        }
    }

    #[test]
    fn a_ring_that_does_not_fit_into_its_mapping_is_refused() {
        let wrong = [
            libc::xdp_ring_offset { producer: u64::MAX, ..OFFSETS },
            libc::xdp_ring_offset { producer: 2, ..OFFSETS },
            libc::xdp_ring_offset { consumer: 4094, ..OFFSETS },
            libc::xdp_ring_offset { flags: 1 << 20, ..OFFSETS },
            libc::xdp_ring_offset { desc: 4096 - 8 * 16 + 8, ..OFFSETS },
        ];
        for offsets in wrong {
            assert!(Ring::<Descriptor>::over(Mapping::anonymous(4096).unwrap(), &offsets, 8).is_err(), "{offsets:?}");
        }
        assert!(Ring::<Descriptor>::over(Mapping::anonymous(4096).unwrap(), &OFFSETS, 7).is_err());
        assert!(Ring::<u64>::octets(&libc::xdp_ring_offset { desc: u64::MAX, ..OFFSETS }, 8).is_err());
    }
}
