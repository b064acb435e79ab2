//! See `rdomain_fuzz::files`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| rdomain_fuzz::files::hold(input));
