//! See `rdomain_fuzz::foreign`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| rdomain_fuzz::foreign::hold(input));
