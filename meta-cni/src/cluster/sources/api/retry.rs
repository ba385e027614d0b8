//! How often and after what pause a request to the API server is made again: exponential back-off with
//! full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS 2015). Values in, values out; the
//! clock and the dice are the caller's.

use std::time::Duration;

/// The first pause is at most this long, each following one at most twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// No pause of our own is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long and how often a question is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Requests made for one question, the first included.
    pub tries: u32,
    /// Time for one request, from connecting to the last byte of the answer.
    pub each: Duration,
    /// Time for all requests and the pauses between them.
    pub total: Duration,
}

impl Patience {
    /// The time that the next request has, when `elapsed` has passed since the question came up.
    pub(super) fn limit(&self, elapsed: Duration) -> Duration {
        self.each.min(self.total.saturating_sub(elapsed))
    }

    /// The pause before the next request after `made` requests failed, or `None` to give up.
    ///
    /// `asked` is the server's Retry-After: the pause is at least that long, and a server that asks for
    /// more time than is left is not asked again. `dice` is in `0.0..1.0`.
    pub(super) fn pause(
        &self,
        made: u32,
        elapsed: Duration,
        asked: Option<Duration>,
        dice: f64,
    ) -> Option<Duration> {
        if made >= self.tries {
            return None;
        }
        let doubled = FIRST_PAUSE.saturating_mul(1 << made.saturating_sub(1).min(10));
        let jitter = doubled.min(LONGEST_PAUSE).mul_f64(dice);
        let pause = asked.unwrap_or_default().saturating_add(jitter);
        (elapsed.saturating_add(pause) < self.total).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        tries: 3,
        each: Duration::from_secs(5),
        total: Duration::from_secs(10),
    };

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn pauses_double_jitter_and_end() {
        for (name, made, elapsed, asked, dice, pause) in [
            ("first, no luck", 1, 0, None, 0.0, Some(0)),
            ("first, half", 1, 0, None, 0.5, Some(100)),
            ("second doubles", 2, 0, None, 0.5, Some(200)),
            ("tries used up", 3, 0, None, 0.5, None),
            ("time used up", 1, 10_000, None, 0.0, None),
            (
                "Retry-After is the least",
                1,
                0,
                Some(1_000),
                0.5,
                Some(1_100),
            ),
            ("Retry-After too long", 1, 0, Some(10_000), 0.0, None),
            (
                "Retry-After longer than is left",
                1,
                9_500,
                Some(1_000),
                0.0,
                None,
            ),
            ("Retry-After absurd", 1, 0, Some(u64::MAX), 0.9, None),
        ] {
            assert_eq!(
                PATIENCE.pause(made, ms(elapsed), asked.map(ms), dice),
                pause.map(ms),
                "{name}"
            );
        }
        let many = Patience {
            tries: u32::MAX,
            ..PATIENCE
        };
        assert_eq!(
            many.pause(u32::MAX - 1, ms(0), None, 0.5),
            Some(LONGEST_PAUSE / 2)
        );
    }

    #[test]
    fn a_request_never_has_more_time_than_the_question() {
        assert_eq!(PATIENCE.limit(ms(0)), ms(5_000));
        assert_eq!(PATIENCE.limit(ms(8_000)), ms(2_000));
        assert_eq!(PATIENCE.limit(ms(11_000)), ms(0));
    }
}
