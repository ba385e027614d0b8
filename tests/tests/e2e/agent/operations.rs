//! What the agent reports of the verbs of its node, which it knows from their journal: metrics and traces.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use e2e::{Agent, ApiServer, IpamServer, Node, locate, wait_until};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::agent::fixture::{PATIENCE, network, node};

/// A collector of OpenTelemetry that keeps what it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        let spans = scopes.flat_map(|scope| scope.spans);
        self.0.lock().expect("no test panicked here").extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Starts one on a port of its own; it ends with the test's process.
    fn start() -> (Collector, SocketAddr) {
        let collector = Collector::default();
        let service = TraceServiceServer::new(collector.clone());
        let (bound, address) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("start an async runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
                let address = listener.local_addr().expect("an address");
                bound.send(address).expect("the test waits");
                let incoming = TcpListenerStream::new(listener);
                let server = tonic::transport::Server::builder().add_service(service);
                server.serve_with_incoming(incoming).await.expect("serve");
            });
        });
        (collector, address.recv().expect("the collector listens"))
    }

    fn spans(&self) -> Vec<Span> {
        self.0.lock().expect("no test panicked here").clone()
    }
}

/// A network whose addresses come from ipam-server, through the agent.
fn leased(node: &Node, name: &str) -> Value {
    let mut conf = node.bridge(&format!("br-{name}"), &[]);
    conf["name"] = json!(name);
    conf["ipam"] = json!({
        "type": "meta-ipam", "pool": name
    });
    conf
}

fn ipam_socket(node: &Node) -> String {
    node.folder().join("run/ipam.sock").display().to_string()
}

/// A node whose agent passes leases on to a server, and sends traces to an endpoint.
fn traced(name: &str, endpoint: &str) -> (Node, Agent, IpamServer) {
    let server = IpamServer::start_with(&["--log-level=debug"]);
    let pool = ["--ipv4-cidr=10.20.0.0/24", "--ipv6-cidr=fd00:20::/64"];
    server.ipamctl_json(&[&["pool", "create", "blue"][..], &pool].concat());
    let node = Node::new(name).with_agent();
    node.install(&locate::executable("meta-ipam"));
    node.leases_from(&format!("unix://{}", ipam_socket(&node)), json!({}));
    let more = [
        format!("--otlp-endpoint={endpoint}"),
        format!("--ipam-server=unix://{}", server.socket().display()),
        format!("--ipam-socket={}", ipam_socket(&node)),
    ];
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let agent = Agent::start_with(&node, ApiServer::shared(), &more);
    (node, agent, server)
}

fn count_leases(server: &IpamServer) -> usize {
    let listed = server.ipamctl_json(&["lease", "list"]);
    listed["leases"].as_array().map_or(0, Vec::len)
}

fn text<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;

    let attribute = span
        .attributes
        .iter()
        .find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

#[test]
fn an_add_under_a_trace_of_its_runtime_is_one_tree_of_spans() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const CALLER: &str = "00f067aa0ba902b7";
    let (collector, address) = Collector::start();
    let (node, agent, server) = traced("traced", &format!("http://{address}"));
    let api = ApiServer::shared();
    api.nad("traced", "blue", leased(&node, "blue"));
    let pod = node.pod("traced", "web").networks("blue").create_in(api);
    node.call("ADD")
        .pod(&pod)
        .env("TRACEPARENT", &format!("00-{TRACE}-{CALLER}-01"))
        .run()
        .ok();
    assert_eq!(count_leases(&server), 1);
    let spans = wait_until("the spans come to the collector", PATIENCE, || {
        Some(collector.spans()).filter(|spans| !spans.is_empty())
    });

    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert!(
        spans.iter().all(|span| hex(&span.trace_id) == TRACE),
        "{spans:?}"
    );
    let by_id: BTreeMap<_, _> = spans
        .iter()
        .map(|span| (span.span_id.clone(), span))
        .collect();
    assert_eq!(
        by_id.len(),
        spans.len(),
        "spans have identities of their own"
    );
    let named = |name: &str| -> Vec<&Span> {
        let named = spans.iter().filter(|span| span.name == name);
        named.collect()
    };
    let parent = |span: &Span| {
        by_id
            .get(&span.parent_span_id)
            .map(|span| span.name.as_str())
    };
    let [add] = named("ADD")[..] else {
        panic!("one span of the verb: {spans:?}");
    };
    assert_eq!(hex(&add.parent_span_id), CALLER);
    assert_eq!(text(add, "k8s.pod.name"), Some("web"));
    // The API: the pod and its networks are asked for, network-status is reported.
    for step in ["lease", "pod", "plan", "report", "record", "attachment"] {
        let found = named(step);
        assert!(!found.is_empty(), "{step}: {spans:?}");
        assert!(
            found.iter().all(|span| parent(span) == Some("ADD")),
            "{step}"
        );
    }
    let [batch] = named("batch")[..] else {
        panic!("one batch of leases: {spans:?}");
    };
    assert_eq!(parent(batch), Some("lease"));
    let leases = text(batch, "cni.leases").expect("what was leased");
    assert!(
        leases.contains("10.20.0.1/24") && leases.contains("fd00:20::1/64"),
        "{leases}"
    );
    let delegates = named("delegate");
    assert_eq!(delegates.len(), 2, "{spans:?}");
    assert!(
        delegates
            .iter()
            .all(|span| parent(span) == Some("attachment"))
    );
    for span in &spans {
        let within = by_id.get(&span.parent_span_id).copied().unwrap_or(span);
        assert!(
            within.start_time_unix_nano <= span.start_time_unix_nano,
            "{span:?}"
        );
        assert!(
            span.end_time_unix_nano <= add.end_time_unix_nano,
            "{span:?}"
        );
    }
    wait_until("they are counted", PATIENCE, || {
        (agent.metric("meta_cni_spans_sent_total") == spans.len() as f64).then_some(())
    });
    let log = server.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(TRACE)).collect();
    assert!(
        lines.iter().any(|line| line.contains("BatchAllocate")),
        "{log}"
    );
    node.del(&pod).ok();
    assert_eq!(count_leases(&server), 0);
    node.assert_clean();
}

