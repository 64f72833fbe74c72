//! The report on a configuration: every problem at once, each with its
//! place and its mend, none with a value: a value may be a secret that stands
//! in the wrong place.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;

/// Most problems and most warnings that are told; a file that is none of the gate's has one in each line.
const MOST: usize = 200;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A flag of the command line.
    Flag(&'static str),
    /// A variable of the environment.
    Variable(&'static str),
    /// A line of the configuration file, counted from 1.
    Line(Arc<str>, usize),
    /// Nowhere: it is a default, or missing.
    Nowhere,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => f.write_str(name),
            Self::Line(file, line) => write!(f, "{file}:{line}"),
            Self::Nowhere => f.write_str("configuration"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The problem, without the value.
    pub wrong: String,
    /// The mend.
    pub mend: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n    {}", self.place, self.wrong, self.mend)
    }
}

/// Everything that is wrong: flags first, then variables, then the file by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    problems: Vec<Problem>,
    /// Count of the problems beyond those.
    more: usize,
}

impl Report {
    /// The problems, at least one and 200 at most.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len() + self.more;
        writeln!(f, "configuration refused: {count} problem{}", if count == 1 { "" } else { "s" })?;
        self.problems.iter().try_for_each(|problem| writeln!(f, "{problem}"))?;
        if self.more == 0 { Ok(()) } else { writeln!(f, "and {} more, which are not told", self.more) }
    }
}

impl std::error::Error for Report {}

/// Where problems and warnings are collected while reading.
#[derive(Default)]
pub(super) struct Findings {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<String>>,
    /// Counts of those beyond the most.
    more_problems: Cell<usize>,
    more_warnings: Cell<usize>,
}

impl Findings {
    /// Notes a problem.
    pub(super) fn problem(&self, place: &Place, wrong: impl Into<String>, mend: impl Into<String>) {
        self.problem_with(place, || (wrong.into(), mend.into()));
    }

    /// Notes a problem, what is wrong and the mend, of which the words take long to find.
    pub(super) fn problem_with(&self, place: &Place, words: impl FnOnce() -> (String, String)) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() >= MOST {
            return self.more_problems.update(|more| more + 1);
        }
        let (wrong, mend) = words();
        let problem = Problem { place: place.clone(), wrong, mend };
        // A file that is named twice is looked at twice.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    /// Notes something that is allowed but worth a word.
    pub(super) fn warning(&self, place: &Place, text: impl fmt::Display) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() >= MOST {
            return self.more_warnings.update(|more| more + 1);
        }
        warnings.push(format!("{place}: {text}"));
    }

    /// True where a problem was noted.
    pub(super) fn is_clean(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// The result and the warnings, or all the problems.
    pub(super) fn into_result<T>(self, made: Option<T>) -> Result<(T, Vec<String>), Report> {
        let (mut problems, mut warnings) = (self.problems.into_inner(), self.warnings.into_inner());
        let [more, more_warnings] = [self.more_problems, self.more_warnings].map(Cell::into_inner);
        if more_warnings > 0 {
            warnings.push(format!("and {more_warnings} more warnings, which are not told"));
        }
        match made {
            Some(made) if problems.is_empty() => return Ok((made, warnings)),
            None if problems.is_empty() => problems.push(Problem {
                place: Place::Nowhere,
                wrong: "it cannot be used, and nothing says why".to_owned(),
                mend: "this is a defect of the program: report it".to_owned(),
            }),
            _ => {}
        }
        problems.sort();
        Err(Report { problems, more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_told_than_anybody_reads() {
        let findings = Findings::default();
        for line in (0..30_000).rev() {
            let place = Place::Line("c.toml".into(), line);
            findings.problem_with(&place, || ("wrong".to_owned(), "mend".to_owned()));
            findings.problem(&place, "wrong", "mend");
            findings.warning(&place, "a word");
        }
        assert_eq!(findings.warnings.borrow().len(), MOST);
        let report = findings.into_result::<()>(None).unwrap_err();
        let text = report.to_string();
        assert!(text.starts_with("configuration refused: ") && report.problems().len() == MOST, "{text}");
        assert!(text.ends_with("which are not told\n") && text.len() < 10_000, "{text}");
        assert!(report.problems().is_sorted(), "{text}");
    }

    #[test]
    fn what_is_noted_twice_is_told_once() {
        let findings = Findings::default();
        findings.problem(&Place::Nowhere, "wrong", "mend");
        findings.problem(&Place::Nowhere, "wrong", "mend");
        assert_eq!(findings.into_result::<()>(None).unwrap_err().to_string().matches("wrong").count(), 1);
    }
}
