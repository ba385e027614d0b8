//! Times as people write and read them: RFC 3339, local time, or how long ago.

use jiff::civil::{DateTime, Time};
use jiff::{Span, Timestamp, Zoned};

/// What is wrong with a time, and how it is written.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{text}` is not a time; write 2026-01-31T14:03:00Z, '2026-01-31 14:03' or 14:03 (local time), '10m ago' or -10m"
)]
pub(crate) struct NotATime {
    text: String,
}

/// Reads a flag's time, as of now on this machine.
pub(crate) fn parse(text: &str) -> Result<Timestamp, NotATime> {
    parse_at(text, &Zoned::now())
}

/// Reads a time: RFC 3339, a date and time or a time of today in the zone of `now`, or a span before `now`.
fn parse_at(text: &str, now: &Zoned) -> Result<Timestamp, NotATime> {
    let plain = text.trim();
    let found = if plain == "now" {
        Some(now.timestamp())
    } else if let Some(span) = plain.strip_suffix("ago").or(plain.strip_prefix('-')) {
        before(span.trim(), now)
    } else {
        absolute(plain, now)
    };
    found.ok_or_else(|| NotATime {
        text: text.to_owned(),
    })
}

fn before(span: &str, now: &Zoned) -> Option<Timestamp> {
    let span: Span = span.parse().ok()?;
    let past = now.checked_sub(span).ok()?;
    (past <= *now).then(|| past.timestamp())
}

fn absolute(text: &str, now: &Zoned) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let civil = match text.parse::<DateTime>() {
        Ok(civil) => civil,
        Err(_) => now.date().to_datetime(text.parse::<Time>().ok()?),
    };
    let zoned = civil.to_zoned(now.time_zone().clone()).ok()?;
    Some(zoned.timestamp())
}

/// As `ipam.v1` carries it.
pub(crate) fn to_proto(time: Timestamp) -> pbjson_types::Timestamp {
    pbjson_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}

/// From `ipam.v1`; none if it is out of range.
pub(crate) fn from_proto(time: &pbjson_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok()
}

/// A time of a table: RFC 3339 in UTC, whole seconds; `-` for none.
pub(crate) fn shown(time: Option<&pbjson_types::Timestamp>) -> String {
    let time = time.and_then(from_proto);
    let whole = time.and_then(|time| Timestamp::from_second(time.as_second()).ok());
    whole.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

/// How long ago, as kubectl shows it; `-` for no time.
pub(crate) fn age(time: Option<&pbjson_types::Timestamp>, now: Timestamp) -> String {
    time.and_then(from_proto).map_or_else(
        || "-".to_owned(),
        |time| length(now.as_second() - time.as_second()),
    )
}

/// How long from now; `-` for no time.
pub(crate) fn left(time: Option<&pbjson_types::Timestamp>, now: Timestamp) -> String {
    time.and_then(from_proto).map_or_else(
        || "-".to_owned(),
        |time| length(time.as_second() - now.as_second()),
    )
}

/// One or two units: `45s`, `12m`, `3h20m`, `5d`.
pub(crate) fn length(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..36_000 => format!("{}h{}m", seconds / 3_600, seconds % 3_600 / 60),
        36_000..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> Zoned {
        "2026-03-10T12:00:00+01:00[+01:00]".parse().expect("a time")
    }

    #[test]
    fn a_time_is_read_in_every_documented_form() {
        for (text, expected) in [
            ("2026-03-10T10:30:00Z", "2026-03-10T10:30:00Z"),
            ("2026-03-10T10:30:00+02:00", "2026-03-10T08:30:00Z"),
            ("2026-03-10 10:30", "2026-03-10T09:30:00Z"),
            ("2026-03-10T10:30:05", "2026-03-10T09:30:05Z"),
            ("2026-03-09", "2026-03-08T23:00:00Z"),
            ("14:03", "2026-03-10T13:03:00Z"),
            ("10m ago", "2026-03-10T10:50:00Z"),
            ("-10m", "2026-03-10T10:50:00Z"),
            ("1h 30m ago", "2026-03-10T09:30:00Z"),
            ("2d ago", "2026-03-08T11:00:00Z"),
            ("90 seconds ago", "2026-03-10T10:58:30Z"),
            ("now", "2026-03-10T11:00:00Z"),
        ] {
            let found = parse_at(text, &now()).map(|time| time.to_string());
            assert_eq!(found.ok().as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_forms() {
        for text in ["", "soon", "ago", "-", "--5m", "25:00", "-999999y"] {
            let error = parse_at(text, &now()).expect_err(text).to_string();
            assert!(error.contains("is not a time; write"), "{error}");
        }
    }

    #[test]
    fn lengths_have_the_units_that_matter() {
        let shown: Vec<_> = [0, 119, 120, 7_260, 40_000, 172_800, -5]
            .map(length)
            .to_vec();
        assert_eq!(shown, ["0s", "119s", "2m", "2h1m", "11h", "2d", "0s"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,40}") {
            let _ = parse_at(&text, &now());
        }

        #[test]
        fn every_time_survives_being_shown(second in -62_000_000_000i64..250_000_000_000) {
            let time = Timestamp::from_second(second).expect("in range");
            prop_assert_eq!(parse_at(&shown(Some(&to_proto(time))), &now()).ok(), Some(time));
        }
    }
}
