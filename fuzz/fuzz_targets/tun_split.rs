//! See `mlvpn_fuzz_harness::tun_split`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mlvpn_fuzz_harness::tun_split::run(bytes));
