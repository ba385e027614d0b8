//! ipamctl as people and scripts meet it: every command once, what it writes where, exit codes, questions.

#[path = "cli/fake.rs"]
mod fake;
#[path = "cli/harness.rs"]
mod harness;
#[expect(clippy::expect_used, reason = "a test that cannot go on fails")]
#[path = "cli/terminal.rs"]
mod terminal;

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use harness::{Bench, run};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use terminal::Terminal;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn pools_are_made_shown_changed_and_deleted() {
    let bench = Bench::new();
    let made = bench.done("pool create blue --ipv4-cidr 10.20.0.0/24 --ipv4-gateway 10.20.0.1 --quarantine-seconds 60 --label team=ran");
    assert!(made.starts_with("NAME   STATE    IPV4"), "{made}");
    let pool = json(&bench.done("pool get blue -o json"));
    assert_eq!(
        (&pool["quarantine"], &pool["ipv4"]["gateway"]),
        (&Value::from("60s"), &Value::from("10.20.0.1"))
    );
    bench.done("pool edit blue --ipv4-gateway 10.20.0.2 --label team-");
    assert_eq!(bench.fake.state().mask, ["ipv4.gateway", "labels"]);
    assert!(bench.done("pool cordon blue").contains("CORDONED"));
    assert!(bench.done("pool cordon --undo blue").contains("ACTIVE"));
    assert_eq!(
        json(&bench.done("pool list -o json"))["pools"][0]["name"],
        "blue"
    );
    assert!(
        bench
            .done("pool list -o yaml")
            .starts_with("pools:\n- name: blue\n")
    );
    bench.done("pool delete blue --yes");
    assert_eq!(bench.run("pool list").err, "no pools found\n");
}

#[test]
fn a_pool_is_made_with_the_short_names_as_with_the_long_ones() {
    let bench = Bench::new();
    bench.done("pool create short --ipv4 10.20.0.0/24 --ipv6 fd00:20::/64");
    bench.done("pool create long --ipv4-cidr 10.20.0.0/24 --ipv6-cidr fd00:20::/64");
    let state = bench.fake.state();
    let cidrs = |name: &str| {
        let pool = state.pools.get(name).expect("made");
        [&pool.ipv4, &pool.ipv6].map(|subnet| subnet.as_ref().map(|subnet| subnet.cidr.clone()))
    };
    assert_eq!(cidrs("short"), cidrs("long"));
    assert!(cidrs("short").iter().all(Option::is_some));
}

#[test]
fn pools_come_from_a_file_or_stdin() {
    let bench = Bench::new();
    let text =
        "pools:\n- name: a\n  ipv4: {cidr: 10.0.0.0/24}\n- name: b\n  ipv6: {cidr: 'fd00::/64'}\n";
    let file = bench.file("pools.yaml", text);
    bench.done(&format!("pool create -f {file}"));
    let done = bench.run_with("pool create -f - --dry-run -o json", text, &[]);
    assert_eq!(
        json(&done.out)["pools"].as_array().map(Vec::len),
        Some(2),
        "{done:?}"
    );
    let wrong = bench.file("wrong.yaml", "pools:\n- nmae: a\n");
    let error = bench.fails(&format!("pool create -f {wrong}"), 1);
    assert!(
        error.contains("wrong.yaml:2: pool 1: nmae: ") && error.lines().count() == 1,
        "{error}"
    );
}

#[test]
fn a_pool_is_edited_in_an_editor_and_guarded_by_its_etag() {
    let bench = Bench::with_lease();
    let edit = |script: &str| {
        let editor = bench.file("editor.sh", script);
        bench.run_with(
            "pool edit blue",
            "",
            &[("VISUAL", ""), ("EDITOR", &format!("sh {editor}"))],
        )
    };
    let same = edit("true");
    assert_eq!(
        (same.code, same.err.as_str()),
        (Some(0), "pool blue is not changed\n")
    );
    let done = edit("echo 'quarantine: 30s' >> \"$1\"");
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(
        json(&bench.done("pool get blue -o json"))["quarantine"],
        "30s"
    );
    let failed = edit("exit 3");
    assert!(
        failed
            .err
            .contains("ended with exit status: 3; nothing was changed"),
        "{failed:?}"
    );
    let ipamctl = env!("CARGO_BIN_EXE_ipamctl");
    let raced = edit(&format!(
        "{ipamctl} pool edit blue --strategy lowest && echo 'maxTtl: 9s' >> \"$1\""
    ));
    assert!(raced.err.ends_with("[STALE_GENERATION]\n"), "{raced:?}");
}

