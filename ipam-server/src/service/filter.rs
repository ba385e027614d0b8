//! The filters of List and Watch: `field = value` terms joined by AND (a small part of AIP-160).

use std::borrow::Cow;

use ipam_core::family::Family;
use ipam_core::lease::{Lease, Owner};
use proto::ipam::v1 as ipam;

use crate::wire::lease::encode_state;
use crate::wire::problems::{parse_address, parse_mac};

/// A filter that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: String,
    equal: bool,
    value: String,
    /// The value is a beginning.
    prefix: bool,
    /// Where the value stands, in characters from 1.
    at: usize,
}

/// A filter that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {expected}; a filter is like `pool=\"blue\" AND owner.node=\"n1\"`")]
pub struct FilterError {
    /// Where, in characters from 1.
    pub at: usize,
    /// What should be there.
    pub expected: String,
}

/// Fields of leases, but for `owner.` and `labels.`.
const LEASE_FIELDS: [&str; 7] = ["id", "pool", "vrf", "state", "ipv4", "ipv6", "mac"];
/// Fields of pools, but for `labels.`.
const POOL_FIELDS: [&str; 3] = ["name", "vrf", "state"];

impl Filter {
    /// Reads a filter; the empty one lets everything through.
    ///
    /// # Errors
    /// [`FilterError`] says where and what is wrong.
    pub fn parse(text: &str) -> Result<Filter, FilterError> {
        let mut reader = Reader {
            rest: text,
            all: text,
        };
        let mut terms = Vec::new();
        reader.skip_space();
        while !reader.rest.is_empty() {
            if !terms.is_empty() {
                reader.keyword("AND")?;
            }
            terms.push(reader.term()?);
            reader.skip_space();
        }
        Ok(Filter { terms })
    }

    /// Reads a filter of leases.
    ///
    /// # Errors
    /// As [`Filter::parse`]; also for a field that leases do not have.
    pub fn for_leases(text: &str) -> Result<Filter, FilterError> {
        let owned = Owner::NONE
            .fields()
            .map(|(name, _)| format!("owner.{name}"));
        let filter = Filter::parse(text)?.with_fields(|field| {
            LEASE_FIELDS.contains(&field) || owned.iter().any(|at| at == field)
        })?;
        filter.with_values(&[
            ipam::lease::State::Active.as_str_name(),
            ipam::lease::State::Quarantined.as_str_name(),
        ])
    }

    /// Reads a filter of pools.
    ///
    /// # Errors
    /// As [`Filter::parse`]; also for a field that pools do not have.
    pub fn for_pools(text: &str) -> Result<Filter, FilterError> {
        let filter = Filter::parse(text)?.with_fields(|field| POOL_FIELDS.contains(&field))?;
        filter.with_values(&[
            ipam::pool::State::Active.as_str_name(),
            ipam::pool::State::Cordoned.as_str_name(),
        ])
    }

    /// Refuses values that nothing can have, and writes addresses and MACs as leases have them.
    fn with_values(mut self, states: &[&str]) -> Result<Filter, FilterError> {
        for term in &mut self.terms {
            if term.prefix || term.value.is_empty() {
                continue;
            }
            let value = match term.field.as_str() {
                "state" if !states.contains(&term.value.as_str()) => {
                    Err(format!("state is one of {}", states.join(", ")))
                }
                "ipv4" => address(&term.value, Family::V4),
                "ipv6" => address(&term.value, Family::V6),
                "mac" => parse_mac(&term.value),
                _ => continue,
            };
            term.value = value.map_err(|expected| FilterError {
                at: term.at,
                expected,
            })?;
        }
        Ok(self)
    }

    fn with_fields(self, known: impl Fn(&str) -> bool) -> Result<Filter, FilterError> {
        let label = |field: &str| {
            field
                .strip_prefix("labels.")
                .is_some_and(|key| !key.is_empty())
        };
        match self
            .terms
            .iter()
            .find(|term| !known(&term.field) && !label(&term.field))
        {
            Some(term) => Err(FilterError {
                at: 1,
                expected: format!("there is no field {:?}", term.field),
            }),
            None => Ok(self),
        }
    }

    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether a lease passes.
    pub fn lease(&self, lease: &Lease) -> bool {
        self.terms
            .iter()
            .all(|term| term.holds(&value(lease, &term.field)))
    }

    /// Whether a pool passes.
    pub fn pool(&self, pool: &ipam::Pool) -> bool {
        self.terms.iter().all(|term| {
            let value = match term.field.as_str() {
                "name" => pool.name.as_str(),
                "vrf" => &pool.vrf,
                "state" => pool.state().as_str_name(),
                field => {
                    let key = field.strip_prefix("labels.").unwrap_or_default();
                    pool.labels.get(key).map_or("", String::as_str)
                }
            };
            term.holds(value)
        })
    }
}

/// What a lease has in a field; empty: nothing.
fn value<'l>(lease: &'l Lease, field: &str) -> Cow<'l, str> {
    let of_family = |family| {
        let address = lease.address(family);
        address.map_or(Cow::Borrowed(""), |ip| ip.to_string().into())
    };
    match field {
        "id" => lease.id.to_string().into(),
        "pool" => lease.pool.as_ref().into(),
        "vrf" => lease.vrf.as_ref().into(),
        "state" => encode_state(lease.state).as_str_name().into(),
        "ipv4" => of_family(Family::V4),
        "ipv6" => of_family(Family::V6),
        "mac" => lease.mac.as_ref().into(),
        field => match field.split_once('.') {
            Some(("labels", key)) => lease.labels.get(key).map_or("", String::as_str).into(),
            Some(("owner", name)) => {
                let fields = lease.owner().fields();
                let found = fields.into_iter().find(|(field, _)| *field == name);
                found.map_or("", |(_, value)| value).into()
            }
            _ => Cow::Borrowed(""),
        },
    }
}

