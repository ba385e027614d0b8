//! Large inputs and outputs at once, and pipes that are not used as one expects.

use super::*;

const MIB: usize = 1 << 20;

#[test]
fn a_plugin_that_writes_before_it_reads_is_not_waited_for() {
    let plugins = Folder::with(
        r#"head -c 1048576 /dev/zero | tr '\0' e >&2 &
           head -c 4194304 /dev/zero | tr '\0' o
           wait
           cat > "$0.stdin""#,
    );
    let stdin = vec![b'i'; 4 * MIB];
    let stdout = plugins.run(&stdin).unwrap();
    assert!(stdout == vec![b'o'; 4 * MIB], "{} bytes", stdout.len());
    let read = fs::read(plugins.path("plugin.stdin")).unwrap();
    assert!(read == stdin, "{} bytes", read.len());
}

#[test]
fn a_plugin_that_writes_while_it_reads_is_served_both_ways() {
    let plugins = Folder::with("exec cat");
    let stdin: Vec<u8> = (0..=250).cycle().take(4 * MIB).collect();
    let stdout = plugins.run(&stdin).unwrap();
    assert!(stdout == stdin, "{} bytes", stdout.len());
}

#[test]
fn a_plugin_need_not_read_its_input() {
    let cases = [
        ("it ends", "echo '{}'"),
        ("it closes its input", "exec <&-; echo '{}'"),
        ("it reads a part", "head -c 10 >/dev/null; echo '{}'"),
    ];
    for (name, script) in cases {
        let printed = Folder::with(script).run(&vec![b' '; 4 * MIB]);
        assert_eq!(printed.unwrap(), b"{}\n", "{name}");
    }
}

#[test]
fn a_plugin_may_close_its_outputs_before_it_has_read_its_input() {
    let plugins = Folder::with(r#"exec >&- 2>&-; cat > "$0.stdin""#);
    let stdin = vec![b'i'; 4 * MIB];
    assert_eq!(plugins.run(&stdin).unwrap(), b"");
    let read = fs::read(plugins.path("plugin.stdin")).unwrap();
    assert!(read == stdin, "{} bytes", read.len());
}

#[test]
fn outputs_up_to_their_limits_are_taken() {
    let plugins = Folder::with("head -c 8388608 /dev/zero; head -c 1048576 /dev/zero >&2");
    assert_eq!(plugins.run(b"{}").unwrap().len(), 8 * MIB);
}

#[test]
fn more_output_than_its_limit_is_refused_and_the_plugin_killed() {
    let cases = [
        ("one byte more", "head -c 8388609 /dev/zero", "stdout", 8),
        ("without end", "exec cat /dev/zero", "stdout", 8),
        (
            "one byte more",
            "head -c 1048577 /dev/zero >&2",
            "stderr",
            1,
        ),
        ("without end", "exec cat /dev/zero >&2", "stderr", 1),
    ];
    for (name, script, expected, mib) in cases {
        match Folder::with(script).run(b"{}") {
            Err(PluginError::TooMuchOutput { stream, limit, .. }) => {
                assert_eq!((stream, limit), (expected, mib * MIB), "{name}");
            }
            other => panic!("{name} on {expected}: {:?}", other.map(|bytes| bytes.len())),
        }
    }
}