#[test]
fn leases_are_taken_shown_renewed_and_released() {
    let bench = Bench::with_lease();
    bench.done("lease allocate --pool blue --claim vm-7");
    let table = bench.done("lease list --pool blue --node n1");
    assert_eq!(table.lines().count(), 3, "{table}");
    assert_eq!(
        bench.fake.state().filter,
        r#"pool="blue" AND owner.node="n1""#
    );
    assert_eq!(bench.done("lease list --limit 1").lines().count(), 2);
    assert_eq!(
        json(&bench.done("lease list -o json"))["leases"][1]["owner"]["claim"],
        "vm-7"
    );
    assert_eq!(
        json(&bench.done("lease get l1 -o json"))["ipv6"],
        "fd00:20::7/64"
    );
    bench.done("lease renew l1 --ttl-seconds 60");
    bench.done("lease release l1 l2 --yes");
    let error = bench.fails("lease get l1", 3);
    assert!(
        error.starts_with("error: lease l1 does not exist; ")
            && error.ends_with("[LEASE_NOT_FOUND]\n"),
        "{error}"
    );
}

/// With a lease of container c-POD on node n1 for each pod of namespace ns.
fn with_containers(pods: &[String]) -> Bench {
    let bench = Bench::new();
    bench.done("pool create blue --ipv4 10.20.0.0/24 --ipv6 fd00:20::/64");
    for pod in pods {
        let attachment = format!("--network blue --container-id c-{pod} --ifname net1 --node n1");
        bench.done(&format!(
            "lease allocate --pool blue --pod ns/{pod} {attachment}"
        ));
    }
    bench
}

#[test]
fn what_two_lists_miss_is_reclaimed_once_somebody_says_yes() {
    let bench = with_containers(&["web".to_owned(), "old".to_owned()]);
    bench.done("lease allocate --pool blue --claim vm-7");
    let list = "ns/web\nkube-system/dns\n";
    let file = bench.file("pods", list);
    let line = format!("lease reclaim {file}");
    // The first run remembers, and asks nothing.
    let first = bench.run(&line);
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(
        first.out.contains("SUSPECTED   l2") && first.out.lines().count() == 2,
        "{first:?}"
    );
    let dry = bench.run(&format!("{line} --dry-run"));
    assert!(dry.out.contains("RECLAIMED   l2"), "{dry:?}");
    assert!(
        dry.err.ends_with("nothing was changed (--dry-run)\n"),
        "{dry:?}"
    );
    let no = bench.run_with(&line, "n\n", &[]);
    assert_eq!(no.code, Some(1), "{no:?}");
    assert!(
        no.err
            .starts_with("End l2 (10.20.0.7/24 fd00:20::7/64) of ns/old? [y/N] "),
        "{no:?}"
    );
    assert_eq!(bench.fake.state().leases.len(), 3);
    // A list through a pipe is no answer.
    let piped = bench.run_with("lease reclaim -", list, &[]);
    assert!(
        piped.err.contains("not confirmed, nothing was changed"),
        "{piped:?}"
    );
    let done = bench.run_with("lease reclaim - --yes -o json", list, &[]);
    assert_eq!(
        json(&done.out)["reclaimed"][0]["owner"]["pod"],
        "old",
        "{done:?}"
    );
    assert_eq!(bench.fake.state().leases.len(), 2);
    assert_eq!(bench.run(&line).err, "no orphans found\n");
}

