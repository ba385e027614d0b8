//! Roles × operations: the table of docs/src/security.md as data. Each method of each service stands in one row; a method that
//! stands in none is refused.

/// What a caller can be. A caller may have several roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Operator,
    /// Reads everything.
    Reader,
    /// Ends leases that have no pod.
    Reclaimer,
    /// Leases for the pods of one node.
    Node,
}

impl Role {
    /// As a policy file and the history have it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Operator => "operator",
            Role::Reader => "reader",
            Role::Reclaimer => "reclaimer",
            Role::Node => "node",
        }
    }
}

/// How far an operation reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Refused.
    Nothing,
    /// Leases of the caller's node.
    Own,
    /// All leases, but few of them at once.
    Bounded,
    /// Everything.
    Everything,
}

/// A row of the table.
#[derive(Debug)]
pub struct Operation {
    /// What refusals call it.
    pub name: &'static str,
    /// Paths of its methods, without the first `/`.
    pub methods: &'static [&'static str],
    /// Whether a caller without a role may do it.
    pub is_open: bool,
    reader: Reach,
    node: Reach,
    reclaimer: Reach,
}

impl Operation {
    /// How far a role reaches. An operator reaches everything.
    pub fn reach(&self, role: Role) -> Reach {
        match role {
            Role::Operator => Reach::Everything,
            Role::Reader => self.reader,
            Role::Node => self.node,
            Role::Reclaimer => self.reclaimer,
        }
    }

    /// The operation of a method by its path.
    pub fn of(path: &str) -> Option<&'static Operation> {
        let method = path.strip_prefix('/')?;
        TABLE.iter().find(|row| row.methods.contains(&method))
    }
}

use Reach::{Bounded, Everything, Nothing, Own};

/// The table.
pub const TABLE: [Operation; 10] = [
    Operation {
        name: "asking for the server's health",
        methods: &["grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch"],
        is_open: true,
        reader: Everything,
        node: Everything,
        reclaimer: Everything,
    },
    Operation {
        name: "reading pools or the contract",
        methods: &[
            "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            "ipam.v1.PoolService/GetPool",
            "ipam.v1.PoolService/ListPools",
        ],
        is_open: false,
        reader: Everything,
        node: Everything,
        reclaimer: Everything,
    },
    Operation {
        name: "reading leases",
        methods: &[
            "ipam.v1.LeaseService/GetLease",
            "ipam.v1.LeaseService/Lookup",
            "ipam.v1.LeaseService/ListLeases",
            "ipam.v1.LeaseService/Watch",
            "ipam.v1.LeaseService/Explain",
        ],
        is_open: false,
        reader: Everything,
        node: Own,
        reclaimer: Everything,
    },
    Operation {
        name: "allocating leases",
        methods: &[
            "ipam.v1.LeaseService/Allocate",
            "ipam.v1.LeaseService/BatchAllocate",
            "ipam.v1.LeaseService/ReportHeld",
        ],
        is_open: false,
        reader: Nothing,
        node: Own,
        reclaimer: Nothing,
    },
    Operation {
        name: "renewing or releasing leases",
        methods: &[
            "ipam.v1.LeaseService/Renew",
            "ipam.v1.LeaseService/Release",
            "ipam.v1.LeaseService/ReleaseAttachment",
            "ipam.v1.LeaseService/ReleaseUnlisted",
        ],
        is_open: false,
        reader: Nothing,
        node: Own,
        reclaimer: Nothing,
    },
    Operation {
        name: "reclaiming leases",
        methods: &["ipam.v1.AdminService/ReclaimOrphans"],
        is_open: false,
        reader: Nothing,
        node: Nothing,
        reclaimer: Bounded,
    },
    Operation {
        name: "reading reservations",
        methods: &[
            "ipam.v1.ReservationService/GetReservation",
            "ipam.v1.ReservationService/ListReservations",
        ],
        is_open: false,
        reader: Everything,
        node: Own,
        reclaimer: Nothing,
    },
    Operation {
        name: "changing reservations",
        methods: &[
            "ipam.v1.ReservationService/CreateReservation",
            "ipam.v1.ReservationService/DeleteReservation",
        ],
        is_open: false,
        reader: Nothing,
        node: Nothing,
        reclaimer: Nothing,
    },
    Operation {
        name: "changing pools or importing",
        methods: &[
            "ipam.v1.PoolService/CreatePool",
            "ipam.v1.PoolService/UpdatePool",
            "ipam.v1.PoolService/DeletePool",
            "ipam.v1.PoolService/CordonPool",
            "ipam.v1.PoolService/UncordonPool",
            "ipam.v1.AdminService/Import",
        ],
        is_open: false,
        reader: Nothing,
        node: Nothing,
        reclaimer: Nothing,
    },
    Operation {
        name: "reading the history or the whole store",
        methods: &[
            "ipam.v1.AdminService/Export",
            "ipam.v1.AdminService/ListEvents",
            "ipam.v1.AdminService/CheckConsistency",
            "ipam.v1.AdminService/GetServer",
        ],
        is_open: false,
        // The export of a reader is no backup: `service::admin` leaves out what names a lease.
        reader: Everything,
        node: Nothing,
        reclaimer: Nothing,
    },
];

#[cfg(test)]
mod tests {
    use prost::Message;
    use tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET as REFLECTION;

    use super::*;

    /// The methods of a descriptor set.
    fn methods(set: &[u8]) -> Vec<String> {
        let set = prost_types::FileDescriptorSet::decode(set).unwrap();
        let mut all = Vec::new();
        for file in &set.file {
            for service in &file.service {
                let of = |method: &prost_types::MethodDescriptorProto| {
                    format!("{}.{}/{}", file.package(), service.name(), method.name())
                };
                all.extend(service.method.iter().map(of));
            }
        }
        all
    }

    #[test]
    fn each_method_that_is_served_stands_in_one_row_and_no_other_method_in_any() {
        let mut served: Vec<String> = [
            proto::IPAM_DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            REFLECTION,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ]
        .into_iter()
        .flat_map(methods)
        .collect();
        let rows = TABLE.iter().flat_map(|row| row.methods);
        let mut named: Vec<String> = rows.map(|&method| method.to_owned()).collect();
        served.sort();
        named.sort();
        assert_eq!(named, served);
        for method in served {
            assert!(Operation::of(&format!("/{method}")).is_some(), "{method}");
        }
        assert!(Operation::of("/ipam.v1.AdminService/Other").is_none());
        assert!(Operation::of("ipam.v1.AdminService/Export").is_none());
    }

    #[test]
    fn only_health_is_open_and_an_operator_reaches_everything() {
        for row in &TABLE {
            assert_eq!(row.is_open, row.name.contains("health"), "{}", row.name);
            assert_eq!(row.reach(Role::Operator), Reach::Everything);
        }
    }
}
