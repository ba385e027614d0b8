//! meta-cni under the name of a plugin that is built in: a link of that name in a folder of plugins makes it this plugin, for
//! runtimes and meta plugins that execute it.

use std::env;
use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cni::error::{Code, ErrorObject};
use cni::plugins::{Call, PluginError, Target};
use cni::skel::{Command, Environment};
use plugins::Selection;

use crate::builtin::of_node;

/// The most that one call may take, all of it: runtimes give up after two minutes.
const TIME: Duration = Duration::from_secs(110);
/// The most that is read from standard input.
const STDIN_BYTES: u64 = 64 << 20;

/// The type of the plugin that this program was started as, if it is one that is built in.
pub fn kind() -> Option<&'static str> {
    let program = env::args_os().next()?;
    let name = Path::new(&program).file_name().and_then(OsStr::to_str)?;
    let mut all = plugins::all().iter().map(|plugin| plugin.kind());
    all.find(|kind| *kind == name)
}

/// Serves one execution as the plugin of this type; gives what goes to standard output.
///
/// # Errors
/// The error object for standard output.
pub fn serve(kind: &str, environment: &Environment) -> Result<Vec<u8>, ErrorObject> {
    let mut stdin = Vec::new();
    let read = match environment.command {
        Command::Version => Ok(0),
        _ => io::stdin().lock().take(STDIN_BYTES).read_to_end(&mut stdin),
    };
    read.map_err(|error| {
        let msg = format!("reading the configuration from standard input: {error}");
        ErrorObject::new(Code::IO_FAILURE, msg)
    })?;
    let args = environment.args.to_string();
    let target = Target {
        container_id: &environment.container_id,
        netns: &environment.netns,
        ifname: &environment.ifname,
        args: &args,
    };
    let folders = env::split_paths(&environment.path).collect::<Vec<PathBuf>>();
    let plugins = of_node(folders, Selection::Auto);
    let call = Call::new(kind, environment.command, target, &stdin);
    let answer = plugins.call_here(&call, Instant::now() + TIME);
    answer.map_err(|error| match error {
        PluginError::Failed { object, .. } => object,
        other => ErrorObject::new(Code::INTERNAL, cni::error::with_causes(&other)),
    })
}
