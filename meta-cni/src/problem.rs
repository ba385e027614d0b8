//! What is wrong with what a pod asks for: collected, so that a person reads all of it at once.

use std::fmt;

use cni::error::Code;

use crate::diagnosis::{Diagnosis, Explain};

/// One thing that keeps a pod's networks from being planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What it is about, for example `network default/blue` or an annotation.
    pub subject: String,
    /// What is wrong and what to do.
    pub what: Diagnosis,
    /// The CNI code that it comes to.
    pub code: Code,
    /// What is at fault.
    pub fault: Fault,
}

/// What is at fault, where doctor has more to say about it than an error has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// A NetworkAttachmentDefinition that does not exist.
    NoDefinition,
    /// The node's settings of meta-ipam.
    NodeSettings,
    /// Anything else.
    #[default]
    Other,
}

impl Problem {
    /// A problem that stays until somebody changes the configuration, the pod or a network.
    pub fn permanent(subject: impl Into<String>, what: impl Into<Diagnosis>) -> Problem {
        Problem {
            subject: subject.into(),
            what: what.into(),
            code: Code::INVALID_NETWORK_CONFIG,
            fault: Fault::Other,
        }
    }

    /// A problem that may be gone when the runtime tries again.
    pub fn transient(subject: impl Into<String>, what: impl Into<Diagnosis>) -> Problem {
        Problem {
            code: Code::TRY_AGAIN_LATER,
            ..Problem::permanent(subject, what)
        }
    }

    /// The same with what is at fault.
    #[must_use]
    pub fn with_fault(self, fault: Fault) -> Problem {
        Problem { fault, ..self }
    }

    /// What is wrong and what to do, with the subject first.
    pub fn diagnosis(&self) -> Diagnosis {
        self.what.clone().about(&self.subject)
    }
}

/// All problems of one plan; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// The code of the whole: a permanent problem outweighs transient ones.
    pub fn code(&self) -> Code {
        let permanent = self
            .0
            .iter()
            .find(|problem| problem.code != Code::TRY_AGAIN_LATER);
        permanent.map_or(Code::TRY_AGAIN_LATER, |problem| problem.code)
    }

    fn together(&self) -> Diagnosis {
        Diagnosis::of_several(self.0.iter().map(Problem::diagnosis))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.together().cause)
    }
}

impl Explain for Problems {
    fn remedy(&self) -> Option<String> {
        self.together().remedy
    }
}
