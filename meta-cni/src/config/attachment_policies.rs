//! The key `attachmentPolicy` of the node's configuration.

use crds::AttachmentPolicySpec;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Value, json};

/// What holds for networks of tenants on this node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttachmentPolicies {
    /// What holds where no AttachmentPolicy matches.
    pub mode: Mode,
    /// What no AttachmentPolicy loosens, in any mode.
    pub floor: Option<Box<AttachmentPolicySpec>>,
}

/// What holds where no AttachmentPolicy matches a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The built-in rules: bridge, ipvlan, macvlan, ptp and vlan with host-local, meta-ipam and static.
    Enforce,
    /// Everything is allowed; what the built-in rules would refuse is logged.
    #[default]
    Report,
    /// Everything is allowed, and AttachmentPolicies are not read.
    Off,
}

impl Mode {
    /// The value of the key.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Report => "report",
            Mode::Off => "off",
        }
    }
}

/// The key as it is written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Mode(Mode),
    Whole(Whole),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    mode: Mode,
    #[serde(default)]
    floor: Option<Value>,
}

impl<'de> Deserialize<'de> for AttachmentPolicies {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        let wrong = "must be \"enforce\", \"report\" or \"off\", or {\"mode\": …, \"floor\": {…}}";
        let written = serde_json::from_value(value).map_err(|_| D::Error::custom(wrong))?;
        let whole = match written {
            Written::Mode(mode) => Whole { mode, floor: None },
            Written::Whole(whole) => whole,
        };
        let floor = whole.floor.map(read_floor).transpose();
        Ok(AttachmentPolicies {
            mode: whole.mode,
            floor: floor.map_err(D::Error::custom)?,
        })
    }
}

/// The floor has the fields of an AttachmentPolicy's spec but for the selector.
fn read_floor(mut floor: Value) -> Result<Box<AttachmentPolicySpec>, String> {
    let wrong = |problem: &str| format!("floor: {problem}");
    let fields = floor
        .as_object_mut()
        .ok_or_else(|| wrong("must be an object"))?;
    if fields
        .insert("namespaceSelector".to_owned(), json!({}))
        .is_some()
    {
        return Err(wrong("namespaceSelector: a floor holds for all namespaces"));
    }
    parse(&floor)
        .map(Box::new)
        .map_err(|problem| wrong(&problem))
}

/// Reads the `spec` of a policy. A field that is not known could be a limit: it is refused.
pub(crate) fn parse(spec: &Value) -> Result<AttachmentPolicySpec, String> {
    let read: AttachmentPolicySpec =
        serde_path_to_error::deserialize(spec).map_err(|error| error.to_string())?;
    let again = serde_json::to_value(&read).map_err(|error| error.to_string())?;
    match unknown(spec, &again) {
        Some(field) => Err(format!("unknown field {field}")),
        None => Ok(read),
    }
}

/// The first field of `given` that reading it left out.
fn unknown(given: &Value, read: &Value) -> Option<String> {
    match (given, read) {
        (Value::Object(given), Value::Object(read)) => given.iter().find_map(|(name, value)| {
            let is_empty = match value {
                Value::Null => true,
                Value::Array(items) => items.is_empty(),
                Value::Object(fields) => fields.is_empty(),
                _ => false,
            };
            match read.get(name) {
                Some(read) => unknown(value, read).map(|field| format!("{name}.{field}")),
                None => (!is_empty).then(|| name.clone()),
            }
        }),
        (Value::Array(given), Value::Array(read)) => {
            given
                .iter()
                .zip(read)
                .enumerate()
                .find_map(|(index, (given, read))| {
                    Some(format!("[{index}].{}", unknown(given, read)?))
                })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_a_mode_or_a_mode_with_a_floor() {
        for (written, mode) in [
            (json!("enforce"), Some(Mode::Enforce)),
            (json!("off"), Some(Mode::Off)),
            (json!({"mode": "report"}), Some(Mode::Report)),
            (json!("Enforce"), None),
            (json!(true), None),
            (json!({"floor": {}}), None),
            (json!({"mode": "off", "flor": {}}), None),
        ] {
            let read = serde_json::from_value::<AttachmentPolicies>(written.clone());
            assert_eq!(read.ok().map(|read| read.mode), mode, "{written}");
        }
    }

    #[test]
    fn a_floor_is_read_whole_or_refused_with_its_field() {
        for (floor, words) in [
            (json!({"plugins": {"main": ["bridge"]}}), None),
            (json!({}), Some("plugins")),
            (
                json!({"plugins": {"main": []}, "plugin": {}, "maxNetwork": 3}),
                Some("maxNetwork"),
            ),
            (
                json!({"plugins": {"main": []}, "namespaceSelector": {}}),
                Some("all namespaces"),
            ),
            (json!([]), Some("an object")),
        ] {
            let written = json!({"mode": "off", "floor": floor});
            let read = serde_json::from_value::<AttachmentPolicies>(written);
            match (read, words) {
                (Ok(read), None) => assert!(read.floor.is_some()),
                (Err(error), Some(words)) => assert!(error.to_string().contains(words), "{error}"),
                (read, _) => panic!("{floor}: {read:?}"),
            }
        }
    }
}
