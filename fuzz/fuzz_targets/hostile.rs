//! See `mlvpn_fuzz_harness::hostile`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mlvpn_fuzz_harness::hostile::run(bytes));
