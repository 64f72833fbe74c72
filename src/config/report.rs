//! What is wrong with a configuration: every problem at once, each with its
//! place and its mend, none with a value: a value may be a secret that stands
//! in the wrong place.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

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
    /// What is wrong, without the value.
    pub wrong: String,
    /// What to do about it.
    pub mend: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n    {}", self.place, self.wrong, self.mend)
    }
}

/// Everything that is wrong: flags first, then variables, then the file by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report(Vec<Problem>);

impl Report {
    /// Every problem, at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        writeln!(f, "configuration refused: {count} problem{}", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|problem| writeln!(f, "{problem}"))
    }
}

impl std::error::Error for Report {}

/// Where problems and warnings are collected while reading.
#[derive(Default)]
pub(super) struct Findings {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<String>>,
}

impl Findings {
    /// Notes a problem.
    pub(super) fn problem(&self, place: &Place, wrong: impl Into<String>, mend: impl Into<String>) {
        let problem = Problem { place: place.clone(), wrong: wrong.into(), mend: mend.into() };
        self.problems.borrow_mut().push(problem);
    }

    /// Notes something that is allowed but worth a word.
    pub(super) fn warning(&self, place: &Place, text: impl fmt::Display) {
        self.warnings.borrow_mut().push(format!("{place}: {text}"));
    }

    /// Whether a problem was noted.
    pub(super) fn is_clean(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// What was made and the warnings, or all the problems.
    pub(super) fn into_result<T>(self, made: Option<T>) -> Result<(T, Vec<String>), Report> {
        let mut problems = self.problems.into_inner();
        match made {
            Some(made) if problems.is_empty() => return Ok((made, self.warnings.into_inner())),
            None if problems.is_empty() => problems.push(Problem {
                place: Place::Nowhere,
                wrong: "it cannot be used, and nothing says why".to_owned(),
                mend: "this is a defect of the program: report it".to_owned(),
            }),
            _ => {}
        }
        problems.sort();
        problems.dedup();
        Err(Report(problems))
    }
}
