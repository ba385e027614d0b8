//! All that is wrong with a request, gathered while it is decoded.

use std::net::IpAddr;
use std::time::Duration;

use ipam_core::error::Error;
use ipam_core::family::Family;
use ipam_core::problem::FieldProblem;
use pbjson_types as wkt;

use super::time;
use crate::text;

/// Bytes of a request id.
const REQUEST_ID: usize = 128;
/// Labels of one thing.
const LABELS: usize = 64;

const STEERS: &str = "has a character that steers a terminal";

/// What was found so far.
#[derive(Debug, Default)]
pub struct Problems(Vec<FieldProblem>);

impl Problems {
    /// Adds a problem.
    pub fn add(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        self.0.push(FieldProblem {
            field: field.into(),
            problem: problem.into(),
        });
    }

    /// Whether something is wrong in a field below `field`.
    pub(super) fn names(&self, field: &str) -> bool {
        self.0
            .iter()
            .any(|problem| problem.field.starts_with(field))
    }

    /// An enumeration's value must be known.
    pub(super) fn known(&mut self, field: &str, known: bool) {
        if !known {
            self.add(
                field,
                "is a value that this server does not know; see ipam/v1/pool.proto",
            );
        }
    }

    /// Everything that is wrong.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] if something is.
    pub fn into_result(self) -> Result<(), Error> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Error::InvalidFields(self.0))
        }
    }

    /// Names of pools, VRFs and reservations.
    pub(super) fn name(&mut self, field: &str, name: &str) {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = name.as_bytes();
        let good = (1..=63).contains(&bytes.len())
            && bytes.first().is_some_and(|&byte| inner(byte))
            && bytes.last().is_some_and(|&byte| inner(byte))
            && bytes
                .iter()
                .all(|&byte| inner(byte) || byte == b'-' || byte == b'.');
        if !good {
            let problem = format!(
                "{name:?} must be 1 to 63 of a-z, 0-9, - and ., beginning and ending with a letter or digit"
            );
            self.add(field, problem);
        }
    }

    /// Labels of a bounded size.
    pub(super) fn labels<'a>(
        &mut self,
        field: &str,
        labels: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) {
        let mut count = 0;
        for (key, value) in labels {
            count += 1;
            if key.is_empty() || key.len() > 63 || value.len() > 63 {
                self.add(
                    format!("{field}[{key:?}]"),
                    "keys are 1 to 63 bytes long, values up to 63",
                );
            }
        }
        if count > LABELS {
            self.add(field, format!("are {count}, at most {LABELS} are possible"));
        }
    }

    /// For new labels: stored ones may be from before this was checked.
    pub(super) fn plain_labels<'a>(
        &mut self,
        field: &str,
        labels: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) {
        for (key, value) in labels {
            if !text::is_plain(key) || !text::is_plain(value) {
                self.add(format!("{field}[{key:?}]"), STEERS);
            }
        }
    }

    /// A text without characters that steer a terminal.
    pub fn plain(&mut self, field: &str, value: &str) {
        if !text::is_plain(value) {
            self.add(field, STEERS);
        }
    }

    /// The id of a request.
    pub fn request_id(&mut self, field: &str, id: &str) {
        if id.len() > REQUEST_ID {
            self.add(field, format!("is longer than {REQUEST_ID} bytes"));
        }
    }

    /// A text that must be there.
    pub fn present(&mut self, field: &str, value: &str) {
        if value.is_empty() {
            self.add(field, "must not be empty");
        }
    }

    /// A duration of a limited length; none if the field is unset.
    pub(super) fn duration(
        &mut self,
        field: &str,
        value: Option<&wkt::Duration>,
    ) -> Option<Duration> {
        const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);
        let value = value?;
        let duration = time::decode_duration(value);
        // A fraction of a second more was always taken.
        let duration = duration.filter(|duration| duration.as_secs() <= LONGEST.as_secs());
        if duration.is_none() {
            self.add(field, "must be between 0 and 10 years (315360000s)");
        }
        duration
    }

    /// An address without prefix length, neither mapped nor of another family than `family`.
    pub(super) fn address(
        &mut self,
        field: &str,
        text: &str,
        family: Option<Family>,
    ) -> Option<IpAddr> {
        match parse_address(text, family) {
            Ok(address) => Some(address),
            Err(problem) => {
                self.add(field, problem);
                None
            }
        }
    }

    /// A MAC in lower case with colons.
    pub fn mac(&mut self, field: &str, text: &str) -> String {
        match parse_mac(text) {
            Ok(mac) => mac,
            Err(problem) => {
                self.add(field, problem);
                String::new()
            }
        }
    }
}

/// Reads an address; says what is wrong with it.
pub(crate) fn parse_address(text: &str, family: Option<Family>) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| {
        format!("{text:?} is not an IP address (no leading zeros, no prefix length, no zone)")
    })?;
    if let IpAddr::V6(six) = address
        && let Some(four) = six.to_ipv4_mapped()
    {
        return Err(format!(
            "{text} is an IPv4-mapped IPv6 address; write {four}"
        ));
    }
    match family {
        Some(family) if family != Family::of(address) => {
            Err(format!("{text} is not an {family} address"))
        }
        _ => Ok(address),
    }
}

/// Reads a MAC, into lower case with colons; the empty text is none.
///
/// # Errors
/// What is wrong with it.
pub fn parse_mac(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let parts: Vec<_> = text.split([':', '-']).collect();
    let hex = |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !matches!(parts.len(), 6 | 8 | 20) || !parts.iter().all(hex) {
        return Err(format!("{text:?} is not a MAC such as 02:00:00:00:00:09"));
    }
    Ok(parts.join(":").to_ascii_lowercase())
}
