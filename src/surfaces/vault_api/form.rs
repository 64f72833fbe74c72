//! The form of answers: Vault's own, but for what must not go out.

use std::sync::OnceLock;

use filters::identity::Identity;
use filters::lifetime::milliseconds;
use filters::operation::Entry;
use filters::refusal::Refusal;
use filters::shape::{Member, Projection, Shape, Type};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::service::{Form, Formed, InParts, Unformed};
use crate::surfaces::Reply;

const LEASE_ID: &str = "lease_id";
const LEASE_DURATION: &str = "lease_duration";

/// A member that is passed as it is.
const fn passed(name: &'static str, from: &'static [&'static str]) -> Member {
    Member::new(name, from, Type::Any, "").or_absent()
}

const REQUEST_ID: Member = passed("request_id", &["request_id"]);
const RENEWABLE: Member = passed("renewable", &["renewable"]);
const DATA: Member = passed("data", &["data"]);
const WARNINGS: Member = passed("warnings", &["warnings"]);
const MOUNT_TYPE: Member = passed("mount_type", &["mount_type"]);

/// An answer without a lease of the agent's.
static UNLEASED: Shape = Shape {
    about: "",
    members: &[REQUEST_ID, RENEWABLE, DATA, WARNINGS, MOUNT_TYPE, passed(LEASE_DURATION, &[LEASE_DURATION])],
};
/// One whose lease the gate tells.
static LEASED: Shape = Shape { about: "", members: &[REQUEST_ID, RENEWABLE, DATA, WARNINGS, MOUNT_TYPE] };

/// The time that the gate says a lease lasts, where it says one.
fn duration<'g>(given: &'g [(&str, Value)]) -> Option<&'g Value> {
    given.iter().find(|(name, _)| *name == LEASE_DURATION).map(|(_, value)| value)
}

/// Answers as Vault gives them.
#[derive(Debug, Default)]
pub(super) struct Vaults {
    is_framed: bool,
    /// The handle that is asked about, which comes back as the lease's id.
    handle: String,
    gone: OnceLock<Vec<u8>>,
}

impl Vaults {
    /// Answers that may be sent on as they arrive, where they are framed.
    pub(super) fn new(is_framed: bool) -> Self {
        Self { is_framed, ..Self::default() }
    }

    /// Answers about what this handle stands for.
    pub(super) fn about(handle: String) -> Self {
        Self { handle, ..Self::default() }
    }

