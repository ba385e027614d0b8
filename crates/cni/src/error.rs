//! The error object of the CNI specification and its codes.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};

use serde::{Deserialize, Serialize};

use crate::version::Version;

/// A code of the CNI specification, section "Error"; from 100 on, a code of the plugin's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(pub u32);

impl Code {
    /// 1: the configuration's version is not supported.
    pub const INCOMPATIBLE_VERSION: Code = Code(1);
    /// 2: a field of the configuration is not supported.
    pub const UNSUPPORTED_FIELD: Code = Code(2);
    /// 3: the container is unknown; the runtime need not clean up.
    pub const UNKNOWN_CONTAINER: Code = Code(3);
    /// 4: a CNI environment variable is missing or invalid.
    pub const INVALID_ENVIRONMENT: Code = Code(4);
    /// 5: reading or writing failed.
    pub const IO_FAILURE: Code = Code(5);
    /// 6: a text could not be decoded.
    pub const DECODING_FAILURE: Code = Code(6);
    /// 7: the network configuration is invalid.
    pub const INVALID_NETWORK_CONFIG: Code = Code(7);
    /// 8: the network namespace is missing or is not one.
    pub const INVALID_NETNS: Code = Code(8);
    /// 11: a transient condition; the runtime should try again later.
    pub const TRY_AGAIN_LATER: Code = Code(11);
    /// 50: the plugin cannot serve ADD (STATUS).
    pub const PLUGIN_NOT_AVAILABLE: Code = Code(50);
    /// 51: as 50, and existing containers may have limited connectivity (STATUS).
    pub const LIMITED_CONNECTIVITY: Code = Code(51);
    /// 999: a fault of the plugin itself (libcni, `ErrInternal`).
    pub const INTERNAL: Code = Code(999);
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The error object that a plugin prints on stdout when it fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{msg}{}", details_suffix(.details))]
pub struct ErrorObject {
    /// The version of the configuration that was being served.
    #[serde(
        rename = "cniVersion",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub cni_version: Option<String>,
    /// What kind of failure it was.
    pub code: Code,
    /// One line for a person.
    #[serde(default)]
    pub msg: String,
    /// More, if there is more to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl ErrorObject {
    /// An error object without details.
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        ErrorObject {
            cni_version: None,
            code,
            msg: msg.into(),
            details: String::new(),
        }
    }

    /// The same error, marked with the version that the runtime speaks.
    #[must_use]
    pub fn in_version(mut self, version: Version) -> Self {
        self.cni_version = Some(version.to_string());
        self
    }
}

fn details_suffix(details: &str) -> String {
    if details.is_empty() {
        String::new()
    } else {
        format!("; {details}")
    }
}

/// The text as one line for a terminal: line ends and other white space become spaces, control characters
/// are left out.
pub fn one_line(text: &str) -> String {
    let plain: String = text
        .chars()
        .filter(|c| !c.is_control() || c.is_whitespace())
        .collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The error and its causes in one line. A cause that an error has at its end already, as those of some libraries do, is not
/// repeated.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = said(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = said(error);
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

/// What an error says itself, without its causes. The system's words for something that is missing are put in others: containerd takes a DEL
/// whose error has them for one that succeeded, forgets the sandbox, and never asks again (go-cni, `Remove`).
pub fn said(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<io::Error>() {
        Some(error) if error.kind() == ErrorKind::NotFound && error.get_ref().is_none() => {
            let number = error.raw_os_error();
            let number = number.map_or(String::new(), |number| format!(" (os error {number})"));
            format!("No such file or folder{number}")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