fn address(text: &str, family: Family) -> Result<String, String> {
    let plain = text.split_once('/').map_or(text, |(plain, _)| plain);
    let address = parse_address(plain, Some(family));
    address.map(|address| address.to_string())
}

impl Term {
    fn holds(&self, value: &str) -> bool {
        let same = if self.prefix {
            value.starts_with(&self.value)
        } else {
            value == self.value
        };
        same == self.equal
    }
}

struct Reader<'a> {
    rest: &'a str,
    all: &'a str,
}

impl<'a> Reader<'a> {
    fn error(&self, expected: impl Into<String>) -> FilterError {
        let read = self.all.len() - self.rest.len();
        FilterError {
            at: self.all.get(..read).map_or(0, |text| text.chars().count()) + 1,
            expected: expected.into(),
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn keyword(&mut self, word: &str) -> Result<(), FilterError> {
        self.skip_space();
        match self.rest.strip_prefix(word) {
            Some(rest) if rest.starts_with(char::is_whitespace) => {
                self.rest = rest;
                self.skip_space();
                Ok(())
            }
            _ => Err(self.error(format!("{word} is expected between two terms"))),
        }
    }

    fn term(&mut self) -> Result<Term, FilterError> {
        let field = self.take(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/'));
        if field.is_empty() {
            return Err(self.error("a field is expected"));
        }
        self.skip_space();
        let equal = if let Some(rest) = self.rest.strip_prefix("!=") {
            self.rest = rest;
            false
        } else if let Some(rest) = self.rest.strip_prefix('=') {
            self.rest = rest;
            true
        } else {
            return Err(self.error("= or != is expected"));
        };
        self.skip_space();
        let at = self.error("").at;
        let value = self.value()?;
        let prefix = value.ends_with('*');
        Ok(Term {
            field: field.to_owned(),
            equal,
            value: value.strip_suffix('*').map(str::to_owned).unwrap_or(value),
            prefix,
            at,
        })
    }

    fn value(&mut self) -> Result<String, FilterError> {
        if let Some(rest) = self.rest.strip_prefix('"') {
            let mut value = String::new();
            let mut characters = rest.char_indices();
            while let Some((at, character)) = characters.next() {
                match character {
                    '"' => {
                        self.rest = rest.get(at + 1..).unwrap_or_default();
                        return Ok(value);
                    }
                    // A quotation mark or backslash behind a backslash is itself.
                    '\\' => value.extend(characters.next().map(|(_, character)| character)),
                    other => value.push(other),
                }
            }
            return Err(self.error("this quotation mark has no second one"));
        }
        let value = self.take(|c| !c.is_whitespace() && !matches!(c, '"' | '=' | '(' | ')'));
        if value.is_empty() {
            return Err(self.error("a value is expected; put an empty one into quotation marks"));
        }
        Ok(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ipam_core::lease::LeaseId;
    use proptest::prelude::*;

    use super::*;

    fn lease() -> Lease {
        let labels = [("team".to_owned(), "ran".to_owned())];
        Lease {
            id: LeaseId(7),
            pool: "blue".into(),
            ipv4: "10.0.0.7/24".parse().ok(),
            owner: Some(Arc::new(Owner {
                node: "n1".into(),
                ..Owner::NONE
            })),
            labels: Arc::new(labels.into()),
            ..Lease::default()
        }
    }

    #[test]
    fn terms_are_compared_with_the_lease() {
        for (filter, expected) in [
            ("", true),
            ("pool=blue", true),
            (" pool = \"blue\" AND owner.node=n1 ", true),
            ("pool=blue AND owner.node!=n1", false),
            ("ipv4=10.0.0.7", true),
            ("ipv4=10.0.*", true),
            ("ipv4=10.1.*", false),
            ("state=ACTIVE", true),
            ("state!=QUARANTINED", true),
            ("ipv4=10.0.0.7/24", true),
            ("ipv6=FD00:0::7", false),
            ("mac=02-00-00-00-00-0A", false),
            ("mac=\"\"", true),
            ("labels.team=ran", true),
            ("labels.none=\"\"", true),
            ("id!=l7", false),
            (r#"pool="b\lue""#, true),
            (r#"pool!="b\"lue""#, true),
        ] {
            assert_eq!(
                Filter::for_leases(filter).unwrap().lease(&lease()),
                expected,
                "{filter}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_reported_with_its_place() {
        for (filter, at) in [
            ("pool", 5),
            ("pool=", 6),
            ("pool=a pool=b", 8),
            ("pool=\"a", 6),
            ("=a", 1),
            ("pool=a AND state=FOO", 18),
            ("state=active", 7),
            ("ipv4=fd00::1", 6),
            ("ipv6=nonsense", 6),
            ("mac=02:00", 5),
        ] {
            assert_eq!(Filter::for_leases(filter).unwrap_err().at, at, "{filter}");
        }
        let unknown = Filter::for_leases("colour=blue").unwrap_err();
        assert!(unknown.to_string().contains("colour"), "{unknown}");
        assert!(Filter::for_pools("owner.node=n1").is_err());
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "\\PC{0,60}") {
            let _ = Filter::parse(&text);
        }
    }
}
