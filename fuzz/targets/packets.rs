//! See `rdomain_fuzz::packets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| rdomain_fuzz::packets::hold(input));
