//! ipamctl and the real server: every command as a person or a script runs it, without a terminal.

mod backup;
mod hangs;
mod history;
mod leases;
mod plugins;
mod pools;
mod reclaim;
mod screen;
mod whereabouts;

use std::fs;
use std::process::Output;

use e2e::IpamServer;
use serde_json::Value;

/// What a command did.
#[derive(Debug)]
struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Done {
        Done {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

/// A server and the program that asks it, by lines without quotation marks.
struct Bench {
    server: IpamServer,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            server: IpamServer::start(),
        }
    }

    /// With the pool `blue`.
    fn with_pool() -> Bench {
        let bench = Bench::new();
        bench.done("pool create blue --ipv4-cidr 10.20.0.0/24 --ipv4-gateway 10.20.0.1 --ipv6-cidr fd00:20::/64");
        bench
    }

    fn run(&self, line: &str) -> Done {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.server.ipamctl(&words).into()
    }

    /// Runs a command that must succeed, and gives its stdout.
    #[track_caller]
    fn done(&self, line: &str) -> String {
        let done = self.run(line);
        assert_eq!(done.code, Some(0), "{line}: {done:?}");
        done.out
    }

    /// Runs a command that must fail with a code, nothing on stdout and one line on stderr, and gives that.
    #[track_caller]
    fn fails(&self, line: &str, code: i32) -> String {
        let done = self.run(line);
        assert_eq!(done.code, Some(code), "{line}: {done:?}");
        assert_eq!(done.out, "", "{line}");
        assert_eq!(done.err.lines().count(), 1, "{line}: {done:?}");
        done.err
    }

    /// Runs a command with `-o json` and reads what it wrote.
    #[track_caller]
    fn json(&self, line: &str) -> Value {
        json(&self.done(&format!("{line} -o json")))
    }

    /// Takes a lease of `blue` for a pod of namespace `default`, and gives it.
    #[track_caller]
    fn lease(&self, pod: &str) -> Value {
        let line = format!("lease allocate --pool blue --pod default/{pod}");
        self.json(&line)["lease"].clone()
    }

    /// Writes a file beside the server's, and gives its path.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.server.folder().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("make a folder");
        fs::write(&path, text).expect("write a file");
        path.display().to_string()
    }
}

#[track_caller]
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[track_caller]
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

#[test]
fn what_is_read_is_a_table_json_or_yaml_and_nothing_else_on_stdout() {
    let bench = Bench::with_pool();
    bench.lease("web-0");
    bench.done("reservation create db-0 --pool blue --ipv4 10.20.0.50 --pod prod/db-0");
    for line in [
        "pool list",
        "pool get blue",
        "lease list",
        "lease get l2",
        "reservation list",
        "reservation get db-0",
        "whohas 10.20.0.2",
        "explain --pool blue",
        "history",
        "check",
        "server",
        "top",
    ] {
        let shown = bench.json(line);
        assert!(shown.is_object(), "{line}: {shown}");
        let yaml = bench.done(&format!("{line} -o yaml"));
        let same: Value = process::yaml::read(&yaml).expect("YAML");
        assert_eq!(plain(same), plain(shown), "{line}");
        for format in ["table", "wide"] {
            let shown = bench.run(&format!("{line} -o {format}"));
            assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""), "{line}");
            assert!(!shown.out.contains('\u{1b}'), "colours: {shown:?}");
            assert!(
                shown.out.ends_with('\n') && !shown.out.contains('{'),
                "{shown:?}"
            );
        }
    }
}

/// Without what differs from one question to the next.
fn plain(mut shown: Value) -> Value {
    // The lease that explain shows is made at the time of the question.
    if let Some(lease) = shown.pointer_mut("/wouldGive/lease/createTime") {
        *lease = Value::Null;
    }
    shown
}