#[test]
fn a_list_that_misses_most_leases_ends_nothing() {
    let pods: Vec<_> = (0..12).map(|number| format!("p{number}")).collect();
    let bench = with_containers(&pods);
    let file = bench.file("pods", "ns/p0\nkube-system/dns\n");
    bench.done(&format!("lease reclaim {file} --yes"));
    let refused = bench.fails(&format!("lease reclaim {file} --yes"), 1);
    assert!(
        refused.starts_with("error: 11 of 12 leases would end: is the list whole?"),
        "{refused}"
    );
    assert_eq!(bench.fake.state().leases.len(), 12);
    bench.done(&format!("lease reclaim {file} --yes --at-most-percent 95"));
    assert_eq!(bench.fake.state().leases.len(), 1);
}

#[test]
fn what_destroys_asks_and_only_yes_is_yes() {
    let bench = Bench::with_lease();
    for (answer, code, left) in [("", 1, 1), ("no\n", 1, 1), ("y\n", 0, 0)] {
        let done = bench.run_with("lease release l1", answer, &[]);
        assert_eq!(done.code, Some(code), "{done:?}");
        assert!(
            done.err
                .starts_with("Release l1 (10.20.0.7/24 fd00:20::7/64) of default/web-0? [y/N] "),
            "{done:?}"
        );
        assert_eq!(bench.fake.state().leases.len(), left);
    }
    let done = bench.run_with("pool delete blue", "n\n", &[]);
    assert!(
        done.err.contains("not confirmed, nothing was changed"),
        "{done:?}"
    );
}

#[test]
fn a_watch_is_lines_for_people_and_objects_for_programs() {
    let bench = Bench::with_lease();
    let table = bench.done("lease watch --limit 1");
    assert!(
        table.starts_with("REVISION   TIME                   TYPE      SUBJECT"),
        "{table}"
    );
    assert!(
        table.contains("1          2026-01-01T00:00:00Z   CREATED   lease/l1"),
        "{table}"
    );
    let lines = bench.done("lease watch --limit 1 -o json");
    let all: Vec<_> = lines.lines().map(json).collect();
    assert!(
        all[0]["bookmarkRevision"].is_string() && all[1]["event"]["type"] == "CREATED",
        "{lines}"
    );
    assert!(
        bench
            .fails("lease watch", 1)
            .contains("ended the watch before its end")
    );
}

#[test]
fn reservations_are_made_shown_and_deleted() {
    let bench = Bench::new();
    bench.done("reservation create db-0 --pool blue --ipv4 10.20.0.50 --pod prod/db-0");
    assert!(bench.done("reservation list").contains("prod/db-0"));
    assert_eq!(
        json(&bench.done("reservation get db-0 -o json"))["identity"]["pod"],
        "db-0"
    );
    bench.done("reservation delete db-0 --yes");
    assert!(
        bench
            .fails("reservation get db-0", 3)
            .ends_with("[RESERVATION_NOT_FOUND]\n")
    );
}

#[test]
fn whohas_tells_the_holder_or_that_there_is_none() {
    let bench = Bench::with_lease();
    assert!(bench.done("whohas fd00:20::7").contains("default/web-0"));
    assert!(
        bench
            .done("whohas 10.20.0.7 --at -10m -o yaml")
            .contains("pod: web-0")
    );
    let error = bench.fails("whohas 10.20.0.8", 3);
    assert_eq!(
        error,
        "error: nobody holds 10.20.0.8; `ipamctl history 10.20.0.8` shows who did\n"
    );
    let error = bench.fails("whohas 10.20.0.7 --at 1970-01-02", 1);
    assert!(
        error.ends_with("`ipamctl server` shows how far the history reaches [COMPACTED]\n"),
        "{error}"
    );
}

#[test]
fn explain_says_what_would_be_given_or_why_nothing() {
    let bench = Bench::with_lease();
    let told = bench.done("explain --pool blue");
    assert!(
        told.ends_with("would give 10.20.0.7/24 fd00:20::7/64 of pool blue\n"),
        "{told}"
    );
    let done = bench.run("explain 10.20.0.1");
    assert_eq!(done.code, Some(1));
    assert!(
        done.out
            .contains("blue   ADDRESS_RESERVED   10.20.0.1 is the gateway"),
        "{done:?}"
    );
    assert!(
        bench
            .fails("explain 10.99.0.1", 3)
            .contains("no pool holds 10.99.0.1")
    );
}

