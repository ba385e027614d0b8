//! The agent of this node: its socket, whether it answers, which version it is and whether it follows the cluster
//! (agent.v1 GetStatus).

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cni::error::with_causes;
use proto::agent::v1::agent_service_client::AgentServiceClient;
use proto::agent::v1::{GetStatusRequest, GetStatusResponse};

use super::finding::{Area, Finding};
use crate::rpc::{self, DialError};

/// Rights of others and of the group.
const OTHERS: u32 = 0o077;

/// What is seen of an agent.
pub(super) struct Seen {
    socket: PathBuf,
    file: io::Result<File>,
    /// Nothing: it was not asked.
    status: Option<Result<GetStatusResponse, Silence>>,
}

/// The file of a socket.
struct File {
    is_socket: bool,
    mode: u32,
    owner: u32,
}

/// Why there is no answer.
#[derive(Debug)]
enum Silence {
    /// Nobody listens: the file is of an agent that is gone.
    Stale,
    /// Somebody listens and does not answer as an agent does.
    Odd(String),
}

/// Looks at the socket and asks, within `limit`.
pub(super) fn inspect(socket: &Path, limit: Duration) -> Seen {
    let file = fs::metadata(socket).map(|file| File {
        is_socket: file.file_type().is_socket(),
        mode: file.mode(),
        owner: file.uid(),
    });
    let is_socket = file.as_ref().is_ok_and(|file| file.is_socket);
    Seen {
        status: is_socket.then(|| ask(socket, limit)),
        file,
        socket: socket.to_owned(),
    }
}

fn ask(socket: &Path, limit: Duration) -> Result<GetStatusResponse, Silence> {
    let odd = |error: &(dyn std::error::Error + 'static)| Silence::Odd(with_causes(error));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| odd(&error))?;
    let asked = async {
        let channel = rpc::unix_channel(socket)
            .await
            .map_err(|error| match &error {
                DialError::Io(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                    Silence::Stale
                }
                error => odd(error),
            })?;
        let answer = AgentServiceClient::new(channel)
            .get_status(GetStatusRequest {})
            .await;
        let answer = answer.map_err(|status| Silence::Odd(status.message().to_owned()))?;
        Ok(answer.into_inner())
    };
    let timed = runtime.block_on(async { tokio::time::timeout(limit, asked).await });
    timed.unwrap_or_else(|_| {
        let seconds = limit.as_secs_f64();
        Err(Silence::Odd(format!("no answer within {seconds:.1} s")))
    })
}

impl Seen {
    /// Its version, if it answers.
    pub(super) fn version(&self) -> Option<&str> {
        Some(&self.status()?.version)
    }

    /// The node that it is for, if it answers.
    pub(super) fn node(&self) -> Option<&str> {
        Some(&*self.status()?.node).filter(|node| !node.is_empty())
    }

    fn status(&self) -> Option<&GetStatusResponse> {
        self.status.as_ref()?.as_ref().ok()
    }
}

/// What is wrong with it.
pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let socket = seen.socket.display();
    let wrong = |cause: String, remedy: &str| vec![Finding::fault(Area::Agent, cause, remedy)];
    let start = "check the agent's pod on this node (kubectl -n kube-system get pods), or set agentSocket to \"\" to do without";
    let file = match &seen.file {
        Err(error) => {
            return wrong(
                format!("the agent's socket {socket} is not there: {error}"),
                start,
            );
        }
        Ok(file) if !file.is_socket => {
            return wrong(
                format!("{socket} is no socket"),
                "remove it; the agent makes a new one when it starts",
            );
        }
        Ok(file) => file,
    };
    let mut findings = Vec::new();
    if file.owner != 0 || file.mode & OTHERS != 0 {
        let cause = format!(
            "the agent's socket {socket} is open to others: owner {}, mode {:04o}",
            file.owner,
            file.mode & 0o7777
        );
        findings.push(Finding::warning(
            Area::Agent,
            cause,
            "chown root and chmod 600; who may connect may ask for any pod",
        ));
    }
    findings.extend(match &seen.status {
        None => Vec::new(),
        Some(Err(Silence::Stale)) => wrong(format!("nobody listens on the agent's socket {socket}: it is left from an agent that is gone"), start),
        Some(Err(Silence::Odd(why))) => wrong(format!("what listens on {socket} does not answer as an agent: {why}"), start),
        Some(Ok(status)) => of_status(status),
    });
    findings
}

