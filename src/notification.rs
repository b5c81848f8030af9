//! The invocation's event → which objects to relay.
//!
//! S3's notification reaches a function bare, through EventBridge, SNS or SQS, or a second time inside the record that
//! Lambda sends to an on-failure destination. All of them are taken apart here; nothing is fetched.

use percent_encoding::percent_decode_str;
use serde_json::Value;
use thiserror::Error;

/// One object that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// The bucket's name.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// What an event asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Notification {
    /// The event as a whole succeeds or fails.
    Whole(Vec<ObjectRef>),
    /// Messages of a queue, each of which succeeds or fails by itself.
    Queue(Vec<QueueMessage>),
}

/// One message of a queue.
#[derive(Debug, PartialEq, Eq)]
pub struct QueueMessage {
    /// By this id the answer names the message when it failed.
    pub id: String,
    /// Its objects, or why it cannot be read: that fails this message and no other.
    pub objects: Result<Vec<ObjectRef>, NotificationError>,
}

/// An event that is none of the known envelopes, or one with a hole in it.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NotificationError {
    /// No known envelope.
    #[error(
        "expected an S3 notification (bare, from EventBridge, SNS or SQS, or in a Lambda on-failure record), found {found}"
    )]
    UnknownEnvelope {
        /// The beginning of what was found.
        found: String,
    },
    /// A field that the envelope always has is missing or of another type.
    #[error("{at}: expected {expected}, found {found}")]
    Field {
        /// Path of the field.
        at: String,
        /// What it must hold.
        expected: &'static str,
        /// The beginning of what it holds.
        found: String,
    },
    /// Envelopes inside envelopes, without an end.
    #[error("expected at most {MAX_DEPTH} envelopes inside one another, found more")]
    TooDeep,
}

/// An on-failure record of a queue's message of an SNS notification is three deep; four leaves room.
const MAX_DEPTH: usize = 4;

/// Events are up to 1 MB; a message needs only the beginning.
const FOUND_CHARS: usize = 120;

/// Reads the event of an invocation.
///
/// # Errors
/// When the event is none of the known envelopes, or lacks what its envelope must have.
pub fn parse(event: &Value) -> Result<Notification, NotificationError> {
    match records_from(event, "aws:sqs") {
        Some(records) => {
            let message = |(index, record): (usize, &Value)| -> Result<QueueMessage, NotificationError> {
                let at = format!("Records[{index}]");
                Ok(QueueMessage {
                    id: text(record, &at, "messageId")?.to_owned(),
                    objects: text(record, &at, "body").and_then(|body| embedded(body, &at, "body", 1)),
                })
            };
            Ok(Notification::Queue(records.iter().enumerate().map(message).collect::<Result<_, _>>()?))
        }
        None => Ok(Notification::Whole(objects(event, 0)?)),
    }
}

/// The objects of any envelope, queue messages included (those of an on-failure record succeed or fail with it).
fn objects(event: &Value, depth: usize) -> Result<Vec<ObjectRef>, NotificationError> {
    if depth > MAX_DEPTH {
        return Err(NotificationError::TooDeep);
    }
    if event["Event"] == "s3:TestEvent" {
        // S3 sends it to a queue or topic when the notification is configured; there is no object behind it.
        return Ok(Vec::new());
    }
    if event["detail-type"] == "Object Created" && event["source"] == "aws.s3" {
        let detail = &event["detail"];
        return Ok(vec![ObjectRef {
            bucket: text(&detail["bucket"], "detail.bucket", "name")?.to_owned(),
            // EventBridge carries the key as it is, unlike S3's own notification.
            key: text(&detail["object"], "detail.object", "key")?.to_owned(),
        }]);
    }
    if event["Type"] == "Notification" && event["Message"].is_string() {
        return embedded(text(event, "", "Message")?, "", "Message", depth + 1);
    }
    if let Some(payload) = event.get("requestPayload").filter(|_| event["requestContext"].is_object()) {
        return objects(payload, depth + 1);
    }
    if let Some(records) = records_from(event, "aws:sqs") {
        return each(records, |record, at| embedded(text(record, at, "body")?, at, "body", depth + 1));
    }
    if let Some(records) = records_from(event, "aws:sns") {
        return each(records, |record, at| {
            embedded(text(&record["Sns"], &format!("{at}.Sns"), "Message")?, at, "Sns.Message", depth + 1)
        });
    }
    match records_from(event, "aws:s3") {
        Some(records) => each(records, s3_record),
        None => Err(NotificationError::UnknownEnvelope { found: beginning(event) }),
    }
}

