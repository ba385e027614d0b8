//! A JSON object that knows where it stands in the result, so that every error names its field.
//!
//! A field that is null or an empty text is absent, except where an object belongs.

use std::net::IpAddr;

use ipnetwork::{IpNetwork, Ipv4Network};
use serde_json::{Map, Value};

use super::ResultError;

const OBJECT: &str = "an object";
const LIST: &str = "a list";
const TEXT: &str = "a text";
const SIZE: &str = "a whole number from 0 to 4294967295";
const INTEGER: &str = "a whole number";
const ADDRESS: &str = "an IP address";
const NETWORK: &str = "an IP address with a prefix length, such as 10.1.2.3/24";

/// How much of a bad value an error shows, in characters.
const FOUND_LIMIT: usize = 60;

/// A JSON object and where it stands in the result.
pub(super) struct Object<'a> {
    path: String,
    fields: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    pub(super) fn root(value: &'a Value) -> Result<Self, ResultError> {
        match value {
            Value::Object(fields) => Ok(Object {
                path: String::new(),
                fields,
            }),
            other => Err(invalid("it".to_owned(), OBJECT, Some(other))),
        }
    }

    fn at(path: String, value: &'a Value) -> Result<Self, ResultError> {
        match value {
            Value::Object(fields) => Ok(Object { path, fields }),
            other => Err(invalid(path, OBJECT, Some(other))),
        }
    }

    /// A field that exists and is not null.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    pub(super) fn invalid(&self, key: &str, expected: &'static str) -> ResultError {
        invalid(self.path_of(key), expected, self.fields.get(key))
    }

    /// An object; null is not one, and not absent either.
    pub(super) fn object(&self, key: &str) -> Result<Option<Object<'a>>, ResultError> {
        self.fields
            .get(key)
            .map(|value| Object::at(self.path_of(key), value))
            .transpose()
    }

    fn list(&self, key: &str) -> Result<&'a [Value], ResultError> {
        match self.get(key) {
            None => Ok(&[]),
            Some(Value::Array(values)) => Ok(values),
            Some(_) => Err(self.invalid(key, LIST)),
        }
    }

    pub(super) fn objects(&self, key: &str) -> Result<Vec<Object<'a>>, ResultError> {
        let path = self.path_of(key);
        self.list(key)?
            .iter()
            .enumerate()
            .map(|(index, value)| Object::at(format!("{path}[{index}]"), value))
            .collect()
    }

    pub(super) fn texts(&self, key: &str) -> Result<Vec<String>, ResultError> {
        let path = self.path_of(key);
        self.list(key)?
            .iter()
            .enumerate()
            .map(|(index, value)| match value {
                Value::String(text) => Ok(text.clone()),
                other => Err(invalid(format!("{path}[{index}]"), TEXT, Some(other))),
            })
            .collect()
    }

    /// A text; the empty one is absent.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, ResultError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(self.invalid(key, TEXT)),
        }
    }

    pub(super) fn owned_text(&self, key: &str) -> Result<Option<String>, ResultError> {
        Ok(self.text(key)?.map(str::to_owned))
    }

    pub(super) fn integer(&self, key: &str) -> Result<Option<i64>, ResultError> {
        self.get(key)
            .map(|value| value.as_i64().ok_or_else(|| self.invalid(key, INTEGER)))
            .transpose()
    }

    /// A number of bytes; 0 is absent.
    pub(super) fn size(&self, key: &str) -> Result<Option<u32>, ResultError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let size = value
            .as_u64()
            .and_then(|size| u32::try_from(size).ok())
            .ok_or_else(|| self.invalid(key, SIZE))?;
        Ok(Some(size).filter(|size| *size != 0))
    }

    pub(super) fn address(&self, key: &str) -> Result<Option<IpAddr>, ResultError> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        match text.parse::<IpAddr>() {
            Ok(address) => Ok(Some(address.to_canonical())),
            Err(_) => Err(self.invalid(key, ADDRESS)),
        }
    }

    pub(super) fn network(&self, key: &str) -> Result<IpNetwork, ResultError> {
        self.get(key)
            .and_then(Value::as_str)
            .and_then(parse_network)
            .ok_or_else(|| self.invalid(key, NETWORK))
    }
}

/// Reads an address with its prefix length. The length is required: a missing one would silently
/// become a host route, and libcni refuses it too.
fn parse_network(text: &str) -> Option<IpNetwork> {
    let (address, length) = text.split_once('/')?;
    if !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let network = IpNetwork::new(address.parse().ok()?, length.parse().ok()?).ok()?;
    Some(canonical(network))
}

/// IPv4 if it is an IPv4-mapped IPv6 network, as Go's `net` has it.
fn canonical(network: IpNetwork) -> IpNetwork {
    // ::ffff:0:0/96 is where IPv4 is mapped into IPv6, RFC 4291 section 2.5.5.2.
    const MAPPED_BITS: u8 = 96;
    let mapped = match (network.ip().to_canonical(), network.prefix()) {
        (IpAddr::V4(address), length @ MAPPED_BITS..) if network.is_ipv6() => {
            Ipv4Network::new(address, length - MAPPED_BITS).ok()
        }
        _ => None,
    };
    mapped.map_or(network, IpNetwork::V4)
}

fn invalid(field: String, expected: &'static str, found: Option<&Value>) -> ResultError {
    ResultError::Invalid {
        field,
        expected,
        found: match found {
            None => "absent".to_owned(),
            Some(Value::Null) => "null".to_owned(),
            Some(Value::Bool(value)) => value.to_string(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::String(text)) => quoted(text),
            Some(Value::Array(_)) => "a list".to_owned(),
            Some(Value::Object(_)) => "an object".to_owned(),
        },
    }
}

fn quoted(text: &str) -> String {
    match text.char_indices().nth(FOUND_LIMIT) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
