#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gibbon_fuzz::chain(input));
