//! The attachments that a GC call lists as valid (CNI specification 1.1.0, "GC"). Everything else is garbage, so a list is
//! read as a whole or refused as a whole.

use serde_json::{Map, Value};

use crate::chain::AttachmentId;
use crate::name::{interface_name_problem, is_identifier};

/// The key, and the older name that libcni writes beside it.
const KEYS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// A list that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrongList {
    /// The key holds something else.
    #[error("{key} must hold a list, or null for the empty one; nothing is deleted")]
    NoList {
        /// The key.
        key: &'static str,
    },
    /// An item is not an attachment.
    #[error("{key}[{index}]: {problem}; nothing is deleted")]
    Item {
        /// The key.
        key: &'static str,
        /// The item.
        index: usize,
        /// What is wrong with it.
        problem: String,
    },
}

/// The attachments that the runtime lists; none if it writes no list. libcni up to 1.3 writes `null` for the empty list.
///
/// # Errors
/// [`WrongList`].
pub fn valid_attachments(
    conf: &Map<String, Value>,
) -> Result<Option<Vec<AttachmentId>>, WrongList> {
    let Some((key, listed)) = KEYS.into_iter().find_map(|key| Some((key, conf.get(key)?))) else {
        return Ok(None);
    };
    let listed = match listed {
        Value::Null => &[][..],
        Value::Array(listed) => listed,
        _ => return Err(WrongList::NoList { key }),
    };
    let items = listed.iter().enumerate().map(|(index, item)| {
        attachment(item).map_err(|problem| WrongList::Item {
            key,
            index,
            problem,
        })
    });
    items.collect::<Result<_, _>>().map(Some)
}

fn attachment(item: &Value) -> Result<AttachmentId, String> {
    let text = |field: &str| match item.get(field) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("{field} is not a text")),
        None => Err(format!("{field} is missing")),
    };
    let (container_id, ifname) = (text("containerID")?, text("ifname")?);
    if !is_identifier(&container_id) {
        return Err("containerID is not a container ID".to_owned());
    }
    if let Some(problem) = interface_name_problem(&ifname) {
        return Err(format!("ifname: {problem}"));
    }
    Ok(AttachmentId {
        container_id,
        ifname,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_is_the_empty_list_and_an_absent_key_is_no_list() {
        let c1 = json!([{"containerID": "c1", "ifname": "eth0"}]);
        let cases = [
            ("absent", json!({}), None),
            ("null", json!({"cni.dev/valid-attachments": null}), Some(0)),
            ("empty", json!({"cni.dev/valid-attachments": []}), Some(0)),
            ("one", json!({"cni.dev/valid-attachments": c1}), Some(1)),
            ("older key", json!({"cni.dev/attachments": c1}), Some(1)),
            (
                "older key, null",
                json!({"cni.dev/attachments": null}),
                Some(0),
            ),
            (
                "both, as libcni writes them",
                json!({"cni.dev/valid-attachments": null, "cni.dev/attachments": null}),
                Some(0),
            ),
        ];
        for (name, conf, expected) in cases {
            let valid = valid_attachments(conf.as_object().unwrap()).unwrap();
            assert_eq!(valid.map(|valid| valid.len()), expected, "{name}");
        }
    }

    #[test]
    fn a_list_with_one_wrong_item_is_refused_as_a_whole() {
        let good = json!({"containerID": "c1", "ifname": "eth0"});
        for key in KEYS {
            for wrong in [json!("x"), json!({}), json!(0), json!(false)] {
                let conf = json!({key: wrong});
                let read = valid_attachments(conf.as_object().unwrap());
                assert_eq!(read, Err(WrongList::NoList { key }), "{wrong}");
            }
            for wrong in [
                json!({}),
                json!(null),
                json!("k"),
                json!(["c1", "eth0"]),
                json!({"containerId": "c1", "ifname": "eth0"}),
                json!({"containerID": "c1", "ifName": "eth0"}),
                json!({"containerID": 1, "ifname": "eth0"}),
                json!({"containerID": "c1", "ifname": null}),
                json!({"containerID": "", "ifname": "eth0"}),
                json!({"containerID": "../c1", "ifname": "eth0"}),
                json!({"containerID": "c1", "ifname": ""}),
                json!({"containerID": "c1", "ifname": "a/b"}),
            ] {
                let conf = json!({key: [good, wrong]});
                let read = valid_attachments(conf.as_object().unwrap());
                assert!(
                    matches!(read, Err(WrongList::Item { index: 1, .. })),
                    "{wrong}"
                );
            }
        }
    }
}
