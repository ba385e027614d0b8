//! Times and durations of messages.

use std::time::Duration;

use jiff::Timestamp;
use pbjson_types as wkt;

use super::Malformed;

/// Nanoseconds of a second.
const SECOND: i32 = 1_000_000_000;

/// A time as messages have it: nanoseconds count forward, also before 1970.
pub fn encode(time: Timestamp) -> wkt::Timestamp {
    let (seconds, nanos) = (time.as_second(), time.subsec_nanosecond());
    match nanos < 0 {
        true => wkt::Timestamp {
            seconds: seconds - 1,
            nanos: nanos + SECOND,
        },
        false => wkt::Timestamp { seconds, nanos },
    }
}

/// The time of a message; none if it is outside of the years that the domain has.
pub fn decode(time: &wkt::Timestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok()
}

/// The time of a field of a stored message.
///
/// # Errors
/// [`Malformed`] if it is no time.
pub fn stored(field: &str, time: Option<&wkt::Timestamp>) -> Result<Option<Timestamp>, Malformed> {
    time.map(|time| decode(time).ok_or_else(|| Malformed::field(field, time)))
        .transpose()
}

/// Milliseconds since 1970 of a message's time; 0 if it is not there.
pub fn millis(time: Option<&wkt::Timestamp>) -> i64 {
    time.map_or(0, |time| {
        time.seconds
            .saturating_mul(1000)
            .saturating_add(i64::from(time.nanos) / 1_000_000)
    })
}

/// A duration as messages have it.
pub fn encode_duration(duration: Duration) -> wkt::Duration {
    wkt::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

/// The duration of a message; none if it is negative or no duration.
pub fn decode_duration(duration: &wkt::Duration) -> Option<Duration> {
    let seconds = u64::try_from(duration.seconds).ok()?;
    let nanos = u32::try_from(duration.nanos).ok()?;
    (duration.nanos < SECOND).then(|| Duration::new(seconds, nanos))
}
