//! See `rdomain_fuzz::uapi`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| rdomain_fuzz::uapi::hold(input));
