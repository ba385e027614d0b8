//! A pod of the shipped StatefulSet without a kubelet: the real ipam-server with the command, the user and the volumes of the
//! manifest, on a root file system that is read-only.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use e2e::certificates::Authority;
use e2e::{ApiServer, Daemon, locate, pages, wait_until};
use serde_json::Value;
use tempfile::TempDir;

const HOST: &str = "127.0.0.1";
const PATIENCE: Duration = Duration::from_secs(60);
/// Written into the volume, where the test sees it.
const READY: &str = "/var/lib/ipam-server/ready";

/// A running server of the manifest. Dropping it ends the server.
pub(super) struct ServerPod {
    folder: TempDir,
    authority: Authority,
    container: Value,
    daemon: Daemon,
}

impl ServerPod {
    /// Starts the server, and waits until it serves.
    pub(super) fn start(api: &ApiServer, stateful_set: &Value) -> ServerPod {
        let folder = e2e::sweep::temporary_folder();
        let pod = api.pod_of(stateful_set, "ipam-server-0", "server-node");
        let authority = Authority::new(folder.path(), "authority");
        let container = pod["spec"]["containers"][0].clone();
        let group = id(&pod["spec"]["securityContext"]["fsGroup"]);
        for (volume, files) in volumes(api, &pod, &authority, folder.path()) {
            project(&folder.path().join(volume), &files, group);
        }
        // As a kubelet leaves the folder of a volume with fsGroup.
        let store = folder.path().join("store");
        fs::create_dir(&store).expect("make a folder");
        chown(&store, Some(0), Some(group)).expect("give a folder away");
        fs::set_permissions(&store, Permissions::from_mode(0o2775)).expect("open a folder");
        let program = folder.path().join("program");
        fs::copy(locate::executable("ipam-server"), program).expect("copy an executable");
        let command = command(api, folder.path(), &pod);
        let mut pod = ServerPod {
            daemon: Daemon::start(command, &folder.path().join("log")),
            folder,
            authority,
            container,
        };
        wait_until("ipam-server serves", PATIENCE, || {
            if let Some(status) = pod.daemon.ended() {
                panic!("ipam-server ended with {status}:\n{}", pod.daemon.log());
            }
            pod.ready_file().exists().then_some(())
        });
        pod
    }

    /// Asserts that the probes of the manifest are answered on the port of its container.
    pub(super) fn probes_succeed(&self) {
        for probe in ["livenessProbe", "readinessProbe"] {
            let probe = &self.container[probe]["httpGet"];
            let ports = self.container["ports"].as_array().expect("ports");
            let port = ports.iter().find(|port| port["name"] == probe["port"]);
            let port = &port.expect("the probe's port")["containerPort"];
            let flag = format!("--metrics-listen=[::]:{port}");
            let words = self.container["command"].as_array().expect("a command");
            assert!(words.contains(&Value::from(flag)), "{words:?}");
            let path = probe["path"].as_str().expect("a path");
            let page = pages::page(&self.ready_file(), path);
            assert!(page.starts_with("HTTP/1.0 200"), "{path}: {page}");
        }
    }

    /// Asserts that the process is the user of the manifest, without a capability, and that its store is its own.
    pub(super) fn has_no_rights(&self) {
        let path = format!("/proc/{}/status", self.daemon.pid());
        let status = fs::read_to_string(path).expect("read the state of a process");
        let line = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let mut words = line.expect("a field").split_whitespace();
            words.next().expect("a value").to_owned()
        };
        assert_eq!((&*line("Uid:"), &*line("NoNewPrivs:")), ("65532", "1"));
        for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
            assert_eq!(line(set), "0000000000000000", "{set}");
        }
        let store = self.folder.path().join("store").join("store");
        let mode = fs::metadata(store).expect("a store").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(
            !self.daemon.log().contains("open to other users"),
            "{}",
            self.daemon.log()
        );
    }

    /// The flags of an agent's container for this server, with its files below this one's folder.
    pub(super) fn flags_of_agent(&self, agent: &Value, token: &str, socket: &Path) -> Vec<String> {
        let token_file = self.folder.path().join("agent-token");
        fs::write(&token_file, token).expect("write a token");
        let mut flags = vec![format!("--ipam-socket={}", socket.display())];
        for word in agent["command"]
            .as_array()
            .expect("a command")
            .iter()
            .skip(1)
        {
            let word = word.as_str().expect("a word");
            let (flag, _) = word.split_once('=').expect("a flag with a value");
            flags.push(match flag {
                "--metrics-listen" => continue,
                "--ipam-server" => format!("{flag}={}", self.address()),
                "--ipam-ca" => format!("{flag}={}", self.authority.file.display()),
                "--ipam-token-file" => format!("{flag}={}", token_file.display()),
                _ => word.to_owned(),
            });
        }
        flags
    }

    fn address(&self) -> String {
        let ready = fs::read(self.ready_file()).expect("read a file");
        let ready: Value = serde_json::from_slice(&ready).expect("JSON");
        let listen = ready["listen"][0].as_str().expect("an address");
        let (_, port) = listen.rsplit_once(':').expect("a port");
        format!("https://{HOST}:{port}")
    }

    fn ready_file(&self) -> PathBuf {
        self.folder.path().join("store").join("ready")
    }
}

