//! What an ADD of built-in plugins asks of the kernel, seen by strace(1): no program, no link that is moved, no list.

use std::fs;

use e2e::Node;

/// The traces of the first ADD of a node, and of an ADD and a DEL of a second pod, each with the default network and four
/// others, dual stack with gateways.
fn traced() -> [Vec<String>; 3] {
    let node = Node::new("requests");
    node.master("mv0");
    for index in 1..=4 {
        let subnets = [format!("10.2{index}.0.0/16"), format!("fd00:2{index}::/64")];
        let subnets = [subnets[0].as_str(), subnets[1].as_str()];
        let network = match index % 2 {
            1 => node.bridge(&format!("br{index}"), &subnets),
            _ => node.macvlan("mv0", &subnets),
        };
        node.nad("default", &format!("n{index}"), network);
    }
    let [first, second] =
        ["first", "second"].map(|name| node.pod("default", name).networks("n1,n2,n3,n4").create());
    let trace = |command: &str, pod| {
        let path = node.folder().join("trace");
        let shown = path.display().to_string();
        // Whole messages, and their bytes where strace does not know the socket: one of another namespace.
        let strace = [
            "strace",
            "-f",
            "-xx",
            "-s",
            "4096",
            "-e",
            "trace=execve,sendto,sendmsg",
            "-o",
            &shown,
        ];
        node.call(command).pod(pod).under(strace).run().ok();
        let trace = fs::read_to_string(&path).expect("read the trace");
        trace.lines().map(str::to_owned).collect()
    };
    let traces = [
        trace("ADD", &first),
        trace("ADD", &second),
        trace("DEL", &second),
    ];
    node.del(&first).ok();
    traces
}

/// The lines of a trace that have all of these.
fn with<'a>(trace: &'a [String], parts: &[&str]) -> Vec<&'a String> {
    let has_all = |line: &&String| parts.iter().all(|part| line.contains(part));
    trace.iter().filter(has_all).collect()
}

/// The requests for a list.
fn lists(trace: &[String]) -> Vec<&String> {
    let asks = |line: &&String| line.contains("NLM_F_DUMP") || line.contains("|0x300");
    trace.iter().filter(asks).collect()
}

/// The requests that put an existing link into another namespace.
fn moves(trace: &[String]) -> Vec<&String> {
    let is_move = |line: &&String| {
        let is_new = line.contains("NLM_F_CREATE") || line.contains("|0x600");
        !is_new && (line.contains("IFLA_NET_NS") || names_a_namespace(line))
    };
    trace.iter().filter(is_move).collect()
}

/// Whether a message about a link that strace shows as bytes has IFLA_NET_NS_PID or IFLA_NET_NS_FD (linux/if_link.h).
fn names_a_namespace(line: &str) -> bool {
    const NET_NS: [u16; 2] = [19, 28];
    const IFINFOMSG_BYTES: usize = 16;

    let is_about_a_link = ["0x10 ", "0x13 "].map(|kind| format!("nlmsg_type={kind}"));
    if !is_about_a_link.iter().any(|kind| line.contains(kind)) {
        return false;
    }
    let text = line.split('"').nth(1).unwrap_or_default();
    let bytes = text.split("\\x").skip(1);
    let bytes: Vec<u8> = bytes
        .map(|byte| u8::from_str_radix(byte, 16).expect("a byte"))
        .collect();
    let mut rest = bytes.get(IFINFOMSG_BYTES..).expect("an ifinfomsg");
    while let [a, b, c, d, ..] = *rest {
        if NET_NS.contains(&(u16::from_le_bytes([c, d]) & 0x3fff)) {
            return true;
        }
        let length = usize::from(u16::from_le_bytes([a, b])).max(4);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    false
}

#[test]
fn an_add_and_a_del_start_no_program_move_no_link_and_list_nothing() {
    let [first, add, del] = traced();
    // The first pod makes the bridges and lets the node forward, for which the addresses and default routes of the host are
    // listed once. So it shows that lists are seen.
    assert!(!lists(&first).is_empty());
    for trace in [&add, &del] {
        let programs = with(trace, &["execve("]);
        assert_eq!(programs.len(), 1, "meta-cni alone: {programs:#?}");
        assert!(lists(trace).is_empty(), "{:#?}", lists(trace));
        assert!(moves(trace).is_empty(), "{:#?}", moves(trace));
    }
    // Five links are made, and removed by one request.
    let made = with(&add, &["RTM_NEWLINK", "NLM_F_CREATE"]);
    assert_eq!(made.len(), 5, "{made:#?}");
    let removed: Vec<_> = del
        .iter()
        .filter(|line| line.contains("RTM_DELLINK") || line.contains("nlmsg_type=0x11 "))
        .collect();
    assert_eq!(removed.len(), 1, "{removed:#?}");
}

#[test]
fn a_namespace_is_found_among_the_attributes_of_a_message() {
    let message = |attributes: &str| {
        let header = "\\x00".repeat(16);
        format!(r#"1 sendto(5, [{{nlmsg_type=0x13 /* NLMSG_??? */}}, "{header}{attributes}"], 40"#)
    };
    let mtu = r"\x08\x00\x04\x00\x78\x05\x00\x00";
    let namespace = r"\x08\x00\x1c\x00\x05\x00\x00\x00";
    assert!(!names_a_namespace(&message(mtu)));
    assert!(names_a_namespace(&message(&format!("{mtu}{namespace}"))));
}
