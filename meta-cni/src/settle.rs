//! After all plugins: what their results leave open is asked of the kernel, in one visit to the pod's namespace for all
//! attachments. A pod whose results leave nothing open costs no visit.

use std::path::{Path, PathBuf};

use crate::netlink::{Netlink, NetlinkError};
use crate::netns::{self, NetnsError};
use crate::record::Record;

/// A pod that is not as it should be after its plugins, or whose namespace could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The sandbox could not be entered.
    #[error(transparent)]
    Netns {
        /// Why.
        source: NetnsError,
    },
    /// The kernel did not answer.
    #[error("cannot read the interfaces of {netns}")]
    Read {
        /// The sandbox.
        netns: PathBuf,
        /// Why.
        #[source]
        source: NetlinkError,
    },
}

/// An interface that the kernel is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    /// The attachment's place in the record.
    entry: usize,
    /// The interface's place in the attachment's result.
    interface: usize,
    name: String,
}

/// What is open about the interfaces of a pod.
#[derive(Debug, PartialEq, Eq)]
pub struct Questions(Vec<Question>);

impl Questions {
    /// What the results of `record` leave open: the MTUs of the pod's interfaces.
    pub fn of(record: &Record) -> Questions {
        let mut questions = Vec::new();
        for (entry, made) in record.attachments.iter().enumerate() {
            let interfaces = made.result.iter().flat_map(|result| &result.interfaces);
            for (interface, one) in interfaces.enumerate() {
                let sandbox = one.sandbox.as_deref();
                let is_here = sandbox.is_some_and(|sandbox| netns::is_same(sandbox, &record.netns));
                if is_here && one.mtu.is_none() {
                    questions.push(Question {
                        entry,
                        interface,
                        name: one.name.clone(),
                    });
                }
            }
        }
        Questions(questions)
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Asks the kernel, and fills in `record` what it answers. An interface that is no link stays as it is.
///
/// # Errors
/// [`SettleError`], each variant as it is documented.
pub fn settle(record: &mut Record, questions: &Questions) -> Result<(), SettleError> {
    let netns = PathBuf::from(&record.netns);
    let read = |source| SettleError::Read {
        netns: netns.clone(),
        source,
    };
    // The connection stays with the namespace that it was opened in.
    let mut netlink = netns::within(Path::new(&netns), Netlink::open)
        .map_err(|source| SettleError::Netns { source })?
        .map_err(read)?;
    for question in &questions.0 {
        let link = netlink.link(&question.name).map_err(read)?;
        let entry = record.attachments.get_mut(question.entry);
        let result = entry.and_then(|entry| entry.result.as_mut());
        let described = result.and_then(|result| result.interfaces.get_mut(question.interface));
        if let (Some(link), Some(described)) = (link, described) {
            described.mtu = Some(link.mtu);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
