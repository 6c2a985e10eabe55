#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| minchat_bridge_fuzz::segments::check(input));
