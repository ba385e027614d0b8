//! The identity of a trace and of a span in it, and their text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::random;

/// The version of the text that is written; of newer ones the same four fields are read.
const VERSION: &str = "00";
/// The flag of a trace that somebody may want to see.
const SAMPLED: u8 = 1;

/// A trace; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(pub u128);

/// A span of a trace; zero: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(pub u64);

/// The context that a caller hands on: `00-<trace>-<span>-<flags>`, all in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The span of the caller.
    pub span: SpanId,
    /// Bit 0: sampled.
    pub flags: u8,
}

/// A text that is no context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not of the form 00-<32 hexadecimal digits>-<16 hexadecimal digits>-<2 hexadecimal digits>"
)]
pub struct TraceParentError;

impl TraceParent {
    /// A span of a trace of its own.
    pub fn root() -> TraceParent {
        let trace = u128::from(random::number()) << 64 | u128::from(random::number());
        TraceParent {
            trace: TraceId(trace),
            span: SpanId(random::number()),
            flags: SAMPLED,
        }
    }

    /// A new span below this one.
    #[must_use]
    pub fn child(self) -> TraceParent {
        TraceParent {
            span: SpanId(random::number()),
            ..self
        }
    }

    /// Whether the trace is to be recorded somewhere.
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }
}

impl SpanId {
    /// The identity of the span after `number` others below this one.
    pub(super) fn nth(self, number: usize) -> SpanId {
        // The step of SplitMix64 (G. Steele et al., "Fast splittable pseudorandom number generators", 2014): a
        // bijection, so that the spans of one request differ.
        let step = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0.wrapping_add(step);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        SpanId((mixed ^ (mixed >> 31)).max(1))
    }
}

impl FromStr for TraceParent {
    type Err = TraceParentError;

    fn from_str(text: &str) -> Result<TraceParent, TraceParentError> {
        let mut parts = text.trim().split('-');
        let mut part = |digits: usize| {
            let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            let part = parts.next().filter(|part| part.len() == digits);
            let part = part.filter(|part| part.bytes().all(is_hex));
            part.and_then(|part| u128::from_str_radix(part, 16).ok())
                .ok_or(TraceParentError)
        };
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        // Newer versions may say more.
        let is_whole = version != 0 || parts.next().is_none();
        let span = u64::try_from(span).map_err(|_| TraceParentError)?;
        let flags = u8::try_from(flags).map_err(|_| TraceParentError)?;
        if version == 0xff || trace == 0 || span == 0 || !is_whole {
            return Err(TraceParentError);
        }
        Ok(TraceParent {
            trace: TraceId(trace),
            span: SpanId(span),
            flags,
        })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{VERSION}-{}-{}-{:02x}",
            self.trace, self.span, self.flags
        )
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for TraceParent {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceParent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<TraceParent, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl Serialize for SpanId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SpanId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<SpanId, D::Error> {
        let text = String::deserialize(from)?;
        let number = u64::from_str_radix(&text, 16).map_err(de::Error::custom)?;
        Ok(SpanId(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_read_and_written_as_the_specification_says() {
        for (name, text, is_one) in [
            ("the example of the specification", TEXT, true),
            ("white space around it", &format!(" {TEXT}\n"), true),
            ("not sampled", &TEXT.replace("-01", "-00"), true),
            (
                "a newer version that says more",
                &format!("cc{}-what", &TEXT[2..]),
                true,
            ),
            ("more behind version 00", &format!("{TEXT}-what"), false),
            ("version ff", &format!("ff{}", &TEXT[2..]), false),
            ("upper case", &TEXT.to_uppercase(), false),
            (
                "no trace",
                &TEXT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
                false,
            ),
            (
                "no span",
                &TEXT.replace("00f067aa0ba902b7", &"0".repeat(16)),
                false,
            ),
            ("a sign", &TEXT.replace("-01", "-+1"), false),
            ("short", &TEXT[..54], false),
            ("empty", "", false),
        ] {
            assert_eq!(text.parse::<TraceParent>().is_ok(), is_one, "{name}");
        }
        let parent: TraceParent = TEXT.parse().unwrap();
        assert_eq!(parent.to_string(), TEXT);
        assert!(parent.is_sampled());
    }

    #[test]
    fn a_child_is_of_the_same_trace_and_roots_are_of_different_ones() {
        let root = TraceParent::root();
        let child = root.child();
        assert_eq!((child.trace, child.flags), (root.trace, root.flags));
        assert_ne!(child.span, root.span);
        assert_ne!(TraceParent::root().trace, root.trace);
        assert_eq!(root.to_string().parse(), Ok(root));
    }

    #[test]
    fn the_spans_of_a_request_differ() {
        let root = TraceParent::root().span;
        let spans: std::collections::BTreeSet<_> = (0..10_000).map(|n| root.nth(n)).collect();
        assert_eq!(spans.len(), 10_000);
    }
}
