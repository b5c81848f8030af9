//! Cases for the reader: each thing that can be wrong with a batch has its own error.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

use super::*;

const LIMIT: u64 = 1 << 20;
const HEADER: &str = r#"{"format":"locust-stats-batch","version":1,"test":"checkout","run":"r1","source":"s1","seq":3,"run_started_ms":1000,"from_ms":5000,"to_ms":15000}"#;
const GROUP: &str = r#"{"requests":{"method":"GET","name":"/cart","status":200,"error":null,"at_ms":[-5,0,12],"response_time_us":[1500,null,7],"response_bytes":[10,-1,null]}}"#;

const SNAPSHOT: &str = r#"{"snapshot":{"from_ms":6000,"at_ms":7000,"endpoints":[{"method":"GET","name":"/","requests":4,"failures":1,"response_times":3,"response_time_us":{"sum":400,"min":100,"max":200}}]}}"#;

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn lines(lines: &[&str]) -> Vec<u8> {
    gzip(&lines.join("\n"))
}

fn read(bytes: &[u8]) -> Result<Vec<Record>, BatchError> {
    Reader::open(bytes, LIMIT)?.collect()
}

fn error(bytes: &[u8]) -> String {
    read(bytes).expect_err("a bad batch").to_string()
}

#[test]
fn a_batch_reads_as_its_records() {
    let bytes = lines(&[
        HEADER,
        GROUP,
        r#"{"users":{"at_ms":6000,"total":5,"by_class":{"Shopper":5}}}"#,
        r#"{"event":{"at_ms":6001,"kind":"test_start","detail":{"users":5}}}"#,
        r#"{"exception":{"at_ms":6002,"count":2,"message":"boom","traceback":"File …"}}"#,
        r#"{"end":{"records":4,"requests":3}}"#,
    ]);
    let mut reader = Reader::open(&bytes, LIMIT).unwrap();
    assert_eq!((reader.header().test.as_str(), reader.header().seq), ("checkout", 3));
    let records: Vec<_> = reader.by_ref().collect::<Result<_, _>>().unwrap();
    let Record::Requests(group) = &records[0] else { panic!("expected requests") };
    assert_eq!((group.method.as_str(), group.name.as_str(), group.status), ("GET", "/cart", Some(200)));
    assert_eq!(
        group.columns.iter().collect::<Vec<_>>(),
        [
            Request { at_ms: 4995, response_time_us: Some(1500), response_bytes: Some(10) },
            Request { at_ms: 4995, response_time_us: None, response_bytes: Some(-1) },
            Request { at_ms: 5007, response_time_us: Some(7), response_bytes: None },
        ]
    );
    assert_eq!(
        records[1],
        Record::Users(Users { at_ms: 6000, total: 5, by_class: [("Shopper".into(), 5)].into() })
    );
    assert!(matches!(&records[2], Record::Event(event) if event.kind == "test_start"));
    assert!(matches!(&records[3], Record::Exception(exception) if exception.count == 2));
    assert_eq!((reader.requests(), reader.skipped()), (3, 0));
}

#[test]
fn a_batch_without_requests_is_a_batch() {
    let end = r#"{"end":{"records":0,"requests":0}}"#;
    assert_eq!(read(&lines(&[HEADER, end, ""])), Ok(vec![]));
}

#[test]
fn zstd_and_gzip_in_members_read_the_same() {
    let end = r#"{"end":{"records":1,"requests":3}}"#;
    let text = [HEADER, GROUP, end].join("\n");
    let expected = read(&gzip(&text)).unwrap();
    assert_eq!(read(&zstd::encode_all(text.as_bytes(), 3).unwrap()).unwrap(), expected);
    let (first, second) = text.split_at(200);
    assert_eq!(read(&[gzip(first), gzip(second)].concat()).unwrap(), expected);
}