/// Runs ipamctl with a token.
pub(super) fn operate(server: &ServerPod, token: &str, words: &[&str]) -> Output {
    let file = server.folder.path().join("operator-token");
    fs::write(&file, token).expect("write a token");
    Command::new(locate::executable("ipamctl"))
        .args(words)
        .arg(format!("--server={}", server.address()))
        .arg(format!("--tls-ca={}", server.authority.file.display()))
        .arg(format!("--token-file={}", file.display()))
        .output()
        .expect("run ipamctl")
}

type Files = Vec<(&'static str, Vec<u8>)>;

/// What the volumes of the pod hold, but for the store.
fn volumes(
    api: &ApiServer,
    pod: &Value,
    authority: &Authority,
    folder: &Path,
) -> [(&'static str, Files); 3] {
    let identity = authority.issue(folder, "server", HOST);
    let read = |path: &Path| fs::read(path).expect("read a file");
    let policy = "/api/v1/namespaces/kube-system/configmaps/ipam-server-policy";
    let (_, policy) = api.admin().get(policy);
    let policy = policy["data"]["policy.yaml"].as_str().expect("a policy");
    let token = api.projected_token(pod, "token");
    [
        (
            "tls",
            vec![
                ("tls.crt", read(&identity.cert)),
                ("tls.key", read(&identity.key)),
            ],
        ),
        ("policy", vec![("policy.yaml", policy.as_bytes().to_vec())]),
        (
            "token",
            vec![
                ("token", token.into_bytes()),
                ("ca.crt", read(&api.ca())),
                ("namespace", b"kube-system".to_vec()),
            ],
        ),
    ]
}

/// Writes the files of a volume as a kubelet does: links to a folder that a link names, readable by a group.
fn project(volume: &Path, files: &Files, group: u32) {
    let data = volume.join("..2026_11_01");
    fs::create_dir_all(&data).expect("make a folder");
    symlink("..2026_11_01", volume.join("..data")).expect("make a link");
    for (name, content) in files {
        let file = data.join(name);
        fs::write(&file, content).expect("write a file");
        chown(&file, Some(0), Some(group)).expect("give a file away");
        fs::set_permissions(&file, Permissions::from_mode(0o440)).expect("shut a file");
        symlink(Path::new("..data").join(name), volume.join(name)).expect("make a link");
    }
}

/// The command of the pod's container: its volumes where the manifest has them, everything else read-only, its user, no capability.
fn command(api: &ApiServer, folder: &Path, pod: &Value) -> Command {
    let mut script = format!(
        "set -e\nmount -t tmpfs none /mnt\nmkdir /mnt/all\nmount --bind {} /mnt/all\n",
        folder.display()
    );
    script += "for at in /etc /run /var/lib; do mount -t tmpfs none $at; done\ncp /mnt/all/program /run/program\n";
    let container = &pod["spec"]["containers"][0];
    for mount in container["volumeMounts"].as_array().expect("mounts") {
        let (name, at) = (text(&mount["name"]), text(&mount["mountPath"]));
        writeln!(script, "mkdir -p {at}; mount --bind /mnt/all/{name} {at}").expect("a text");
        if mount["readOnly"] == true {
            writeln!(script, "mount -o remount,bind,ro {at}").expect("a text");
        }
    }
    script += "umount /mnt/all\n";
    script += "for at in / /etc /run /var/lib /mnt; do mount -o remount,bind,ro $at; ! touch $at/probe 2>/dev/null; done\n";
    script += "exec \"$@\"\n";
    let context = &pod["spec"]["securityContext"];
    let (user, group) = (id(&context["runAsUser"]), id(&context["runAsGroup"]));
    let address = api.address();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", &script, "container", "setpriv"])
        .arg(format!("--reuid={user}"))
        .arg(format!("--regid={group}"))
        .arg(format!("--groups={}", id(&context["fsGroup"])))
        .args(["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"])
        .arg("/run/program")
        .env("KUBERNETES_SERVICE_HOST", address.ip().to_string())
        .env("KUBERNETES_SERVICE_PORT", address.port().to_string());
    for word in container["command"]
        .as_array()
        .expect("words")
        .iter()
        .skip(1)
    {
        // Ports of the machine that is shared with other tests.
        command.arg(text(word).replace(":7443", ":0").replace(":7480", ":0"));
    }
    command.arg(format!("--ready-file={READY}"));
    command
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn id(value: &Value) -> u32 {
    let id = value.as_u64().expect("an id");
    id.try_into().expect("an id")
}
