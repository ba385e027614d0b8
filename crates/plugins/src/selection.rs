//! Which types are served in this process: the key `builtinPlugins`.

use serde_json::Value;

use crate::kinds;

/// Which types are served in this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// Those that are known, if each key of the configuration is known; else the executable, which may be newer.
    #[default]
    Auto,
    /// None: every plugin is executed.
    Off,
    /// These, whatever other keys the configuration has: they are ignored, as the reference plugins do.
    Types(Vec<String>),
}

/// `builtinPlugins` has a value that it cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// It is of another type.
    #[error("must be \"auto\", \"off\" or a list of plugin types, not {found}")]
    NotASelection {
        /// What it is.
        found: String,
    },
    /// A type of the list is not built in.
    #[error("{kind:?} is not built in; built in are {}", kinds::names().collect::<Vec<_>>().join(", "))]
    Unknown {
        /// The type.
        kind: String,
    },
}

impl Selection {
    /// Reads the value of `builtinPlugins`.
    ///
    /// # Errors
    /// [`SelectionError`].
    pub fn from_value(value: &Value) -> Result<Selection, SelectionError> {
        let refused = || SelectionError::NotASelection {
            found: value.to_string(),
        };
        match value {
            Value::String(word) if word == "auto" => Ok(Selection::Auto),
            Value::String(word) if word == "off" => Ok(Selection::Off),
            Value::Array(kinds) => kinds
                .iter()
                .map(|kind| {
                    let kind = kind.as_str().ok_or_else(refused)?;
                    let kind = kind.to_owned();
                    match kinds::names().any(|known| known == kind) {
                        true => Ok(kind),
                        false => Err(SelectionError::Unknown { kind }),
                    }
                })
                .collect::<Result<_, _>>()
                .map(Selection::Types),
            _ => Err(refused()),
        }
    }

    /// Whether a type that is known is served in this process.
    pub(crate) fn has(&self, kind: &str) -> bool {
        match self {
            Selection::Auto => true,
            Selection::Off => false,
            Selection::Types(kinds) => kinds.iter().any(|one| one == kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selection_is_a_word_or_a_list_of_known_types() {
        let bridge = Selection::Types(vec!["bridge".to_owned()]);
        assert_eq!(Selection::from_value(&json!("auto")), Ok(Selection::Auto));
        assert_eq!(Selection::from_value(&json!("off")), Ok(Selection::Off));
        assert_eq!(Selection::from_value(&json!(["bridge"])), Ok(bridge));
        for wrong in [json!("on"), json!(true), json!([1]), json!(null), json!({})] {
            let error = Selection::from_value(&wrong).unwrap_err();
            assert!(error.to_string().contains("\"auto\", \"off\""), "{error}");
        }
        let error = Selection::from_value(&json!(["portmap"])).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("\"portmap\" is not built in; built in are ")
        );
    }
}
