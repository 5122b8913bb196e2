// SPDX-License-Identifier: MIT OR Apache-2.0
//! The target that `WEIR_FUZZ_TARGET` names, under libFuzzer.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_fuzz::chosen(data));
