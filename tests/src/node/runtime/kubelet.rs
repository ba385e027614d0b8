//! What a kubelet asks of a runtime over CRI.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use tonic::{Response, Status};

use crate::node::cri::v1::runtime_service_client::RuntimeServiceClient;
use crate::node::cri::v1::{
    ContainerConfig, ContainerMetadata, CreateContainerRequest, ExecSyncRequest, ImageSpec,
    LinuxPodSandboxConfig, LinuxSandboxSecurityContext, ListPodSandboxRequest, NamespaceMode,
    NamespaceOption, PodSandbox, PodSandboxConfig, PodSandboxMetadata, PodSandboxState,
    PodSandboxStatus, PodSandboxStatusRequest, RemovePodSandboxRequest, RunPodSandboxRequest,
    StartContainerRequest, StatusRequest, StopPodSandboxRequest, VersionRequest,
};
use crate::node::runtime::image;
use crate::node::runtime::machine::Machine;
use crate::servers::dial::unix_channel;
use crate::servers::kube::block_on;

/// What a kubelet waits for an answer (`--runtime-request-timeout`).
const LIMIT: Duration = Duration::from_secs(120);

/// A sandbox that was made for a pod.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Its container ID, as CNI_CONTAINERID has it.
    pub id: String,
    config: PodSandboxConfig,
}

/// Asks a runtime. A clone asks the same one, from another thread for example.
#[derive(Clone, Debug)]
pub struct Kubelet {
    socket: PathBuf,
    cgroup_parent: String,
}

impl Kubelet {
    pub(super) fn new(machine: &Machine) -> Kubelet {
        Kubelet {
            socket: machine.run_dir().join("containerd/containerd.sock"),
            cgroup_parent: format!("/{}", machine.name()),
        }
    }

    /// Where the runtime listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Makes and starts a sandbox for a pod (RunPodSandbox), each time as another attempt.
    ///
    /// # Errors
    /// What the runtime answers: what a kubelet puts into the Event `FailedCreatePodSandBox`.
    pub fn run_pod(&self, namespace: &str, name: &str, uid: &str) -> Result<Sandbox, Status> {
        let config = self.sandbox_config(namespace, name, uid);
        let request = RunPodSandboxRequest {
            config: Some(config.clone()),
            ..RunPodSandboxRequest::default()
        };
        let answer = call(async { self.client().run_pod_sandbox(request).await })?;
        Ok(Sandbox {
            id: answer.pod_sandbox_id,
            config,
        })
    }

    /// Stops a sandbox (StopPodSandbox): the network is taken away.
    ///
    /// # Errors
    /// What the runtime answers.
    pub fn stop_pod(&self, id: &str) -> Result<(), Status> {
        let request = StopPodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        call(async { self.client().stop_pod_sandbox(request).await }).map(drop)
    }

    /// Stops and removes a sandbox (StopPodSandbox, RemovePodSandbox), as a kubelet does with a pod that is
    /// deleted.
    ///
    /// # Panics
    /// When the runtime refuses it.
    #[track_caller]
    pub fn delete_pod(&self, id: &str) {
        self.stop_pod(id).expect("stop a sandbox");
        let request = RemovePodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        call(async { self.client().remove_pod_sandbox(request).await }).expect("remove a sandbox");
    }

    /// Stops and removes every sandbox that the runtime knows of, as a kubelet does whose pods are gone.
    ///
    /// # Panics
    /// When the runtime refuses it.
    #[track_caller]
    pub fn delete_all_pods(&self) {
        for sandbox in self.list() {
            self.delete_pod(&sandbox.id);
        }
    }

    /// All sandboxes that the runtime knows of (ListPodSandbox).
    ///
    /// # Panics
    /// When the runtime does not answer.
    pub fn list(&self) -> Vec<PodSandbox> {
        let request = ListPodSandboxRequest::default();
        let answer = call(async { self.client().list_pod_sandbox(request).await });
        answer.expect("list sandboxes").items
    }

    /// Whether the runtime takes a sandbox for one that runs.
    ///
    /// # Panics
    /// When the runtime does not know it.
    #[track_caller]
    pub fn is_ready(&self, sandbox: &Sandbox) -> bool {
        self.status(sandbox).0.state() == PodSandboxState::SandboxReady
    }

    /// The addresses of a sandbox, as a kubelet puts them into `status.podIPs`.
    ///
    /// # Panics
    /// When the runtime does not know it.
    #[track_caller]
    pub fn pod_ips(&self, sandbox: &Sandbox) -> Vec<String> {
        let network = self.status(sandbox).0.network.unwrap_or_default();
        let more = network.additional_ips.into_iter().map(|ip| ip.ip);
        std::iter::once(network.ip).chain(more).collect()
    }

