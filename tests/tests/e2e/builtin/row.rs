//! One configuration of the tables.

use serde_json::{Value, json};

/// A configuration that both sides get, and what it meets.
#[derive(Clone)]
pub(crate) struct Row {
    /// What it is about.
    pub(crate) name: String,
    /// The configuration; `{data}` in its texts is a folder of the side.
    pub(crate) conf: Value,
    /// CNI_ARGS.
    pub(crate) args: String,
    /// What is done before on the host, as the words after `ip`; `{data}` as above.
    pub(crate) host: Vec<String>,
    /// The same in the pod.
    pub(crate) pod: Vec<String>,
    /// Files that exist before, by their paths in `{data}`.
    pub(crate) files: Vec<(String, String)>,
    /// A main plugin whose result is `prevResult`, run by the reference on both sides.
    pub(crate) after: Option<Value>,
    /// Whether the reference leaves links of random names in the pod after an ADD that failed, which are not compared.
    pub(crate) leaves_links: bool,
    /// Where the sides differ on purpose, and why: the steps, and the reason.
    pub(crate) differs: Vec<(String, String)>,
}

impl Row {
    /// A row with the configuration, version 1.1.0 and the name of a network if it has none.
    pub(crate) fn new(name: &str, mut conf: Value) -> Row {
        let defaults = [("cniVersion", json!("1.1.0")), ("name", json!("net"))];
        for (key, value) in defaults {
            if conf.get(key).is_none() {
                conf[key] = value;
            }
        }
        Row {
            name: name.to_owned(),
            conf,
            args: String::new(),
            host: Vec::new(),
            pod: Vec::new(),
            files: Vec::new(),
            after: None,
            leaves_links: false,
            differs: Vec::new(),
        }
    }

    /// The same with CNI_ARGS.
    pub(crate) fn args(mut self, args: &str) -> Row {
        self.args = args.to_owned();
        self
    }

    /// The same with one more `ip` command on the host before.
    pub(crate) fn host(mut self, words: &str) -> Row {
        self.host.push(words.to_owned());
        self
    }

    /// The same with one more `ip` command in the pod before.
    pub(crate) fn pod(mut self, words: &str) -> Row {
        self.pod.push(words.to_owned());
        self
    }

    /// The same with a file in `{data}` before.
    pub(crate) fn file(mut self, path: &str, text: &str) -> Row {
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }

    /// The same of a plugin that leaves links.
    pub(crate) fn with_links_left(mut self) -> Row {
        self.leaves_links = true;
        self
    }

    /// The same behind a main plugin.
    pub(crate) fn after(mut self, conf: Value) -> Row {
        self.after = Some(Row::new("", conf).conf);
        self
    }

    /// The same with a difference on purpose at a step, for example `ADD`; `*` is all steps.
    pub(crate) fn differs(mut self, step: &str, why: &str) -> Row {
        self.differs.push((step.to_owned(), why.to_owned()));
        self
    }

    /// The configuration with another key.
    pub(crate) fn with(mut self, key: &str, value: Value) -> Row {
        self.conf[key] = value;
        self
    }
}
