#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| torwart_fuzz::bodies::proxy_header(input));
