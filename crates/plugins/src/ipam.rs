//! The plugin for addresses of a main plugin: built in or not, called with the same input.

use cni::chain::AttachmentId;
use cni::key;
use cni::plugins::Call;
use cni::result::{CniResult, Dns};
use cni::skel::Command;
use serde_json::Value;

use crate::failure::Failure;
use crate::plugin::Request;

/// `ipam` of a request.
#[derive(Clone, Copy)]
pub(crate) struct Ipam<'a> {
    kind: &'a str,
    request: &'a Request<'a>,
}

impl<'a> Ipam<'a> {
    /// That of a request; none if its configuration names none (layer 2).
    pub(crate) fn of(request: &'a Request<'a>) -> Option<Ipam<'a>> {
        let ipam = request.conf.get("ipam")?.as_object()?;
        let kind = key::value_of(ipam, "type")?.as_str()?;
        (!kind.is_empty()).then_some(Ipam { kind, request })
    }

    /// That of a request whose type cannot do without.
    ///
    /// # Errors
    /// [`Failure::Field`] if its configuration names none.
    pub(crate) fn needed(request: &'a Request<'a>) -> Result<Ipam<'a>, Failure> {
        let problem = "is missing, and interfaces of this type need addresses; name a plugin";
        Ipam::of(request).ok_or_else(|| Failure::field("ipam.type", problem))
    }

    /// ADD: addresses, at least one, and routes.
    ///
    /// # Errors
    /// [`Failure::Ipam`], [`Failure::IpamResult`], [`Failure::NoAddress`].
    pub(crate) fn add(&self) -> Result<CniResult, Failure> {
        let stdout = self.call(Command::Add)?;
        let plugin = || self.kind.to_owned();
        let result = CniResult::parse(&stdout, self.request.version);
        let result = result.map_err(|source| Failure::IpamResult {
            plugin: plugin(),
            source,
        })?;
        match result.ips.is_empty() {
            true => Err(Failure::NoAddress { plugin: plugin() }),
            false => Ok(result),
        }
    }

    /// DEL.
    ///
    /// # Errors
    /// [`Failure::Ipam`].
    pub(crate) fn del(&self) -> Result<(), Failure> {
        self.call(Command::Del).map(drop)
    }

    /// DEL after an ADD that failed; what that does not release, the DEL of the attachment does.
    pub(crate) fn undo(&self) {
        if let Err(error) = self.del() {
            tracing::warn!(%error, "addresses of an ADD that failed are released by DEL only");
        }
    }

    /// CHECK.
    ///
    /// # Errors
    /// [`Failure::Ipam`].
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.call(Command::Check).map(drop)
    }

    /// STATUS.
    ///
    /// # Errors
    /// [`Failure::Ipam`].
    pub(crate) fn status(&self) -> Result<(), Failure> {
        self.call(Command::Status).map(drop)
    }

    /// GC.
    ///
    /// # Errors
    /// [`Failure::Ipam`].
    pub(crate) fn gc(&self) -> Result<(), Failure> {
        self.call(Command::Gc).map(drop)
    }

    fn call(&self, command: Command) -> Result<Vec<u8>, Failure> {
        let request = self.request;
        let call = Call::new(self.kind, command, request.target, request.stdin);
        let call = call.with_variables(request.variables);
        let answer = request.plugins.call(&call, request.deadline);
        answer.map_err(|source| Failure::Ipam {
            plugin: self.kind.to_owned(),
            source: Box::new(source),
        })
    }
}

/// The attachments that a GC is to keep; none if the caller lists nothing (cnitool does), which says nothing of any.
///
/// # Errors
/// [`Failure::Field`] if the list is not one.
pub(crate) fn valid_attachments(
    request: &Request<'_>,
) -> Result<Option<Vec<AttachmentId>>, Failure> {
    let read = cni::valid_attachments::valid_attachments(request.conf);
    read.map_err(|error| Failure::field("cni.dev/valid-attachments", error.to_string()))
}

/// STATUS of the plugin for addresses, if there is one.
///
/// # Errors
/// [`Failure::Ipam`].
pub(crate) fn status(request: &Request<'_>) -> Result<(), Failure> {
    Ipam::of(request).map_or(Ok(()), |ipam| ipam.status())
}

/// GC of the plugin for addresses, if there is one. The reference plugins pass no GC on.
///
/// # Errors
/// [`Failure::Ipam`].
pub(crate) fn gc(request: &Request<'_>) -> Result<(), Failure> {
    Ipam::of(request).map_or(Ok(()), |ipam| ipam.gc())
}

/// `dns` of the configuration, whatever that of the plugin for addresses is.
pub(crate) fn with_only_own_dns(mut result: CniResult, request: &Request<'_>) -> CniResult {
    result.dns = Dns::default();
    with_own_dns(result, request)
}

/// `dns` of the configuration if it says anything, which wins over that of the plugin for addresses.
pub(crate) fn with_own_dns(mut result: CniResult, request: &Request<'_>) -> CniResult {
    let own = request.conf.get("dns").filter(|dns| says_something(dns));
    if let Some(own) = own {
        let wrapped = serde_json::json!({"cniVersion": "1.0.0", "dns": own});
        if let Ok(read) = CniResult::from_value(&wrapped, request.version) {
            result.dns = read.dns;
        }
    }
    result
}

fn says_something(dns: &Value) -> bool {
    let Some(dns) = dns.as_object() else {
        return false;
    };
    let lists = ["nameservers", "search", "options"];
    let has_list = |name: &&str| key::value_of(dns, name).is_some_and(|list| !list.is_null());
    let domain = key::value_of(dns, "domain").and_then(Value::as_str);
    lists.iter().any(has_list) || domain.is_some_and(|domain| !domain.is_empty())
}
