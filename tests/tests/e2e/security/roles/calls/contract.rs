//! The methods that there are.

use prost::Message as _;

/// The methods of ipam.v1, and those of health and reflection that a client uses.
pub(crate) fn methods_of_the_contract() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(proto::IPAM_DESCRIPTORS).expect("descriptors");
    let services = set.file.iter().flat_map(|file| {
        let package = file.package().to_owned();
        let all = file.service.iter();
        all.map(move |service| (package.clone(), service))
    });
    let of_contract = services.flat_map(|(package, service)| {
        let all = service.method.iter();
        all.map(move |method| format!("{package}.{}/{}", service.name(), method.name()))
    });
    let others = [
        "grpc.health.v1.Health/Check",
        "grpc.health.v1.Health/Watch",
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ];
    of_contract.chain(others.map(str::to_owned)).collect()
}
