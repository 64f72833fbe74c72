//! Paths that differ in one segment alone, as one pattern.

use std::collections::BTreeMap;

/// The paths and the count of each, where more than `most` of them that differ in one segment alone are one with
/// `any` in its place. A pattern has `any` once at most, so that it is never wider than a segment.
pub(super) fn fold(paths: BTreeMap<String, u64>, most: usize, any: &str) -> BTreeMap<String, u64> {
    let mut folded = BTreeMap::new();
    let mut rest = paths;
    let longest = rest.keys().map(|path| path.split('/').count()).max().unwrap_or(0);
    // The last segments first: siblings in one folder are mostly of one kind.
    for from_end in 0..longest {
        let mut families: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for (path, count) in &rest {
            if let Some(family) = without(path, from_end, any) {
                families.entry(family).or_default().insert(path.clone(), *count);
            }
        }
        for (family, members) in families.into_iter().filter(|(_, members)| members.len() > most) {
            rest.retain(|path, _| !members.contains_key(path));
            *folded.entry(family).or_default() += members.values().sum::<u64>();
        }
    }
    for (path, count) in rest {
        *folded.entry(path).or_default() += count;
    }
    folded
}

/// The path with `any` in place of the segment so far from its end; `None` where it has none there, or has it already.
fn without(path: &str, from_end: usize, any: &str) -> Option<String> {
    let mut segments: Vec<&str> = path.split('/').collect();
    let place = segments.len().checked_sub(from_end + 1)?;
    if segments.contains(&any) {
        return None;
    }
    *segments.get_mut(place)? = any;
    Some(segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(paths: &[&str], most: usize) -> Vec<(String, u64)> {
        let paths = paths.iter().map(|path| ((*path).to_owned(), 1)).collect();
        fold(paths, most, "*").into_iter().collect()
    }

    #[test]
    fn many_siblings_are_one_pattern() {
        let owned = |paths: &[(&str, u64)]| paths.iter().map(|(path, n)| ((*path).to_owned(), *n)).collect::<Vec<_>>();
        assert_eq!(folded(&["a/x", "a/y"], 2), owned(&[("a/x", 1), ("a/y", 1)]));
        assert_eq!(folded(&["a/x", "a/y", "a/z", "b"], 2), owned(&[("a/*", 3), ("b", 1)]));
        assert_eq!(folded(&["a/x/c", "a/y/c", "a/z/c", "a/z/d"], 2), owned(&[("a/*/c", 3), ("a/z/d", 1)]));
        // A listing of a folder stands beside its folded names.
        assert_eq!(folded(&["a/*", "a/x", "a/y", "a/z"], 2), owned(&[("a/*", 4)]));
    }

    #[test]
    fn no_pattern_is_wider_than_a_segment() {
        let paths: Vec<String> = (0..9).flat_map(|one| (0..9).map(move |two| format!("{one}/{two}"))).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let patterns = folded(&paths, 5);
        assert_eq!(patterns.len(), 9);
        assert!(patterns.iter().all(|(path, count)| path.ends_with("/*") && *count == 9), "{patterns:?}");
    }
}
