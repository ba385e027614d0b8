//! The manifests of `deploy/` for the agent and for ipam-server: a real API server accepts them, and the real executables run as they
//! say, with the user, the rights, the files and the tokens that a kubelet would give them.

mod pod;

use e2e::kube::AGENT;
use e2e::{Agent, ApiServer, Node};
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use serde_json::{Value, json};

use pod::{ServerPod, operate};

const AGENT_MANIFEST: &str = include_str!("../../../../deploy/agent.yaml");
const AGENT_PATCH: &str = include_str!("../../../../deploy/agent-ipam-patch.yaml");
const SERVER_MANIFEST: &str = include_str!("../../../../deploy/ipam-server.yaml");
const DAEMON_SETS: &str = "/apis/apps/v1/namespaces/kube-system/daemonsets";

fn objects(text: &str) -> Vec<Value> {
    process::yaml::documents(text)
        .into_iter()
        .map(|document| document.expect("YAML"))
        .collect()
}

fn object(text: &str, kind: &str) -> Value {
    let mut found = objects(text)
        .into_iter()
        .filter(|object| object["kind"] == kind);
    found.next().unwrap_or_else(|| panic!("no {kind}"))
}

/// What holds for every pod: no token of a year, no capability, nothing written but volumes.
fn is_hardened(spec: &Value) {
    assert_eq!(spec["automountServiceAccountToken"], false);
    let profile = &spec["securityContext"]["seccompProfile"]["type"];
    assert_eq!(profile, "RuntimeDefault");
    for key in ["hostPID", "hostIPC"] {
        assert!(spec.get(key).is_none(), "{spec}");
    }
    let projected = spec["volumes"].as_array().into_iter().flatten();
    let tokens: Vec<&Value> = projected
        .flat_map(|volume| {
            volume["projected"]["sources"]
                .as_array()
                .into_iter()
                .flatten()
        })
        .filter_map(|source| source.get("serviceAccountToken"))
        .collect();
    assert!(!tokens.is_empty(), "{spec}");
    assert!(
        tokens
            .iter()
            .all(|token| token["expirationSeconds"] == 3600),
        "{tokens:?}"
    );
    for container in spec["containers"].as_array().expect("containers") {
        let context = &container["securityContext"];
        assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }));
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["privileged"], false);
        assert!(container["resources"]["limits"]["memory"].is_string());
        for probe in ["livenessProbe", "readinessProbe"] {
            assert!(container[probe]["httpGet"]["path"].is_string(), "{probe}");
        }
    }
}

#[test]
fn the_api_server_accepts_the_agent_with_and_without_leases() {
    let api = ApiServer::shared();
    let made = api.apply_value(&object(AGENT_MANIFEST, "DaemonSet"));
    let spec = &made["spec"]["template"]["spec"];
    assert_eq!(spec["serviceAccountName"], AGENT.1);
    is_hardened(spec);
    let patch = &objects(AGENT_PATCH)[0];
    let (status, patched) = api
        .admin()
        .merge(&format!("{DAEMON_SETS}/meta-cnid"), patch);
    assert_eq!(status, 200, "{patched}");
    let patched = &patched["spec"]["template"]["spec"];
    is_hardened(patched);
    let names = |spec: &Value| -> Vec<String> {
        let volumes = spec["volumes"].as_array().expect("volumes").iter();
        let mut names: Vec<String> = volumes.map(|volume| volume["name"].to_string()).collect();
        names.sort();
        names
    };
    let mut expected = names(spec);
    expected.extend(["\"ipam-ca\"".to_owned(), "\"ipam-token\"".to_owned()]);
    expected.sort();
    assert_eq!(names(patched), expected);
}

#[test]
fn the_api_server_accepts_ipam_server_which_is_no_root_and_behind_a_network_policy() {
    let api = ApiServer::shared();
    let made: Vec<Value> = objects(SERVER_MANIFEST)
        .iter()
        .map(|object| api.apply_value(object))
        .collect();
    let of_kind = |kind: &str| made.iter().find(|object| object["kind"] == kind);
    let stateful = of_kind("StatefulSet").expect("a StatefulSet");
    let spec = &stateful["spec"]["template"]["spec"];
    is_hardened(spec);
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(stateful["spec"]["replicas"], 1);
    // It reviews tokens and does nothing else.
    let role = of_kind("ClusterRole").expect("a role");
    assert_eq!(
        role["rules"],
        json!([{ "apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"] }])
    );
    let labels = &stateful["spec"]["template"]["metadata"]["labels"];
    let policy = &of_kind("NetworkPolicy").expect("a NetworkPolicy")["spec"];
    assert_eq!(&policy["podSelector"]["matchLabels"], labels);
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    // Every rule names whom it lets in.
    for rule in policy["ingress"].as_array().expect("rules") {
        assert!(
            rule["from"].as_array().is_some_and(|from| !from.is_empty()),
            "{rule}"
        );
    }
    let service = &of_kind("Service").expect("a Service")["spec"];
    assert_eq!(&service["selector"], labels);
}

#[test]
fn as_deployed_the_server_leases_to_the_agents_of_nodes_and_obeys_operators() {
    let api = ApiServer::shared();
    for object in objects(SERVER_MANIFEST) {
        api.apply_value(&object);
    }
    let server = ServerPod::start(api, &object(SERVER_MANIFEST, "StatefulSet"));
    server.probes_succeed();
    server.has_no_rights();
    let operator = api.token_for(
        "kube-system",
        "ipam-operator",
        Some("ipam.meta-cni.io"),
        600,
        None,
    );
    let created = operate(
        &server,
        &operator,
        &["pool", "create", "blue", "--ipv4=10.0.0.0/24"],
    );
    assert!(created.status.success(), "{created:?}");

    // The agent with the shipped flags, in a pod of the shipped DaemonSet.
    api.agent_kubeconfig();
    let node = Node::new("deployed").with_agent();
    let mut daemon_set = object(AGENT_MANIFEST, "DaemonSet");
    let patch = &objects(AGENT_PATCH)[0]["spec"]["template"]["spec"];
    let volumes = patch["volumes"].as_array().expect("volumes").clone();
    let spec = &mut daemon_set["spec"]["template"]["spec"];
    spec["volumes"]
        .as_array_mut()
        .expect("volumes")
        .extend(volumes);
    let agent_pod = api.pod_of(&daemon_set, "meta-cnid-deployed", node.name());
    let token = api.projected_token(&agent_pod, "ipam-token");
    let socket = node.folder().join("sockets").join("ipam.sock");
    let flags = server.flags_of_agent(&patch["containers"][0], &token, &socket);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let _agent = Agent::start_with(&node, api, &flags);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let lease = runtime.block_on(async {
        let mut client = LeaseServiceClient::new(e2e::dial::unix_channel(&socket));
        let answer = client.allocate(e2e::ipam::request("blue", "web")).await;
        answer
            .expect("a lease")
            .into_inner()
            .lease
            .expect("a lease")
    });
    assert_eq!(lease.owner.expect("an owner").node, node.name());

    // The agent's other token is for the API server, and an agent is no operator.
    let other = api.projected_token(&agent_pod, "token");
    for token in [&other, &token] {
        let refused = operate(
            &server,
            token,
            &["pool", "create", "red", "--ipv4=10.1.0.0/24"],
        );
        assert!(!refused.status.success(), "{refused:?}");
    }
}
