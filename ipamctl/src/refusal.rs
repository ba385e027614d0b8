//! An error that the server answered: its sentence, what a person can do, and the reason for programs.

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// What a server said instead of an answer.
#[derive(Debug)]
pub struct Refusal {
    code: Code,
    message: String,
    reason: String,
    retry_seconds: Option<u64>,
    field: Option<String>,
}

impl Refusal {
    /// Takes a status apart.
    pub(crate) fn of(status: &Status) -> Refusal {
        let details = status.get_error_details();
        Refusal {
            code: status.code(),
            message: status.message().to_owned(),
            reason: details
                .error_info()
                .map(|info| info.reason.clone())
                .unwrap_or_default(),
            field: details
                .bad_request()
                .and_then(|request| request.field_violations.first())
                .map(|wrong| wrong.field.clone()),
            retry_seconds: details
                .retry_info()
                .and_then(|info| info.retry_delay)
                .map(|delay| delay.as_secs()),
        }
    }

    /// The reason of `google.rpc.ErrorInfo`; empty: none.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// The first field that the server found wrong.
    pub(crate) fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// 1 failed, 2 wrong arguments, 3 not found.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.code {
            Code::InvalidArgument => 2,
            Code::NotFound => 3,
            _ => 1,
        }
    }

    /// What can be done about it, where the message does not say so itself.
    fn remedy(&self) -> Option<&'static str> {
        let remedy = match self.reason.as_str() {
            "INVALID_FIELD" => "`--help` shows the form of each flag",
            "LEASE_NOT_FOUND" => {
                "`ipamctl lease list` shows existing leases, `ipamctl history` earlier ones"
            }
            "RESERVATION_NOT_FOUND" => "`ipamctl reservation list` shows existing reservations",
            "ADDRESS_NOT_IN_POOL" => "`ipamctl pool list -o wide` shows the ranges",
            "ADDRESS_RESERVED" => "ask for another address, or leave the choice to the server",
            "ADDRESS_IN_USE" => "`ipamctl whohas` shows the holder",
            "ADDRESS_QUARANTINED" => "wait, or ask for another address",
            "POOL_EXISTS" => "`ipamctl pool edit` changes it",
            "RESERVATION_EXISTS" => "delete it first, or choose another name",
            "POOL_IN_USE" => "`ipamctl lease list --pool` shows its leases",
            "COMPACTED" => "`ipamctl server` shows how far the history reaches",
            "CONTENTION" => "try again",
            "STORE_UNAVAILABLE" => {
                "the server goes on by itself once its disk can be written; `ipamctl server` shows the problem"
            }
            "STORE_CORRUPT" => {
                "stop the server and save what can be read: `ipamctl export --offline`"
            }
            _ => match self.code {
                Code::Unauthenticated => "--tls-cert and --tls-key show who you are",
                Code::PermissionDenied => "use a certificate, or a user, that may do this",
                Code::Unimplemented => "the server is older than this program",
                Code::ResourceExhausted if self.reason.is_empty() => "wait a little and try again",
                _ => return None,
            },
        };
        Some(remedy)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.message.as_str() {
            "" => write!(f, "the server answered {:?}", self.code)?,
            message => f.write_str(message)?,
        }
        if let Some(remedy) = self.remedy() {
            write!(f, "; {remedy}")?;
        }
        if let Some(seconds) = self.retry_seconds.filter(|seconds| *seconds > 0) {
            write!(f, "; again in {seconds} s")?;
        }
        match self.reason.as_str() {
            "" => Ok(()),
            reason => write!(f, " [{reason}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_refusal_says_what_why_and_what_to_do() {
        let details = ErrorDetails::with_error_info(
            "ADDRESS_IN_USE",
            "ipam.meta-cni.io",
            HashMap::<String, String>::new(),
        );
        let status =
            Status::with_error_details(Code::AlreadyExists, "10.0.0.7 is held by l3", details);
        let refusal = Refusal::of(&status);
        assert_eq!(
            refusal.to_string(),
            "10.0.0.7 is held by l3; `ipamctl whohas` shows the holder [ADDRESS_IN_USE]"
        );
        assert_eq!(refusal.exit_code(), 1);
    }

    #[test]
    fn what_is_not_found_has_an_exit_code_of_its_own() {
        let refusal = Refusal::of(&Status::not_found("pool x does not exist"));
        assert_eq!(refusal.to_string(), "pool x does not exist");
        assert_eq!(refusal.exit_code(), 3);
    }
}
