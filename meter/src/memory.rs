// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. Memory of the flow table: arrays of fixed length that come from the system, on huge pages where it has them.
//!
//! Random access to gigabytes misses the processor's table of page translations at nearly every packet if pages are small;
//! with pages of 2 MiB it does not. An [`Array`] asks for them (transparent huge pages) and does without where the system
//! refuses. It is zero at first, and takes memory only as far as it is written.
#![expect(unsafe_code, reason = "memory from the system is octets, and a prefetch takes a pointer")]

use std::{
    io,
    marker::PhantomData,
    ops::{Deref, DerefMut, Range},
    ptr::NonNull,
};

use memmap2::{MmapMut, MmapOptions};

use crate::{
    statistics::{Bursts, Common, Entropy, Histograms, Ip, Seen, Tcp},
    table::{Bucket, Entry, Wide},
};

/// Octets of a huge page where there is one, and what an array on them begins at a multiple of.
const HUGE_PAGE: usize = 2 << 20;

/// A type whose value may be all zeros.
///
/// # Safety
///
/// All octets zero must be a valid value, and dropping a value must do nothing.
pub unsafe trait Zeroed: Copy {}

// SAFETY: it is made of numbers.
unsafe impl Zeroed for Bucket {}
// SAFETY: it is made of numbers, and of `bool`, where zero is `false`.
unsafe impl Zeroed for Entry {}
// SAFETY: it is made of numbers.
unsafe impl Zeroed for Wide {}
// SAFETY: it is a number.
unsafe impl Zeroed for u32 {}
// SAFETY: it is made of numbers.
unsafe impl Zeroed for Bursts {}
// SAFETY: it is made of numbers.
unsafe impl Zeroed for Common {}
// SAFETY: it is made of numbers.
unsafe impl Zeroed for Entropy {}
// SAFETY: it is made of numbers.
unsafe impl Zeroed for Histograms {}
// SAFETY: it is made of numbers.
unsafe impl Zeroed for Ip {}
// SAFETY: it is made of numbers.
unsafe impl Zeroed for Seen {}
// SAFETY: it is made of numbers.
unsafe impl Zeroed for Tcp {}

/// An array of fixed length, all zeros at first.
#[derive(Debug)]
pub struct Array<T> {
    /// Owns the memory that `first` points into.
    _map: Option<MmapMut>,
    first: NonNull<T>,
    len: usize,
    owned: PhantomData<T>,
}

// SAFETY: an array owns its memory, as a vector does.
unsafe impl<T: Send> Send for Array<T> {}

impl<T: Zeroed> Array<T> {
    /// An array of `len` values.
    ///
    /// # Errors
    ///
    /// If the system has not so much address space to give.
    pub fn new(len: usize) -> io::Result<Self> {
        let too_large = || io::Error::from(io::ErrorKind::OutOfMemory);
        let octets = len.checked_mul(size_of::<T>()).ok_or_else(too_large)?;
        if octets == 0 {
            return Ok(Self { _map: None, first: NonNull::dangling(), len, owned: PhantomData });
        }
        // Room to begin at a huge page: the system may place the map anywhere.
        let slack = if octets >= HUGE_PAGE { HUGE_PAGE } else { align_of::<T>() };
        let mut map = MmapOptions::new().len(octets.checked_add(slack).ok_or_else(too_large)?).map_anon()?;
        let start = map.as_mut_ptr();
        let offset = start.align_offset(slack.max(align_of::<T>()));
        #[cfg(target_os = "linux")]
        if octets >= HUGE_PAGE {
            // Whole pages only, so that no more memory is taken than asked for. Where the system has none, small ones serve.
            let _ = map.advise_range(memmap2::Advice::HugePage, offset, octets / HUGE_PAGE * HUGE_PAGE);
        }
        let place = map.get_mut(offset..).filter(|place| place.len() >= octets).ok_or_else(too_large)?;
        let first = NonNull::new(place.as_mut_ptr().cast::<T>()).ok_or_else(too_large)?;
        Ok(Self { _map: Some(map), first, len, owned: PhantomData })
    }
}

impl<T> Deref for Array<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `first` is aligned and has `len` values behind it, within a map that lives as long as `self` (or `len`
        // values of no size); all zeros at first, they are valid by `Zeroed`, and only written as values since.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Array<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above; `self` is borrowed alone, and nothing else points into the map.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

/// Asks for the cache line in which a value begins, without waiting for it.
#[inline]
pub fn prefetch<T>(value: &T) {
    prefetch_line(std::ptr::from_ref(value).cast());
}

/// Asks for the first cache lines of a range of memory, at most eight.
#[inline]
pub fn prefetch_range(range: &Range<*const u8>) {
    const LINE: usize = 64;
    let lines = (range.end.addr().saturating_sub(range.start.addr())).div_ceil(LINE).min(8);
    for line in 0..lines {
        prefetch_line(range.start.wrapping_add(line * LINE));
    }
}

/// Asks for the cache line of a place in memory; of any place, since nothing is read that the program sees.
#[inline]
pub fn prefetch_line(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that the program sees, and faults at no address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(place.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = place;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(align(64))]
    struct Line(u64);

    // SAFETY: a number may be zero, and so may be the padding behind it.
    unsafe impl Zeroed for Line {}

    #[test]
    fn an_array_is_aligned_and_zero_and_holds_what_is_written() {
        for len in [0, 1, 1000, 100_000] {
            let mut array = Array::<Line>::new(len).unwrap();
            assert_eq!(array.len(), len);
            assert!(array.iter().all(|line| *line == Line(0)));
            assert_eq!(array.as_ptr().align_offset(64), 0);
            for (line, i) in array.iter_mut().zip(0..) {
                *line = Line(i);
                prefetch(line);
            }
            assert!(array.iter().zip(0..).all(|(line, i)| *line == Line(i)));
        }
    }

    #[test]
    fn more_than_there_is_address_space_is_an_error() {
        assert!(Array::<Line>::new(usize::MAX / 32).is_err());
        assert!(Array::<Line>::new(1 << 50).is_err());
    }
}
