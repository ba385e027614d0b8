//! Who wrote what: the node's administrator is trusted, tenants are not.

/// Who wrote a network's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// The node's administrator: `delegates`, a file of `confDir` or a path of `clusterNetwork`.
    Node,
    /// Somebody with rights in a namespace: the text of a NetworkAttachmentDefinition.
    Tenant,
}
