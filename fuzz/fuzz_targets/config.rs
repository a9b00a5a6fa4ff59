//! See `mlvpn_fuzz_harness::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mlvpn_fuzz_harness::config::run(bytes));
