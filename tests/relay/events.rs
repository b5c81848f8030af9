//! Each sample in `events/` is understood.

use std::fs;
use std::path::Path;

use relay::notification::{Notification, ObjectRef, parse};
use serde_json::Value;

const BATCH: &str = "batches/checkout/20261121T102900Z-4f3a/ip-10-0-0-7-worker-3/000017.ndjson.gz";

fn sample(name: &str) -> Notification {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("events").join(name);
    let event: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    parse(&event).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn keys(objects: &[ObjectRef]) -> Vec<&str> {
    objects.iter().map(|object| object.key.as_str()).collect()
}

#[test]
fn every_sample_is_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
    let mut samples = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".json") {
            continue;
        }
        samples += 1;
        let objects = match sample(&name) {
            Notification::Whole(objects) => objects,
            Notification::Queue(messages) => {
                messages.into_iter().flat_map(|message| message.objects.unwrap()).collect()
            }
        };
        match name.as_str() {
            "s3-test-event.json" => assert!(objects.is_empty()),
            _ => assert!(keys(&objects).contains(&BATCH), "{name}: {objects:?}"),
        }
    }
    assert_eq!(samples, 8);
}

#[test]
fn a_key_with_a_space_and_an_umlaut_is_decoded() {
    let Notification::Whole(objects) = sample("s3-notification-two-objects.json") else {
        panic!("expected objects")
    };
    assert_eq!(objects.len(), 2);
    assert!(objects.iter().any(|object| object.key.contains(' ') && !object.key.is_ascii()), "{objects:?}");
}

#[test]
fn a_queue_s_messages_keep_their_ids() {
    let Notification::Queue(messages) = sample("sqs-s3-notification.json") else {
        panic!("expected messages")
    };
    assert_eq!(messages.len(), 2);
    assert!(messages.iter().all(|message| !message.id.is_empty()));
    assert_ne!(messages[0].id, messages[1].id);
}
