//! Keys of plugins' configurations as plugins in Go read them (package encoding/json, "Unmarshal"): in
//! upper or lower case, and the last of several in the order of the text.
//!
//! Go compares keys by Unicode's simple folding: two characters outside ASCII are letters of ASCII for it.

use serde_json::{Map, Value};

/// Whether a plugin in Go takes `key` for the key `name`, which is ASCII.
pub fn is(key: &str, name: &str) -> bool {
    let folded = |letter: char| match letter {
        // LATIN SMALL LETTER LONG S, KELVIN SIGN
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        letter => letter.to_ascii_lowercase(),
    };
    key.chars()
        .map(folded)
        .eq(name.chars().map(|letter| letter.to_ascii_lowercase()))
}

/// The value of the key `name` of `object`, whatever its case.
pub fn value_of<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let mut keys = object.iter().rev();
    keys.find(|(key, _)| is(key, name)).map(|(_, value)| value)
}

/// The value with all keys in lower case, for a reader that knows but one case. Of keys that become the
/// same, the last one counts.
pub fn in_lower_case(value: &Value) -> Value {
    match value {
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| (key.to_ascii_lowercase(), in_lower_case(value)))
            .collect(),
        Value::Array(items) => items.iter().map(in_lower_case).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_read_in_any_case_and_the_last_one_counts() {
        let cases = [
            (json!({"master": 1}), Some(1)),
            (json!({"Master": 1}), Some(1)),
            (json!({"MASTER": 1, "other": 2}), Some(1)),
            (json!({"master": 1, "Master": 2}), Some(2)),
            (json!({"Master": 2, "master": 1}), Some(1)),
            (json!({"ma\u{17f}ter": 1}), Some(1)),
            (json!({"masters": 1}), None),
        ];
        for (object, expected) in cases {
            let value = value_of(object.as_object().unwrap(), "master");
            assert_eq!(value.and_then(Value::as_i64), expected, "{object}");
        }
    }

    #[test]
    fn keys_are_put_into_lower_case_at_every_depth_and_values_left_as_they_are() {
        let value = json!({"A": [{"Bc": "De", "BC": 1}], "a2": null});
        assert_eq!(in_lower_case(&value), json!({"a": [{"bc": 1}], "a2": null}));
    }
}
