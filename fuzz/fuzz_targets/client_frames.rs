//! Feeds `client_frames` with what libFuzzer thinks up; the claim itself stands in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| antiphon_fuzz::client_frames(data));
