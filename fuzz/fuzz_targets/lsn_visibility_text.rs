//! Feeds `lsn_visibility_text` with what libFuzzer thinks up; the claim itself stands in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| antiphon_fuzz::lsn_visibility_text(data));
