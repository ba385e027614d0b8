//! The API cluster against an HTTP server of the test's own, which fails as configured.

mod listing;
mod networks;
mod report;

use std::io::{BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::*;
use crate::cluster::EventReason;
use crate::cluster::object::PodObject;
use crate::diagnosis::Explain as _;

/// A request as the server read it.
#[derive(Clone, Debug, Default)]
struct Seen {
    line: String,
    headers: Vec<String>,
    body: String,
}

impl Seen {
    fn is(&self, start: &str) -> bool {
        self.line.starts_with(start)
    }
}

/// What the server does with a request.
enum Reply {
    Json(u16, Value),
    With(u16, &'static str, &'static str),
    Garbage,
    Close,
    Hang,
}

type Script = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Answers each request as `script` says, which also gets the number of equal lines before it.
    fn start(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (log, script): (_, Arc<Script>) = (Arc::clone(&seen), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                thread::spawn(move || serve(stream.unwrap(), &log, &*script));
            }
        });
        Server { port, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn cluster(&self) -> Subject {
        subject(&format!("http://127.0.0.1:{}", self.port))
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<Seen>>, script: &Script) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(seen) = read_request(&mut reader) {
        let before = {
            let mut log = log.lock().unwrap();
            let before = log.iter().filter(|other| other.line == seen.line).count();
            log.push(seen.clone());
            before
        };
        let written = match script(&seen, before) {
            Reply::Json(status, body) => answer(&mut stream, status, "", &body.to_string()),
            Reply::With(status, header, body) => answer(&mut stream, status, header, body),
            Reply::Garbage => stream.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n"),
            Reply::Close => return,
            Reply::Hang => loop {
                thread::park();
            },
        };
        if written.is_err() {
            return;
        }
    }
}

fn read_request(reader: &mut impl std::io::BufRead) -> Option<Seen> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_lowercase()),
        }
    }
    let length = lines
        .iter()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Seen {
        line: lines.remove(0),
        headers: lines,
        body: String::from_utf8(body).unwrap(),
    })
}

fn answer(stream: &mut TcpStream, status: u16, header: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\n{header}content-length: {length}\r\n\r\n{body}"
    )
}

/// A cluster, and the folder of its kubeconfig.
struct Subject {
    cluster: ApiCluster,
    _dir: tempfile::TempDir,
}

fn subject(server: &str) -> Subject {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    std::fs::write(dir.path().join("token"), "secret\n").unwrap();
    let text = format!(
        "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{server: '{server}'}}}}]\n\
         users: [{{name: u, user: {{tokenFile: token}}}}]\n"
    );
    std::fs::write(&path, text).unwrap();
    let mut cluster = ApiCluster::from_kubeconfig(&path)
        .with_pod_wait(Duration::ZERO)
        .with_instance("node-1".into());
    cluster.patience = Patience {
        tries: 3,
        each: Duration::from_millis(400),
        total: Duration::from_secs(3),
    };
    Subject { cluster, _dir: dir }
}

fn web() -> PodRef {
    PodRef {
        namespace: "default".into(),
        name: "web".into(),
        uid: Some("u-1".into()),
    }
}

fn web_object() -> Value {
    json!({"metadata": {"name": "web", "namespace": "default", "uid": "u-1"}})
}

fn web_pod() -> Pod {
    serde_json::from_value::<PodObject>(web_object())
        .unwrap()
        .into()
}

fn status(code: u16, reason: &str, message: &str) -> Reply {
    Reply::Json(
        code,
        json!({"kind": "Status", "reason": reason, "message": message, "details": {"name": "x"}}),
    )
}

fn event(message: &str) -> Event {
    Event {
        reason: EventReason::AddedInterface,
        note: message.into(),
    }
}

fn nad_name(name: &str) -> NadName {
    NadName {
        namespace: "default".into(),
        name: name.into(),
    }
}

#[test]
fn a_pod_is_read_live_with_our_credentials() {
    let server = Server::start(|_, _| Reply::Json(200, web_object()));
    let pod = server.cluster().cluster.pod(&web()).unwrap();
    assert_eq!(pod, web_pod());
    let seen = &server.seen()[0];
    assert!(
        seen.is("get /api/v1/namespaces/default/pods/web http"),
        "{seen:?}"
    );
    assert!(
        seen.headers
            .iter()
            .any(|h| h == "authorization: bearer secret"),
        "{seen:?}"
    );
}

#[test]
fn a_server_given_by_name_is_found_without_the_c_library() {
    let server = Server::start(|_, _| Reply::Json(200, web_object()));
    let subject = subject(&format!("http://localhost:{}", server.port));
    assert_eq!(subject.cluster.pod(&web()).unwrap().uid, "u-1");
}

#[test]
fn what_passes_is_asked_again() {
    for (case, first) in [
        (
            "500",
            (|| status(500, "InternalError", "no")) as fn() -> Reply,
        ),
        ("garbage", || Reply::Garbage),
        ("closed", || Reply::Close),
        ("hangs", || Reply::Hang),
        ("429", || {
            Reply::With(429, "retry-after: 1\r\n", "slow down")
        }),
    ] {
        let server = Server::start(move |_, before| match before {
            0 => first(),
            _ => Reply::Json(200, web_object()),
        });
        let pod = server.cluster().cluster.pod(&web());
        assert!(pod.is_ok(), "{case}: {pod:?}");
        assert!(server.seen().len() >= 2, "{case}");
    }
}

