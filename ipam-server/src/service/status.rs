//! The one place where errors become gRPC statuses, with the details of google.rpc.

mod details;

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use details::{code, code_of_refusal, metadata, metadata_of_refusal};

use crate::error::{Error, Refusal};
use crate::store::StoreError;

/// The domain of google.rpc.ErrorInfo.
pub const DOMAIN: &str = "ipam.meta-cni.io";

/// When to try again if the store fails.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// What a message of prost begins with that says so.
const UNDECODABLE: &str = "failed to decode Protobuf message";

/// Problems that one error names at most.
const PROBLEMS: usize = 10;
/// Bytes of an error as it is sent: the message, percent-encoded, and the details, in base64. Both are trailers of HTTP/2,
/// of which clients take 8 to 16 KiB; a client that gets more breaks the connection, and every call on it.
const BYTES: usize = 2048;
/// Bytes of a text in the details at most; halved until the error fits.
const TEXT: usize = 400;

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        let mut limit = TEXT;
        loop {
            let status = within(&error, limit);
            if limit == 0 || sent_bytes(&status) <= BYTES {
                return status;
            }
            limit /= 2;
        }
    }
}

/// Bytes of an error in its trailers.
fn sent_bytes(status: &Status) -> usize {
    let encoded = |byte: u8| {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            1
        } else {
            3
        }
    };
    let message: usize = status.message().bytes().map(encoded).sum();
    message + status.details().len().div_ceil(3) * 4
}

/// The first bytes of a text.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    format!("{}...", &text[..text.floor_char_boundary(limit)])
}

/// The status of an error, whose texts are cut.
fn within(error: &Error, limit: usize) -> Status {
    if let Error::Refused(refusal) = error {
        return of_refusal(refusal, limit);
    }
    let mut details = ErrorDetails::new();
    let info = info(metadata(error), limit);
    details.set_error_info(error.reason(), DOMAIN, info);
    match error {
        Error::Undecodable { problem } => {
            details.set_bad_request(vec![FieldViolation::new("(message)", cut(problem, limit))]);
        }
        Error::Stopping | Error::Unreviewed => {
            details.set_retry_info(Some(STORE_RETRY));
        }
        _ => {}
    }
    Status::with_error_details(code(error), whole(error, limit), details)
}

fn of_refusal(refusal: &Refusal, limit: usize) -> Status {
    if let Refusal::OfRequest { error, index } = refusal {
        return of_request(*index, of_refusal(error, limit));
    }
    let mut details = ErrorDetails::new();
    let info = info(metadata_of_refusal(refusal), limit);
    details.set_error_info(refusal.reason(), DOMAIN, info);
    let mut message = None;
    match refusal {
        Refusal::InvalidFields(problems) => {
            let some = || problems.iter().take(PROBLEMS);
            let violations = some().map(|at| {
                FieldViolation::new(cut(&at.field, limit / 2), cut(&at.problem, limit / 2))
            });
            details.set_bad_request(violations.collect::<Vec<_>>());
            let texts = some();
            let texts = texts.map(|at| cut(&format!("{}: {}", at.field, at.problem), limit / 2));
            let more = problems.len().saturating_sub(PROBLEMS);
            let more = (more > 0).then(|| format!("and {more} more problems"));
            message = Some(texts.chain(more).collect::<Vec<_>>().join("; "));
        }
        Refusal::InvalidAttachment { missing } => {
            let problem = format!("{missing} is missing");
            details.set_bad_request(vec![FieldViolation::new("owner", problem)]);
        }
        Refusal::AddressQuarantined { seconds, .. } => {
            details.set_retry_info(Some(Duration::from_secs(*seconds)));
        }
        Refusal::Store(StoreError::Corrupt { .. }) => {}
        Refusal::Store(_) | Refusal::Restored { .. } => {
            details.set_retry_info(Some(STORE_RETRY));
        }
        _ => {}
    }
    let message = message.unwrap_or_else(|| whole(refusal, limit));
    Status::with_error_details(code_of_refusal(refusal), message, details)
}

/// The values of an error, cut.
fn info(values: HashMap<String, String>, limit: usize) -> HashMap<String, String> {
    let values = values.into_iter();
    values
        .map(|(key, value)| (key, cut(&value, limit)))
        .collect()
}

/// An error and its cause, cut.
fn whole(error: &dyn std::error::Error, limit: usize) -> String {
    match error.source() {
        Some(cause) => cut(&format!("{error}: {cause}"), 2 * limit),
        None => cut(&error.to_string(), 2 * limit),
    }
}

/// The status of one request in a batch: the same, with its index as `request`, and its message without that as `message`, in
/// the metadata of ErrorInfo.
fn of_request(index: usize, status: Status) -> Status {
    let mut details = status.get_error_details();
    if let Some(info) = details.error_info() {
        let (reason, mut metadata) = (info.reason.clone(), info.metadata.clone());
        metadata.insert("request".to_owned(), index.to_string());
        metadata.insert("message".to_owned(), status.message().to_owned());
        details.set_error_info(reason, DOMAIN, metadata);
    }
    let message = format!("requests[{index}]: {}", status.message());
    Status::with_error_details(status.code(), message, details)
}

/// An answer, with the status of [`Error::Undecodable`] where tonic says INTERNAL of bytes that it cannot decode.
pub fn of_codec<B: Default>(response: http::Response<B>) -> http::Response<B> {
    let status = Status::from_header_map(response.headers());
    match status.filter(|status| status.code() == Code::Internal) {
        Some(status) if status.message().starts_with(UNDECODABLE) => {
            let problem = status.message().to_owned();
            Status::from(Error::Undecodable { problem }).into_http()
        }
        _ => response,
    }
}

#[cfg(test)]
mod tests;
