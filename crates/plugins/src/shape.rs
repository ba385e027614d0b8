//! The keys of a configuration, in one spelling.
//!
//! Plugins in Go read keys in upper and lower case alike, the last of several, and take null for absent (package
//! encoding/json, "Unmarshal"). [`canonical`] makes of such a configuration one in which each key is spelled as the type's
//! file has it, and names the first key that is unknown.

use cni::key;
use serde_json::{Map, Value};

/// What may stand at a place of a configuration.
#[derive(Debug)]
pub enum Shape {
    /// Anything, read as it is: a text, a number, or an object whose keys are data.
    Any,
    /// The same, and null is not absent.
    AnyOrNull,
    /// An object with these keys.
    Object(&'static [(&'static str, Shape)]),
    /// A list whose items are of this shape.
    List(&'static Shape),
}

/// The keys that each configuration may have (CNI specification 1.1.0, section 1; libcni 1.3, `types.PluginConf`), and
/// that a meta plugin adds.
pub const STANDARD: &[(&str, Shape)] = &[
    ("cniVersion", Shape::Any),
    ("name", Shape::Any),
    ("type", Shape::Any),
    ("capabilities", Shape::Any),
    ("dns", Shape::Any),
    ("prevResult", Shape::Any),
    // libcni writes null for the empty list.
    ("cni.dev/valid-attachments", Shape::AnyOrNull),
    ("cni.dev/attachments", Shape::AnyOrNull),
];

/// What becomes of keys of the configuration's top that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// They are unknown.
    Refused,
    /// They are somebody else's: those of the plugin that calls the IPAM plugin.
    Ignored,
}

/// A key that the shape does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey(
    /// Where it stands, for example `ipam.Ranges`.
    pub String,
);

/// The configuration with its keys in the spelling of `own` and [`STANDARD`], without those that are null.
///
/// # Errors
/// [`UnknownKey`]: the first key that neither has.
pub fn canonical(
    conf: &Map<String, Value>,
    own: &'static [(&'static str, Shape)],
    others: Others,
) -> Result<Map<String, Value>, UnknownKey> {
    object(conf, &[own, STANDARD], others, "")
}

fn object(
    conf: &Map<String, Value>,
    known: &[&'static [(&'static str, Shape)]],
    others: Others,
    place: &str,
) -> Result<Map<String, Value>, UnknownKey> {
    let mut read = Map::new();
    for (name, given) in conf {
        let at = match place {
            "" => name.clone(),
            place => format!("{place}.{name}"),
        };
        let mut all = known.iter().copied().flatten();
        let Some((spelling, shape)) = all.find(|(spelling, _)| key::is(name, spelling)) else {
            match others {
                Others::Refused => return Err(UnknownKey(at)),
                Others::Ignored => continue,
            }
        };
        if !given.is_null() || matches!(shape, Shape::AnyOrNull) {
            read.insert((*spelling).to_owned(), value(given, shape, &at)?);
        }
    }
    Ok(read)
}

fn value(given: &Value, shape: &'static Shape, place: &str) -> Result<Value, UnknownKey> {
    match (shape, given) {
        (Shape::Object(known), Value::Object(given)) => {
            object(given, &[known], Others::Refused, place).map(Value::Object)
        }
        (Shape::List(shape), Value::Array(items)) => items
            .iter()
            .enumerate()
            .map(|(at, item)| value(item, shape, &format!("{place}[{at}]")))
            .collect(),
        // A value of the wrong type is found by who reads it.
        _ => Ok(given.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KNOWN: &[(&str, Shape)] = &[
        ("mtu", Shape::Any),
        ("isGateway", Shape::Any),
        ("sysctl", Shape::Any),
        (
            "trunk",
            Shape::List(&Shape::Object(&[("minID", Shape::Any)])),
        ),
        ("ipam", Shape::Object(&[("type", Shape::Any)])),
    ];

    fn read(conf: Value) -> Result<Value, UnknownKey> {
        canonical(conf.as_object().unwrap(), KNOWN, Others::Refused).map(Value::Object)
    }

    #[test]
    fn keys_get_the_spelling_of_the_shape_at_every_depth_and_data_stays_as_it_is() {
        let given = json!({"NAME": "n", "ISGATEWAY": true, "sysctl": {"Net.X": "1"}, "trunk": [{"MINID": 3}], "Ipam": {"Type": "x"}});
        let expected = json!({"name": "n", "isGateway": true, "sysctl": {"Net.X": "1"}, "trunk": [{"minID": 3}], "ipam": {"type": "x"}});
        assert_eq!(read(given), Ok(expected));
    }

    #[test]
    fn null_is_absent_and_the_last_of_several_spellings_counts() {
        assert_eq!(read(json!({"mtu": null})), Ok(json!({})));
        assert_eq!(read(json!({"mtu": 1, "MTU": 2})), Ok(json!({"mtu": 2})));
        // As in Go: null leaves what an earlier key has set.
        assert_eq!(read(json!({"mtu": 1, "MTU": null})), Ok(json!({"mtu": 1})));
    }

    #[test]
    fn the_first_unknown_key_is_named_with_its_place() {
        let cases = [
            (json!({"new": 1}), "new"),
            (json!({"ipam": {"type": "x", "pool": "y"}}), "ipam.pool"),
            (json!({"trunk": [{}, {"maxID": 1}]}), "trunk[1].maxID"),
        ];
        for (conf, place) in cases {
            assert_eq!(read(conf), Err(UnknownKey(place.to_owned())));
        }
    }

    #[test]
    fn keys_of_others_are_left_out_at_the_top_alone() {
        let read = |conf: Value| canonical(conf.as_object().unwrap(), KNOWN, Others::Ignored);
        let given = json!({"bridge": "x", "ipam": {"type": "y"}});
        assert_eq!(
            read(given).map(Value::Object),
            Ok(json!({"ipam": {"type": "y"}}))
        );
        assert!(read(json!({"ipam": {"pool": "y"}})).is_err());
    }

    #[test]
    fn a_value_of_the_wrong_type_is_left_to_the_reader() {
        let given = json!({"ipam": 3, "trunk": {"a": 1}});
        assert_eq!(read(given.clone()), Ok(given));
    }
}