#[test]
fn without_a_trace_of_the_runtime_each_verb_has_its_own_and_an_unsampled_one_is_not_sent() {
    let (collector, address) = Collector::start();
    let (node, _agent, _server) = traced("own", &format!("http://{address}"));
    let api = ApiServer::shared();
    let pod = node.pod("own", "web").create_in(api);
    let unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    node.call("ADD")
        .pod(&pod)
        .env("TRACEPARENT", unsampled)
        .run()
        .ok();
    node.check(&pod).ok();
    node.del(&pod).ok();
    let verbs = wait_until("the last verb comes to the collector", PATIENCE, || {
        let spans = collector.spans();
        let verbs = spans
            .into_iter()
            .filter(|span| span.parent_span_id.is_empty());
        let verbs: Vec<Span> = verbs.collect();
        verbs.iter().any(|span| span.name == "DEL").then_some(verbs)
    });
    let names: Vec<&str> = verbs.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["CHECK", "DEL"]);
    assert_ne!(verbs[0].trace_id, verbs[1].trace_id);
}

#[test]
fn a_dead_collector_holds_up_nothing_and_what_is_dropped_is_counted() {
    // Nobody listens on port 1.
    let (node, agent, server) = traced("deaf", "http://127.0.0.1:1");
    let api = ApiServer::shared();
    api.nad("deaf", "blue", leased(&node, "blue"));
    for round in 0..5 {
        let pod = node
            .pod("deaf", &format!("web-{round}"))
            .networks("blue")
            .create_in(api);
        node.add(&pod).ok();
        node.del(&pod).ok();
    }
    assert_eq!(count_leases(&server), 0);
    wait_until("what is dropped is counted", PATIENCE, || {
        (agent.metric("meta_cni_spans_dropped_total") > 0.0).then_some(())
    });
    assert!(agent.log().contains("--otlp-endpoint"), "{}", agent.log());
    assert!(agent.page("/readyz").starts_with("HTTP/1.0 200"));
}

#[test]
fn an_endpoint_that_cannot_be_one_is_refused_with_its_flag() {
    let node = Node::new("endpoint").with_agent();
    let mut agent = Agent::stopped(
        &node,
        ApiServer::shared(),
        &["--otlp-endpoint=https://x:4317"],
    );
    agent.launch();
    wait_until("the reason is in the log", PATIENCE, || {
        agent
            .log()
            .contains("--otlp-endpoint: https://x:4317")
            .then_some(())
    });
}

#[test]
fn verbs_and_plugins_are_timed_and_attachments_counted_by_network() {
    let ((node, agent), api) = (node("counted"), ApiServer::shared());
    api.nad("counted", "red", network(&node, "red", 1));
    let fail = json!({ "failOn": { "ADD": { "code": 42, "msg": "no" } } });
    api.nad("counted", "broken", node.recording("broken", fail));
    let pod = node.pod("counted", "web").networks("red").create_in(api);
    let broken = node.pod("counted", "sad").networks("broken").create_in(api);
    node.add(&pod).ok();
    node.add(&broken).fails(42, &["no"]);
    let count = |command: &str, plugin: &str, result: &str| {
        let labels = format!(
            "command=\"{command}\",plugin=\"{plugin}\",mode=\"executed\",result=\"{result}\""
        );
        format!("meta_cni_operation_duration_seconds_count{{{labels}}}")
    };
    let plugin = "recording-plugin";
    wait_until("both verbs are counted", PATIENCE, || {
        let page = agent.page("/metrics");
        let failed = format!("{} 1\n", count("ADD", "meta-cni", "failed"));
        page.contains(&failed).then_some(())
    });
    for (series, value) in [
        (count("ADD", "meta-cni", "ok"), 1.0),
        (count("ADD", plugin, "ok"), 1.0),
        (count("ADD", plugin, "failed"), 1.0),
        (
            "meta_cni_attachments{network=\"counted/red\"}".to_owned(),
            1.0,
        ),
    ] {
        assert_eq!(agent.metric(&series), value, "{series}");
    }
    node.del(&pod).ok();
    wait_until("the attachment is no longer counted", PATIENCE, || {
        let page = agent.page("/metrics");
        (!page.contains("meta_cni_attachments{network=\"counted/red\"}")).then_some(())
    });
}
