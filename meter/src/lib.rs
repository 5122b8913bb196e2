// SPDX-License-Identifier: MIT OR Apache-2.0
//! The metering process: packets in, flow records out.

pub mod capture;
