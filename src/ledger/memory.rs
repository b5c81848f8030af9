//! A store in memory, for tests: conditional writes as S3 makes them, and answers that get lost.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::{ETag, LedgerStore, StoreError, Written};

/// Objects by their key, whatever the bucket.
#[derive(Default)]
pub(crate) struct Memory {
    /// Body and version of each object.
    pub objects: Mutex<BTreeMap<String, (Vec<u8>, u64)>>,
    /// The next write is carried out, and answered as if its repetition had met it.
    pub lose_answer: Mutex<bool>,
    /// The next write is carried out and never answered.
    pub hang: Mutex<bool>,
}

impl LedgerStore for Memory {
    async fn read(&self, _bucket: &str, key: &str) -> Result<Option<(Vec<u8>, ETag)>, StoreError> {
        let objects = self.objects.lock().unwrap();
        Ok(objects.get(key).map(|(body, version)| (body.clone(), ETag(version.to_string()))))
    }

    async fn write(
        &self,
        _bucket: &str,
        key: &str,
        body: Vec<u8>,
        expected: Option<&ETag>,
    ) -> Result<Written, StoreError> {
        let version = {
            let mut objects = self.objects.lock().unwrap();
            let version = objects.get(key).map(|(_, version)| *version);
            if version.map(|version| version.to_string()) != expected.map(|tag| tag.0.clone()) {
                return Ok(Written::Conflict);
            }
            let version = version.unwrap_or_default() + 1;
            objects.insert(key.to_owned(), (body, version));
            version
        };
        if std::mem::take(&mut *self.hang.lock().unwrap()) {
            std::future::pending::<()>().await;
        }
        let lost = std::mem::take(&mut *self.lose_answer.lock().unwrap());
        Ok(if lost { Written::Conflict } else { Written::Yes(ETag(version.to_string())) })
    }
}
