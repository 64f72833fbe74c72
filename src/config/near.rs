//! Problems about keys that are no option. A key may be a secret in the wrong
//! place, so it is named only where it resembles an option.

use std::cmp::Reverse;

use super::options::Section;
use super::table::Table;

/// Most edits between a key and the option it is taken for.
const MAX_EDITS: usize = 4;
/// Longest key that is compared.
const MAX_KEY: usize = 40;

/// The problem with the unknown `key` of a `section` of the table, and its mend.
pub(super) fn unknown(key: &str, section: &Section, table: &Table) -> (String, String) {
    let lower = key.to_ascii_lowercase();
    if let Some(other) = elsewhere(&lower, table) {
        return (format!("`{lower}` is no option {}", within(section)), format!("it belongs {}", within(other)));
    }
    match nearest(&lower, section) {
        Some(option) => (format!("unknown key `{key}` {}", within(section)), format!("did you mean `{option}`?")),
        None => (format!("unknown key {}", within(section)), mend(section)),
    }
}

fn within(section: &Section) -> String {
    match section.label {
        "" => "at the top level".to_owned(),
        label => format!("in `{label}`"),
    }
}

fn mend(section: &Section) -> String {
    if section.label.is_empty() {
        return "remove it; `portcullis options` lists every key".to_owned();
    }
    let names: Vec<_> = section.options.iter().map(|option| format!("`{}`", option.name)).collect();
    format!("known here: {}", names.join(", "))
}

fn elsewhere<'t>(key: &str, table: &'t Table) -> Option<&'t Section> {
    table.sections().find(|section| section.options.iter().any(|option| option.name == key))
}

fn nearest(key: &str, section: &Section) -> Option<&'static str> {
    nearest_of(key, section.options.iter().map(|option| option.name))
}

/// The one of `names` that `key` is a slip of, if there is one.
pub(crate) fn nearest_of<'a>(key: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    if key.len() > MAX_KEY || !key.bytes().all(fits) {
        return None;
    }
    let distance = |name: &&str| (edits(key, name), Reverse(common_start(key, name)));
    let name = names.min_by_key(distance)?;
    let most = (name.len() * 2 / 5).clamp(1, MAX_EDITS);
    (edits(key, name) <= most).then_some(name)
}

fn common_start(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count()
}

/// Levenshtein's distance, in bytes.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut left = i + 1;
        let mut diagonal = std::mem::replace(&mut row, vec![left]).into_iter();
        let mut corner = diagonal.next().unwrap_or(0);
        for (above, y) in diagonal.zip(b.bytes()) {
            left = (corner + usize::from(x != y)).min(above + 1).min(left + 1);
            corner = above;
            row.push(left);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sections::TLS;

    #[test]
    fn edits_are_counted() {
        for (a, b, count) in [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("vualt", "vault", 2)]
        {
            assert_eq!(edits(a, b), count, "{a} {b}");
        }
    }

    #[test]
    fn a_key_is_named_only_where_it_resembles_an_option() {
        let table = Table::of_gate();
        let unknown = |key, section| unknown(key, section, table);
        let (top, role) = (&table.top, &table.role);
        assert_eq!(unknown("vualt_addr", top).1, "did you mean `vault_addr`?");
        assert_eq!(unknown("vault_address", top).1, "did you mean `vault_addr`?");
        assert_eq!(unknown("kvs", role).1, "did you mean `kv`?");
        assert_eq!(unknown("threads", top).1, "it belongs in `server`");
        let (wrong, mend) = unknown("hunter2_hunter2", top);
        assert!(!wrong.contains("hunter2") && !mend.contains("hunter2"));
        let (wrong, _) = unknown("kvx", &TLS);
        assert!(!wrong.contains("kvx"));
    }
}
