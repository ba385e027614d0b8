//! Where a field stands in a YAML text, for errors: what is wrong is found after the text was read, when its lines are gone.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The line, from 1, of the value at a path such as `pools[1].ipv4.cidr` in the `document`th document (from 0) of a text; of
/// the deepest part of the path that the text has. Keys are compared without `_` and case: `default_ttl` is `defaultTtl`.
/// None for a text that is no YAML.
pub fn line(text: &str, document: usize, path: &str) -> Option<usize> {
    let steps = steps(path);
    (0..=steps.len()).rev().find_map(|depth| {
        let document = serde_norway::Deserializer::from_str(text).nth(document)?;
        let found = Locate(steps.get(..depth)?).deserialize(document);
        let error = found
            .err()
            .filter(|error| error.to_string().contains(FOUND))?;
        error.location().map(|at| at.line())
    })
}

/// What is wrong, in one line, without the list of all fields that would be right.
pub fn short(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let end = match first.contains("unknown field") {
        true => first.find(", expected ").or(first.find(", there are")),
        false => None,
    };
    first
        .get(..end.unwrap_or(first.len()))
        .unwrap_or(first)
        .to_owned()
}

/// How the error of the value that was looked for begins.
const FOUND: &str = "this is the value";

#[derive(Debug, PartialEq, Eq)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

fn steps(path: &str) -> Vec<Step<'_>> {
    let parts = path.split(['.', '[']).filter(|part| !part.is_empty());
    parts
        .map(|part| match part.strip_suffix(']') {
            Some(index) => index.parse().map_or(Step::Key(index), Step::Index),
            None => Step::Key(part),
        })
        .collect()
}

fn is_same(one: &str, other: &str) -> bool {
    let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
    plain(one) == plain(other)
}

/// Goes along a path and fails at its end: the error has the place.
struct Locate<'a>(&'a [Step<'a>]);

impl<'de> DeserializeSeed<'de> for Locate<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.0 {
            [] => deserializer.deserialize_any(Here),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Locate<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list or a map")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Some((Step::Index(index), rest)) = self.0.split_first() else {
            return Err(A::Error::custom("no such entry"));
        };
        for _ in 0..*index {
            entries.next_element::<IgnoredAny>()?;
        }
        entries.next_element_seed(Locate(rest)).map(drop)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Some((Step::Key(wanted), rest)) = self.0.split_first() else {
            return Err(A::Error::custom("no such key"));
        };
        while let Some(key) = entries.next_key::<String>()? {
            if is_same(&key, wanted) {
                return entries.next_value_seed(Locate(rest));
            }
            entries.next_value::<IgnoredAny>()?;
        }
        Err(A::Error::custom("no such key"))
    }
}

/// Takes no value.
struct Here;

impl<'de> Visitor<'de> for Here {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(FOUND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOLS: &str = "\
pools:
- name: blue
  ipv4:
    cidr: 10.0.0.0/24
- name: green
  ipv4: {cidr: 10.1.0.0/24,
    gateway: 10.1.0.1}
  default_ttl: 3s
";

    #[test]
    fn a_field_is_found_by_its_path() {
        for (path, expected) in [
            ("pools[0].ipv4.cidr", Some(4)),
            ("pools[1]", Some(5)),
            ("pools[1].ipv4.cidr", Some(6)),
            ("pools[1].ipv4.gateway", Some(7)),
            ("pools[1].defaultTtl", Some(8)),
            ("pools[1].nothing", Some(5)),
            ("pools[1].ipv4.gatway", Some(6)),
            ("pools[7]", Some(2)),
            ("", Some(1)),
        ] {
            assert_eq!(line(POOLS, 0, path), expected, "{path}");
        }
        assert_eq!(line("a: 1\n---\nb: 2\n", 1, "b"), Some(3));
    }

    #[test]
    fn an_error_is_a_line_without_the_fields_that_would_be_right() {
        for (text, expected) in [
            (
                "unknown field `foo`, expected one of `a`, `b`",
                "unknown field `foo`",
            ),
            (
                "unknown field `foo`, there are no fields",
                "unknown field `foo`",
            ),
            (
                "invalid type: map, expected a string",
                "invalid type: map, expected a string",
            ),
            ("one\ntwo", "one"),
        ] {
            assert_eq!(short(&text), expected);
        }
    }
}
