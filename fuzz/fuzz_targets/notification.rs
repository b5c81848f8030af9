//! Any JSON → objects or an error, and every object has a bucket and a key.
#![no_main]

use fuzz::notification::{Notification, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(event) = serde_json::from_slice(data) else { return };
    match parse(&event) {
        Ok(Notification::Whole(objects)) => {
            assert!(objects.iter().all(|object| !object.bucket.is_empty() && !object.key.is_empty()));
        }
        Ok(Notification::Queue(messages)) => {
            assert!(messages.iter().all(|message| !message.id.is_empty()));
        }
        Err(error) => assert!(error.to_string().len() < 10_000, "an error's text is bounded"),
    }
});
