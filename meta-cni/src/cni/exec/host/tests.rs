//! Real programs in real folders: which one is run, and what becomes of the ways in which it can end.

mod limits;
mod streams;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;

use tempfile::TempDir;

use super::*;
use crate::cni::error::Code;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(120);

const TARGET: Target<'_> = Target {
    container_id: "c1",
    netns: "/run/netns/pod",
    ifname: "net1",
    args: "IgnoreUnknown=1;K8S_POD_NAME=web",
};

/// A folder of plugins that are shell scripts.
struct Plugins {
    dir: TempDir,
}

impl Plugins {
    /// One plugin called `plugin`.
    fn with(script: &str) -> Plugins {
        let plugins = Plugins {
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

    fn within(&self, limit: Duration) -> HostExec {
        HostExec {
            dirs: vec![self.dir.path().to_owned()],
            limit,
            reserve: Duration::ZERO,
        }
    }

    /// Runs ADD of `plugin` with `stdin`.
    fn run(&self, stdin: &[u8]) -> Result<Vec<u8>, ExecError> {
        self.within(LONG).run("plugin", Command::Add, TARGET, stdin)
    }
}

#[test]
fn a_plugin_is_told_what_to_do_and_gives_what_it_prints() {
    let plugins = Plugins::with(
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
fn a_plugin_finds_others_where_it_was_looked_for_itself() {
    let plugins = Plugins::with(r#"printf %s "$CNI_PATH""#);
    let mut exec = plugins.within(LONG);
    exec.dirs.push("/usr/lib/cni".into());
    let printed = exec.run("plugin", Command::Add, TARGET, b"{}").unwrap();
    let path = format!("{}:/usr/lib/cni", plugins.dir.path().display());
    assert_eq!(String::from_utf8(printed).unwrap(), path);
}

#[test]
fn what_a_plugin_logs_is_no_part_of_its_result() {
    let plugins = Plugins::with("echo made a veth >&2; echo '{}'");
    assert_eq!(plugins.run(b"{}").unwrap(), b"{}\n");
}

#[test]
fn an_error_object_is_decoded_with_its_code() {
    let plugins = Plugins::with(
        r#"echo '{"cniVersion":"1.0.0","code":11,"msg":"no lease","details":"pool is full"}'; exit 1"#,
    );
    match plugins.run(b"{}").unwrap_err() {
        ExecError::Failed { plugin, object } => {
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
        let error = Plugins::with(script).run(b"{}").unwrap_err();
        assert_eq!(error.to_string(), expected, "{name}");
    }
}

#[test]
fn of_long_outputs_the_start_and_the_end_are_quoted() {
    let script = "echo first; head -c 9000 /dev/zero | tr '\\0' o; \
                  head -c 9000 /dev/zero | tr '\\0' e >&2; echo last >&2; exit 1";
    match Plugins::with(script).run(b"{}").unwrap_err() {
        ExecError::FailedSilently { stdout, stderr, .. } => {
            assert!(stdout.starts_with("first o") && stdout.len() == QUOTED_BYTES);
            assert!(stderr.ends_with("elast") && stderr.len() < QUOTED_BYTES);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_output_that_is_cut_inside_a_character_can_be_quoted() {
    let script =
        "printf a; for i in 1 2 3 4 5 6 7 8; do printf '%0100d' 0 | sed s/0/é/g; done; exit 1";
    match Plugins::with(script).run(b"{}").unwrap_err() {
        ExecError::FailedSilently { stdout, .. } => assert!(stdout.starts_with("aéé"), "{stdout}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn folders_are_searched_in_order() {
    let (first, second) = (Plugins::with("echo first"), Plugins::with("echo second"));
    second.add("other", "echo other");
    let exec = HostExec {
        dirs: vec![
            "/nonexistent".into(),
            first.dir.path().into(),
            second.dir.path().into(),
        ],
        limit: LONG,
        reserve: Duration::ZERO,
    };
    let run = |plugin| exec.run(plugin, Command::Add, TARGET, b"{}").unwrap();
    assert_eq!(run("plugin"), b"first\n");
    assert_eq!(run("other"), b"other\n");
}

#[test]
fn what_cannot_be_executed_is_passed_over() {
    let (first, second) = (Plugins::with("echo first"), Plugins::with("echo second"));
    first.add_with_mode("text", "echo not executable", 0o644);
    fs::create_dir(first.path("folder")).unwrap();
    for name in ["text", "folder"] {
        second.add(name, "echo right");
        let exec = HostExec {
            dirs: vec![first.dir.path().into(), second.dir.path().into()],
            limit: LONG,
            reserve: Duration::ZERO,
        };
        assert_eq!(exec.find(name).unwrap(), second.path(name), "{name}");
    }
}

#[test]
fn a_plugin_that_is_nowhere_is_reported_with_the_folders() {
    let exec = HostExec {
        dirs: vec!["/nonexistent/a".into(), "/nonexistent/b".into()],
        limit: LONG,
        reserve: Duration::ZERO,
    };
    let error = exec.run("bridge", Command::Add, TARGET, b"{}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "plugin \"bridge\" is not in /nonexistent/a, /nonexistent/b; install it there"
    );
}

#[test]
fn a_name_that_is_a_path_is_refused_although_a_program_is_there() {
    let plugins = Plugins::with("echo run");
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
        let found = plugins.within(LONG).find(name);
        assert!(
            matches!(found, Err(ExecError::NotFound { .. })),
            "{name:?}: {found:?}"
        );
    }
}

#[test]
fn a_file_that_is_no_program_is_reported_by_its_path() {
    let plugins = Plugins::with("exit 0");
    fs::write(plugins.path("plugin"), "#!/nonexistent/interpreter\n").unwrap();
    match plugins.run(b"{}").unwrap_err() {
        ExecError::Start { path, source } => {
            assert_eq!(PathBuf::from(path), plugins.path("plugin"));
            assert_eq!(source.kind(), io::ErrorKind::NotFound);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_plugin_that_is_being_replaced_is_tried_again() {
    let plugins = Plugins::with("echo new");
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
    let plugins = Plugins::with("echo new");
    let writer = File::options()
        .append(true)
        .open(plugins.path("plugin"))
        .unwrap();
    match plugins.run(b"{}").unwrap_err() {
        ExecError::Start { source, .. } => {
            assert_eq!(source.raw_os_error(), Some(Errno::ETXTBSY as i32));
        }
        other => panic!("{other:?}"),
    }
    drop(writer);
    assert_eq!(plugins.run(b"{}").unwrap(), b"new\n");
}
