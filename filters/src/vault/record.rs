//! Records that the gate keeps in Vault's KV engine, version 2: what the answer to reading one says.
//!
//! A record is empty only where Vault's engine says so in its own form (tried with Vault 1.21 and
//! OpenBao 2.7): a path that was never written is a 404 with `{"errors":[]}`, a deleted version a
//! 404 with its metadata. All else, a balancer's page or a mount that has moved, says nothing.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;

use super::errors;
use crate::json::Object;

/// A record at one of its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<T> {
    /// 0 where there has never been a record.
    pub version: u64,
    /// `None` where there is none, or its version was deleted.
    pub data: Option<T>,
}

/// Why an answer gives no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRecord {
    /// The answer is not one of Vault's KV engine.
    Foreign,
    /// The record holds something else than it should.
    Malformed,
}

#[derive(Deserialize)]
struct ReadAnswer<'a> {
    #[serde(borrow)]
    data: Object<Data<'a>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    metadata: Object<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
    #[serde(default)]
    destroyed: bool,
}

/// The record in an answer of this status to reading it.
///
/// # Errors
/// [`NoRecord`]; what is known stays as it is then.
pub fn read<T: DeserializeOwned>(status: u16, body: &[u8]) -> Result<Record<T>, NoRecord> {
    match (status, answer(body)) {
        (200, Some(Data { data: Some(data), metadata })) => {
            let data = serde_json::from_str(data.get()).map_err(|_| NoRecord::Malformed)?;
            Ok(Record { version: metadata.0.version, data: Some(data) })
        }
        (404, Some(Data { data: None, metadata })) => Ok(Record { version: metadata.0.version, data: None }),
        (404, None) if errors(body).is_some_and(|errors| errors.is_empty()) => Ok(Record { version: 0, data: None }),
        _ => Err(NoRecord::Foreign),
    }
}

/// True where the body of a 404 tells of a version that was deleted.
pub(super) fn is_deleted(body: &[u8]) -> bool {
    answer(body).is_some_and(|data| data.data.is_none())
}

/// True where the version that the body of a 404 tells of is destroyed, false where it is deleted
/// only; `None` where the body tells of none. A patch is answered without the level between.
#[must_use]
pub fn is_destroyed(body: &[u8]) -> Option<bool> {
    #[derive(Deserialize)]
    struct Unpatched {
        data: Object<Version>,
    }
    #[derive(Deserialize)]
    struct Version {
        version: u64,
        #[serde(rename = "deletion_time")]
        _deletion_time: IgnoredAny,
        destroyed: bool,
    }
    if let Some(data) = answer(body) {
        return data.data.is_none().then_some(data.metadata.0.destroyed);
    }
    let Object(Unpatched { data: Object(data) }) = serde_json::from_slice(body).ok()?;
    (data.version > 0).then_some(data.destroyed)
}

/// The version in the answer to writing a record.
#[must_use]
pub fn written(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Written {
        data: Metadata,
    }
    serde_json::from_slice::<Written>(body).ok().map(|written| written.data.version)
}

fn answer(body: &[u8]) -> Option<Data<'_>> {
    let Object(ReadAnswer { data: Object(data) }) = serde_json::from_slice(body).ok()?;
    (data.metadata.0.version > 0).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Names = BTreeMap<String, u64>;

    fn names(status: u16, body: &str) -> Result<Record<Names>, NoRecord> {
        read(status, body.as_bytes())
    }

    #[test]
    fn a_record_is_read_and_an_empty_one_is_known_by_its_form() {
        let one = r#"{"data":{"data":{"a":1},"metadata":{"version":7,"deletion_time":""}},"mount_type":"kv"}"#;
        let data = Some(Names::from([("a".to_owned(), 1)]));
        assert_eq!(names(200, one), Ok(Record { version: 7, data }));
        let empty = r#"{"data":{"data":{},"metadata":{"version":8}}}"#;
        assert_eq!(names(200, empty), Ok(Record { version: 8, data: Some(Names::new()) }));
        assert_eq!(names(404, "{\"errors\":[]}\n"), Ok(Record { version: 0, data: None }));
        let deleted = r#"{"data":{"data":null,"metadata":{"version":9,"deletion_time":"2026-01-01T00:00:00Z"}}}"#;
        assert_eq!(names(404, deleted), Ok(Record { version: 9, data: None }));
        assert_eq!(written(br#"{"data":{"version":3,"created_time":"x"}}"#), Some(3));
    }

    #[test]
    fn what_is_no_answer_of_the_engine_says_nothing() {
        let record = r#"{"data":{"data":{"a":1},"metadata":{"version":7}}}"#;
        let nothing = r#"{"errors":[]}"#;
        for (status, body) in [
            (404, ""),
            (404, "[[]]"),
            (404, r#"[[null,{"version":7}]]"#),
            (404, r#"{"data":[null,{"version":7}]}"#),
            (404, r#"{"data":{"data":null,"metadata":[7]}}"#),
            (200, r#"[[{"a":1},{"version":7}]]"#),
            (404, "<html>404</html>"),
            (404, "{}"),
            (404, r#"{"errors":["no handler for route \"secret/data/x\". route entry not found."]}"#),
            (404, record),
            (404, r#"{"data":{"data":null,"metadata":{}}}"#),
            (404, r#"{"data":{"data":null,"metadata":{"version":0}}}"#),
            (404, r#"{"data":null}"#),
            (200, ""),
            (200, "<html>Welcome</html>"),
            (200, "{}"),
            (200, nothing),
            (200, r#"{"data":{}}"#),
            (200, r#"{"data":{"a":1}}"#),
            (200, r#"{"data":{"data":null,"metadata":{"version":7}}}"#),
            (200, r#"{"data":{"metadata":{"version":7}}}"#),
            (200, r#"{"data":{"data":{"a":1},"metadata":{"version":-1}}}"#),
            (204, ""),
            (302, nothing),
            (503, nothing),
        ] {
            assert_eq!(names(status, body), Err(NoRecord::Foreign), "{status} {body}");
        }
        let other = r#"{"data":{"data":{"a":"one"},"metadata":{"version":7}}}"#;
        assert_eq!(names(200, other), Err(NoRecord::Malformed));
    }

    #[test]
    fn what_is_deleted_is_told_from_what_is_destroyed() {
        let read = r#"{"data":{"data":null,"metadata":{"version":3,"deletion_time":"x","destroyed":true}}}"#;
        let patched = r#"{"data":{"version":3,"deletion_time":"x","destroyed":true}}"#;
        for body in [read, patched] {
            assert_eq!(is_destroyed(body.as_bytes()), Some(true));
            assert_eq!(is_destroyed(body.replace("true", "false").as_bytes()), Some(false));
        }
        for body in [
            "",
            r#"{"errors":[]}"#,
            r#"{"data":{"version":0,"deletion_time":"","destroyed":true}}"#,
            r#"{"data":{"version":3,"destroyed":true}}"#,
            r#"{"data":{"data":{"a":1},"metadata":{"version":3,"destroyed":true}}}"#,
        ] {
            assert_eq!(is_destroyed(body.as_bytes()), None, "{body}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_read_from_noise(status in prop_oneof![Just(200_u16), Just(404)], body in ".{0,200}") {
            prop_assert_eq!(read::<Names>(status, body.as_bytes()), Err(NoRecord::Foreign));
        }
    }
}