fn of_status(status: &GetStatusResponse) -> Vec<Finding> {
    let mut findings = Vec::new();
    let own = env!("CARGO_PKG_VERSION");
    if status.version != own {
        let cause = format!(
            "the agent is meta-cnid {}, the plugin meta-cni {own}",
            status.version
        );
        findings.push(Finding::warning(
            Area::Agent,
            cause,
            "bring both to one version",
        ));
    }
    for watch in status.watches.iter().filter(|watch| !watch.connected) {
        let cause = format!(
            "the agent does not follow {} of the API server: {}",
            watch.kind, watch.problem
        );
        let remedy = match watch.remedy.as_str() {
            "" => "inspect at the agent's log and rights",
            remedy => remedy,
        };
        let remedy = format!("{remedy}; until then it asks the API server for each pod");
        findings.push(Finding::warning(Area::Agent, cause, remedy));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as StdListener;

    use proto::agent::v1::Watch;

    use super::super::finding::Severity;
    use super::*;
    use crate::test_server::{self, serve};

    const LIMIT: Duration = Duration::from_secs(10);

    /// What is found of an agent with this status that listens in `dir`.
    fn found(dir: &Path, status: GetStatusResponse) -> Vec<Finding> {
        let socket = dir.join("agent.sock");
        let _agent = serve(&socket, test_server::agent(status));
        fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let mut seen = inspect(&socket, LIMIT);
        // Tests need not run as root.
        seen.file.as_mut().unwrap().owner = 0;
        check(&seen)
    }

    fn status(version: &str, connected: bool) -> GetStatusResponse {
        GetStatusResponse {
            version: version.to_owned(),
            watches: vec![Watch {
                kind: "pods".to_owned(),
                connected,
                problem: "no route".to_owned(),
                remedy: String::new(),
                ..Watch::default()
            }],
            ..GetStatusResponse::default()
        }
    }

    #[test]
    fn an_agent_that_is_as_it_should_be_is_no_finding() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            found(dir.path(), status(env!("CARGO_PKG_VERSION"), true)),
            []
        );
    }

    #[test]
    fn another_version_and_a_watch_that_broke_are_warnings() {
        let dir = tempfile::tempdir().unwrap();
        let found = found(dir.path(), status("9.9.9", false));
        assert!(
            found[0].cause.starts_with("the agent is meta-cnid 9.9.9"),
            "{found:?}"
        );
        assert_eq!(
            found[1].cause,
            "the agent does not follow pods of the API server: no route"
        );
        assert!(
            found
                .iter()
                .all(|found| found.severity == Severity::Warning)
        );
    }

    #[test]
    fn each_way_in_which_it_is_not_there_is_distinguished() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        drop(StdListener::bind(place("stale")).unwrap());
        fs::write(place("file"), "").unwrap();
        for (name, words) in [
            ("absent", "is not there"),
            ("file", "is no socket"),
            ("stale", "nobody listens"),
        ] {
            let found = check(&inspect(&place(name), LIMIT));
            let last = found.last().unwrap();
            assert!(last.cause.contains(words), "{found:?}");
            assert_eq!(last.severity, Severity::Fault);
        }
    }

    #[test]
    fn somebody_else_who_listens_there_is_found_out() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent.sock");
        let _listening = StdListener::bind(&socket).unwrap();
        let found = check(&inspect(&socket, Duration::from_millis(100)));
        assert!(
            found
                .last()
                .unwrap()
                .cause
                .contains("does not answer as an agent"),
            "{found:?}"
        );
    }
}
