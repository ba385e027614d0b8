//! What a container runtime asks of a plugin: the environment and standard input of one execution
//! (CNI specification 1.1.0, section 2 "Execution protocol").

use std::io::Read;

use serde_json::{Map, Value};

use crate::args::{Args, ArgsError};
use crate::error::{Code, ErrorObject};
use crate::name::{interface_name_problem, is_identifier};
use crate::version::{UnknownVersion, Version};

/// The most that is read from standard input: a list with `cni.dev/valid-attachments` of many
/// thousand sandboxes fits.
const STDIN_BYTES: u64 = 64 << 20;

/// CNI_COMMAND. A program that forgets one of them does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Add a container to networks.
    Add,
    /// Remove what ADD made.
    Del,
    /// Check that what ADD made is still as it was.
    Check,
    /// Whether ADD can be served.
    Status,
    /// Remove what belongs to containers that are gone.
    Gc,
    /// Which versions are supported.
    Version,
}

impl Command {
    /// The value of CNI_COMMAND.
    pub fn as_str(self) -> &'static str {
        match self {
            Command::Add => "ADD",
            Command::Del => "DEL",
            Command::Check => "CHECK",
            Command::Status => "STATUS",
            Command::Gc => "GC",
            Command::Version => "VERSION",
        }
    }

    /// The command of a value of CNI_COMMAND.
    pub fn parse(text: &str) -> Option<Command> {
        [
            Self::Add,
            Self::Del,
            Self::Check,
            Self::Status,
            Self::Gc,
            Self::Version,
        ]
        .into_iter()
        .find(|command| command.as_str() == text)
    }

    /// The variables that must be there and not empty.
    fn required(self) -> &'static [&'static str] {
        match self {
            Command::Add | Command::Check => {
                &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]
            }
            Command::Del => &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
            Command::Gc | Command::Status => &["CNI_PATH"],
            Command::Version => &[],
        }
    }

    /// The oldest configuration version that has this command.
    fn since(self) -> Version {
        match self {
            Command::Add | Command::Del | Command::Version => Version::V0_1_0,
            Command::Check => Version::V0_4_0,
            Command::Gc | Command::Status => Version::V1_1_0,
        }
    }
}

/// The CNI variables of one execution.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Environment {
    /// CNI_COMMAND.
    pub command: Command,
    /// CNI_CONTAINERID; empty for GC, STATUS and VERSION.
    pub container_id: String,
    /// CNI_NETNS: path of a network namespace; may be empty for DEL.
    pub netns: String,
    /// CNI_IFNAME; empty for GC, STATUS and VERSION.
    pub ifname: String,
    /// CNI_ARGS.
    pub args: Args,
    /// CNI_PATH: folders that hold plugins, separated by colons.
    pub path: String,
}

/// One execution of this plugin: its environment and its configuration.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// The CNI variables.
    pub env: Environment,
    /// The version in which the runtime speaks and wants its answer.
    pub version: Version,
    /// The configuration as it came on standard input.
    pub conf: Map<String, Value>,
}

