//! See `mlvpn_fuzz_harness::payload`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mlvpn_fuzz_harness::payload::run(bytes));
