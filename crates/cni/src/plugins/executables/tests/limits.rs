//! The time limit, and processes that a plugin starts.

use std::io::Read;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use nix::sys::signal::kill;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::*;

/// Enough for a shell to start on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

/// What is written to the FIFO at `path` by all processes that have it open, once the last of them is
/// gone.
fn written_until_all_are_gone(path: &Path) -> Receiver<String> {
    mkfifo(path, Mode::S_IRWXU).unwrap();
    let (send, receive) = channel();
    let path = path.to_owned();
    thread::spawn(move || {
        let mut text = String::new();
        File::open(path).unwrap().read_to_string(&mut text).unwrap();
        send.send(text)
    });
    receive
}

fn stderr_of_timeout(result: Result<Vec<u8>, PluginError>) -> String {
    match result {
        Err(PluginError::TimedOut { log, limit, .. }) => {
            assert!(limit <= SHORT && limit > SHORT / 2, "{limit:?}");
            log
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_time_limit_ends_the_plugin_and_all_that_it_started() {
    let plugins = Folder::with(
        r#"exec 9> "$0.fifo"
           echo $$ >&9
           echo waiting for an offer >&2
           sh -c 'sleep 1000; true' &
           sleep 1000"#,
    );
    let gone = written_until_all_are_gone(&plugins.path("plugin.fifo"));
    let result = plugins
        .plugins()
        .call(&add("plugin", b"{}"), deadline(SHORT));
    assert_eq!(stderr_of_timeout(result), "waiting for an offer");
    let pid = gone.recv_timeout(LONG).unwrap();
    assert!(
        !Path::new("/proc").join(pid.trim()).exists(),
        "plugin {} was not reaped",
        pid.trim()
    );
}

#[test]
fn the_time_limit_counts_after_the_outputs_were_closed() {
    let plugins = Folder::with("exec >&- 2>&-; sleep 1000");
    let result = plugins
        .plugins()
        .call(&add("plugin", b"{}"), deadline(SHORT));
    assert_eq!(stderr_of_timeout(result), "");
}

#[test]
fn the_time_limit_counts_while_the_plugin_keeps_writing() {
    let plugins = Folder::with("while :; do echo .; sleep 0.01; done");
    let result = plugins
        .plugins()
        .call(&add("plugin", b"{}"), deadline(SHORT));
    stderr_of_timeout(result);
}

#[test]
fn too_much_output_ends_all_that_the_plugin_started() {
    let plugins = Folder::with(
        r#"exec 9> "$0.fifo"
           sleep 1000 &
           cat /dev/zero"#,
    );
    let gone = written_until_all_are_gone(&plugins.path("plugin.fifo"));
    assert!(matches!(
        plugins.run(b"{}"),
        Err(PluginError::TooMuchOutput { .. })
    ));
    assert_eq!(gone.recv_timeout(LONG).unwrap(), "");
}

#[test]
fn a_process_left_behind_with_the_outputs_open_does_not_hold_the_result() {
    for status in [0, 1] {
        let plugins = Folder::with(&format!("sleep 1000 & echo $!; exit {status}"));
        let printed = match plugins.run(b"{}") {
            Ok(stdout) if status == 0 => String::from_utf8(stdout).unwrap(),
            Err(PluginError::FailedSilently { output, .. }) if status == 1 => output,
            other => panic!("{other:?}"),
        };
        let left_behind = Pid::from_raw(printed.trim().parse().unwrap());
        kill(left_behind, Signal::SIGKILL).expect("a daemon of the plugin lives on");
    }
}
