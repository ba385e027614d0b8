//! What a node may ask of ipam-server through its agent: everything about leases, reading pools and reservations,
//! health and reflection. The agent's certificate would let it do more.

use tonic::Status;

/// A method that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Method {
    /// `package.Service/Method`.
    pub(super) name: &'static str,
    /// Whether its answer goes on until one side ends it.
    pub(super) streams: bool,
}

const fn answers(name: &'static str) -> Method {
    Method {
        name,
        streams: false,
    }
}

const fn streams(name: &'static str) -> Method {
    Method {
        name,
        streams: true,
    }
}

const METHODS: [Method; 20] = [
    answers("ipam.v1.LeaseService/Allocate"),
    answers("ipam.v1.LeaseService/BatchAllocate"),
    answers("ipam.v1.LeaseService/ReportHeld"),
    answers("ipam.v1.LeaseService/Release"),
    answers("ipam.v1.LeaseService/ReleaseAttachment"),
    answers("ipam.v1.LeaseService/ReleaseUnlisted"),
    answers("ipam.v1.LeaseService/Renew"),
    answers("ipam.v1.LeaseService/GetLease"),
    answers("ipam.v1.LeaseService/ListLeases"),
    answers("ipam.v1.LeaseService/Lookup"),
    streams("ipam.v1.LeaseService/Watch"),
    answers("ipam.v1.LeaseService/Explain"),
    answers("ipam.v1.PoolService/GetPool"),
    answers("ipam.v1.PoolService/ListPools"),
    answers("ipam.v1.ReservationService/GetReservation"),
    answers("ipam.v1.ReservationService/ListReservations"),
    answers("grpc.health.v1.Health/Check"),
    streams("grpc.health.v1.Health/Watch"),
    streams("grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
    streams("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"),
];

/// The method with this path, if it is passed on.
pub(super) fn method(path: &str) -> Option<Method> {
    let name = path.strip_prefix('/')?;
    METHODS.into_iter().find(|method| method.name == name)
}

/// The error of a method that is not passed on.
pub(super) fn refusal(path: &str, server: &str) -> Status {
    // A path is as long as its caller wants.
    let path: String = path.chars().take(80).collect();
    Status::permission_denied(format!(
        "meta-cnid does not pass {path} on: through it, leases are all that is changed; ask ipam-server itself: ipamctl \
         --server {server}"
    ))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// Every method of the contracts, and whether its answer is a stream.
    fn contracts() -> Vec<(String, bool)> {
        let files = FileDescriptorSet::decode(proto::DESCRIPTORS).unwrap().file;
        let mut all = Vec::new();
        for file in files {
            for service in &file.service {
                let name = format!("{}.{}", file.package(), service.name());
                let methods = service.method.iter();
                all.extend(methods.map(|method| {
                    (
                        format!("{name}/{}", method.name()),
                        method.server_streaming(),
                    )
                }));
            }
        }
        all
    }

    #[test]
    fn leases_are_passed_on_whole_and_of_the_rest_what_changes_nothing() {
        let contracts = contracts();
        assert!(contracts.len() > 20, "{contracts:?}");
        for (name, streams) in contracts {
            let (service, verb) = name.split_once('/').unwrap();
            let expected = match service {
                "ipam.v1.LeaseService" => true,
                "ipam.v1.PoolService" | "ipam.v1.ReservationService" => {
                    verb.starts_with("Get") || verb.starts_with("List")
                }
                _ => false,
            };
            let found = method(&format!("/{name}"));
            assert_eq!(found.is_some(), expected, "{name}");
            assert!(found.is_none_or(|found| found.streams == streams), "{name}");
        }
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        for path in [
            "",
            "/",
            "ipam.v1.LeaseService/Watch",
            "//ipam.v1.LeaseService/Watch",
            "/ipam.v1.LeaseService/Watch/",
            "/ipam.v1.LeaseService/watch",
        ] {
            assert_eq!(method(path), None, "{path}");
        }
    }

    #[test]
    fn a_refusal_names_the_method_and_where_to_ask_in_one_line() {
        let shown = refusal("/ipam.v1.PoolService/DeletePool", "https://ipam:7443");
        assert_eq!(shown.code(), tonic::Code::PermissionDenied);
        for word in ["DeletePool", "ipamctl --server https://ipam:7443"] {
            assert!(shown.message().contains(word), "{shown}");
        }
        let shown = refusal(&"/x".repeat(4000), "https://ipam.example.org:7443");
        assert!(shown.message().len() < 300, "{shown}");
    }
}
