//! Deleted secrets, which Vault lists as all others.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Deserialize;

/// The members of `kv.metadata` that tell whether a version can be read.
#[derive(Deserialize)]
struct Metadata {
    current_version: u64,
    versions: HashMap<Box<str>, Version>,
}

#[derive(Deserialize)]
struct Version {
    /// RFC 3339, past or planned; empty where there is none.
    deletion_time: Box<str>,
    destroyed: bool,
}

/// True where the latest version of a secret can be read, by the answer of `kv.metadata`. `now` is in seconds since the
/// epoch. An answer that is not understood tells nothing against it.
#[must_use]
pub fn is_there(metadata: &str, now: u64) -> bool {
    let Ok(Metadata { current_version, versions }) = serde_json::from_str(metadata) else { return true };
    let gone = |version: &Version| {
        let deleted = version
            .deletion_time
            .parse::<Timestamp>()
            .is_ok_and(|time| u64::try_from(time.as_second()).is_ok_and(|time| time <= now));
        deleted || version.destroyed
    };
    versions.get(&*current_version.to_string()).is_some_and(|version| !gone(version))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_is_there_while_its_latest_version_can_be_read() {
        let now = 1_700_000_000;
        let version = |deletion_time: &str, destroyed: bool| json!({"created_time": "2020-01-01T00:00:00Z", "deletion_time": deletion_time, "destroyed": destroyed});
        let with = |current: u64, latest| json!({"current_version": current, "versions": {"1": version("2020-01-01T00:00:00Z", true), "2": latest}});
        for (metadata, there) in [
            (with(2, version("", false)), true),
            (with(2, version("2023-11-14T22:13:20.999Z", false)), false),
            (with(2, version("2023-11-14T22:13:21Z", false)), true),
            (with(2, version("2020-01-01T00:00:00.123456789Z", false)), false),
            (with(2, version("", true)), false),
            (with(1, version("", false)), false),
            // Metadata alone, without a version.
            (json!({"current_version": 0, "versions": {}}), false),
            (json!({"versions": 7}), true),
        ] {
            assert_eq!(is_there(&metadata.to_string(), now), there, "{metadata}");
        }
    }
}
