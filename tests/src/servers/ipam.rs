//! A real `ipam-server` on a Unix socket, with its store in a temporary folder.

mod calls;
pub mod pages;
mod process;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::host::reaper::Reaper;
use crate::host::{locate, sweep};
use crate::servers::pages::metric;
pub use calls::{pool, request};
pub use pages::Page;
pub use process::Replacing;

/// A running server. Dropping it kills it and removes its files; it ends with the test process too.
#[derive(Debug)]
pub struct IpamServer {
    folder: TempDir,
    store: PathBuf,
    /// The address of its store, if that is not in the folder.
    elsewhere: Option<String>,
    /// Of another release.
    program: Option<PathBuf>,
    wrapper: Vec<String>,
    /// What root is on its socket.
    root: Root,
    arguments: Vec<String>,
    child: Option<Child>,
    reaper: Option<Reaper>,
}

/// What root is on the Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// An operator: `--unix-operator`.
    Operator,
    /// The node of this machine only.
    Node,
}

impl IpamServer {
    /// Starts one with a store of its own, and waits until it serves.
    ///
    /// # Panics
    /// When it does not come to serve, with its log.
    #[track_caller]
    pub fn start() -> IpamServer {
        IpamServer::make(None, &[], &[])
    }

    /// Starts one with more arguments, also when it is started again.
    ///
    /// # Panics
    /// As [`IpamServer::start`].
    #[track_caller]
    pub fn start_with(arguments: &[impl AsRef<str>]) -> IpamServer {
        let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        IpamServer::make(None, &[], &arguments)
    }

    /// Starts one with more arguments, where root on the socket is the node of this machine only.
    ///
    /// # Panics
    /// As [`IpamServer::start`].
    #[track_caller]
    pub fn start_of_node(arguments: &[impl AsRef<str>]) -> IpamServer {
        let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        let mut server = IpamServer::new(None, &[], &arguments);
        server.root = Root::Node;
        server.restart();
        server
    }

    /// Starts one whose store is in this folder.
    ///
    /// # Panics
    /// As [`IpamServer::start`].
    #[track_caller]
    pub fn start_on(store: &Path) -> IpamServer {
        IpamServer::make(Some(store), &[], &[])
    }

    /// Starts one whose store is at an address: `etcd://…`.
    ///
    /// # Panics
    /// As [`IpamServer::start`].
    #[track_caller]
    pub fn start_in(store: &str) -> IpamServer {
        IpamServer::start_in_with(store, &[])
    }

    /// The same with more arguments.
    ///
    /// # Panics
    /// As [`IpamServer::start`].
    #[track_caller]
    pub fn start_in_with(store: &str, arguments: &[&str]) -> IpamServer {
        let mut server = IpamServer::new(None, &[], arguments);
        server.elsewhere = Some(store.to_owned());
        server.restart();
        server
    }

    /// Starts one under another program, for example `["strace", "-f"]`, that ends with it.
    ///
    /// # Panics
    /// As [`IpamServer::start`].
    #[track_caller]
    pub fn start_under(wrapper: &[&str]) -> IpamServer {
        IpamServer::make(None, wrapper, &[])
    }

    /// The same with more arguments.
    ///
    /// # Panics
    /// As [`IpamServer::start`].
    #[track_caller]
    pub fn start_under_with(wrapper: &[&str], arguments: &[&str]) -> IpamServer {
        IpamServer::make(None, wrapper, arguments)
    }

    /// Starts one whose store is in this folder, which may be damaged or on a full disk.
    ///
    /// # Errors
    /// What it wrote, if it ended instead of serving.
    ///
    /// # Panics
    /// When it neither serves nor ends.
    #[track_caller]
    pub fn try_start_on(store: &Path) -> Result<IpamServer, String> {
        let mut server = IpamServer::new(Some(store), &[], &[]);
        server.try_restart()?;
        Ok(server)
    }

    /// Starts another program, such as one of another release.
    ///
    /// # Panics
    /// As [`IpamServer::start`].
    #[track_caller]
    pub fn start_program(program: &Path) -> IpamServer {
        let mut server = IpamServer::new(None, &[], &[]);
        server.set_program(program);
        server.restart();
        server
    }

    /// From its next start on it is this program.
    pub fn set_program(&mut self, program: &Path) {
        self.program = Some(program.to_owned());
    }

    #[track_caller]
    fn make(store: Option<&Path>, wrapper: &[&str], arguments: &[&str]) -> IpamServer {
        let mut server = IpamServer::new(store, wrapper, arguments);
        server.restart();
        server
    }

    fn new(store: Option<&Path>, wrapper: &[&str], arguments: &[&str]) -> IpamServer {
        let folder = sweep::temporary_folder();
        let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        IpamServer {
            store: store.map_or_else(|| folder.path().join("store"), Path::to_owned),
            folder,
            elsewhere: None,
            program: None,
            wrapper: owned(wrapper),
            root: Root::Operator,
            arguments: owned(arguments),
            child: None,
            reaper: None,
        }
    }

    /// An `ipam-server` with this socket and store, under the wrapper; not started.
    pub fn command(&self, socket: &Path, store: &Path) -> Command {
        let program = self.program.clone();
        let program = program.unwrap_or_else(|| locate::executable("ipam-server"));
        let mut words = self.wrapper.clone();
        words.push(program.display().to_string());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .arg(format!("--listen=unix://{}", socket.display()))
            .arg(match &self.elsewhere {
                Some(address) => format!("--store={address}"),
                None => format!("--store-dir={}", store.display()),
            })
            .arg("--metrics-listen=127.0.0.1:0")
            .stdin(Stdio::null());
        if self.root == Root::Operator {
            command.arg("--unix-operator");
        }
        command
    }

    /// The value of one of its metrics, see [`metric`].
    ///
    /// # Panics
    /// When it does not answer.
    pub fn metric(&self, series: &str) -> f64 {
        metric(&self.ready_file(), series)
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("ipam.sock")
    }

    /// Its socket as an address that configurations take.
    pub fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The folder of its store.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// Its temporary folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it has logged over all of its starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn ready_file(&self) -> PathBuf {
        self.folder.path().join("ready.json")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}
