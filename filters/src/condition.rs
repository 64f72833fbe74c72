//! Conditions of a role: the network its agent asks from, and the time of the week.
//!
//! Times of the day are those of clocks on the wall in a named time zone, by
//! the tz database that the binary has with it: an hour that a change of
//! clocks repeats counts twice, one that it leaves out not at all.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

const DAY: i64 = 86_400;
/// The day of the epoch, counted from Monday.
const THURSDAY: i64 = 3;
/// As they are written, from Monday on.
const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// From where and when something is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// The client's address, where it is known.
    pub client: Option<IpAddr>,
    /// Seconds since the epoch.
    pub now: u64,
}

/// Under what circumstances a role holds; all of them, where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Networks, of which one must have the client; any client where there are none.
    pub sources: Vec<IpNet>,
    /// The time of the week.
    pub hours: Option<Hours>,
}

/// The condition that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The client's address is in none of the networks, or not known.
    Sources,
    /// The time is another.
    Hours,
}

impl Conditions {
    /// Checks that all of them hold.
    ///
    /// # Errors
    /// The first that does not.
    pub fn hold(&self, circumstances: Circumstances) -> Result<(), Failed> {
        if !self.sources.is_empty() {
            let client = circumstances.client.ok_or(Failed::Sources)?.to_canonical();
            if !self.sources.iter().any(|network| network.contains(&client)) {
                return Err(Failed::Sources);
            }
        }
        match &self.hours {
            Some(hours) if !hours.have(circumstances.now) => Err(Failed::Hours),
            _ => Ok(()),
        }
    }

    /// Each of them, as a person reads it.
    pub fn told(&self) -> impl Iterator<Item = String> {
        let list = || self.sources.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        let sources = (!self.sources.is_empty()).then(|| format!("from {}", list()));
        sources.into_iter().chain(self.hours.as_ref().map(ToString::to_string))
    }
}

/// A time of the day, in minutes from midnight; 24:00 is the end of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clock(u16);

impl Clock {
    /// 00:00.
    pub const MIDNIGHT: Self = Self(0);
    /// 24:00.
    pub const END: Self = Self(24 * 60);

    /// From `HH:MM`, 00:00 to 24:00.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (hour, minute) = text.split_once(':')?;
        let two = |part: &str| (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok());
        let (hour, minute): (u16, u16) = (two(hour)??, two(minute)??);
        let clock = Self(hour * 60 + minute);
        (minute < 60 && clock <= Self::END).then_some(clock)
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// Days of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days(u8);

impl Days {
    /// The whole week.
    pub const ALL: Self = Self(0x7f);

    /// From `mon`, `tue`, `wed`, `thu`, `fri`, `sat` or `sun`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        NAMES.iter().position(|known| *known == name).map(|day| Self(1 << day))
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// True where a day is among them, by its number from Monday.
    const fn have(self, day: i64) -> bool {
        self.0 & (1 << day.rem_euclid(7)) != 0
    }
}

impl FromIterator<Self> for Days {
    fn from_iter<I: IntoIterator<Item = Self>>(days: I) -> Self {
        days.into_iter().fold(Self(0), Self::and)
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = (0..).zip(NAMES).filter(|(day, _)| self.have(*day)).map(|(_, name)| name).collect();
        f.write_str(&names.join(" "))
    }
}

/// A time zone of the tz database, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// The zone of that name, such as `Europe/Berlin`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        TimeZoneDatabase::bundled().get(name).ok().map(Self)
    }

    /// Seconds of a clock on the wall there, since its 1970-01-01 00:00.
    fn local(&self, now: u64) -> Option<i64> {
        let now = i64::try_from(now).ok()?;
        let offset = self.0.to_offset(Timestamp::from_second(now).ok()?);
        Some(now + i64::from(offset.seconds()))
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

/// From one time of the day to another, on some days of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    from: Clock,
    to: Clock,
    days: Days,
    zone: Zone,
}

impl Hours {
    /// From `from` until before `to`; where that is the earlier one, until then
    /// on the next day. `None` where they are the same.
    #[must_use]
    pub fn new(from: Clock, to: Clock, days: Days, zone: Zone) -> Option<Self> {
        (from != to && from != Clock::END).then_some(Self { from, to, days, zone })
    }

    fn have(&self, now: u64) -> bool {
        let Some(local) = self.zone.local(now) else { return false };
        let (day, minute) = (local.div_euclid(DAY) + THURSDAY, local.rem_euclid(DAY) / 60);
        let (from, to) = (i64::from(self.from.0), i64::from(self.to.0));
        if from < to {
            return self.days.have(day) && (from..to).contains(&minute);
        }
        self.days.have(day) && minute >= from || self.days.have(day - 1) && minute < to
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} {}", self.from, self.to, self.zone)?;
        if self.days == Days::ALL { Ok(()) } else { write!(f, " on {}", self.days) }
    }
}

#[cfg(test)]
mod tests;