/// A request that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// CNI_COMMAND is not one of the six.
    #[error("CNI_COMMAND {command:?} is unknown; use ADD, DEL, CHECK, STATUS, GC or VERSION")]
    UnknownCommand {
        /// Its value.
        command: String,
    },
    /// Variables that the command needs are missing or empty.
    #[error("{command} needs {}; the container runtime must set them", .missing.join(", "))]
    MissingVariables {
        /// The command.
        command: &'static str,
        /// Their names.
        missing: Vec<&'static str>,
    },
    /// A variable has a value that it cannot have.
    #[error("{variable} {value:?}: {problem}")]
    InvalidVariable {
        /// Its name.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// CNI_ARGS cannot be read.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// Standard input cannot be read.
    #[error("reading the configuration from standard input")]
    Stdin(#[source] std::io::Error),
    /// Standard input holds more than is read.
    #[error("the configuration on standard input is larger than 64 MiB")]
    TooLarge,
    /// Standard input is not a JSON object.
    #[error("the configuration on standard input is not a JSON object: {problem}")]
    NotJson {
        /// Where and why.
        problem: String,
    },
    /// `cniVersion` is unknown.
    #[error(transparent)]
    Version(#[from] UnknownVersion),
    /// The configuration's version does not have the command.
    #[error("{command} needs cniVersion {since} or newer; the configuration has {version}")]
    CommandTooNew {
        /// The command.
        command: &'static str,
        /// The first version that has it.
        since: Version,
        /// The configuration's version.
        version: Version,
    },
}

impl RequestError {
    /// The error object that the runtime gets.
    pub fn to_object(&self) -> ErrorObject {
        let code = match self {
            RequestError::UnknownCommand { .. }
            | RequestError::MissingVariables { .. }
            | RequestError::InvalidVariable { .. }
            | RequestError::Args(_) => Code::INVALID_ENVIRONMENT,
            RequestError::Stdin(_) | RequestError::TooLarge => Code::IO_FAILURE,
            RequestError::NotJson { .. } => Code::DECODING_FAILURE,
            RequestError::Version(_) | RequestError::CommandTooNew { .. } => {
                Code::INCOMPATIBLE_VERSION
            }
        };
        ErrorObject::new(code, super::error::with_causes(self))
    }
}

impl Environment {
    /// Reads the CNI variables through `get` (a process passes `std::env::var`).
    ///
    /// Returns nothing if CNI_COMMAND is not set: the program was not started by a runtime.
    ///
    /// # Errors
    /// [`RequestError`] for an unknown command, and for variables that are missing or invalid.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Option<Environment>, RequestError> {
        let Some(text) = get("CNI_COMMAND").filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let Some(command) = Command::parse(&text) else {
            return Err(RequestError::UnknownCommand { command: text });
        };
        let value = |name: &str| get(name).unwrap_or_default();
        let missing: Vec<_> = command
            .required()
            .iter()
            .copied()
            .filter(|name| value(name).is_empty())
            .collect();
        if !missing.is_empty() {
            return Err(RequestError::MissingVariables {
                command: command.as_str(),
                missing,
            });
        }
        let environment = Environment {
            command,
            container_id: value("CNI_CONTAINERID"),
            netns: value("CNI_NETNS"),
            ifname: value("CNI_IFNAME"),
            args: if command == Command::Version {
                Args::default()
            } else {
                Args::parse(&value("CNI_ARGS"))?
            },
            path: value("CNI_PATH"),
        };
        environment.check_names()?;
        Ok(Some(environment))
    }

    fn check_names(&self) -> Result<(), RequestError> {
        if !matches!(self.command, Command::Add | Command::Del | Command::Check) {
            return Ok(());
        }
        let invalid = |variable, value: &str, problem: &str| RequestError::InvalidVariable {
            variable,
            value: value.to_owned(),
            problem: problem.to_owned(),
        };
        if !is_identifier(&self.container_id) {
            let problem = "a container ID starts with a letter or digit and goes on with letters, digits, '.', '_' and '-'";
            return Err(invalid("CNI_CONTAINERID", &self.container_id, problem));
        }
        match interface_name_problem(&self.ifname) {
            Some(problem) => Err(invalid("CNI_IFNAME", &self.ifname, problem)),
            None => Ok(()),
        }
    }
}

impl Request {
    /// Reads the configuration that belongs to `env` from `stdin`.
    ///
    /// # Errors
    /// [`RequestError`] if it cannot be read, is not a JSON object, is of an unknown version or of one
    /// that does not have the command.
    pub fn read(env: Environment, stdin: impl Read) -> Result<Request, RequestError> {
        let mut bytes = Vec::with_capacity(4096);
        stdin
            .take(STDIN_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(RequestError::Stdin)?;
        if bytes.len() as u64 > STDIN_BYTES {
            return Err(RequestError::TooLarge);
        }
        let conf: Map<String, Value> =
            serde_json::from_slice(&bytes).map_err(|error| RequestError::NotJson {
                problem: error.to_string(),
            })?;
        let version = conf_version(&conf)?;
        if version < env.command.since() {
            return Err(RequestError::CommandTooNew {
                command: env.command.as_str(),
                since: env.command.since(),
                version,
            });
        }
        Ok(Request { env, version, conf })
    }
}

fn conf_version(conf: &Map<String, Value>) -> Result<Version, RequestError> {
    match conf.get("cniVersion") {
        None => Ok(Version::V0_1_0),
        Some(Value::String(text)) => Ok(text.parse()?),
        Some(other) => Err(RequestError::NotJson {
            problem: format!("cniVersion is {other}, not a string"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<Environment>, RequestError> {
        Environment::read(|name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    const ADD: [(&str, &str); 5] = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/x"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin"),
    ];

    #[test]
    fn without_a_command_there_is_no_request() {
        assert_eq!(read(&[]).unwrap(), None);
    }

    #[test]
    fn every_missing_variable_is_named_at_once() {
        let error = read(&[("CNI_COMMAND", "ADD"), ("CNI_IFNAME", "")])
            .unwrap_err()
            .to_object();
        assert_eq!(error.code, Code::INVALID_ENVIRONMENT);
        for name in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"] {
            assert!(error.msg.contains(name), "{}", error.msg);
        }
    }

    #[test]
    fn del_does_without_a_namespace_and_gc_with_a_path_alone() {
        let del: Vec<_> = ADD
            .iter()
            .map(|p| {
                if p.0 == "CNI_COMMAND" {
                    ("CNI_COMMAND", "DEL")
                } else {
                    *p
                }
            })
            .collect();
        let without_netns: Vec<_> = del.into_iter().filter(|p| p.0 != "CNI_NETNS").collect();
        assert_eq!(read(&without_netns).unwrap().unwrap().netns, "");
        assert!(
            read(&[("CNI_COMMAND", "GC"), ("CNI_PATH", "/p")])
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn a_container_id_cannot_be_a_path() {
        let mut pairs = ADD;
        pairs[1].1 = "../../etc/passwd";
        assert_eq!(
            read(&pairs).unwrap_err().to_object().code,
            Code::INVALID_ENVIRONMENT
        );
    }

    #[test]
    fn commands_need_a_version_that_has_them() {
        let cases = [
            ("CHECK", "0.3.1", Some(Code::INCOMPATIBLE_VERSION)),
            ("CHECK", "0.4.0", None),
            ("ADD", "9.9.9", Some(Code::INCOMPATIBLE_VERSION)),
        ];
        for (command, version, expected) in cases {
            let mut pairs = ADD;
            pairs[0].1 = command;
            let env = read(&pairs).unwrap().unwrap();
            let stdin = format!(r#"{{"cniVersion":"{version}"}}"#);
            let got = Request::read(env, stdin.as_bytes())
                .err()
                .map(|error| error.to_object().code);
            assert_eq!(got, expected, "{command} {version}");
        }
    }

    #[test]
    fn rubbish_on_stdin_is_a_decoding_failure() {
        for text in ["", "null", "[]", "{", "\u{0}", r#"{"cniVersion":1}"#] {
            let env = read(&ADD).unwrap().unwrap();
            let error = Request::read(env, text.as_bytes()).unwrap_err().to_object();
            assert_eq!(error.code, Code::DECODING_FAILURE, "{text:?}");
        }
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let env = read(&ADD).unwrap().unwrap();
        assert!(
            Request::read(env, deep.as_bytes()).is_err(),
            "nesting is bounded"
        );
    }
}
