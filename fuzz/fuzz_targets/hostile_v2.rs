//! See `mlvpn_fuzz_harness::hostile_v2`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mlvpn_fuzz_harness::hostile_v2::run(bytes));
