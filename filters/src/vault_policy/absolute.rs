//! Absolute grants in a policy of Vault's, beside each other and beside what the agent's own view needs.
//!
//! Each role is a source of rules, and decides by the most specific that fits, as a policy of Vault's does; what one
//! role allows is allowed, and what one denies is denied. Vault knows no roles: over all that a token's policies say it
//! lets the most specific path decide. So whatever two patterns have in common is a path of its own here, with what all
//! the roles say of it.

use std::collections::BTreeMap;

use super::{MOST, Unprintable};
use crate::grants::Capabilities;
use crate::operation::Capability;
use crate::pattern::{AbsolutePattern, Unsayable};

/// The rules of one role, or of the agent's own view.
pub(super) struct Source(Vec<Rule>);

/// What is said of the paths of one pattern.
#[derive(Clone)]
struct Rule {
    pattern: AbsolutePattern,
    says: Says,
}

/// What may be done; `None` where it is denied.
type Says = Option<Capabilities>;

impl Source {
    /// Rules in any order.
    pub(super) fn new(rules: impl IntoIterator<Item = (AbsolutePattern, Says)>) -> Self {
        let mut rules: Vec<_> = rules.into_iter().map(|(pattern, says)| Rule { pattern, says }).collect();
        rules.sort_by(|one, two| two.pattern.precedence(&one.pattern));
        Self(rules)
    }

    /// The rule that decides of every path of the region.
    fn decides(&self, region: &AbsolutePattern) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.pattern.contains(region))
    }

    /// The rule that decides if the names in the folders of the region are listed.
    fn lists(&self, region: &AbsolutePattern) -> Option<&Rule> {
        let Some([plain, slashed]) = region.slashes() else { return self.decides(region) };
        let exactly = self.0.iter().find(|rule| rule.pattern == slashed && !slashed.has_any());
        exactly.or_else(|| self.decides(&plain)).or_else(|| self.decides(&slashed))
    }

    /// The same as OpenBao finds it (2.7, tried), which looks for a path without wildcards first, and for others by the
    /// folder with a slash before that without.
    fn lists_in_openbao(&self, [plain, slashed]: &[AbsolutePattern; 2]) -> Option<&Rule> {
        let exactly =
            |region: &AbsolutePattern| self.0.iter().find(|rule| rule.pattern == *region && !region.has_any());
        let wild = |region: &AbsolutePattern| {
            let is_wild = |rule: &&Rule| rule.pattern.has_any() || rule.pattern.is_open();
            self.0.iter().filter(is_wild).find(|rule| rule.pattern.contains(region))
        };
        exactly(slashed).or_else(|| exactly(plain)).or_else(|| wild(slashed)).or_else(|| wild(plain))
    }

    /// True where Vault and OpenBao find by these rules what `rule` says.
    fn finds(&self, rule: &Rule) -> bool {
        let says = |found: Option<&Rule>| found.and_then(|found| found.says.clone()).unwrap_or_default();
        let wanted = rule.says.clone().unwrap_or_default();
        let Some(folder) = rule.pattern.slashes() else { return says(self.decides(&rule.pattern)) == wanted };
        let list = Capability::List;
        let listed = [self.lists(&rule.pattern), self.lists_in_openbao(&folder)];
        listed.into_iter().all(|found| says(found).contains(&list) == wanted.contains(&list))
            && (rule.pattern.is_folder() || without_list(&says(self.decides(&rule.pattern))) == without_list(&wanted))
    }
}

/// What all sources say of a region together.
fn says(sources: &[Source], region: &AbsolutePattern) -> Says {
    // Of a path with a slash at its end nothing else is asked.
    let all = match region.is_folder() {
        true => Capabilities::new(),
        false => together(sources.iter().filter_map(|source| source.decides(region)))?,
    };
    let lists = together(sources.iter().filter_map(|source| source.lists(region))).unwrap_or_default();
    let is_list = |may: &Capability| *may == Capability::List;
    Some(all.into_iter().filter(|may| !is_list(may)).chain(lists.into_iter().filter(is_list)).collect())
}

/// What rules of several sources say together.
fn together<'a>(mut rules: impl Iterator<Item = &'a Rule>) -> Says {
    rules.try_fold(Capabilities::new(), |mut all, rule| {
        all.extend(rule.says.as_ref()?);
        Some(all)
    })
}

