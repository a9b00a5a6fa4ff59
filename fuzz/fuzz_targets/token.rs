//! See `mlvpn_fuzz_harness::token`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mlvpn_fuzz_harness::token::run(bytes));
