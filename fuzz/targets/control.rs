//! See `rdomain_fuzz::control`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| rdomain_fuzz::control::hold(input));
