//! JSON merge patches (RFC 7386), by which tests change configurations.

use serde_json::{Map, Value};

/// Lays `patch` over `target`: objects key by key, `null` removes a key, anything else replaces.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (key, change) in changes {
        if change.is_null() {
            target.as_object_mut().expect("made so").shift_remove(key);
        } else {
            merge(&mut target[key], change);
        }
    }
}
