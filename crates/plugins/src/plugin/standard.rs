//! The types of the keys that every configuration may have (libcni 1.3, `types.PluginConf`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

type Texts = Option<Vec<Option<String>>>;

#[derive(Deserialize)]
struct Dns {
    #[serde(rename = "nameservers")]
    _nameservers: Texts,
    #[serde(rename = "domain")]
    _domain: Option<String>,
    #[serde(rename = "search")]
    _search: Texts,
    #[serde(rename = "options")]
    _options: Texts,
}

#[derive(Deserialize)]
struct Ipam {
    #[serde(rename = "type")]
    _kind: Option<String>,
}

/// Checks them, as the reference plugins do before they read their own.
///
/// # Errors
/// A value of another type.
pub(super) fn check(conf: &Map<String, Value>) -> serde_json::Result<()> {
    // The keys below them may be in capitals.
    let lower = |key: &str| conf.get(key).map(cni::key::in_lower_case);
    let of = |key: &str| lower(key).unwrap_or_default();
    Option::<Dns>::deserialize(of("dns"))?;
    Option::<Ipam>::deserialize(of("ipam"))?;
    Option::<BTreeMap<String, Option<bool>>>::deserialize(of("capabilities"))?;
    Option::<BTreeMap<String, IgnoredAny>>::deserialize(of("prevResult")).map(drop)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_standard_key_of_another_type_is_refused_and_its_keys_are_read_in_any_case() {
        let cases = [
            (json!({}), true),
            (json!({"ipam": {"type": "static", "addresses": []}}), true),
            (json!({"ipam": {}, "dns": {}, "capabilities": {}}), true),
            (
                json!({"dns": {"Nameservers": ["10.0.0.1"], "search": null}}),
                true,
            ),
            (json!({"capabilities": {"mac": true}}), true),
            (json!({"ipam": "static"}), false),
            (json!({"ipam": {"TYPE": 5}}), false),
            (json!({"dns": ["10.0.0.1"]}), false),
            (json!({"dns": {"Nameservers": "10.0.0.1"}}), false),
            (json!({"dns": {"domain": 1}}), false),
            (json!({"capabilities": {"mac": "yes"}}), false),
            (json!({"prevResult": 1}), false),
        ];
        for (conf, is_right) in cases {
            let checked = check(conf.as_object().unwrap());
            assert_eq!(checked.is_ok(), is_right, "{conf}");
        }
    }
}