/// The paths of a policy that says what all sources say.
///
/// # Errors
/// [`Unprintable`].
pub(super) fn united(sources: &[Source]) -> Result<BTreeMap<String, Capabilities>, Unprintable> {
    let given = || sources.iter().flat_map(|source| source.0.iter().map(|rule| &rule.pattern));
    let depth = given().map(|pattern| pattern.depth() + 1).max().unwrap_or(0);
    // Of two patterns that are open the one with more `+` is asked later, though it be the narrower.
    let meets_any =
        |pattern: &AbsolutePattern| given().any(|other| other != pattern && other.has_any() && other.touches(pattern));
    let spread = |pattern: &AbsolutePattern| pattern.spread(if meets_any(pattern) { depth } else { 0 });
    let mut regions = closed(given().flat_map(spread))?;
    loop {
        let folders: Vec<_> = regions.iter().flat_map(AbsolutePattern::folders).collect();
        let before = regions.len();
        regions = closed(regions.into_iter().chain(folders))?;
        if regions.len() == before {
            break;
        }
    }
    let all: Vec<Rule> = regions.into_iter().map(|pattern| Rule { says: says(sources, &pattern), pattern }).collect();
    let printed = needed(&all, |pattern| given().any(|other| other == pattern));
    check(sources, &all, &printed)?;
    Ok(printed.0.into_iter().map(|rule| (rule.pattern.to_string(), rule.says.unwrap_or_default())).collect())
}

/// The patterns, and all that some of them have in common.
fn closed(given: impl Iterator<Item = AbsolutePattern>) -> Result<Vec<AbsolutePattern>, Unprintable> {
    let mut patterns: Vec<AbsolutePattern> = Vec::new();
    for pattern in given {
        let mut found = vec![pattern];
        while let Some(pattern) = found.pop() {
            if patterns.contains(&pattern) {
                continue;
            }
            // What no pattern can say is checked at the end.
            found.extend(patterns.iter().filter_map(|other| other.meet(&pattern).ok().flatten()));
            patterns.push(pattern);
            if patterns.len() > MOST {
                return Err(Unprintable::TooManyPaths);
            }
        }
    }
    Ok(patterns)
}

/// The rules without those that nobody wrote and that say what Vault and OpenBao would find without them.
fn needed(all: &[Rule], is_written: impl Fn(&AbsolutePattern) -> bool) -> Source {
    let mut kept = Source::new(all.iter().map(|rule| (rule.pattern.clone(), rule.says.clone())));
    // Where no path says what two have in common, both are asked.
    let is_alone = |rule: &Rule| all.iter().all(|other| other.pattern.meet(&rule.pattern) != Err(Unsayable));
    for rule in all.iter().filter(|rule| !is_written(&rule.pattern) && is_alone(rule)) {
        let Some(place) = kept.0.iter().position(|other| other.pattern == rule.pattern) else { continue };
        let taken = kept.0.remove(place);
        if !kept.finds(rule) {
            kept.0.insert(place, taken);
        }
    }
    kept
}

/// The capabilities beside that of listing.
fn without_list(may: &Capabilities) -> Capabilities {
    may.iter().filter(|may| **may != Capability::List).copied().collect()
}

/// Asks the printed rules as Vault does.
fn check<'a>(sources: &'a [Source], all: &[Rule], printed: &Source) -> Result<(), Unprintable> {
    let unsayable =
        |one: &AbsolutePattern, two: &AbsolutePattern| Unprintable::Unsayable(one.to_string(), two.to_string());
    if let Some(rule) = all.iter().find(|rule| !printed.finds(rule)) {
        let found = printed.decides(&rule.pattern).map_or(&rule.pattern, |found| &found.pattern);
        return Err(unsayable(&rule.pattern, found));
    }
    for (place, one) in printed.0.iter().enumerate() {
        for two in printed.0.iter().skip(place + 1).filter(|two| one.pattern.meet(&two.pattern) == Err(Unsayable)) {
            let decides = |source: &'a Source| {
                let rules = [source.decides(&one.pattern), source.decides(&two.pattern)].into_iter().flatten();
                rules.max_by(|one, two| one.pattern.precedence(&two.pattern))
            };
            // Of the two the first is asked.
            let said = together(sources.iter().filter_map(decides));
            if said.unwrap_or_default() != one.says.clone().unwrap_or_default() {
                return Err(unsayable(&one.pattern, &two.pattern));
            }
        }
    }
    Ok(())
}
