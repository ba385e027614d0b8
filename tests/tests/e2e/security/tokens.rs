//! Tokens of service accounts instead of certificates, reviewed by a real API server.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use e2e::certificates::Authority;
use e2e::dial::unix_channel;
use e2e::{Agent, ApiServer, IpamServer, Node, locate, wait_until};
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::pool_service_client::PoolServiceClient;
use proto::ipam::v1::{AllocateRequest, CreatePoolRequest, Lease, ListPoolsRequest};
use serde_json::json;
use tempfile::TempDir;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const HOST: &str = "127.0.0.1";
const NAMESPACE: &str = "tokens";
const AUDIENCE: &str = "ipam.meta-cni.io";

/// A token of a service account for an audience, bound to a node if one is named.
fn token(api: &ApiServer, account: &str, audience: &str, node: Option<&str>) -> String {
    api.service_account(NAMESPACE, account);
    let node = node.map(|node| {
        let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}});
        api.apply_value(&object)
    });
    api.token_for(NAMESPACE, account, Some(audience), 3600, node.as_ref())
}

fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !token.is_empty() {
        let value = format!("Bearer {token}").parse().expect("a header");
        request.metadata_mut().insert("authorization", value);
    }
    request
}

async fn lists(channel: &Channel, token: &str) -> Result<(), Status> {
    let request = with(token, ListPoolsRequest::default());
    let mut client = PoolServiceClient::new(channel.clone());
    client.list_pools(request).await.map(drop)
}

async fn creates(channel: &Channel, token: &str) -> Result<(), Status> {
    let request = CreatePoolRequest {
        pool: Some(e2e::ipam::pool("new", "10.9.0.0/24", "")),
        validate_only: true,
        ..CreatePoolRequest::default()
    };
    let mut client = PoolServiceClient::new(channel.clone());
    client.create_pool(with(token, request)).await.map(drop)
}

async fn allocates(channel: &Channel, token: &str) -> Result<Lease, Status> {
    let mut request: AllocateRequest = e2e::ipam::request("blue", "web");
    request.owner.get_or_insert_default().node = "elsewhere".to_owned();
    let mut client = LeaseServiceClient::new(channel.clone());
    let answer = client.allocate(with(token, request)).await?;
    Ok(answer.into_inner().lease.expect("a lease"))
}

/// An ipam-server that asks an API server whose a token is. Of the service account `agent` it takes nodes, and `admin` is
/// an operator.
struct Scene {
    folder: TempDir,
    ca: PathBuf,
    server: IpamServer,
}

impl Scene {
    fn new(api: &ApiServer) -> Scene {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        let authority = Authority::new(folder.path(), "authority");
        let own = authority.issue(folder.path(), "server", HOST);
        let policy = folder.path().join("policy.yaml");
        let user = |name: &str| format!("system:serviceaccount:{NAMESPACE}:{name}");
        let rules = json!({"rules": [
            {"name": user("agent"), "roles": ["node"]},
            {"name": user("admin"), "roles": ["operator"]},
        ]});
        std::fs::write(&policy, rules.to_string()).expect("write a policy");
        let server = IpamServer::start_with(&[
            format!("--listen=tcp://{HOST}:0"),
            format!("--tls-cert={}", own.cert.display()),
            format!("--tls-key={}", own.key.display()),
            "--token-review".to_owned(),
            format!("--kubeconfig={}", api.kubeconfig().display()),
            format!("--policy={}", policy.display()),
        ]);
        Scene {
            ca: authority.file,
            folder,
            server,
        }
    }

    fn address(&self) -> String {
        format!("https://{HOST}:{}", self.server.tcp_address().port())
    }

    /// Writes a file.
    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("write a file");
        path
    }
}

