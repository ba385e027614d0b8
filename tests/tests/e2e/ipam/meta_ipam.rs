//! meta-ipam as a main plugin executes it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use e2e::locate;
use serde_json::{Value, json};

/// Where it leases from, and where its releases wait.
#[derive(Clone, Debug)]
pub(crate) struct MetaIpam {
    server: String,
    pub(crate) state: PathBuf,
    seconds: u64,
}

impl MetaIpam {
    /// One that asks the socket, with its state in `folder`.
    pub(crate) fn of(socket: &Path, folder: &Path) -> MetaIpam {
        MetaIpam {
            server: format!("unix://{}", socket.display()),
            state: folder.join("state"),
            seconds: 2,
        }
    }

    /// The same with more time.
    pub(crate) fn within(self, seconds: u64) -> MetaIpam {
        MetaIpam { seconds, ..self }
    }

    /// Runs it for a container of network `blue`; more of the configuration comes from `more`.
    pub(crate) fn run(&self, command: &str, container: &str, more: Value) -> Output {
        let mut conf = json!({
            "cniVersion": "1.1.0", "name": "blue", "type": "bridge",
            "ipam": {
                "type": "meta-ipam", "pool": "blue", "node": "n1", "timeoutSeconds": self.seconds,
                "server": self.server, "stateDir": self.state
            }
        });
        let fields = conf.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        let mut child = Command::new(locate::executable("meta-ipam"))
            .env_clear()
            .envs([
                ("CNI_COMMAND", command),
                ("CNI_CONTAINERID", container),
                ("CNI_NETNS", "/proc/self/ns/net"),
                ("CNI_IFNAME", "net1"),
                ("CNI_PATH", "/"),
                ("CNI_ARGS", "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web"),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start meta-ipam");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin
            .write_all(conf.to_string().as_bytes())
            .expect("write the configuration");
        drop(stdin);
        child.wait_with_output().expect("wait for meta-ipam")
    }

    /// Releases that wait.
    pub(crate) fn waiting(&self) -> usize {
        fs::read_dir(self.state.join("releases")).map_or(0, |entries| {
            let names = entries.map(|entry| entry.expect("an entry").path());
            names
                .filter(|path| {
                    path.extension()
                        .is_some_and(|extension| extension == "json")
                })
                .count()
        })
    }
}

pub(crate) fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[track_caller]
pub(crate) fn good(output: Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    if output.stdout.is_empty() {
        Value::Null
    } else {
        json_of(&output)
    }
}

pub(crate) fn code(output: &Output) -> u64 {
    assert!(!output.status.success(), "{output:?}");
    json_of(output)["code"].as_u64().expect("a code")
}
