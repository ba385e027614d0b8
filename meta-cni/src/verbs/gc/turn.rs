//! Whose turn it is: the network that the last GC had no time for, in the file `<stateDir>/gc-next`. The next GC begins with it, so that
//! networks that hang each time do not keep the others from being asked.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use cni::netconf::NetConfList;

use crate::private::private_file;

const FILE: &str = "gc-next";

/// The note of whose turn it is. A note that is lost costs nothing but the order.
pub(super) struct Turn(PathBuf);

impl Turn {
    pub(super) fn of(state_dir: &Path) -> Turn {
        Turn(state_dir.join(FILE))
    }

    /// Networks in the order of their names, from the one on whose turn it is.
    pub(super) fn begin<'a>(&self, mut lists: Vec<&'a NetConfList>) -> Vec<&'a NetConfList> {
        lists.sort_by(|a, b| a.name.cmp(&b.name));
        let first = fs::read_to_string(&self.0).unwrap_or_default();
        let at = lists.partition_point(|list| list.name.as_str() < first.as_str());
        lists.rotate_left(at);
        lists
    }

    /// Notes the network that there was no time for; nothing if all were asked.
    pub(super) fn end(&self, unreached: Option<&str>) {
        let noted = match unreached {
            Some(name) => {
                private_file(&self.0).and_then(|mut file| file.write_all(name.as_bytes()))
            }
            None => match fs::remove_file(&self.0) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        if let Err(error) = noted {
            tracing::info!(%error, "the next GC asks the networks in the same order");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_next_round_begins_with_the_network_that_was_not_reached() {
        let folder = tempfile::tempdir().unwrap();
        let turn = Turn::of(folder.path());
        let list = |name: &str| {
            NetConfList::from_value(json!({
                "cniVersion": "1.1.0", "name": name, "plugins": [{"type": "bridge"}]
            }))
            .unwrap()
        };
        let (red, blue, green) = (list("red"), list("blue"), list("green"));
        let names = || -> Vec<&str> {
            let lists = turn.begin(vec![&red, &blue, &green]);
            lists.into_iter().map(|list| list.name.as_str()).collect()
        };
        assert_eq!(names(), ["blue", "green", "red"]);
        for (unreached, expected) in [
            (Some("green"), ["green", "red", "blue"]),
            // It is gone since.
            (Some("pink"), ["red", "blue", "green"]),
            (Some("zebra"), ["blue", "green", "red"]),
            (None, ["blue", "green", "red"]),
        ] {
            turn.end(unreached);
            assert_eq!(names(), expected, "{unreached:?}");
        }
        assert!(!folder.path().join(FILE).exists());
    }
}
