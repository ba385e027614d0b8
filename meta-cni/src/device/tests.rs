//! A kubelet's folder with what the test puts there: a server on its socket, a checkpoint file.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tempfile::TempDir;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::podresources::{
    ContainerDevices, ContainerResources, GetRequest, GetResponse, ListRequest, ListResponse,
    PodResources,
};
use super::*;
use crate::test_server;

const RESOURCE: &str = "intel.com/sriov";

/// What the kubelet of a test knows and can do, and what it was asked.
#[derive(Clone)]
struct Kubelet {
    pods: Vec<PodResources>,
    has_get: bool,
    asked: Arc<Mutex<Vec<String>>>,
}

impl UnaryService<GetRequest> for Kubelet {
    type Response = GetResponse;
    type Future = Ready<Result<Response<GetResponse>, Status>>;

    fn call(&mut self, request: Request<GetRequest>) -> Self::Future {
        let request = request.into_inner();
        ready(
            self.pods
                .iter()
                .find(|pod| pod.name == request.pod_name && pod.namespace == request.pod_namespace)
                .map(|pod| {
                    Response::new(GetResponse {
                        pod_resources: Some(pod.clone()),
                    })
                })
                .ok_or_else(|| Status::unknown("pod not found")),
        )
    }
}

impl UnaryService<ListRequest> for Kubelet {
    type Response = ListResponse;
    type Future = Ready<Result<Response<ListResponse>, Status>>;

    fn call(&mut self, _: Request<ListRequest>) -> Self::Future {
        ready(Ok(Response::new(ListResponse {
            pod_resources: self.pods.clone(),
        })))
    }
}

impl NamedService for Kubelet {
    const NAME: &'static str = "v1.PodResourcesLister";
}

impl tower::Service<http::Request<Body>> for Kubelet {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let kubelet = self.clone();
        let path = request.uri().path().to_owned();
        self.asked.lock().unwrap().push(path.clone());
        Box::pin(async move {
            Ok(match path.as_str() {
                "/v1.PodResourcesLister/Get" if kubelet.has_get => {
                    let codec = ProstCodec::<GetResponse, GetRequest>::default();
                    Grpc::new(codec).unary(kubelet, request).await
                }
                "/v1.PodResourcesLister/List" => {
                    let codec = ProstCodec::<ListResponse, ListRequest>::default();
                    Grpc::new(codec).unary(kubelet, request).await
                }
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

fn folder() -> (TempDir, DeviceSource) {
    let dir = tempfile::tempdir().unwrap();
    for name in ["pod-resources", "device-plugins"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    let source = DeviceSource {
        kubelet_dir: dir.path().to_owned(),
    };
    (dir, source)
}

/// Serves until the runtime is dropped.
fn serve(dir: &TempDir, kubelet: Kubelet) -> tokio::runtime::Runtime {
    let socket = dir.path().join("pod-resources/kubelet.sock");
    test_server::serve(&socket, Routes::new(kubelet))
}

fn kubelet(has_get: bool) -> Kubelet {
    let container = |name: &str, devices: &[&[&str]]| ContainerResources {
        name: name.to_owned(),
        devices: devices
            .iter()
            .map(|ids| ContainerDevices {
                resource_name: RESOURCE.to_owned(),
                device_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            })
            .collect(),
    };
    let pod = |namespace: &str, containers: &[ContainerResources]| PodResources {
        name: "web".to_owned(),
        namespace: namespace.to_owned(),
        containers: containers.to_vec(),
    };
    Kubelet {
        pods: vec![
            pod("other", &[container("a", &[&["0000:00:00.9"]])]),
            pod(
                "default",
                &[
                    container("a", &[&["0000:00:00.3"], &["0000:00:00.1"]]),
                    container("b", &[&["0000:00:00.1", "0000:00:00.2"]]),
                ],
            ),
        ],
        has_get,
        asked: Arc::default(),
    }
}

fn web() -> Pod {
    Pod {
        namespace: "default".to_owned(),
        name: "web".to_owned(),
        uid: "uid-1".to_owned(),
        ..Pod::default()
    }
}

fn write_checkpoint(dir: &TempDir, text: &str) {
    std::fs::write(
        dir.path()
            .join("device-plugins/kubelet_internal_checkpoint"),
        text,
    )
    .unwrap();
}

#[test]
fn the_kubelet_is_asked_for_the_one_pod_where_it_can() {
    let (dir, source) = folder();
    let kubelet = kubelet(true);
    let asked = kubelet.asked.clone();
    let _runtime = serve(&dir, kubelet);
    let devices = source.pod_devices(&web()).unwrap();
    assert_eq!(
        devices.of(RESOURCE),
        ["0000:00:00.3", "0000:00:00.1", "0000:00:00.2"]
    );
    assert_eq!(*asked.lock().unwrap(), ["/v1.PodResourcesLister/Get"]);
}

#[test]
fn a_kubelet_without_get_is_asked_for_its_list() {
    let (dir, source) = folder();
    let kubelet = kubelet(false);
    let asked = kubelet.asked.clone();
    let _runtime = serve(&dir, kubelet);
    let devices = source.pod_devices(&web()).unwrap();
    assert_eq!(devices.of(RESOURCE).len(), 3);
    assert_eq!(
        *asked.lock().unwrap(),
        ["/v1.PodResourcesLister/Get", "/v1.PodResourcesLister/List"]
    );
}

#[test]
fn a_pod_that_the_kubelet_does_not_list_is_found_in_its_checkpoint() {
    let (dir, source) = folder();
    let _runtime = serve(&dir, kubelet(true));
    let pod = Pod {
        name: "new".to_owned(),
        ..web()
    };
    assert!(source.pod_devices(&pod).unwrap().of(RESOURCE).is_empty());
    write_checkpoint(
        &dir,
        r#"{"Data":{"PodDeviceEntries":[{"PodUID":"uid-1","ResourceName":"intel.com/sriov","DeviceIDs":["x"]}]}}"#,
    );
    assert_eq!(source.pod_devices(&pod).unwrap().of(RESOURCE), ["x"]);
}

#[test]
fn the_checkpoint_is_read_in_both_shapes() {
    let (dir, source) = folder();
    let cases = [
        (
            "lists",
            r#"{"Data":{"PodDeviceEntries":[
                {"PodUID":"uid-2","ContainerName":"a","ResourceName":"intel.com/sriov","DeviceIDs":["no"],"AllocResp":"CgA="},
                {"PodUID":"uid-1","ContainerName":"a","ResourceName":"intel.com/sriov","DeviceIDs":["b","a"],"AllocResp":"CgA="},
                {"PodUID":"uid-1","ContainerName":"b","ResourceName":"intel.com/sriov","DeviceIDs":["a","c"],"AllocResp":null}],
              "RegisteredDevices":{"intel.com/sriov":["a","b","c","no"]}},"Checksum":1}"#,
            vec!["b", "a", "c"],
        ),
        (
            "by NUMA node",
            r#"{"Data":{"PodDeviceEntries":[
                {"PodUID":"uid-1","ContainerName":"a","ResourceName":"intel.com/sriov","DeviceIDs":{"10":["d"],"2":["c","b"],"-1":["a"],"3":null},"AllocResp":""}],
              "RegisteredDevices":null},"Checksum":4294967295}"#,
            vec!["a", "c", "b", "d"],
        ),
        (
            "no entries",
            r#"{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{}},"Checksum":0}"#,
            vec![],
        ),
    ];
    for (case, text, devices) in cases {
        write_checkpoint(&dir, text);
        let found = source.pod_devices(&web()).unwrap();
        assert_eq!(found.of(RESOURCE), devices, "{case}");
    }
}

