//! The command line itself: is it well formed, and does every command explain itself?

use super::*;

fn read(line: &str) -> Result<Invocation, clap::Error> {
    parse(line.split_whitespace().map(OsString::from))
}

fn each(command: &clap::Command, seen: &mut dyn FnMut(&clap::Command)) {
    for sub in command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
    {
        seen(sub);
        each(sub, seen);
    }
}

#[test]
fn the_command_line_is_well_formed() {
    Args::command().debug_assert();
    Program::Kubectl.commands().debug_assert();
}

#[test]
fn every_command_has_a_sentence_and_an_example() {
    each(&Args::command(), &mut |command| {
        let name = command.get_name();
        let about = command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(about.len() > 10, "{name} says nothing of itself");
        let after = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(
            after.contains("Example") && after.contains("ipamctl"),
            "{name} has no example"
        );
        for argument in command.get_arguments() {
            let help = argument
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                !help.is_empty(),
                "{name}: {} says nothing",
                argument.get_id()
            );
        }
    });
}

#[test]
fn flags_with_a_span_name_their_unit_as_seconds() {
    each(&Args::command(), &mut |command| {
        for argument in command.get_arguments() {
            let long = argument.get_long().unwrap_or_default();
            let spans = ["ttl", "timeout", "interval", "quarantine"];
            if spans.iter().any(|span| long.contains(span)) {
                assert!(long.ends_with("-seconds"), "--{long}");
            }
        }
    });
}

#[test]
fn as_a_plugin_of_kubectl_the_help_says_so() {
    let shown = read("/usr/local/bin/kubectl-ipam whohas --help").expect_err("help");
    let help = shown.to_string();
    assert!(help.contains("Usage: kubectl ipam whohas"), "{help}");
    assert!(
        help.contains("kubectl ipam whohas 10.20.0.7") && !help.contains("ipamctl"),
        "{help}"
    );
    let shown = read("/usr/bin/ipamctl lease list --help").expect_err("help");
    assert!(
        shown.to_string().contains("Usage: ipamctl lease list"),
        "{shown}"
    );
}

#[test]
fn command_lines_are_read_or_refused() {
    for line in [
        "ipamctl pool create blue --ipv4-cidr 10.0.0.0/24 --families BOTH --strategy next-fit",
        "ipamctl pool create blue --ipv4 10.0.0.0/24 --ipv4-gateway 10.0.0.1 --ipv6 fd00::/64",
        "ipamctl pool create -f -",
        "ipamctl pool cordon --undo blue",
        "ipamctl lease list --state ACTIVE -o wide --limit 3",
        "ipamctl lease allocate --pool a --pool b --claim x",
        "ipamctl whohas fd00::7 --at -10m --vrf blue -o json",
        "ipamctl history --since -2h --until now",
        "ipamctl explain 10.0.0.7",
        "ipamctl import",
        "ipamctl import backup.jsonl --dry-run",
        "ipamctl import host-local /var/lib/cni/networks/blue --pool blue --dry-run",
        "ipamctl import whereabouts - --pool-prefix wb-",
        "ipamctl lease reclaim - --node n1 --grace-seconds 600 --yes",
        "ipamctl top --interval-seconds 5",
        "ipamctl completion bash",
    ] {
        assert!(read(line).is_ok(), "{line}: {:?}", read(line).err());
    }
    for line in [
        "ipamctl",
        "ipamctl pool create",
        "ipamctl pool create blue --ipv4 10.0.0.0/24 --ipv4-cidr 10.0.0.0/24",
        "ipamctl pool create blue -f pools.yaml",
        "ipamctl lease allocate --pool a",
        "ipamctl lease allocate --claim x",
        "ipamctl lease allocate --pool a --network n --pod a/b",
        "ipamctl reservation create a --pool b --pod c/d",
        "ipamctl whohas 10.0.0.999",
        "ipamctl whohas 10.0.0.9 --at soon",
        "ipamctl lease reclaim",
        "ipamctl lease reclaim pods.json --grace-seconds 59",
        "ipamctl top --interval-seconds 0",
    ] {
        assert!(read(line).is_err(), "{line}");
    }
}