    /// Begins an answer with what the gate tells itself.
    fn begin(&self, given: &[(&str, Value)], projection: &mut Projection, out: &mut Vec<u8>) {
        // The handle of a certificate stands where Vault has the lease of one.
        let handle = given.iter().find(|(name, _)| *name != LEASE_DURATION).map(|(_, handle)| handle);
        match (handle, self.handle.as_str()) {
            (Some(handle), _) => projection.give(LEASE_ID, handle, out),
            (None, "") => projection.give_fixed(r#""lease_id":"""#, out),
            (None, handle) => projection.give(LEASE_ID, &handle.into(), out),
        }
        duration(given).into_iter().for_each(|value| projection.give(LEASE_DURATION, value, out));
        projection.give_fixed(r#""wrap_info":null,"auth":null"#, out);
    }

    /// The answer that tells of a version that is deleted or destroyed, where there was one.
    pub(super) fn gone(self) -> Option<Vec<u8>> {
        self.gone.into_inner()
    }
}

impl Form for Vaults {
    fn whole(&self, answer: Unformed<'_>) -> Result<Formed, Refusal> {
        let Unformed { entry, body, given } = answer;
        let body = body.ok_or(Refusal::NotFound)?;
        if body.is_empty() {
            return Ok(Formed::default());
        }
        let mut out = Vec::with_capacity(body.len() + 64);
        let shape = if duration(given).is_some() { &LEASED } else { &UNLEASED };
        let mut projection = Projection::new(shape).telling(entry.shape);
        self.begin(given, &mut projection, &mut out);
        projection.push(body, &mut out)?;
        let notes = projection.finish(&mut out)?;
        Ok(Formed { body: out, notes, media: None })
    }

    fn gone(&self, entry: &'static Entry, body: &[u8]) {
        let unformed = self.whole(Unformed { entry, body: Some(body), given: &[] });
        _ = unformed.map(|answer| self.gone.set(answer.body));
    }

    fn takes_parts(&self) -> bool {
        self.is_framed
    }

    fn begin(&self, _: &'static Entry, out: &mut Vec<u8>) -> Box<dyn InParts> {
        let mut projection = Box::new(Projection::new(&UNLEASED));
        self.begin(&[], &mut projection, out);
        projection
    }

    fn wrapped(&self, handle: &str, _: &str, ttl: u64) -> Vec<u8> {
        let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let info = json!({
            "token": handle,
            "accessor": "",
            "ttl": ttl,
            "creation_time": now,
            "creation_path": "",
            "wrapped_accessor": "",
        });
        envelope("", "wrap_info", info).into_bytes()
    }
}

/// Gives an answer out that was wrapped. One that this surface wrapped has Vault's form already; that of another
/// surface becomes the data of an answer.
pub(super) struct Unwrapped;

impl Form for Unwrapped {
    fn whole(&self, answer: Unformed<'_>) -> Result<Formed, Refusal> {
        #[derive(Deserialize)]
        struct Kept<'a> {
            #[serde(borrow)]
            data: Answer<'a>,
        }
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(borrow)]
            answer: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct Vaults {
            #[serde(rename = "lease_id")]
            _lease_id: IgnoredAny,
            #[serde(rename = "wrap_info")]
            _wrap_info: IgnoredAny,
        }
        let body = answer.body.ok_or(Refusal::NotFound)?;
        let Kept { data: Answer { answer } } = serde_json::from_slice(body).map_err(|_| Refusal::UpstreamNonsense)?;
        let answer = answer.get();
        if serde_json::from_str::<Vaults>(answer).is_ok() {
            return Ok(answer.as_bytes().to_vec().into());
        }
        let (before, after) = (r#"{"request_id":"","lease_id":"","renewable":false,"lease_duration":0,"data":"#, "}");
        Ok([before, answer, after].concat().into_bytes().into())
    }

    fn takes_parts(&self) -> bool {
        false
    }

    fn begin(&self, entry: &'static Entry, _: &mut Vec<u8>) -> Box<dyn InParts> {
        Box::new(Projection::new(entry.shape))
    }
}

/// An answer of the gate's own in Vault's form.
pub(super) fn answer(data: Value, request_id: &str) -> Reply {
    Reply::json(200, envelope(request_id, "data", data))
}

/// The members that every answer of Vault's has, empty but for one.
pub(super) fn envelope(request_id: &str, member: &str, value: Value) -> String {
    let mut answer = json!({
        "request_id": request_id,
        "lease_id": "",
        "renewable": false,
        "lease_duration": 0,
        "data": null,
        "wrap_info": null,
        "warnings": null,
        "auth": null,
    });
    if let Some(place) = answer.get_mut(member) {
        *place = value;
    }
    answer.to_string()
}

/// A time as Vault writes it (RFC 3339), of seconds since the epoch.
pub(super) fn time(seconds: u64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?.format(&Rfc3339).ok()
}

/// The end of a credential, in seconds since the epoch, where it has one.
pub(super) fn ends(identity: &Identity) -> Option<u64> {
    identity.expires.and_then(|ends| u64::try_from(ends).ok())
}

/// Whole seconds, which Vault takes as a number or a duration; `None` where nothing or 0 is said.
///
/// # Errors
/// [`Refusal::Malformed`] for what is no such time.
pub(super) fn seconds(given: Option<&Value>) -> Result<Option<u64>, Refusal> {
    let seconds = match given {
        None | Some(Value::Null) => Some(0),
        Some(Value::String(text)) if text.is_empty() => Some(0),
        Some(Value::String(text)) => milliseconds(text).map(|milliseconds| milliseconds / 1000),
        Some(given) => given.as_u64(),
    };
    let seconds =
        seconds.ok_or(Refusal::Malformed("A time must be a number of seconds or a duration such as 1h30m."))?;
    Ok(Some(seconds).filter(|seconds| *seconds > 0))
}

/// Reads a small body: nothing, and `null`, which some clients write for nothing, are the default.
///
/// # Errors
/// [`Refusal::Malformed`] for what is no such object.
pub(super) fn read<T: Default + DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let read = match body.trim_ascii() {
        [] => Ok(None),
        body => serde_json::from_slice::<Option<T>>(body),
    };
    let read =
        read.map_err(|_| Refusal::Malformed("The body must be a JSON object, with members of Vault's types."))?;
    Ok(read.unwrap_or_default())
}