#[test]
fn a_static_pod_is_found_by_the_hash_of_its_manifest() {
    let (dir, source) = folder();
    write_checkpoint(
        &dir,
        r#"{"Data":{"PodDeviceEntries":[{"PodUID":"hash","ResourceName":"intel.com/sriov","DeviceIDs":["x"]}]}}"#,
    );
    let annotations = [
        ("kubernetes.io/config.source", "file"),
        ("kubernetes.io/config.hash", "hash"),
    ];
    let pod = Pod {
        annotations: annotations
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..web()
    };
    assert_eq!(source.pod_devices(&pod).unwrap().of(RESOURCE), ["x"]);
    let pretended = Pod {
        annotations: BTreeMap::from([("kubernetes.io/config.hash".into(), "hash".into())]),
        ..web()
    };
    assert!(
        source
            .pod_devices(&pretended)
            .unwrap()
            .of(RESOURCE)
            .is_empty()
    );
}

#[test]
fn neither_kubelet_nor_checkpoint_is_an_error_with_both_causes() {
    let (dir, source) = folder();
    let error = source.pod_devices(&web()).unwrap_err();
    let message = error.diagnosis().to_string();
    assert!(message.contains("default/web"), "{message}");
    assert!(
        message.contains("kubelet.sock (cannot connect"),
        "{message}"
    );
    assert!(error.source().is_some());
    write_checkpoint(&dir, r#"{"Data":[]}"#);
    assert!(source.pod_devices(&web()).is_err());
}

#[test]
fn a_kubelet_that_never_answers_costs_two_seconds_at_most() {
    let (dir, source) = folder();
    let socket = dir.path().join("pod-resources/kubelet.sock");
    let _listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    let error = source.pod_devices(&web()).unwrap_err();
    assert!(
        error.to_string().contains("no answer within 2 s"),
        "{error}"
    );
}

#[test]
fn each_device_is_handed_out_once_and_in_order() {
    let allocations = vec![
        (RESOURCE.to_owned(), vec!["b".to_owned(), "a".to_owned()]),
        ("other/res".to_owned(), vec!["c".to_owned()]),
        (RESOURCE.to_owned(), vec!["a".to_owned()]),
    ];
    let mut devices = PodDevices::new(&web(), allocations);
    for (resource, device) in [(RESOURCE, "b"), ("other/res", "c"), (RESOURCE, "a")] {
        assert_eq!(devices.take(resource).unwrap().as_deref(), Some(device));
    }
    let message = devices.take(RESOURCE).unwrap_err().diagnosis().to_string();
    for words in ["default/web", RESOURCE, "2 allocated"] {
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_resource_that_no_device_plugin_serves_has_no_device_to_wait_for() {
    let empty = vec![("empty/res".to_owned(), Vec::new())];
    let mut devices = PodDevices::new(&web(), empty);
    for resource in ["bridge.network.kubevirt.io/br1", "empty/res"] {
        for _ in 0..2 {
            assert_eq!(devices.take(resource).unwrap(), None, "{resource}");
        }
    }
}