#[test]
fn exit_codes_show_the_kind_of_a_failure() {
    let bench = Bench::with_pool();
    bench.lease("web-0");
    for (line, code, end) in [
        ("pool get red", 3, "[POOL_NOT_FOUND]\n"),
        ("pool cordon red", 3, "[POOL_NOT_FOUND]\n"),
        ("pool delete red --yes", 3, "[POOL_NOT_FOUND]\n"),
        ("lease get l99", 3, "[LEASE_NOT_FOUND]\n"),
        ("lease get blue", 3, "[LEASE_NOT_FOUND]\n"),
        ("lease release l99 --yes", 3, "[LEASE_NOT_FOUND]\n"),
        ("lease renew l99", 3, "[LEASE_NOT_FOUND]\n"),
        ("reservation get db-0", 3, "[RESERVATION_NOT_FOUND]\n"),
        ("whohas 10.20.0.99", 3, "shows who did\n"),
        ("explain 10.99.0.1", 3, "`ipamctl pool list` shows them\n"),
        (
            "pool create red --ipv4-cidr 10.20.1.7/24",
            2,
            "[INVALID_FIELD]\n",
        ),
        ("lease list --filter colour=blue", 2, "[INVALID_FIELD]\n"),
        (
            "pool create blue --ipv4-cidr 10.21.0.0/24",
            1,
            "[POOL_EXISTS]\n",
        ),
        (
            "pool create red --ipv4-cidr 10.20.0.128/25",
            1,
            "[POOL_OVERLAP]\n",
        ),
        ("pool delete blue --yes", 1, "[POOL_IN_USE]\n"),
        (
            "pool edit blue --ipv4-range 10.20.0.100-10.20.0.200",
            1,
            "[POOL_IN_USE]\n",
        ),
        (
            "lease allocate --pool blue --claim x --ip 10.20.0.1",
            1,
            "[ADDRESS_RESERVED]\n",
        ),
        (
            "lease allocate --pool blue --claim x --ip 10.20.0.2",
            1,
            "[ADDRESS_IN_USE]\n",
        ),
        (
            "lease allocate --pool blue --claim x --ip 10.99.0.2",
            1,
            "[ADDRESS_NOT_IN_POOL]\n",
        ),
    ] {
        let error = bench.fails(line, code);
        assert!(
            error.starts_with("error: ") && error.ends_with(end),
            "{line}: {error}"
        );
    }
    for line in [
        "pool get",
        "pool list --colour",
        "lease allocate --pool blue",
        "nothing",
    ] {
        let done = bench.run(line);
        assert_eq!(
            (done.code, done.out.as_str()),
            (Some(2), ""),
            "{line}: {done:?}"
        );
    }
}

#[test]
fn what_destroys_is_refused_without_yes_when_there_is_no_terminal() {
    let bench = Bench::with_pool();
    let id = text(&bench.lease("web-0")["id"]).to_owned();
    bench.done("pool create red --ipv4-cidr 10.30.0.0/24");
    bench.done("reservation create db-0 --pool red --ipv4 10.30.0.50 --pod prod/db-0");
    let before = bench.json("server")["revision"].clone();
    for line in [
        format!("lease release {id}"),
        "reservation delete db-0".to_owned(),
        "pool delete red".to_owned(),
    ] {
        // stdin is /dev/null.
        let done = bench.run(&line);
        assert_eq!(
            (done.code, done.out.as_str()),
            (Some(1), ""),
            "{line}: {done:?}"
        );
        assert!(
            done.err
                .ends_with("\nerror: not confirmed, nothing was changed; --yes does not ask\n"),
            "{line}: {done:?}"
        );
        assert_eq!(bench.json("server")["revision"], before, "{line}");
    }
    // What is only tried needs no yes.
    bench.done(&format!("lease release {id} --dry-run"));
    assert_eq!(bench.json("server")["revision"], before);
    bench.done(&format!("lease release {id} --yes"));
    bench.done("reservation delete db-0 --yes");
    bench.done("pool delete red --yes");
}

#[test]
fn a_missing_server_is_reported_in_one_line() {
    let mut bench = Bench::with_pool();
    bench.server.kill9();
    for line in ["pool list", "lease watch", "export", "top", "check"] {
        let error = bench.fails(line, 1);
        assert!(
            error.starts_with("error: no ipam-server at unix://")
                && error.ends_with("it is not running; start it\n"),
            "{line}: {error}"
        );
    }
    bench.server.restart();
    bench.done("pool get blue");
}
