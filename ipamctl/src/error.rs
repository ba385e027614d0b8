//! The errors of commands, the one line that shows an error, and the exit code.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use super::note::note;
use super::refusal::Refusal;

/// Why a command is not done.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// An argument that cannot be used.
    #[error("{argument}: {problem}")]
    Argument {
        /// As it is written on the command line.
        argument: String,
        /// What is wrong and what it should be.
        problem: String,
    },
    /// The socket belongs to somebody else.
    #[error("{} may be opened by its owner only; run this as root, or with sudo", .socket.display())]
    Forbidden {
        /// The server's socket.
        socket: PathBuf,
    },
    /// A file of the TLS flags cannot be used.
    #[error(transparent)]
    Tls(#[from] dial::files::FilesError),
    /// One side does not take the other one's certificate.
    #[error(transparent)]
    Certificate(dial::refusal::Refusal),
    /// Nobody answers at the server's address.
    #[error("no ipam-server at {server}: {why}; {remedy}")]
    Unreachable {
        /// As it was dialled.
        server: String,
        /// What the system said.
        why: String,
        /// What can be done.
        remedy: &'static str,
    },
    /// The server did not answer in time.
    #[error(
        "{server} did not answer within {seconds} s; --timeout-seconds waits longer, a change may or may not be made"
    )]
    Deadline {
        /// As it was dialled.
        server: String,
        /// The limit.
        seconds: u64,
    },
    /// The server answered, with an error.
    #[error("{0}")]
    Refused(Refusal),
    /// The server answered what a file asks for with an error.
    #[error("{place}: {refusal}")]
    RefusedIn {
        /// The file, with the line if that is known, and what stands there.
        place: String,
        /// The answer.
        refusal: Refusal,
    },
    /// Nothing is found that was asked for.
    #[error("{what}")]
    NotFound {
        /// A sentence.
        what: String,
    },
    /// A file or folder of this machine.
    #[error("{} cannot be {doing}; {}", .path.display(), remedy(doing, .source))]
    File {
        /// `read`, `written`.
        doing: &'static str,
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What a file holds is not what it should be.
    #[error("{place}: {problem}")]
    Content {
        /// The file, with the line if that is known.
        place: String,
        /// What is wrong and what it should be.
        problem: String,
    },
    /// An export of another version of the program.
    #[error(
        "{place}: format {format} is not known to this ipamctl; use the one that came with the exporting server"
    )]
    UnknownFormat {
        /// The file and line.
        place: String,
        /// What the header says.
        format: u32,
    },
    /// Somebody was asked and did not say yes.
    #[error("not confirmed, nothing was changed; --yes does not ask")]
    NotConfirmed,
    /// A store cannot be opened.
    #[error(transparent)]
    Store(ipam_server::store::StoreError),
    /// A store is not copied.
    #[error(transparent)]
    Copy(ipam_server::store::copy::CopyError),
    /// The command was done, and found or left something that a person must check.
    #[error("{what}")]
    Incomplete {
        /// A sentence.
        what: String,
    },
    /// The editor did not end well.
    #[error("the editor `{editor}` {why}; nothing was changed. $EDITOR names another one")]
    Editor {
        /// The command.
        editor: String,
        /// What it did.
        why: String,
    },
    /// The server ended a stream before its end.
    #[error("{server} ended {what} before its end; try again")]
    CutOff {
        /// As it was dialled.
        server: String,
        /// What was under way.
        what: &'static str,
    },
    /// stdout or the terminal does not take what is written.
    #[error("stdout cannot be written")]
    Output(#[source] io::Error),
    /// A message of the server has no JSON form.
    #[error("a message of the server cannot be shown")]
    Encode(#[source] serde_json::Error),
    /// The system refuses threads or timers.
    #[error("the process cannot be set up")]
    Runtime(#[source] io::Error),
}

impl CliError {
    /// An [`CliError::Argument`].
    pub(crate) fn argument(argument: impl Into<String>, problem: impl Into<String>) -> CliError {
        CliError::Argument {
            argument: argument.into(),
            problem: problem.into(),
        }
    }

    /// 1 failed, 2 wrong arguments, 3 not found.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            CliError::Argument { .. } | CliError::Tls(_) => 2,
            CliError::NotFound { .. } => 3,
            CliError::Refused(refusal) | CliError::RefusedIn { refusal, .. } => refusal.exit_code(),
            _ => 1,
        }
    }

    /// Whether the reader of stdout has ended, as `head` does: no error.
    fn is_closed_pipe(&self) -> bool {
        matches!(self, CliError::Output(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The whole chain in one line.
    fn line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(source) = cause {
            line.push_str(": ");
            line.push_str(&source.to_string());
            cause = source.source();
        }
        line.replace('\n', " ")
    }
}

/// Writes on stderr what went wrong, if anything did, and returns the exit code.
pub(crate) fn report(done: Result<(), CliError>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("error: {}", error.line()));
            ExitCode::from(error.exit_code())
        }
    }
}

/// What to do about a file that cannot be read or written.
fn remedy(doing: &str, source: &io::Error) -> &'static str {
    match (source.kind(), doing) {
        (io::ErrorKind::NotFound, "written") => "name a file in a folder that exists",
        (io::ErrorKind::NotFound, _) => "name a file that exists",
        (io::ErrorKind::PermissionDenied, _) => "run this as a user who may, or with sudo",
        (io::ErrorKind::IsADirectory, _) => "name a file and not a folder",
        (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => {
            "make room on its file system"
        }
        _ => "check the file",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_shown_once_and_in_one_line() {
        let error = CliError::File {
            doing: "read",
            path: PathBuf::from("/pools.yaml"),
            source: io::Error::other("first\nsecond"),
        };
        assert_eq!(
            error.line(),
            "/pools.yaml cannot be read; check the file: first second"
        );
        assert_eq!(error.exit_code(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_read_or_written_is_shown_with_what_to_do() {
        for (doing, kind, expected) in [
            ("read", io::ErrorKind::NotFound, "name a file that exists"),
            ("read", io::ErrorKind::PermissionDenied, "with sudo"),
            ("read", io::ErrorKind::IsADirectory, "not a folder"),
            ("written", io::ErrorKind::NotFound, "a folder that exists"),
            ("written", io::ErrorKind::StorageFull, "make room"),
            ("written", io::ErrorKind::Other, "check the file"),
        ] {
            let path = PathBuf::from("/backup.jsonl");
            let source = kind.into();
            let error = CliError::File {
                doing,
                path,
                source,
            };
            let begin = format!("/backup.jsonl cannot be {doing}; ");
            let line = error.line();
            let rest = line.strip_prefix(&begin).unwrap_or_default();
            assert!(rest.contains(expected), "{line}");
        }
    }

    #[test]
    fn a_reader_of_stdout_that_left_is_no_failure() {
        let gone = CliError::Output(io::ErrorKind::BrokenPipe.into());
        assert_eq!(report(Err(gone)), ExitCode::SUCCESS);
    }
}
