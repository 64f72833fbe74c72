use super::*;
use jiff::civil::{Weekday, date};
use proptest::prelude::*;

fn clock(text: &str) -> Clock {
    Clock::parse(text).unwrap()
}

fn days(names: &str) -> Days {
    names.split(' ').map(|name| Days::parse(name).unwrap()).collect()
}

fn hours(from: &str, to: &str, of: &str, zone: &str) -> Hours {
    Hours::new(clock(from), clock(to), days(of), Zone::named(zone).unwrap()).unwrap()
}

/// Seconds since the epoch of a time in UTC.
fn at(text: &str) -> u64 {
    text.parse::<Timestamp>().unwrap().as_second().try_into().unwrap()
}

const WORKDAYS: &str = "mon tue wed thu fri";

#[test]
fn hours_are_those_of_the_zone_in_summer_and_winter() {
    let office = hours("08:00", "18:00", WORKDAYS, "Europe/Berlin");
    for (time, holds) in [
        // A Wednesday in winter: an hour ahead.
        ("2026-01-14T06:59:59Z", false),
        ("2026-01-14T07:00:00Z", true),
        ("2026-01-14T16:59:59Z", true),
        ("2026-01-14T17:00:00Z", false),
        // One in summer: two.
        ("2026-07-15T05:59:59Z", false),
        ("2026-07-15T06:00:00Z", true),
        ("2026-07-15T15:59:59Z", true),
        ("2026-07-15T16:00:00Z", false),
        // Friday and Saturday.
        ("2026-07-17T10:00:00Z", true),
        ("2026-07-18T10:00:00Z", false),
    ] {
        assert_eq!(office.have(at(time)), holds, "{time}");
    }
}

#[test]
fn a_range_over_midnight_belongs_to_the_day_it_begins_on() {
    let night = hours("22:00", "06:00", "fri", "America/New_York");
    for (time, holds) in [
        ("2026-01-17T02:59:59Z", false), // Friday 21:59:59
        ("2026-01-17T03:00:00Z", true),
        ("2026-01-17T10:59:59Z", true), // Saturday 05:59:59
        ("2026-01-17T11:00:00Z", false),
        ("2026-01-18T04:00:00Z", false), // Saturday 23:00
        ("2026-01-16T09:00:00Z", false), // Friday 04:00, Thursday's night
    ] {
        assert_eq!(night.have(at(time)), holds, "{time}");
    }
    // Sunday's night ends on Monday, the other end of the week.
    assert!(hours("22:00", "06:00", "sun", "UTC").have(at("2026-01-19T05:00:00Z")));
    assert!(!hours("22:00", "06:00", "mon", "UTC").have(at("2026-01-19T05:00:00Z")));
}

#[test]
fn an_hour_that_comes_twice_counts_twice_and_one_left_out_not_at_all() {
    let early = hours("02:00", "03:00", "sun", "Europe/Berlin");
    // 2026-10-25: from 03:00 back to 02:00, at 01:00 UTC.
    for (time, holds) in [
        ("2026-10-24T23:59:59Z", false),
        ("2026-10-25T00:00:00Z", true),
        ("2026-10-25T00:59:59Z", true),
        ("2026-10-25T01:00:00Z", true),
        ("2026-10-25T01:59:59Z", true),
        ("2026-10-25T02:00:00Z", false),
    ] {
        assert_eq!(early.have(at(time)), holds, "{time}");
    }
    // 2026-03-29: from 02:00 on to 03:00, at 01:00 UTC.
    for time in ["2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"] {
        assert!(!early.have(at(time)), "{time}");
    }
}

#[test]
fn a_client_must_be_known_and_in_a_network() {
    let nets = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect();
    let conditions = Conditions { sources: nets(&["10.0.0.0/8", "2001:db8::/32"]), hours: None };
    let hold = |client: Option<&str>| {
        conditions.hold(Circumstances { client: client.map(|client| client.parse().unwrap()), now: 0 })
    };
    for client in ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3", "2001:db8::1"] {
        assert_eq!(hold(Some(client)), Ok(()), "{client}");
    }
    for client in ["9.255.255.255", "11.0.0.0", "::ffff:11.1.2.3", "2001:db9::1", "::1", "::10.1.2.3"] {
        assert_eq!(hold(Some(client)), Err(Failed::Sources), "{client}");
    }
    assert_eq!(hold(None), Err(Failed::Sources));
    assert_eq!(Conditions::default().hold(Circumstances::default()), Ok(()));
}

#[test]
fn times_zones_and_days_are_read_or_refused() {
    for (text, told) in [("00:00", "00:00"), ("09:05", "09:05"), ("24:00", "24:00")] {
        assert_eq!(clock(text).to_string(), told);
    }
    for bad in ["", "8:00", "08:0", "08:60", "24:01", "25:00", "08:00:00", "+8:00", "0８:00", "0800", "ab:cd"] {
        assert_eq!(Clock::parse(bad), None, "{bad}");
    }
    for bad in ["", "Mon", "monday", "m"] {
        assert_eq!(Days::parse(bad), None, "{bad}");
    }
    assert_eq!(Zone::named("Europe/Berlin").unwrap().to_string(), "Europe/Berlin");
    for bad in ["", "Europe/Nowhere", "../Berlin", "CET+1", "+01:00"] {
        assert_eq!(Zone::named(bad), None, "{bad}");
    }
    assert_eq!(Hours::new(clock("08:00"), clock("08:00"), Days::ALL, Zone::UTC), None);
    assert_eq!(Hours::new(Clock::END, clock("08:00"), Days::ALL, Zone::UTC), None);
    let told = hours("22:00", "06:00", WORKDAYS, "Europe/Berlin").to_string();
    assert_eq!(told, "22:00 to 06:00 Europe/Berlin on mon tue wed thu fri");
}

fn weekday(day: Weekday) -> Days {
    Days(1 << (day.to_monday_zero_offset()))
}

proptest! {
    /// The same by another way: the calendar of the zone, a minute at a time.
    #[test]
    fn hours_are_what_a_calendar_says(
        (from, to) in (0u16..1440, 0u16..=1440),
        set in 1u8..128,
        zone in prop::sample::select(vec!["Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia", "UTC"]),
        now in 0i64..4_000_000_000,
    ) {
        prop_assume!(from != to);
        let hours = Hours::new(Clock(from), Clock(to), Days(set), Zone::named(zone).unwrap()).unwrap();
        let zone = TimeZoneDatabase::bundled().get(zone).unwrap();
        let local = zone.to_datetime(Timestamp::from_second(now).unwrap());
        let minute = u16::try_from(local.hour()).unwrap() * 60 + u16::try_from(local.minute()).unwrap();
        let today = weekday(local.date().weekday()).0 & set != 0;
        let yesterday = weekday(local.date().yesterday().unwrap_or(date(1969, 12, 31)).weekday()).0 & set != 0;
        let expected = match from < to {
            true => today && from <= minute && minute < to,
            false => today && from <= minute || yesterday && minute < to,
        };
        prop_assert_eq!(hours.have(now.unsigned_abs()), expected);
    }
}
