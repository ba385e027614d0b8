//! "By hand" in "Install" of the book, word for word: its commands with a real kubectl and a real API server, on a node whose folders
//! lie elsewhere.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use e2e::{ApiServer, Node, lacking, locate};
use serde_json::{Value, json};

const README: &str = include_str!("../../../../README.md");
const BOOK: &str = include_str!("../../../../docs/src/install.md");

/// The commands of a page's first `N` code blocks behind a heading.
fn commands<const N: usize>(page: &'static str, heading: &str) -> [&'static str; N] {
    let (_, text) = page.split_once(heading).expect("the page has the heading");
    let mut blocks = text.split("```sh\n").skip(1).map(|block| {
        let (commands, _) = block.split_once("```").expect("a block ends");
        commands
    });
    [(); N].map(|()| blocks.next().expect("another block"))
}

/// A folder as the page has it: the repository's, and what `make build` left.
fn folder_of_a_newcomer(node: &Node) -> PathBuf {
    let folder = node.folder().join("newcomer");
    fs::create_dir(&folder).expect("make a folder");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let link = |target: PathBuf, name: &str| {
        symlink(target, folder.join(name)).expect("make a link");
    };
    for name in ["crds", "deploy"] {
        link(repository.join(name), name);
    }
    for name in ["meta-cni", "meta-ipam"] {
        link(locate::executable(name), name);
    }
    folder
}

/// The kubeconfig of an administrator that names the authority's certificate by its file, as minikube writes it.
fn admin_by_file(api: &ApiServer, folder: &Path) -> PathBuf {
    let text = fs::read_to_string(api.kubeconfig()).expect("read a kubeconfig");
    let mut kubeconfig: Value = process::yaml::read(&text).expect("a kubeconfig is YAML");
    let cluster = &mut kubeconfig["clusters"][0]["cluster"];
    *cluster = json!({ "server": cluster["server"], "certificate-authority": api.ca() });
    let path = folder.join("admin.kubeconfig");
    let text = process::yaml::write(&kubeconfig).expect("JSON is YAML");
    fs::write(&path, text).expect("write a kubeconfig");
    path
}

/// Runs commands of a newcomer on the node; gives what they wrote.
#[track_caller]
fn run(node: &Node, folder: &Path, kubeconfig: &Path, commands: &str) -> String {
    let home = format!("HOME={}", folder.display());
    let kubeconfig = format!("KUBECONFIG={}", kubeconfig.display());
    let script = format!("cd {}\n{commands}", folder.display());
    let output = node.host().exec([
        "env",
        &home,
        &kubeconfig,
        "bash",
        "-euo",
        "pipefail",
        "-c",
        &script,
    ]);
    assert!(output.status.success(), "{commands}\n{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn readme_and_book_install_by_the_same_commands() {
    assert_eq!(
        commands::<1>(README, "\n## Install\n"),
        commands::<1>(BOOK, "\n## In a cluster\n")
    );
}

#[test]
fn the_books_install_makes_a_node_without_a_fault() {
    if !lacking::require("kubectl") {
        return;
    }
    // Its admission would refuse the tokens of other tests, which are bound to no node.
    let api = &ApiServer::start();
    let node = Node::new("install").with_api(api);
    let folder = folder_of_a_newcomer(&node);
    let [in_the_cluster, on_each_node] = commands(BOOK, "\n## By hand\n");
    let in_the_cluster = in_the_cluster.replace("worker-1", node.name());
    let object = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": node.name() } });
    api.apply_value(&object);
    let admin = admin_by_file(api, &folder);
    run(&node, &folder, &admin, &in_the_cluster);

    // The default network's installer came before.
    let etc = node.folder().join("etc-cni");
    let conf_dir = etc.join("net.d");
    fs::create_dir_all(&conf_dir).expect("make a folder");
    let default = node.bridge("br-default", &["10.1.0.0/24", "fd00:1::/64"]);
    let default = json!({ "cniVersion": "1.0.0", "name": "pods", "plugins": [default] });
    fs::write(conf_dir.join("10-pods.conflist"), default.to_string()).expect("write a network");
    let elsewhere = |text: &str| {
        text.replace("/etc/cni", &etc.display().to_string())
            .replace("/opt/cni/bin", &node.bin_dir().display().to_string())
            .replace("/var/log", &node.folder().display().to_string())
    };
    let example = include_str!("../../../../examples/00-meta-cni.conflist");
    let mut list: Value = serde_json::from_str(&elsewhere(example)).expect("JSON");
    let ours = list["plugins"][0].as_object_mut().expect("an object");
    ours.insert("stateDir".to_owned(), json!(node.state_dir()));
    ours.insert("binDir".to_owned(), json!(node.bin_dir()));
    ours.insert("agentSocket".to_owned(), json!(""));
    let ours = Value::Object(ours.clone());
    fs::write(folder.join("00-meta-cni.conflist"), list.to_string()).expect("write a list");
    let flags = format!(
        "doctor --conf-dir {} --cni-path {}",
        conf_dir.display(),
        node.bin_dir().display()
    );
    let on_each_node = elsewhere(on_each_node).replace("doctor", &flags);
    let report = run(&node, &folder, &admin, &on_each_node);
    assert!(report.contains("0 faults, 0 warnings\n"), "{report}");

    let node = node.conf(json!({ "delegates": null })).conf(ours);
    // The example enforces: a network with a path needs a policy.
    let rule =
        json!({ "type": "host-local", "keys": { "allow": ["dataDir", "ranges", "routes"] } });
    let label = json!({ "kubernetes.io/metadata.name": "install" });
    let plugins = json!({ "main": ["bridge"], "ipam": ["host-local"] });
    api.policy(
        "install",
        label,
        json!({ "plugins": plugins, "types": [rule] }),
    );
    api.nad(
        "install",
        "blue",
        node.side_bridge("br-blue", &["10.2.0.0/24"]),
    );
    let pod = node.pod("install", "web").networks("blue").create_in(api);
    node.add(&pod).ok();
    assert_eq!(pod.netns().addresses("net1"), ["10.2.0.2/24"]);
    node.del(&pod).ok();
}
