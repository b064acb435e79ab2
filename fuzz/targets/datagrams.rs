//! See `rdomain_fuzz::datagrams`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| rdomain_fuzz::datagrams::hold(input));
