//! Real programs in real folders: which one is run, and what becomes of the ways in which it can end.

mod limits;
mod streams;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;

use tempfile::TempDir;

use super::*;
use crate::error::Code;
use crate::plugins::Target;
use crate::skel::Command;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(120);

const TARGET: Target<'_> = Target {
    container_id: "c1",
    netns: "/run/netns/pod",
    ifname: "net1",
    args: "IgnoreUnknown=1;K8S_POD_NAME=web",
};

fn add<'a>(kind: &'a str, stdin: &'a [u8]) -> Call<'a> {
    Call::new(kind, Command::Add, TARGET, stdin)
}

fn deadline(limit: Duration) -> Instant {
    Instant::now() + limit
}

/// A folder of plugins that are shell scripts.
struct Folder {
    dir: TempDir,
}

impl Folder {
    /// One plugin called `plugin`.
    fn with(script: &str) -> Folder {
        let plugins = Folder {
            dir: tempfile::tempdir().unwrap(),
        };
        plugins.add("plugin", script);
        plugins
    }

    fn add(&self, name: &str, script: &str) {
        self.add_with_mode(name, script, 0o755);
    }

    fn add_with_mode(&self, name: &str, script: &str, mode: u32) {
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(self.path(name))
            .unwrap();
        io::Write::write_all(&mut file, format!("#!/bin/sh\n{script}\n").as_bytes()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn plugins(&self) -> Executables {
        Executables::in_folders(vec![self.dir.path().to_owned()])
    }

    /// Runs ADD of `plugin` with `stdin`.
    fn run(&self, stdin: &[u8]) -> Result<Vec<u8>, PluginError> {
        self.plugins().call(&add("plugin", stdin), deadline(LONG))
    }
}

#[test]
fn a_plugin_is_reported_what_to_do_and_gives_what_it_prints() {
    let plugins = Folder::with(
        r#"cat; echo "|$CNI_COMMAND|$CNI_CONTAINERID|$CNI_NETNS|$CNI_IFNAME|$CNI_ARGS|$CNI_PATH""#,
    );
    let printed = plugins.run(b"{\"type\":\"plugin\"}").unwrap();
    let folder = plugins.dir.path().display();
    assert_eq!(
        String::from_utf8(printed).unwrap(),
        format!(
            "{{\"type\":\"plugin\"}}|ADD|c1|/run/netns/pod|net1|IgnoreUnknown=1;K8S_POD_NAME=web|{folder}\n"
        )
    );
}

#[test]
fn a_plugin_gets_the_variables_of_all_calls_and_of_its_own_but_none_in_place_of_the_protocols() {
    let folder = Folder::with(r#"printf %s "$MARK $TRACE $CNI_IFNAME""#);
    let variables = [("TRACE", "7"), ("CNI_IFNAME", "eth9")];
    let plugins = folder.plugins().with_variable("MARK", "1");
    let call = add("plugin", b"{}").with_variables(&variables);
    assert_eq!(plugins.call(&call, deadline(LONG)).unwrap(), b"1 7 net1");
}

#[test]
fn a_call_whose_deadline_is_over_is_not_begun() {
    let folder = Folder::with(r#"touch "$0.was-run""#);
    let ended = folder.plugins().call(&add("plugin", b"{}"), Instant::now());
    assert!(
        matches!(ended, Err(PluginError::NoTimeLeft { .. })),
        "{ended:?}"
    );
    assert!(!folder.path("plugin.was-run").exists());
}

#[test]
fn a_plugin_finds_others_where_it_was_looked_for_itself() {
    let plugins = Folder::with(r#"printf %s "$CNI_PATH""#);
    let folders = vec![plugins.dir.path().to_owned(), "/usr/lib/cni".into()];
    let exec = Executables::in_folders(folders);
    let printed = exec.call(&add("plugin", b"{}"), deadline(LONG)).unwrap();
    let path = format!("{}:/usr/lib/cni", plugins.dir.path().display());
    assert_eq!(String::from_utf8(printed).unwrap(), path);
}

#[test]
fn what_a_plugin_logs_is_no_part_of_its_result() {
    let plugins = Folder::with("echo made a veth >&2; echo '{}'");
    assert_eq!(plugins.run(b"{}").unwrap(), b"{}\n");
}

#[test]
fn an_error_object_is_decoded_with_its_code() {
    let plugins = Folder::with(
        r#"echo '{"cniVersion":"1.0.0","code":11,"msg":"no lease","details":"pool is full"}'; exit 1"#,
    );
    match plugins.run(b"{}").unwrap_err() {
        PluginError::Failed { plugin, object } => {
            assert_eq!(plugin, "plugin");
            assert_eq!(object.code, Code::TRY_AGAIN_LATER);
            assert_eq!(
                (object.msg.as_str(), object.details.as_str()),
                ("no lease", "pool is full")
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failure_without_an_error_object_quotes_both_outputs_in_one_line() {
    let cases = [
        (
            "text",
            "echo panic: nil map; printf 'goroutine 1\\nmain.go:7\\n' >&2; exit 2",
            "plugin \"plugin\" exited with status 2 without an error object; \
             its stdout: panic: nil map; its stderr: goroutine 1 main.go:7",
        ),
        (
            "JSON that is no error object",
            "echo '{\"msg\": \"no code\"}'; exit 1",
            "plugin \"plugin\" exited with status 1 without an error object; \
             its stdout: {\"msg\": \"no code\"}",
        ),
        (
            "nothing",
            "exit 3",
            "plugin \"plugin\" exited with status 3 without an error object",
        ),
        (
            "a signal",
            "echo started >&2; kill -KILL $$",
            "plugin \"plugin\" was killed by signal 9 without an error object; its stderr: started",
        ),
    ];
    for (name, script, expected) in cases {
        let error = Folder::with(script).run(b"{}").unwrap_err();
        assert_eq!(error.to_string(), expected, "{name}");
    }
}

#[test]
fn of_long_outputs_the_start_and_the_end_are_quoted() {
    let script = "echo first; head -c 9000 /dev/zero | tr '\\0' o; \
                  head -c 9000 /dev/zero | tr '\\0' e >&2; echo last >&2; exit 1";
    match Folder::with(script).run(b"{}").unwrap_err() {
        PluginError::FailedSilently { output, log, .. } => {
            assert!(output.starts_with("first o") && output.len() == QUOTED_BYTES);
            assert!(log.ends_with("elast") && log.len() < QUOTED_BYTES);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_output_that_is_cut_inside_a_character_can_be_quoted() {
    let script =
        "printf a; for i in 1 2 3 4 5 6 7 8; do printf '%0100d' 0 | sed s/0/é/g; done; exit 1";
    match Folder::with(script).run(b"{}").unwrap_err() {
        PluginError::FailedSilently { output, .. } => {
            assert!(output.starts_with("aéé"), "{output}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn folders_are_searched_in_order() {
    let (first, second) = (Folder::with("echo first"), Folder::with("echo second"));
    second.add("other", "echo other");
    let exec = Executables::in_folders(vec![
        "/nonexistent".into(),
        first.dir.path().into(),
        second.dir.path().into(),
    ]);
    let run = |plugin| exec.call(&add(plugin, b"{}"), deadline(LONG)).unwrap();
    assert_eq!(run("plugin"), b"first\n");
    assert_eq!(run("other"), b"other\n");
}

#[test]
fn what_cannot_be_executed_is_passed_over() {
    let (first, second) = (Folder::with("echo first"), Folder::with("echo second"));
    first.add_with_mode("text", "echo not executable", 0o644);
    fs::create_dir(first.path("folder")).unwrap();
    for name in ["text", "folder"] {
        second.add(name, "echo right");
        let exec = Executables::in_folders(vec![first.dir.path().into(), second.dir.path().into()]);
        assert_eq!(exec.find(name).unwrap(), second.path(name), "{name}");
    }
}

#[test]
fn a_plugin_that_is_nowhere_is_reported_with_the_folders() {
    let exec = Executables::in_folders(vec!["/nonexistent/a".into(), "/nonexistent/b".into()]);
    let error = exec
        .call(&add("bridge", b"{}"), deadline(LONG))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "plugin \"bridge\" is not in /nonexistent/a, /nonexistent/b"
    );
}

#[test]
fn a_name_that_is_a_path_is_refused_although_a_program_is_there() {
    let plugins = Folder::with("echo run");
    fs::create_dir(plugins.path("inner")).unwrap();
    plugins.add("inner/plugin", "echo run");
    let absolute = plugins.path("plugin");
    let names = [
        "inner/plugin",
        "inner/../plugin",
        "./plugin",
        absolute.to_str().unwrap(),
        "/bin/sh",
        "",
        ".",
        "..",
    ];
    for name in names {
        let found = plugins.plugins().find(name);
        assert!(
            matches!(found, Err(PluginError::NotFound { .. })),
            "{name:?}: {found:?}"
        );
    }
}

#[test]
fn a_file_that_is_no_program_is_reported_by_its_path() {
    let plugins = Folder::with("exit 0");
    fs::write(plugins.path("plugin"), "#!/nonexistent/interpreter\n").unwrap();
    match plugins.run(b"{}").unwrap_err() {
        PluginError::Start { place, source, .. } => {
            assert_eq!(PathBuf::from(place), plugins.path("plugin"));
            assert_eq!(source.kind(), io::ErrorKind::NotFound);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_plugin_that_is_being_replaced_is_tried_again() {
    let plugins = Folder::with("echo new");
    let path = plugins.path("plugin");
    let mut writer = Some(File::options().append(true).open(&path).unwrap());
    let mut tries = 0;
    let mut child = while_not_busy(|| {
        tries += 1;
        if tries == 3 {
            writer = None;
        }
        std::process::Command::new(&path)
            .stdout(Stdio::null())
            .spawn()
    })
    .unwrap();
    assert!(child.wait().unwrap().success());
    assert!(tries >= 3, "busy twice at least, but {tries} tries");
}

#[test]
fn a_plugin_that_is_being_replaced_for_long_is_an_error() {
    let plugins = Folder::with("echo new");
    let writer = File::options()
        .append(true)
        .open(plugins.path("plugin"))
        .unwrap();
    match plugins.run(b"{}").unwrap_err() {
        PluginError::Start { source, .. } => {
            assert_eq!(source.raw_os_error(), Some(Errno::ETXTBSY as i32));
        }
        other => panic!("{other:?}"),
    }
    drop(writer);
    assert_eq!(plugins.run(b"{}").unwrap(), b"new\n");
}