/// The event's records, if the first of them comes from `source` (SNS writes `EventSource`).
fn records_from<'a>(event: &'a Value, source: &str) -> Option<&'a [Value]> {
    let records = event["Records"].as_array()?;
    let first = records.first()?;
    (first["eventSource"] == source || first["EventSource"] == source).then_some(records)
}

fn each(
    records: &[Value],
    read: impl Fn(&Value, &str) -> Result<Vec<ObjectRef>, NotificationError>,
) -> Result<Vec<ObjectRef>, NotificationError> {
    let mut objects = Vec::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        objects.append(&mut read(record, &format!("Records[{index}]"))?);
    }
    Ok(objects)
}

fn s3_record(record: &Value, at: &str) -> Result<Vec<ObjectRef>, NotificationError> {
    // A trigger wider than ours also tells of removals and restores: nothing to relay. S3 leaves out the `s3:` here.
    let name = record["eventName"].as_str().unwrap_or("ObjectCreated:");
    if !name.trim_start_matches("s3:").starts_with("ObjectCreated:") {
        return Ok(Vec::new());
    }
    let object = &record["s3"]["object"];
    let encoded = text(object, &format!("{at}.s3.object"), "key")?;
    // S3 encodes keys as forms do: a space is `+`, everything unusual is percent-encoded.
    let key =
        percent_decode_str(&encoded.replace('+', " ")).decode_utf8().map(String::from).map_err(|_| {
            NotificationError::Field {
                at: format!("{at}.s3.object.key"),
                expected: "percent-encoded UTF-8",
                found: encoded.chars().take(FOUND_CHARS).collect(),
            }
        })?;
    Ok(vec![ObjectRef {
        bucket: text(&record["s3"]["bucket"], &format!("{at}.s3.bucket"), "name")?.to_owned(),
        key,
    }])
}

/// Reads an envelope that arrives as JSON text inside another.
fn embedded(text: &str, at: &str, field: &str, depth: usize) -> Result<Vec<ObjectRef>, NotificationError> {
    let event = serde_json::from_str(text).map_err(|_| NotificationError::Field {
        at: path(at, field),
        expected: "JSON text of an S3 notification",
        found: text.chars().take(FOUND_CHARS).collect(),
    })?;
    objects(&event, depth)
}

/// A field that must be a text with something in it.
fn text<'a>(object: &'a Value, at: &str, field: &str) -> Result<&'a str, NotificationError> {
    match object[field].as_str() {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(NotificationError::Field {
            at: path(at, field),
            expected: "a text",
            found: object.get(field).map_or_else(|| "nothing".to_owned(), beginning),
        }),
    }
}

fn path(at: &str, field: &str) -> String {
    if at.is_empty() { field.to_owned() } else { format!("{at}.{field}") }
}