#[test]
fn a_replayed_batch_is_another_test_at_another_time() {
    let bytes = lines(&[
        HEADER,
        GROUP,
        r#"{"users":{"at_ms":6000,"total":5,"by_class":{}}}"#,
        r#"{"event":{"at_ms":6001,"kind":"test_start","detail":{}}}"#,
        r#"{"exception":{"at_ms":6002,"count":2,"message":"boom","traceback":""}}"#,
        r#"{"snapshot":{"from_ms":6000,"at_ms":7000}}"#,
        r#"{"end":{"records":5,"requests":3}}"#,
    ]);
    let mut reader = Reader::open(&bytes, LIMIT).unwrap().replayed_as("checkout@old".into(), 60_000).unwrap();
    let Header { test, run, run_started_ms, from_ms, to_ms, .. } = reader.header().clone();
    assert_eq!((test.as_str(), run.as_str()), ("checkout@old", "r1"));
    assert_eq!((run_started_ms, from_ms, to_ms), (61_000, 65_000, 75_000));
    let times = |record: Record| match record {
        Record::Requests(group) => group.columns.at_ms().to_vec(),
        Record::Users(users) => vec![users.at_ms],
        Record::Event(event) => vec![event.at_ms],
        Record::Exception(exception) => vec![exception.at_ms],
        Record::Snapshot(snapshot) => vec![snapshot.from_ms, snapshot.at_ms],
    };
    let times: Vec<_> = reader.by_ref().flat_map(|record| times(record.unwrap())).collect();
    assert_eq!(times, [64_995, 64_995, 65_007, 66_000, 66_001, 66_002, 66_000, 67_000]);
    assert!(Reader::open(&bytes, LIMIT).unwrap().replayed_as("x".into(), i64::MAX).is_err());
}