    /// Where the network namespace of a sandbox is on the machine, as containerd reports it beyond CRI.
    ///
    /// # Panics
    /// When the runtime does not know the sandbox, or it has none.
    #[track_caller]
    pub fn netns_path(&self, sandbox: &Sandbox) -> String {
        let (_, info) = self.status(sandbox);
        let namespaces = info["runtimeSpec"]["linux"]["namespaces"].as_array();
        let mut namespaces = namespaces.into_iter().flatten();
        let network = namespaces.find(|namespace| namespace["type"] == "network");
        let path = network.and_then(|namespace| namespace["path"].as_str());
        path.unwrap_or_else(|| panic!("no network namespace: {info}"))
            .to_owned()
    }

    /// Starts a container in a sandbox, runs a command in it, and gives its stdout.
    ///
    /// # Panics
    /// When the runtime refuses it, or the command fails.
    #[track_caller]
    pub fn run_in_container(&self, sandbox: &Sandbox, command: &[&str]) -> String {
        let create = CreateContainerRequest {
            pod_sandbox_id: sandbox.id.clone(),
            config: Some(container_config()),
            sandbox_config: Some(sandbox.config.clone()),
        };
        let created = call(async { self.client().create_container(create).await });
        let id = created.expect("create a container").container_id;
        let start = StartContainerRequest {
            container_id: id.clone(),
        };
        call(async { self.client().start_container(start).await }).expect("start a container");
        let exec = ExecSyncRequest {
            container_id: id,
            cmd: command.iter().map(ToString::to_string).collect(),
            timeout: 0,
        };
        let answer = call(async { self.client().exec_sync(exec).await }).expect("run a command");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(answer.exit_code, 0, "{command:?}: {}", text(&answer.stderr));
        text(&answer.stdout)
    }

    /// The condition `NetworkReady` of the node.
    ///
    /// # Errors
    /// Why it is not ready.
    ///
    /// # Panics
    /// When the runtime does not answer.
    pub fn network_ready(&self) -> Result<(), String> {
        let request = StatusRequest::default();
        let answer = call(async { self.client().status(request).await }).expect("ask for status");
        let conditions = answer.status.unwrap_or_default().conditions;
        let condition = conditions.into_iter().find(|c| c.r#type == "NetworkReady");
        let condition = condition.expect("the runtime reports the state of its network");
        if condition.status {
            Ok(())
        } else {
            Err(condition.message)
        }
    }

    /// Whether the runtime serves.
    pub(super) fn is_served(&self) -> bool {
        let request = VersionRequest::default();
        block_on(async { self.client().version(request).await }).is_ok()
    }

    /// State and, as containerd reports it beyond CRI, the insides of a sandbox.
    #[track_caller]
    fn status(&self, sandbox: &Sandbox) -> (PodSandboxStatus, Value) {
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: sandbox.id.clone(),
            verbose: true,
        };
        let answer = call(async { self.client().pod_sandbox_status(request).await });
        let mut answer = answer.expect("ask for the status of a sandbox");
        let info = answer.info.remove("info").unwrap_or_default();
        (
            answer.status.unwrap_or_default(),
            serde_json::from_str(&info).unwrap_or_default(),
        )
    }

    fn sandbox_config(&self, namespace: &str, name: &str, uid: &str) -> PodSandboxConfig {
        static ATTEMPT: AtomicU32 = AtomicU32::new(0);
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.to_owned(),
                uid: uid.to_owned(),
                namespace: namespace.to_owned(),
                attempt: ATTEMPT.fetch_add(1, Ordering::Relaxed),
            }),
            hostname: name.to_owned(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: self.cgroup_parent.clone(),
                security_context: Some(LinuxSandboxSecurityContext {
                    namespace_options: Some(NamespaceOption {
                        pid: NamespaceMode::Container.into(),
                        ..NamespaceOption::default()
                    }),
                    ..LinuxSandboxSecurityContext::default()
                }),
                ..LinuxPodSandboxConfig::default()
            }),
            ..PodSandboxConfig::default()
        }
    }

    /// Dialled anew for each call; to be asked for within a runtime of tokio.
    fn client(&self) -> RuntimeServiceClient<tonic::transport::Channel> {
        RuntimeServiceClient::new(unix_channel(&self.socket))
    }
}

fn container_config() -> ContainerConfig {
    ContainerConfig {
        metadata: Some(ContainerMetadata {
            name: "main".to_owned(),
            attempt: 0,
        }),
        image: Some(ImageSpec {
            image: image::NAME.to_owned(),
            ..ImageSpec::default()
        }),
        ..ContainerConfig::default()
    }
}

fn call<T>(answer: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    block_on(async {
        let answer = tokio::time::timeout(LIMIT, answer).await;
        answer.unwrap_or_else(|_| panic!("no answer within {LIMIT:?}"))
    })
    .map(Response::into_inner)
}
