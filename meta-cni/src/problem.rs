//! What is wrong with what a pod asks for: collected, so that a person is told all of it at once.

use std::fmt;

use cni::error::Code;

/// One thing that keeps a pod's networks from being planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What it is about, for example `network default/blue` or an annotation.
    pub subject: String,
    /// What is wrong and what to do.
    pub what: String,
    /// The CNI code that it comes to.
    pub code: Code,
}

impl Problem {
    /// A problem that stays until somebody changes the configuration, the pod or a network.
    pub fn lasting(subject: impl Into<String>, what: impl Into<String>) -> Problem {
        let (subject, what) = (subject.into(), what.into());
        Problem {
            subject,
            what,
            code: Code::INVALID_NETWORK_CONFIG,
        }
    }

    /// A problem that may be gone when the runtime tries again.
    pub fn passing(subject: impl Into<String>, what: impl Into<String>) -> Problem {
        let (subject, what) = (subject.into(), what.into());
        Problem {
            subject,
            what,
            code: Code::TRY_AGAIN_LATER,
        }
    }
}

/// All problems of one plan; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// The code of the whole: a lasting problem outweighs passing ones.
    pub fn code(&self) -> Code {
        let lasting = self
            .0
            .iter()
            .find(|problem| problem.code != Code::TRY_AGAIN_LATER);
        lasting.map_or(Code::TRY_AGAIN_LATER, |problem| problem.code)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", problem.subject, problem.what)?;
        }
        Ok(())
    }
}
