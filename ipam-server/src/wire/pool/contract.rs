//! For tests: the fields of a pool as the contract has them, and a pool in which all of them are set.

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use proto::ipam::v1 as ipam;
use serde_json::{Value, json};

/// The name of a message whose fields are rows of their own.
const SUBNET: &str = ".ipam.v1.Subnet";

fn files() -> FileDescriptorSet {
    FileDescriptorSet::decode(proto::IPAM_DESCRIPTORS).expect("descriptors")
}

fn message(files: &FileDescriptorSet, name: &str) -> DescriptorProto {
    let mut messages = files.file.iter().flat_map(|file| &file.message_type);
    let found = messages.find(|message| message.name() == name);
    found.expect("in the contract").clone()
}

/// Every path of the contract, as update masks and as JSON name it.
pub(super) fn paths() -> Vec<(String, String)> {
    let files = files();
    let subnet = message(&files, "Subnet");
    let mut paths = Vec::new();
    for field in message(&files, "Pool").field {
        let (name, json) = (field.name().to_owned(), field.json_name().to_owned());
        match field.type_name() {
            SUBNET => paths.extend(subnet.field.iter().map(|of| {
                (
                    format!("{name}.{}", of.name()),
                    format!("/{json}/{}", of.json_name()),
                )
            })),
            _ => paths.push((name, format!("/{json}"))),
        }
    }
    paths
}

/// A pool in which every field is set.
pub(super) fn full() -> ipam::Pool {
    let files = files();
    let pool = object(&files, &message(&files, "Pool"));
    serde_json::from_value(pool).expect("a pool")
}

/// A pool of both families in which no other field is set.
pub(super) fn empty() -> ipam::Pool {
    ipam::Pool {
        ipv4: Some(ipam::Subnet::default()),
        ipv6: Some(ipam::Subnet::default()),
        ..ipam::Pool::default()
    }
}

fn object(files: &FileDescriptorSet, message: &DescriptorProto) -> Value {
    let fields = message.field.iter();
    let fields = fields.map(|field| (field.json_name().to_owned(), value(files, message, field)));
    Value::Object(fields.collect())
}

/// Some value of a field that is not its default.
fn value(files: &FileDescriptorSet, of: &DescriptorProto, field: &FieldDescriptorProto) -> Value {
    let short = field.type_name().rsplit('.').next().unwrap_or_default();
    if of.nested_type.iter().any(|nested| nested.name() == short) {
        // A map.
        return json!({"x": "x"});
    }
    let one = match (field.r#type(), field.type_name()) {
        (Type::String, _) => json!("x"),
        (Type::Bool, _) => json!(true),
        (Type::Message, ".google.protobuf.Duration") => json!("1s"),
        (Type::Message, ".google.protobuf.Timestamp") => json!("2026-01-01T00:00:00Z"),
        (Type::Message, _) => object(files, &message(files, short)),
        // Numbers, those of enums among them.
        _ => json!(1),
    };
    match field.label() {
        Label::Repeated => json!([one]),
        _ => one,
    }
}