#[test]
fn a_token_is_its_service_account_and_the_node_that_it_is_bound_to() {
    let api = ApiServer::shared();
    let scene = Scene::new(api);
    let bound = token(api, "agent", AUDIENCE, Some("token-n1"));
    let unbound = token(api, "agent", AUDIENCE, None);
    let other_audience = token(api, "admin", "https://other.example", None);
    let admin = token(api, "admin", AUDIENCE, None);
    let stranger = token(api, "stranger", AUDIENCE, None);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let pool = scene.server.create_pool("blue", "10.0.0.0/24", "");
        pool.await;
        let ca = std::fs::read(&scene.ca).expect("read a file");
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        let endpoint = Endpoint::from_shared(scene.address()).expect("an address");
        let endpoint = endpoint.tls_config(tls).expect("TLS");
        let channel = endpoint.connect().await.expect("connect");

        let lease = allocates(&channel, &bound).await.expect("allocate");
        assert_eq!(lease.owner.expect("an owner").node, "token-n1");
        creates(&channel, &admin).await.expect("an operator");
        let code = |answer: Result<(), Status>| answer.expect_err("refused").code();
        assert_eq!(
            code(creates(&channel, &bound).await),
            Code::PermissionDenied
        );
        for (what, token, expected) in [
            ("not bound to a node", &*unbound, Code::PermissionDenied),
            ("of nobody in the policy", &stranger, Code::PermissionDenied),
            (
                "for another audience",
                &other_audience,
                Code::Unauthenticated,
            ),
            ("rubbish", "a.b.c", Code::Unauthenticated),
            ("none", "", Code::Unauthenticated),
        ] {
            assert_eq!(code(lists(&channel, token).await), expected, "{what}");
            let allocated = allocates(&channel, token).await.map(drop);
            assert_eq!(code(allocated), expected, "{what}");
        }
        let health = HealthClient::new(channel)
            .check(HealthCheckRequest::default())
            .await;
        health.expect("health is open");
    });
}

#[test]
fn an_agent_and_ipamctl_show_the_token_of_a_file_that_is_renewed() {
    let api = ApiServer::shared();
    let scene = Scene::new(api);
    let node = Node::new("token-n2").with_agent();
    let file = scene.file("token", "rubbish\n");
    let socket = scene.folder.path().join("sockets").join("ipam.sock");
    let _agent = Agent::start_with(
        &node,
        api,
        &[
            &format!("--ipam-server={}", scene.address()),
            &format!("--ipam-ca={}", scene.ca.display()),
            &format!("--ipam-token-file={}", file.display()),
            &format!("--ipam-socket={}", socket.display()),
        ],
    );
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(scene.server.create_pool("blue", "10.0.0.0/24", ""));
    let _entered = runtime.enter();
    let channel = unix_channel(&socket);
    let allocates = |pod: &str| {
        // What a caller of the node's socket says of itself counts for nothing.
        let request = with("of a stranger", e2e::ipam::request("blue", pod));
        let mut client = LeaseServiceClient::new(channel.clone());
        runtime.block_on(async { client.allocate(request).await })
    };
    let refused = allocates("early").expect_err("rubbish is no token");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    scene.file("token", &token(api, "agent", AUDIENCE, Some("token-n2")));
    let lease = wait_until("the renewed token is used", Duration::from_secs(20), || {
        let answer = allocates("web").ok()?.into_inner();
        answer.lease
    });
    assert_eq!(lease.owner.expect("an owner").node, "token-n2");

    let list = |file: &str| {
        Command::new(locate::executable("ipamctl"))
            .args(["lease", "list", "--output=json"])
            .arg(format!("--server={}", scene.address()))
            .arg(format!("--tls-ca={}", scene.ca.display()))
            .arg(format!("--token-file={file}"))
            .output()
            .expect("run ipamctl")
    };
    let admin = scene.file("admin", &token(api, "admin", AUDIENCE, None));
    let listed = list(admin.to_str().expect("a path"));
    assert!(listed.status.success(), "{listed:?}");
    let text = String::from_utf8_lossy(&listed.stdout);
    assert!(text.contains("token-n2"), "{text}");
    let missing = list("/nowhere/token");
    let text = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert_eq!(missing.status.code(), Some(2), "{text}");
    assert!(text.contains("/nowhere/token (--token-file)"), "{text}");
}
