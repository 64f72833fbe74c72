//! Issuers of bearer tokens: their current keys, and the tokens that were verified with them.
//!
//! An issuer whose settings stay the same outlives a snapshot, with its keys and verified tokens.

mod feed;
mod keys;

use std::sync::Arc;

use filters::jwt::{Binding, Presented, Refused, Verified};
use filters::secret::{Digest, Secret};
use futures_util::future::join_all;

use crate::config::{self, KeySource};
use crate::telemetry::{Metrics, Seldom};

use feed::Feed;
use keys::LiveKeys;

/// The issuers of a snapshot, in the order of the configuration.
#[derive(Default)]
pub struct Issuers {
    list: Vec<Arc<Issuer>>,
}

/// One issuer.
pub struct Issuer {
    settings: config::Issuer,
    keys: LiveKeys,
    feed: Option<Feed>,
    many_keys: Seldom,
}

/// The reason why a token is not believed, or not yet.
pub enum Disbelief {
    /// The token is refused for good.
    Refused(Refused),
    /// Its issuer may have a key that is not known here yet.
    UnknownKey(Wait),
}

impl From<Refused> for Disbelief {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// A request for newer keys than those that a token was tried with.
pub struct Wait {
    issuer: Arc<Issuer>,
    /// The generation of the keys that it was tried with.
    generation: u64,
}

impl Wait {
    /// Waits until the keys were fetched again, unless that was a moment ago. Gives true where the
    /// fetch gave keys, so that all keys of the issuer are known.
    pub async fn over(&self) -> bool {
        match &self.issuer.feed {
            Some(feed) => feed.newer_than(self.generation).await,
            None => true,
        }
    }
}

impl Issuers {
    /// The issuers of `settings`; an issuer that `previous` has with the same settings is kept.
    ///
    /// # Errors
    /// A TLS client does not take the authorities.
    pub fn new(settings: &[config::Issuer], previous: Option<&Arc<Self>>) -> Result<Arc<Self>, String> {
        let same = |one: &&Arc<Issuer>, settings: &config::Issuer| one.settings == *settings;
        let before = previous.map_or(&[][..], |previous| &previous.list);
        if let Some(previous) = previous
            && before.len() == settings.len()
            && before.iter().zip(settings).all(|(one, settings)| same(&one, settings))
        {
            return Ok(Arc::clone(previous));
        }
        let live = |settings: &config::Issuer| match before.iter().find(|one| same(one, settings)) {
            Some(issuer) => Ok(Arc::clone(issuer)),
            None => Issuer::new(settings.clone()).map(Arc::new),
        };
        Ok(Arc::new(Self { list: settings.iter().map(live).collect::<Result<_, _>>()? }))
    }

    /// Verifies a token at `now`, in seconds since the epoch. Gives the index of its issuer too.
    ///
    /// # Errors
    /// [`Disbelief`].
    pub fn verify(&self, token: &Secret, now: i64) -> Result<(usize, Arc<Verified>), Disbelief> {
        let digest = token.digest();
        let known = |(place, issuer): (usize, &Arc<Issuer>)| Some((place, issuer.keys.verified(&digest)?));
        if let Some(known) = self.list.iter().enumerate().find_map(known) {
            return if known.1.expires > now { Ok(known) } else { Err(Refused::Expired.into()) };
        }
        let presented = Presented::read(token)?;
        let place = self.place_of(presented.issuer()).ok_or(Refused::Issuer)?;
        let issuer = self.list.get(place).ok_or(Refused::Issuer)?;
        Ok((place, issuer.verify(&presented, digest, now)?))
    }

    /// The index of the issuer of that name, else of the one that may have any name.
    fn place_of(&self, name: Option<&str>) -> Option<usize> {
        let named = self.list.iter().position(|issuer| Some(&*issuer.settings.rules.name) == name);
        named.or_else(|| self.list.iter().position(|issuer| !issuer.settings.rules.validate_issuer))
    }

    /// The configured name of the issuer whose keys would verify a token.
    #[must_use]
    pub fn name_of(&self, token: &Secret) -> Option<&str> {
        let place = self.place_of(Presented::read(token).ok()?.issuer())?;
        self.list.get(place).map(|issuer| &*issuer.settings.rules.name)
    }

    /// True where no bearer token is believed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// True where a token may be bound to a key (RFC 9449).
    #[must_use]
    pub fn take_dpop(&self) -> bool {
        self.list.iter().any(|issuer| issuer.settings.rules.binding != Binding::Certificate)
    }

    /// True where every token must be bound to a key.
    #[must_use]
    pub fn require_dpop(&self) -> bool {
        self.take_dpop() && self.list.iter().all(|issuer| issuer.settings.rules.binding == Binding::Key)
    }

    /// The names that are URLs: the authorization servers that clients are told of.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        let names = self.list.iter().map(|issuer| &*issuer.settings.rules.name);
        names.filter(|name| name.starts_with("https://") || name.starts_with("http://"))
    }

    /// The name of each issuer and the number of its known keys, for operators.
    pub fn keys(&self) -> impl Iterator<Item = (&str, usize)> {
        self.list.iter().map(|issuer| (&*issuer.settings.rules.name, issuer.keys.count()))
    }

    /// Keeps fetched keys fresh, for ever.
    pub async fn run(&self, metrics: &Metrics) {
        let feeds = self
            .list
            .iter()
            .filter_map(|issuer| Some(issuer.feed.as_ref()?.run(&issuer.settings.rules.name, &issuer.keys, metrics)));
        join_all(feeds).await;
        std::future::pending().await
    }
}

impl Issuer {
    fn new(settings: config::Issuer) -> Result<Self, String> {
        let (keys, feed) = match &settings.keys {
            KeySource::Given(set) => (Some(set.clone()), None),
            KeySource::Fetched(fetched) => (None, Some(Feed::new(fetched.clone())?)),
        };
        let keys = LiveKeys::new(keys);
        Ok(Self { settings, keys, feed, many_keys: Seldom::default() })
    }

    fn verify(self: &Arc<Self>, token: &Presented<'_>, digest: Digest, now: i64) -> Result<Arc<Verified>, Disbelief> {
        // The generation is read before the keys, so that keys that arrive meanwhile count as newer.
        let generation = self.feed.as_ref().map(Feed::generation);
        let unknown = |refused| match generation {
            Some(generation) => Disbelief::UnknownKey(Wait { issuer: Arc::clone(self), generation }),
            None => Disbelief::Refused(refused),
        };
        let Some(keys) = self.keys.current() else { return Err(unknown(Refused::Key)) };
        match self.settings.rules.verify(token, &keys.set, now) {
            Ok(verified) => {
                let verified = Arc::new(verified);
                keys.verified.insert(digest, Arc::clone(&verified));
                Ok(verified)
            }
            Err(Refused::Key) => Err(unknown(Refused::Key)),
            Err(refused @ (Refused::Signature | Refused::ManyKeys)) if token.names_no_key() => {
                if refused == Refused::ManyKeys
                    && let Some(more) = self.many_keys.due()
                {
                    let issuer = &*self.settings.rules.name;
                    tracing::warn!(issuer, more, "a token without `kid` is not tried with all keys: {refused}");
                }
                Err(unknown(refused))
            }
            Err(refused) => Err(refused.into()),
        }
    }
}
