//! What failed, why, and what to do: kept apart from the error on to the agent's wire, the journal, Events, doctor and
//! `explain`, and put into one line only where a person reads it.

mod foreign;

use std::error::Error;
use std::fmt;

use cni::error::with_causes;
use serde::{Deserialize, Serialize};

pub(crate) use foreign::missing_link;

/// What failed and why, and what to do about it. Its text is one line, with the remedy last.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Diagnosis {
    /// What failed and why.
    pub cause: String,
    /// What to do, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Diagnosis {
    /// A cause with what to do about it.
    pub fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Diagnosis {
        Diagnosis {
            cause: cause.into(),
            remedy: Some(remedy.into()),
        }
    }

    /// A cause about which nothing is known to do.
    pub fn without_remedy(cause: impl Into<String>) -> Diagnosis {
        Diagnosis {
            cause: cause.into(),
            remedy: None,
        }
    }

    /// The same about `subject`, which stands first.
    #[must_use]
    pub fn about(self, subject: impl fmt::Display) -> Diagnosis {
        Diagnosis {
            cause: format!("{subject}: {}", self.cause),
            ..self
        }
    }

    /// Several as one. A remedy that is the only one stands behind all causes; of several, each stays beside its cause.
    pub fn of_several(several: impl IntoIterator<Item = Diagnosis>) -> Diagnosis {
        let several: Vec<Diagnosis> = several.into_iter().collect();
        let mut remedies = several.iter().filter_map(|one| one.remedy.as_ref());
        let first = remedies.next();
        let remedy = first.filter(|first| remedies.all(|other| other == *first));
        let remedy = remedy.cloned();
        let text = |one: Diagnosis| match remedy {
            Some(_) => one.cause,
            None => one.to_string(),
        };
        let causes: Vec<String> = several.into_iter().map(text).collect();
        Diagnosis {
            cause: causes.join("; "),
            remedy,
        }
    }
}

impl Diagnosis {
    /// The line in at most `bytes`, and the end of the cause that does not fit into it. A remedy that takes at most half of
    /// the line is kept whole.
    pub(crate) fn within(&self, bytes: usize) -> (String, Option<String>) {
        let end = self.remedy.as_ref().map(|remedy| format!("; {remedy}"));
        let (mut line, end) = match end {
            Some(end) if end.len() <= bytes / 2 => (self.cause.clone(), end),
            _ => (self.to_string(), String::new()),
        };
        let rest = cut(&mut line, bytes - end.len());
        (line + &end, rest)
    }
}

/// Cuts `text` to at most `bytes`, the last of which are an ellipsis, and returns what was cut off.
pub(crate) fn cut(text: &mut String, bytes: usize) -> Option<String> {
    if text.len() <= bytes {
        return None;
    }
    let rest = text.split_off(text.floor_char_boundary(bytes - '…'.len_utf8()));
    text.push('…');
    Some(rest)
}

impl From<String> for Diagnosis {
    fn from(cause: String) -> Diagnosis {
        Diagnosis::without_remedy(cause)
    }
}

impl From<&str> for Diagnosis {
    fn from(cause: &str) -> Diagnosis {
        Diagnosis::without_remedy(cause)
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// An error that may know what to do about it. Its text, and that of its causes, leave the remedy out.
pub trait Explain: Error + 'static {
    /// What to do, if that is known.
    fn remedy(&self) -> Option<String>;

    /// The error and its causes in one line, and what to do.
    fn diagnosis(&self) -> Diagnosis
    where
        Self: Sized,
    {
        Diagnosis {
            cause: with_causes(self),
            remedy: self.remedy(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_stands_last_and_once() {
        let of = |cause: &str, remedy: Option<&str>| Diagnosis {
            cause: cause.to_owned(),
            remedy: remedy.map(str::to_owned),
        };
        for (name, several, line) in [
            ("none", vec![], ""),
            ("one", vec![of("a", Some("do"))], "a; do"),
            ("without", vec![of("a", None), of("b", None)], "a; b"),
            (
                "the same",
                vec![of("a", Some("do")), of("b", Some("do"))],
                "a; b; do",
            ),
            (
                "others",
                vec![of("a", None), of("b", Some("do")), of("c", Some("go"))],
                "a; b; do; c; go",
            ),
            (
                "only one",
                vec![of("a", Some("do")), of("b", None)],
                "a; b; do",
            ),
        ] {
            assert_eq!(Diagnosis::of_several(several).to_string(), line, "{name}");
        }
        assert_eq!(
            of(&"a".repeat(90), Some("do")).within(20),
            (format!("{}…; do", "a".repeat(13)), Some("a".repeat(77)))
        );
        let (line, rest) = of("a", Some(&"do".repeat(30))).within(20);
        assert_eq!(line, "a; dododododododo…");
        assert_eq!(rest.map(|rest| rest.len()), Some(61 + 2 - 17));
        assert_eq!(
            of("a", Some("do")).about("x").to_string(),
            "x: a; do",
            "the subject stands first"
        );
    }
}
