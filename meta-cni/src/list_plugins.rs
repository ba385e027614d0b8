//! `meta-cni plugins`: what is built in.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use cni::version::Version;
use plugins::shape::Others;
use serde_json::{Value, json};

/// List the plugins that are built in: their types, CNI versions and the keys of their configurations.
#[derive(Args, Debug)]
pub struct Options {
    /// How it is written
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// How the list is written.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// Writes the list.
///
/// # Errors
/// If it cannot be written.
pub fn run(options: &Options, to: &mut impl Write) -> io::Result<()> {
    match options.output {
        Output::Json => writeln!(to, "{:#}", list()),
        Output::Text => {
            let versions = Version::ALL.map(|version| version.as_str());
            writeln!(to, "Built in, for CNI {}:", versions.join(", "))?;
            for plugin in plugins::all() {
                let keys: Vec<&str> = plugin.keys().iter().map(|(key, _)| *key).collect();
                writeln!(to, "{:<12} {}", plugin.kind(), keys.join(" "))?;
            }
            writeln!(to, "{:<12} its keys: meta-ipam --help", "meta-ipam")?;
            writeln!(
                to,
                "A configuration with another key is executed: the program may be newer."
            )
        }
    }
}

fn list() -> Value {
    let versions = Version::ALL.map(|version| version.as_str());
    let one = |plugin: &&dyn plugins::Plugin| {
        let keys: Vec<&str> = plugin.keys().iter().map(|(key, _)| *key).collect();
        let role = match plugin.other_keys() {
            Others::Ignored => "ipam",
            Others::Refused => "plugin",
        };
        json!({"type": plugin.kind(), "role": role, "cniVersions": versions, "keys": keys})
    };
    plugins::all().iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_plugin_is_listed_with_its_keys() {
        let mut text = Vec::new();
        let output = Output::Text;
        run(&Options { output }, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for part in ["bridge ", "isGateway", "host-local", "meta-ipam"] {
            assert!(text.contains(part), "{text}");
        }
        let output = Output::Json;
        let mut json = Vec::new();
        run(&Options { output }, &mut json).unwrap();
        let json: Value = serde_json::from_slice(&json).unwrap();
        let bridge = json
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["type"] == "bridge");
        assert_eq!(bridge.unwrap()["role"], "plugin");
    }
}
