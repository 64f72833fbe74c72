//! The reference: every refusal as a row of a Markdown table.

use std::fmt::Write as _;

use crate::path::PathProblem;
use crate::quota::{Exceeded, LimitKind};
use crate::refusal::{Misfit, Refusal};
use crate::scope::Scope;
use crate::vault::reason::{REJECTED, meanings};

/// A count of requests that is over a limit, for refusals that tell when to come again.
const EXCEEDED: Exceeded = Exceeded { kind: LimitKind::Agent, limit: 1, retry_after: 1, reset: 1 };

/// The table of errors, in the order of their statuses, and the sentences of those codes that have several.
#[must_use]
pub fn errors() -> String {
    let mut text = String::from("| status | code | detail | `Retry-After` |\n| --- | --- | --- | --- |\n");
    for (refusal, detail) in every() {
        row(&refusal, detail, &mut text);
    }
    let reasons = [REJECTED].into_iter().chain(meanings());
    list(
        "`invalid_path`",
        "The caller's path is refused for one of these reasons:",
        PATHS.map(PathProblem::text),
        &mut text,
    );
    list(
        "`rejected_by_vault`",
        "Vault's reason, where the gate knows it, is told by one of these:",
        reasons,
        &mut text,
    );
    text
}

fn row(refusal: &Refusal, detail: &str, text: &mut String) {
    let public = refusal.public();
    let detail = if detail.is_empty() { public.detail } else { detail };
    let again = if refusal.retry_after().is_some() { "yes" } else { "" };
    let _ = writeln!(text, "| {} | `{}` | {detail} | {again} |", public.status.as_u16(), public.code);
}

fn list(heading: &str, about: &str, sentences: impl IntoIterator<Item = &'static str>, text: &mut String) {
    let _ = writeln!(text, "\n## {heading}\n\n{about}\n");
    for sentence in sentences {
        let _ = writeln!(text, "- {sentence}");
    }
}

/// One refusal of each kind, by status, with what the table tells of those that have more than one text.
fn every() -> Vec<(Refusal, &'static str)> {
    vec![
        (Refusal::Malformed(""), "One sentence that tells what is not well formed."),
        (Refusal::Path(PathProblem::Empty), "[One of these sentences](#invalid_path)."),
        (Refusal::RejectedByVault(""), "[One of these sentences](#rejected_by_vault)."),
        (Refusal::RejectedByKms, ""),
        (Refusal::Unauthenticated, ""),
        (Refusal::InvalidProof, ""),
        (
            Refusal::InsufficientScope(Scope::Read),
            "The credential lacks the scope that the operation needs; the text names it.",
        ),
        (Refusal::Forbidden, ""),
        (Refusal::Ungranted(String::new()), "The same; `granted` has what the agent's roles hold of that kind."),
        (Refusal::Suspended, ""),
        (Refusal::DeniedByVault, ""),
        (Refusal::TokenRequired, ""),
        (Refusal::LoginDenied, ""),
        (Refusal::DeniedByKms, ""),
        (Refusal::OriginNotAllowed, ""),
        (Refusal::HostNotAllowed, ""),
        (Refusal::SocketOnly, ""),
        (Refusal::NotConfirmed, ""),
        (Refusal::NotFound, ""),
        (Refusal::Absent(""), "One sentence: which secret or version is not there, and what brings it back."),
        (Refusal::NoSession, ""),
        (Refusal::MethodNotAllowed(String::new()), ""),
        (Refusal::Verb(String::new()), ""),
        (Refusal::NotAcceptable, ""),
        (Refusal::RequestTimeout, ""),
        (Refusal::Cancelled, ""),
        (Refusal::CheckAndSet, ""),
        (Refusal::StateNotThere, "At one of Vault's own paths, which a role grants."),
        (Refusal::BodyTooLarge, ""),
        (Refusal::UnsupportedMediaType, ""),
        (Refusal::EncodedBody, ""),
        (
            Refusal::Arguments(Misfit { pointer: String::new(), expected: String::new() }),
            "An argument does not fit the schema: `pointer` tells which, `expected` what fits.",
        ),
        (Refusal::ConfirmationRequired, ""),
        (Refusal::RateLimited(EXCEEDED), ""),
        (Refusal::TooManyAtOnce, ""),
        (Refusal::TooManyStreams, ""),
        (Refusal::TooSlow, "Never an answer: the reason for which a stream of events ended."),
        (Refusal::TooManyConnections, ""),
        (Refusal::TooManyFromAddress, ""),
        (Refusal::TooManyFailures(EXCEEDED), ""),
        (Refusal::LeaseBudget, ""),
        (Refusal::HeadTooLarge, ""),
        (Refusal::Internal, ""),
        (Refusal::UpstreamNonsense, ""),
        (Refusal::AnswerTooLarge, ""),
        (Refusal::UpstreamUnavailable, ""),
        (Refusal::NotProvisioned, ""),
        (Refusal::Overloaded, ""),
        (Refusal::UpstreamTimeout, ""),
        (Refusal::KmsDisabled, ""),
        (Refusal::KmsUnavailable, ""),
        (Refusal::IssuerUnavailable, ""),
        (Refusal::HandleKeyUnknown, ""),
        (Refusal::AuditUnavailable, ""),
    ]
}

const PATHS: [PathProblem; 13] = [
    PathProblem::Empty,
    PathProblem::EmptySegment,
    PathProblem::Dots,
    PathProblem::Control,
    PathProblem::OtherSpace,
    PathProblem::Invisible,
    PathProblem::NoCharacter,
    PathProblem::Separator,
    PathProblem::Space,
    PathProblem::DecodesTwice,
    PathProblem::NotUtf8,
    PathProblem::LongSegment,
    PathProblem::LongPath,
];

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;
    use std::fmt::Debug;

    fn name(text: &str) -> String {
        text.trim().chars().take_while(|c| c.is_alphanumeric()).collect()
    }

    /// The variants of an enum, as its source names them.
    fn variants(source: &str, name_of_enum: &str) -> BTreeSet<String> {
        let (_, body) = source.split_once(&format!("pub enum {name_of_enum} {{\n")).unwrap();
        let (body, _) = body.split_once("\n}").unwrap();
        let lines = body.lines().filter(|line| line.trim_start().starts_with(char::is_uppercase));
        lines.map(name).collect()
    }

    fn names<T: Debug>(samples: &[T]) -> BTreeSet<String> {
        samples.iter().map(|sample| name(&format!("{sample:?}"))).collect()
    }

    #[test]
    fn the_reference_has_every_refusal() {
        let every: Vec<Refusal> = every().into_iter().map(|(refusal, _)| refusal).collect();
        assert_eq!(names(&every), variants(include_str!("../refusal.rs"), "Refusal"));
        assert_eq!(names(&PATHS), variants(include_str!("../path.rs"), "PathProblem"));
        let (text, mut last) = (errors(), 0);
        for refusal in every {
            let public = refusal.public();
            let status = public.status.as_u16();
            assert!(text.contains(&format!("| {status} | `{}` | ", public.code)), "{refusal:?}");
            assert!(last <= status, "{refusal:?} is out of order");
            last = status;
        }
    }

    #[test]
    fn a_sentence_stands_once_in_a_list() {
        let text = errors();
        let mut seen = BTreeSet::new();
        for line in text.lines().filter(|line| line.starts_with("- ")) {
            assert!(seen.insert(line), "{line}");
        }
        assert!(text.contains("- Vault has no such role.\n") && seen.len() > 30);
    }
}
