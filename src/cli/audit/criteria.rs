//! The things that records are searched for by.

use std::fs;
use std::path::Path;

use filters::audit::Naming;
use filters::lifetime::Lifetime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

/// Reads a time, or how long ago it was: milliseconds since the epoch.
pub(super) fn since(text: &str) -> Result<i128, &'static str> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(time.unix_timestamp_nanos() / 1_000_000);
    }
    let ago: Lifetime = text.parse().map_err(|_| "write such as `2030-01-31T12:00:00Z` or `24h`")?;
    Ok(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000 - i128::from(ago.seconds()) * 1000)
}

/// A time in milliseconds since the epoch, as text.
pub(super) fn at(milliseconds: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000);
    time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

/// The form of names in records, by the file of their key where there is one.
///
/// # Errors
/// The file cannot be read, or holds no key.
pub(super) fn naming(key: Option<&Path>) -> Result<Naming, String> {
    let Some(path) = key else { return Ok(Naming::Clear) };
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    Naming::of_key(&text).ok_or_else(|| format!("{} holds no key of names", path.display()))
}
