// SPDX-License-Identifier: MIT OR Apache-2.0
//! Blocks as a kernel lays them down, and as none does.
