//! The Container Runtime Interface, version 1: messages and client, generated from `cri/api.proto`.

/// Package `runtime.v1`.
#[expect(unreachable_pub, clippy::all, reason = "generated")]
#[allow(rustdoc::bare_urls, rustdoc::invalid_html_tags, reason = "generated")]
pub(crate) mod v1 {
    tonic::include_proto!("runtime.v1");
}