fn beginning(value: &Value) -> String {
    value.to_string().chars().take(FOUND_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(bucket: &str, key: &str) -> ObjectRef {
        ObjectRef { bucket: bucket.into(), key: key.into() }
    }

    fn s3(key: &str) -> Value {
        json!({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "stats"}, "object": {"key": key, "size": 10}}}]})
    }

    fn sqs(bodies: &[&str]) -> Value {
        let records: Vec<_> = bodies
            .iter()
            .enumerate()
            .map(|(index, body)| json!({"eventSource": "aws:sqs", "messageId": format!("m{index}"), "body": body}))
            .collect();
        json!({ "Records": records })
    }

    #[test]
    fn keys_are_decoded_as_forms_are() {
        for (encoded, key) in [
            ("batches/checkout/r/s/000001.ndjson.gz", "batches/checkout/r/s/000001.ndjson.gz"),
            ("batches/my+test/caf%C3%A9%2B1", "batches/my test/café+1"),
            ("a%2520b", "a%20b"),
        ] {
            assert_eq!(parse(&s3(encoded)), Ok(Notification::Whole(vec![object("stats", key)])), "{encoded}");
        }
    }

    #[test]
    fn all_records_count_and_removals_do_not() {
        let mut event = s3("one");
        let mut second = event["Records"][0].clone();
        second["s3"]["object"] = json!({"key": "two", "versionId": "v7"});
        let mut removed = event["Records"][0].clone();
        removed["eventName"] = "ObjectRemoved:Delete".into();
        event["Records"].as_array_mut().unwrap().extend([removed, second]);
        let two = object("stats", "two");
        assert_eq!(parse(&event), Ok(Notification::Whole(vec![object("stats", "one"), two])));
    }

    #[test]
    fn every_message_of_a_queue_is_read_by_itself() {
        let event = sqs(&[&s3("one").to_string(), "not json", r#"{"Event":"s3:TestEvent"}"#]);
        let Ok(Notification::Queue(messages)) = parse(&event) else { panic!("expected messages") };
        assert_eq!(messages[0], QueueMessage { id: "m0".into(), objects: Ok(vec![object("stats", "one")]) });
        assert_eq!(messages[2], QueueMessage { id: "m2".into(), objects: Ok(vec![]) });
        assert_eq!(
            messages[1].objects.as_ref().unwrap_err().to_string(),
            "Records[1].body: expected JSON text of an S3 notification, found not json"
        );
    }

    #[test]
    fn envelopes_inside_envelopes_are_opened() {
        let sns = json!({"Type": "Notification", "Message": s3("one").to_string()}).to_string();
        let queue = sqs(&[&sns]);
        let failed = json!({"requestContext": {"condition": "RetriesExhausted"}, "requestPayload": queue});
        let failed_in_a_queue = sqs(&[&failed.to_string()]);
        let sns_record =
            json!({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": s3("one").to_string()}}]});
        let expected = vec![object("stats", "one")];
        assert_eq!(parse(&failed), Ok(Notification::Whole(expected.clone())));
        assert_eq!(parse(&sns_record), Ok(Notification::Whole(expected.clone())));
        let Ok(Notification::Queue(messages)) = parse(&failed_in_a_queue) else {
            panic!("expected messages")
        };
        assert_eq!(messages[0].objects, Ok(expected));
    }

    #[test]
    fn endless_envelopes_end() {
        let mut event = s3("one");
        for _ in 0..=MAX_DEPTH {
            event = json!({"Type": "Notification", "Message": event.to_string()});
        }
        assert_eq!(parse(&event), Err(NotificationError::TooDeep));
    }

    #[test]
    fn what_is_not_a_notification_is_said_to_be_none() {
        for (event, message) in [
            (json!({}), "found {}"),
            (json!([]), "found []"),
            (json!({"Records": []}), r#"found {"Records":[]}"#),
            (
                json!({"Records": [{"eventSource": "aws:s3"}]}),
                "Records[0].s3.object.key: expected a text, found nothing",
            ),
            (
                json!({"Records": [{"eventSource": "aws:sqs"}]}),
                "Records[0].messageId: expected a text, found nothing",
            ),
            (
                json!({"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": "%ff"}}}]}),
                "Records[0].s3.object.key: expected percent-encoded UTF-8, found %ff",
            ),
            (
                json!({"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": "k"}, "bucket": {"name": 7}}}]}),
                "Records[0].s3.bucket.name: expected a text, found 7",
            ),
        ] {
            let error = parse(&event).unwrap_err().to_string();
            assert!(error.ends_with(message), "{event}: {error}");
        }
    }
}
