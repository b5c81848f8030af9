//! Any bytes → records or an error that names the line; no more is read than the limit allows.
#![no_main]

use fuzz::LIMIT;
use fuzz::batch::{Reader, Record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(mut batch) = Reader::open(data, LIMIT) else { return };
    let mut requests = 0;
    for record in batch.by_ref() {
        match record {
            Ok(Record::Requests(group)) => {
                requests += group.columns.len() as u64;
                // Each request takes at least six bytes: `0,1,1,` in three columns.
                assert!(requests * 6 <= LIMIT, "{requests} requests from {LIMIT} bytes");
            }
            Ok(_) => {}
            Err(error) => {
                assert!(error.to_string().len() < 10_000, "an error's text is bounded");
                return;
            }
        }
    }
    assert_eq!(batch.requests(), requests);
});