#[test]
fn what_does_not_pass_is_reported_after_a_bounded_number_of_requests() {
    for (case, reply, requests, words) in [
        (
            "500",
            (|| status(500, "InternalError", "no")) as fn() -> Reply,
            3,
            "its health",
        ),
        ("hangs", || Reply::Hang, 3, "reach the API server"),
        (
            "asks for much time",
            || Reply::With(429, "retry-after: 60\r\n", ""),
            1,
            "overloaded",
        ),
        ("401", || status(401, "Unauthorized", "no"), 1, "the token"),
    ] {
        let server = Server::start(move |_, _| reply());
        let error = server.cluster().cluster.pod(&web()).unwrap_err();
        assert!(
            matches!(error, ClusterError::Unavailable { .. }),
            "{case}: {error}"
        );
        let text = error.diagnosis().to_string();
        assert!(text.contains(words) && text.len() < 300, "{case}: {text}");
        assert_eq!(server.seen().len(), requests, "{case}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = subject(&format!("http://127.0.0.1:{port}"))
        .cluster
        .pod(&web())
        .unwrap_err();
    let text = error.diagnosis().to_string();
    assert!(
        text.contains(&format!("127.0.0.1:{port}: ")) && text.contains("; nothing listens"),
        "{text}"
    );
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("refused"), "{source}");
}

#[test]
fn an_answer_that_is_no_pod_is_invalid() {
    for body in ["", "[]", "{}", r#"{"metadata":{"name":1}}"#, "<html>"] {
        let server = Server::start(move |_, _| Reply::With(200, "", body));
        let error = server.cluster().cluster.pod(&web()).unwrap_err();
        assert!(
            matches!(error, ClusterError::Invalid { .. }),
            "{body}: {error}"
        );
        assert_eq!(server.seen().len(), 1);
    }
}

#[test]
fn a_pod_that_appears_in_time_is_found() {
    let script = |_: &Seen, before: usize| match before {
        0..2 => status(404, "NotFound", "no"),
        _ => Reply::Json(200, web_object()),
    };
    let server = Server::start(script);
    let mut subject = server.cluster();
    subject.cluster.pod_wait = DEFAULT_POD_WAIT;
    assert!(subject.cluster.pod(&web()).is_ok());
    assert_eq!(server.seen().len(), 3);

    let server = Server::start(script);
    let error = server.cluster().cluster.pod(&web()).unwrap_err();
    assert!(matches!(error, ClusterError::NotFound { .. }), "{error}");
    assert_eq!(server.seen().len(), 1, "without a wait it asks once");
}

#[test]
fn a_pod_with_another_uid_was_replaced() {
    let server = Server::start(|_, _| Reply::Json(200, web_object()));
    let other = PodRef {
        uid: Some("u-2".into()),
        ..web()
    };
    let error = server.cluster().cluster.pod(&other).unwrap_err();
    assert!(matches!(error, ClusterError::Replaced { .. }), "{error}");
}

#[test]
fn readiness_is_asked_once_and_in_time() {
    let limit = Duration::from_millis(300);
    for (case, readyz, version, ready, requests) in [
        ("ready", 200, 200, true, 1),
        ("readyz closed to us", 403, 200, true, 2),
        ("all closed to us", 403, 403, false, 2),
        ("not ready", 500, 200, false, 1),
    ] {
        let server = Server::start(move |seen, _| match seen.is("get /readyz http") {
            true => Reply::With(readyz, "", "text"),
            false => Reply::With(version, "", "text"),
        });
        assert_eq!(
            server.cluster().cluster.ready(limit).is_ok(),
            ready,
            "{case}"
        );
        assert_eq!(server.seen().len(), requests, "{case}");
    }
    let server = Server::start(|_, _| Reply::Hang);
    let error = server.cluster().cluster.ready(limit).unwrap_err();
    assert!(error.is_transient(), "{error}");
}

/// A server that answers when as many requests have come as are made at the same time.
fn server_of_simultaneous_requests(object: Value) -> Server {
    let barrier = Barrier::new(GETS_AT_ONCE);
    Server::start(move |_, _| {
        barrier.wait();
        Reply::Json(200, object.clone())
    })
}

/// A cluster that waits for an answer as long as a busy machine may need.
fn patient(server: &Server) -> Subject {
    let mut subject = server.cluster();
    subject.cluster.patience = Patience {
        tries: 1,
        each: Duration::from_secs(60),
        total: Duration::from_secs(60),
    };
    subject
}

#[test]
fn several_threads_ask_at_once() {
    let server = server_of_simultaneous_requests(web_object());
    let subject = patient(&server);
    thread::scope(|scope| {
        let askers: Vec<_> = (0..GETS_AT_ONCE)
            .map(|_| scope.spawn(|| subject.cluster.pod(&web()).map(|pod| pod.uid)))
            .collect();
        for asker in askers {
            assert_eq!(asker.join().unwrap().unwrap(), "u-1");
        }
    });
}
