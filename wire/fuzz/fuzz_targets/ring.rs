#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_wire_fuzz::ring(bytes));
