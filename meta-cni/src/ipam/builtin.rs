//! `meta-ipam` in the process of its caller: no program is started for it.

use cni::error::{Code, ErrorObject};
use cni::plugins::PluginError;
use cni::result::CniResult;
use cni::skel::{self, Environment};
use plugins::shape::{Others, Shape};
use plugins::{Failure, Plugin, Request};
use serde_json::Value;

use super::verbs;

const KIND: &str = "meta-ipam";

/// Why a configuration that names meta-ipam as its own plugin is refused.
pub const NOT_MAIN: &str = "meta-ipam is an IPAM plugin and nothing else; name it in ipam.type of the network's main plugin";

/// The plugin.
pub(crate) struct MetaIpam;

impl Plugin for MetaIpam {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn keys(&self) -> &'static [(&'static str, Shape)] {
        // Its own reader names what it does not know.
        &[
            ("ipam", Shape::Any),
            ("args", Shape::Any),
            ("runtimeConfig", Shape::Any),
        ]
    }

    fn other_keys(&self) -> Others {
        Others::Ignored
    }

    fn validate(&self, request: &Request<'_>) -> Result<(), Failure> {
        match request.conf.get("type").and_then(Value::as_str) {
            Some(KIND) => {
                let object = ErrorObject::new(Code::INVALID_NETWORK_CONFIG, NOT_MAIN);
                Err(refused(object))
            }
            _ => Ok(()),
        }
    }

    fn add(&self, request: &Request<'_>) -> Result<CniResult, Failure> {
        let answer = serve(request)?.unwrap_or_default();
        let result = CniResult::from_value(&answer, request.version);
        result.map_err(|source| Failure::Result { source })
    }

    fn del(&self, request: &Request<'_>) -> Result<(), Failure> {
        serve(request).map(drop)
    }

    fn check(&self, request: &Request<'_>) -> Result<(), Failure> {
        self.validate(request)?;
        serve(request).map(drop)
    }

    fn status(&self, request: &Request<'_>) -> Result<(), Failure> {
        self.validate(request)?;
        serve(request).map(drop)
    }

    fn gc(&self, request: &Request<'_>) -> Result<(), Failure> {
        self.validate(request)?;
        serve(request).map(drop)
    }
}

/// Serves a call as the program does.
fn serve(request: &Request<'_>) -> Result<Option<Value>, Failure> {
    let target = request.target;
    let variable = |name: &str| {
        let value = match name {
            "CNI_COMMAND" => request.command.as_str(),
            "CNI_CONTAINERID" => target.container_id,
            "CNI_NETNS" => target.netns,
            "CNI_IFNAME" => target.ifname,
            "CNI_ARGS" => target.args,
            // Not read: it executes nothing.
            "CNI_PATH" => "/",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let environment = Environment::read(variable).map_err(|error| refused(error.to_object()))?;
    let Some(environment) = environment else {
        return Ok(None);
    };
    let read = skel::Request::read(environment, request.stdin);
    let read = read.map_err(|error| refused(error.to_object()))?;
    verbs::serve(&read).map_err(refused)
}

fn refused(object: ErrorObject) -> Failure {
    let plugin = KIND.to_owned();
    Failure::Ipam {
        plugin: plugin.clone(),
        source: Box::new(PluginError::Failed { plugin, object }),
    }
}