#[test]
fn history_server_check_top_and_completion_are_text_without_a_terminal() {
    let bench = Bench::with_lease();
    assert!(
        bench
            .done("history --pod default/web-0 --limit 5 -o wide")
            .contains("uid:0")
    );
    assert!(json(&bench.done("history -o json"))["events"][0]["after"]["lease"].is_object());
    assert!(
        bench
            .done("server")
            .starts_with("VERSION   STORE    WRITABLE")
    );
    assert_eq!(bench.done("check"), "1 leases of 1 pools: all is well\n");
    bench.fake.state().lie = true;
    assert_eq!(bench.run("check").out, "a count is off\n");
    assert_eq!(bench.run("check").code, Some(1));
    let top = bench.done("top");
    assert!(
        top.starts_with("ipam-server 0.1.0  memory  1 pools") && top.contains("blue   IPv6"),
        "{top}"
    );
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            bench
                .done(&format!("completion {shell}"))
                .contains("whohas"),
            "{shell}"
        );
    }
}

#[test]
fn an_export_is_imported_again_and_changes_nothing_the_second_time() {
    let bench = Bench::with_lease();
    let file = bench.path("all.jsonl").display().to_string();
    let done = bench.run(&format!("export -f {file}"));
    assert_eq!((done.out.as_str(), done.code), ("", Some(0)), "{done:?}");
    let text = std::fs::read_to_string(&file).expect("written");
    assert_eq!(text, bench.done("export"));
    assert_eq!(
        json(text.lines().next().expect("a header"))["header"]["format"],
        1
    );
    let other = Bench::new();
    let counts = |line: &str| {
        let answer = json(&other.done(&format!("{line} -o json")));
        (answer["imported"].clone(), answer["unchanged"].clone())
    };
    assert_eq!(
        counts(&format!("import {file} --dry-run")),
        ("2".into(), Value::Null)
    );
    assert_eq!(counts(&format!("import {file}")), ("2".into(), Value::Null));
    assert_eq!(counts(&format!("import {file}")), (Value::Null, "2".into()));
    other.fake.state().leases.get_mut("l1").expect("there").mac = "02:00:00:00:00:09".to_owned();
    let done = other.run_with("import -", &text, &[]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(
        done.err
            .contains("it is there, and differs\nerror: 1 item is not imported"),
        "{done:?}"
    );
}

#[test]
fn half_an_export_is_no_file() {
    let bench = Bench::with_lease();
    bench.fake.state().lie = true;
    let file = bench.path("half.jsonl");
    let error = bench.fails(&format!("export -f {}", file.display()), 1);
    assert!(error.contains("ended the export before its end"), "{error}");
    assert!(!file.exists());
}

#[test]
fn a_missing_file_of_an_import_is_named_with_what_to_do() {
    let bench = Bench::new();
    for command in [
        "import /missing/file.jsonl",
        "import whereabouts /missing/file.jsonl",
    ] {
        let error = bench.fails(command, 1);
        let expected = "/missing/file.jsonl cannot be read; name a file that exists: ";
        assert!(error.contains(expected), "{command}: {error}");
    }
}

#[test]
fn a_long_import_goes_in_batches_and_a_wrong_line_is_named_and_left_out() {
    let bench = Bench::new();
    let lines: String = (0..2500)
        .map(|number| format!("{{\"pool\":{{\"name\":\"p{number}\"}}}}\n"))
        .collect();
    bench.done(&format!("import {}", bench.file("many.jsonl", &lines)));
    assert_eq!(bench.fake.state().batches, [1000, 1000, 500]);
    let broken = bench.file(
        "broken.jsonl",
        "not json\n{\"pool\":{\"name\":\"new\"}}\n{}\n",
    );
    let done = bench.run(&format!("import {broken} -o json"));
    assert_eq!(done.code, Some(1), "{done:?}");
    let told = json(&done.out);
    assert_eq!(
        (&told["imported"], &told["conflicts"]),
        (&"1".into(), &"2".into()),
        "{told}"
    );
    for words in [
        "broken.jsonl:1: not a line of an export",
        "broken.jsonl:3: not a line of an export",
        "2 items are not imported",
    ] {
        assert!(done.err.contains(words), "{words}: {done:?}");
    }
    assert!(bench.fake.state().pools.contains_key("new"));
    let newer = bench.file(
        "newer.jsonl",
        "{\"header\":{\"format\":9}}\n{\"pool\":{\"name\":\"newer\"}}\n",
    );
    let error = bench.fails(&format!("import {newer}"), 1);
    assert!(
        error.contains("newer.jsonl:1: format 9 is not known"),
        "{error}"
    );
    assert!(!bench.fake.state().pools.contains_key("newer"));
}

#[test]
fn what_host_local_holds_becomes_leases() {
    let bench = Bench::with_lease();
    bench.file("net/10.20.0.9", "abc\r\neth0");
    bench.file("net/fd00:20::9", "abc\r\neth0");
    bench.file("net/10.99.0.9", "other\r\neth0");
    bench.file("net/last_reserved_ip.0", "10.20.0.9");
    let folder = bench.path("net").display().to_string();
    let done = bench.run(&format!("import host-local {folder} --pool blue -o json"));
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(
        done.err
            .contains("10.99.0.9 is not in the networks of pool blue"),
        "{done:?}"
    );
    let state = bench.fake.state();
    let lease = state.leases.get("10.20.0.9/24").expect("imported");
    let owner = lease.owner.as_ref().expect("an owner");
    assert_eq!(
        (lease.ipv6.as_str(), owner.network.as_str()),
        ("fd00:20::9/64", "net")
    );
}

#[test]
fn what_whereabouts_holds_becomes_pools_and_leases() {
    let bench = Bench::new();
    let file = bench.file(
        "ippools.yaml",
        "kind: List\nitems:\n- {kind: IPPool, metadata: {name: 10.30.0.0-24}, spec: {range: 10.30.0.0/24, allocations: {'9': {id: abc, podref: default/web-0, ifname: net1}}}}\n",
    );
    let error = bench.fails(&format!("import whereabouts {file}"), 2);
    assert!(
        error.contains("no pool of VRF default contains 10.30.0.0/24"),
        "{error}"
    );
    bench.done(&format!(
        "import whereabouts {file} --pool-prefix wb- --network net"
    ));
    let state = bench.fake.state();
    assert!(state.pools.contains_key("wb-10.30.0.0-24"));
    let lease = state.leases.get("10.30.0.9/24").expect("imported");
    assert_eq!(
        lease.owner.as_ref().map(|owner| owner.network.as_str()),
        Some("net")
    );
    assert_eq!(lease.labels["meta-cni.io/imported-from"], "whereabouts");
}

#[test]
fn errors_are_one_line_with_reason_and_remedy() {
    let bench = Bench::with_lease();
    for (line, code, start, end) in [
        (
            "pool get red",
            3,
            "pool red does not exist",
            "[POOL_NOT_FOUND]",
        ),
        ("pool create x", 2, "pool.ipv4: one of", "[INVALID_FIELD]"),
        (
            "lease allocate --pool blue --claim x --ip 10.20.0.1",
            1,
            "10.20.0.1 of pool blue",
            "[ADDRESS_RESERVED]",
        ),
        (
            "lease get slow --timeout-seconds 1",
            1,
            "unix://",
            "a change may or may not be made",
        ),
        (
            "--server ftp://x server",
            2,
            "--server: ftp://x is not ",
            "http://127.0.0.1:port",
        ),
        (
            "--server http://192.0.2.1:7443 server",
            2,
            "--server: http",
            "use https",
        ),
        (
            "--server https://192.0.2.1:7443 server",
            2,
            "--tls-ca",
            "needed for https",
        ),
    ] {
        let error = bench.fails(line, code);
        let told = error.strip_prefix("error: ").unwrap_or_default();
        assert!(
            told.starts_with(start) && told.trim_end().ends_with(end),
            "{line}: {error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_server_that_is_not_there_is_told_with_its_address() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = format!("unix://{}/ipam.sock", folder.path().display());
    let done = run("server", "", &[("IPAM_SERVER", &missing)]);
    assert_eq!(done.code, Some(1));
    assert!(
        done.err
            .starts_with(&format!("error: no ipam-server at {missing}: No such file")),
        "{done:?}"
    );
    assert!(
        done.err
            .ends_with("start it, or name another one with --server\n"),
        "{done:?}"
    );
    drop(
        std::os::unix::net::UnixListener::bind(folder.path().join("ipam.sock")).expect("a socket"),
    );
    let done = run("server", "", &[("IPAM_SERVER", &missing)]);
    assert!(done.err.contains("it is not running; start it"), "{done:?}");
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let bench = Bench::new();
    for number in 0..3000 {
        let lease = proto::ipam::v1::Lease {
            id: format!("l{number:05}"),
            ..Default::default()
        };
        bench.fake.state().leases.insert(lease.id.clone(), lease);
    }
    let mut child = bench
        .command(&["lease", "list", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    drop(child.stdout.take());
    let ended = child.wait().expect("ended");
    let mut told = String::new();
    child
        .stderr
        .take()
        .expect("piped")
        .read_to_string(&mut told)
        .expect("UTF-8");
    assert_eq!((ended.code(), told.as_str()), (Some(0), ""));
}

#[test]
fn top_gives_the_terminal_back_after_q_ctrl_c_and_sigterm() {
    let bench = Bench::with_lease();
    for how in ["q", "Ctrl-C", "SIGTERM"] {
        let mut terminal = Terminal::start(&mut bench.command(&["top"]));
        terminal.wait_for("quit");
        terminal.press(b"u");
        terminal.wait_for("u use");
        match how {
            "q" => terminal.press(b"q"),
            "Ctrl-C" => terminal.press(&[3]),
            _ => kill(terminal.id(), Signal::SIGTERM).expect("told"),
        }
        terminal.wait_for("\u{1b}[?1049l");
        assert_eq!(terminal.end(), (Some(0), true), "{how}");
    }
}

#[test]
fn a_table_has_colours_on_a_terminal_and_not_with_no_color() {
    let bench = Bench::with_lease();
    for (value, coloured) in [("", true), ("1", false)] {
        let mut terminal = Terminal::start(bench.command(&["pool", "list"]).env("NO_COLOR", value));
        terminal.wait_for("ACTIVE");
        assert_eq!(
            terminal.shown.contains("\u{1b}[38;5;10mACTIVE"),
            coloured,
            "{:?}",
            terminal.shown
        );
        assert_eq!(terminal.end().0, Some(0));
    }
}

#[test]
fn a_socket_of_somebody_else_is_told_with_the_way_to_open_it() {
    let bench = Bench::new();
    let nobody = 65534;
    // Root may open everything: it becomes another user first. Anybody else takes away the own right.
    let root = nix::unistd::Uid::effective().is_root();
    let program = bench.path("ipamctl");
    std::fs::copy(env!("CARGO_BIN_EXE_ipamctl"), &program).expect("copied");
    let mode = |path: &std::path::Path, bits| {
        let rights = std::fs::Permissions::from_mode(bits);
        std::fs::set_permissions(path, rights).expect("set");
    };
    mode(&bench.path(""), 0o755);
    mode(&bench.path("ipam.sock"), 0);
    let mut command = Command::new(program);
    command
        .args(["server", "--server"])
        .arg(format!("unix://{}", bench.path("ipam.sock").display()));
    if root {
        command.uid(nobody);
    }
    let done = command.output().expect("started");
    let told = String::from_utf8(done.stderr).expect("UTF-8");
    assert_eq!(done.status.code(), Some(1));
    assert!(
        told.ends_with(
            "ipam.sock may be opened by its owner only; run this as root, or with sudo\n"
        ),
        "{told}"
    );
}
