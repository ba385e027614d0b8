//! The versions of the CNI specification, and what each of them has.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version of the CNI specification that this crate speaks.
///
/// Ordered by age. Serialised as its text, for example `"1.1.0"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Version {
    /// 0.1.0: a result has `ip4` and `ip6`.
    V0_1_0,
    /// 0.2.0: as 0.1.0, with the VERSION command.
    V0_2_0,
    /// 0.3.0: results with lists of interfaces, addresses and routes.
    V0_3_0,
    /// 0.3.1: as 0.3.0.
    V0_3_1,
    /// 0.4.0: CHECK, and `prevResult` on DEL.
    V0_4_0,
    /// 1.0.0: addresses lose their `version` field.
    V1_0_0,
    /// 1.1.0: GC and STATUS; more fields on interfaces and routes; `cniVersions`.
    V1_1_0,
}

/// A text that is not a version of the specification that this crate speaks.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "CNI version {text:?} is not supported; supported are {}",
    Version::listed()
)]
pub struct UnknownVersion {
    /// The text as it stood in the configuration.
    pub text: String,
}

impl Version {
    /// Every supported version, oldest first.
    pub const ALL: [Version; 7] = [
        Version::V0_1_0,
        Version::V0_2_0,
        Version::V0_3_0,
        Version::V0_3_1,
        Version::V0_4_0,
        Version::V1_0_0,
        Version::V1_1_0,
    ];

    /// The newest supported version.
    pub const LATEST: Version = Version::V1_1_0;

    /// The version as the specification writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V0_1_0 => "0.1.0",
            Version::V0_2_0 => "0.2.0",
            Version::V0_3_0 => "0.3.0",
            Version::V0_3_1 => "0.3.1",
            Version::V0_4_0 => "0.4.0",
            Version::V1_0_0 => "1.0.0",
            Version::V1_1_0 => "1.1.0",
        }
    }

    /// Whether results have `ip4` and `ip6` instead of lists (before 0.3.0).
    pub fn has_legacy_results(self) -> bool {
        self < Version::V0_3_0
    }

    /// Whether CHECK exists and DEL gets `prevResult` (from 0.4.0).
    pub fn has_check(self) -> bool {
        self >= Version::V0_4_0
    }

    /// Whether GC and STATUS exist (from 1.1.0).
    pub fn has_gc_and_status(self) -> bool {
        self >= Version::V1_1_0
    }

    fn listed() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl FromStr for Version {
    type Err = UnknownVersion;

    /// Reads a version; the empty text means 0.1.0, as libcni has it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Version::V0_1_0);
        }
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
            .ok_or_else(|| UnknownVersion {
                text: text.to_owned(),
            })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for Version {
    type Error = UnknownVersion;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_reads_back_from_its_own_text() {
        for version in Version::ALL {
            assert_eq!(version.to_string().parse(), Ok(version));
        }
    }

    #[test]
    fn an_absent_version_is_the_oldest() {
        assert_eq!("".parse(), Ok(Version::V0_1_0));
    }

    #[test]
    fn an_unknown_version_is_refused_with_the_list_of_known_ones() {
        let error = "1.2.0".parse::<Version>().unwrap_err();
        assert!(error.to_string().contains("\"1.2.0\""));
        assert!(error.to_string().contains("0.1.0, 0.2.0"));
    }
}