#[test]
fn unknown_kinds_and_fields_are_skipped_and_counted() {
    let header = HEADER.replace(r#""version":1"#, r#""version":1,"colour":"red""#);
    let bytes = lines(&[
        &header,
        r#"{"weather":{"at_ms":1}}"#,
        &GROUP.replace(r#""method""#, r#""protocol":"h2","method""#),
        r#"{"end":{"records":2,"requests":3}}"#,
    ]);
    let mut reader = Reader::open(&bytes, LIMIT).unwrap();
    assert_eq!(reader.by_ref().map(Result::unwrap).count(), 1);
    assert_eq!(reader.skipped(), 1);
}

#[test]
fn each_defect_has_its_own_error() {
    let end = r#"{"end":{"records":1,"requests":3}}"#;
    let cases: Vec<(Vec<u8>, &str, &str)> = vec![
        (vec![], "EmptyObject", "expected a batch, found an empty object"),
        (b"PK\x03\x04".to_vec(), "NotCompressed", "begins with 50 4b 03 04"),
        (b"{".to_vec(), "NotCompressed", "begins with 7b"),
        (gzip(""), "NotABatch", "line 1: expected the header of a `locust-stats-batch`, found an empty line"),
        (lines(&["hello"]), "NotABatch", "found hello"),
        (lines(&[&HEADER.replace("checkout", &"x".repeat(70_000))]), "NotABatch", r#"{"format""#),
        (lines(&["[1]"]), "NotABatch", "found [1]"),
        (lines(&[r#"{"format":"other"}"#]), "NotABatch", r#"found {"format":"other"}"#),
        (
            lines(&[&HEADER.replace(r#""version":1"#, r#""version":2"#)]),
            "UnknownBatchVersion",
            "found version 2",
        ),
        (lines(&[&HEADER.replace(r#""version":1,"#, "")]), "UnknownBatchVersion", "found version null"),
        (
            lines(&[&HEADER.replace(r#""seq":3,"#, "")]),
            "InvalidJson",
            "line 1: expected a JSON record, found missing field `seq`",
        ),
        (
            lines(&[&HEADER.replace("checkout", "")]),
            "InvalidRecord",
            "line 1: test: expected 1 to 512 bytes, found 0 bytes",
        ),
        (lines(&[&HEADER.replace("checkout", &"x".repeat(513))]), "InvalidRecord", "found 513 bytes"),
        (lines(&[HEADER]), "TruncatedBatch", "line 2: expected a record or the `end` line, found the end"),
        (lines(&[HEADER, GROUP]), "TruncatedBatch", "line 3: "),
        (
            lines(&[HEADER, GROUP, r#"{"users":{"at_ms":1,}}"#]),
            "InvalidJson",
            "line 3: expected a JSON record, found trailing comma at column 21",
        ),
        (lines(&[HEADER, "\u{0}"]), "InvalidJson", "line 2: "),
        (
            lines(&[HEADER, &GROUP.replace("[10,-1,null]", "[10,-1]")]),
            "UnequalColumns",
            "found at_ms: 3, response_time_us: 3, response_bytes: 2",
        ),
        (
            lines(&[HEADER, &GROUP.replace("1500", "1.5")]),
            "InvalidJson",
            "line 2: expected a JSON record, found invalid type: floating point",
        ),
        (lines(&[HEADER, &GROUP.replace("1500", "99999999999999999999")]), "InvalidJson", "line 2: "),
        (
            lines(&[HEADER, &GROUP.replace("-5,0", &format!("{0},{0}", i64::MAX))]),
            "InvalidRecord",
            "line 2: at_ms: ",
        ),
        (
            lines(&[HEADER, r#"{"users":{"at_ms":1,"total":1},"event":{"at_ms":1,"kind":"x"}}"#]),
            "InvalidRecord",
            "line 2: record: expected one kind of record in a line, found 2 of them",
        ),
        (
            lines(&[HEADER, &SNAPSHOT.replace(r#""sum":400"#, r#""sum":100"#)]),
            "InvalidRecord",
            "line 2: response_time_us: expected min × response_times ≤ sum ≤ max × response_times, found 100 × 3, 100, 200 × 3",
        ),
        (
            lines(&[HEADER, &SNAPSHOT.replace(r#""sum":400"#, r#""sum":1600"#)]),
            "InvalidRecord",
            "line 2: response_time_us: ",
        ),
        (
            lines(&[HEADER, &SNAPSHOT.replace(r#""failures":1"#, r#""failures":1000000000001"#)]),
            "InvalidRecord",
            "line 2: failures: expected at most a million millions, found 1000000000001",
        ),
        (
            lines(&[HEADER, GROUP, r#"{"end":{"records":2,"requests":3}}"#]),
            "WrongEndLine",
            "line 3: expected 1 records as read so far, found 2",
        ),
        (
            lines(&[HEADER, GROUP, r#"{"end":{"records":1,"requests":2}}"#]),
            "WrongEndLine",
            "line 3: expected 3 requests as read so far, found 2",
        ),
        (lines(&[HEADER, GROUP, end, GROUP]), "DataAfterEnd", "line 4: "),
    ];
    for (bytes, kind, message) in cases {
        let found = read(&bytes).expect_err(message);
        assert_eq!(found.kind(), kind, "{found}");
        assert!(found.to_string().contains(message), "expected `{message}`, found `{found}`");
    }
}

#[test]
fn damaged_compression_is_told_from_a_truncated_upload() {
    let text = [HEADER, GROUP, r#"{"end":{"records":1,"requests":3}}"#].join("\n");
    for (whole, name) in [(gzip(&text), "gzip"), (zstd::encode_all(text.as_bytes(), 3).unwrap(), "zstd")] {
        for cut in [whole.len() - 1, whole.len() - 9, 30] {
            let message = error(&whole[..cut]);
            assert!(message.ends_with(&format!("the {name} data are truncated")), "{cut}: {message}");
        }
    }
    let mut damaged = gzip(&text);
    let checksum = damaged.len() - 5;
    damaged[checksum] ^= 0xff;
    assert_eq!(read(&damaged).unwrap_err().kind(), "CorruptBatch");
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let bomb = gzip(&format!("{HEADER}\n{}", " ".repeat(LIMIT as usize * 4)));
    assert!(bomb.len() < 50_000);
    assert_eq!(read(&bomb), Err(BatchError::TooLarge { line: 2, limit: LIMIT }));
    let exact = [HEADER, r#"{"end":{"records":0,"requests":0}}"#].join("\n");
    let read_within = |limit| Reader::open(&gzip(&exact), limit)?.collect::<Result<Vec<_>, _>>();
    assert_eq!(read_within(exact.len() as u64), Ok(vec![]));
    assert_eq!(read_within(exact.len() as u64 - 1).unwrap_err().kind(), "BatchTooLarge");
}
