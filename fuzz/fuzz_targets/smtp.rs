// SPDX-License-Identifier: MIT OR Apache-2.0
//! [`weir_fuzz::smtp`] under libFuzzer.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_fuzz::smtp(data));
