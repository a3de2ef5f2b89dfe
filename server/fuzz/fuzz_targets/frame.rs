#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_server_fuzz::frame(bytes));
