//! Queries of operators' pages.

use std::borrow::Cow;

use filters::path;

/// The parameters of a query, their values decoded; `None` where one has no value, or stands twice.
pub(super) fn parameters(query: &str) -> Option<Vec<(&str, Cow<'_, str>)>> {
    let mut read: Vec<(&str, Cow<'_, str>)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        if read.iter().any(|(other, _)| *other == name) {
            return None;
        }
        read.push((name, path::decode(value.as_bytes()).ok()?));
    }
    Some(read)
}
