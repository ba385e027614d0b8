//! Which texts may name a container, a network, a plugin or an interface (CNI specification 1.1.0,
//! "Network configuration" and "Parameters"; libcni's `utils` for the exact characters).

/// IFNAMSIZ - 1, linux/if.h.
const INTERFACE_NAME_BYTES: usize = 15;

/// Whether `text` is `^[A-Za-z0-9][A-Za-z0-9._-]*$`: the form of container IDs and network names, and
/// of plugin types, so that no type can smuggle a path in.
pub fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// What is wrong with `name` as the name of a network interface, if anything.
///
/// 1 to 15 bytes, not `.` or `..`, without `/`, `:` and white space (the kernel's `dev_valid_name`), and
/// without `%`, by which the kernel would make up a name of its own (`dev_alloc_name`).
pub fn interface_name_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("an interface name cannot be empty");
    }
    if name.len() > INTERFACE_NAME_BYTES {
        return Some("an interface name has at most 15 bytes");
    }
    if name == "." || name == ".." {
        return Some("an interface cannot be called . or ..");
    }
    if name
        .chars()
        .any(|c| "/:%".contains(c) || c.is_whitespace() || c.is_control())
    {
        return Some("an interface name has no '/', ':', '%', white space or control character");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_cannot_hold_a_path() {
        for good in ["bridge", "a", "0af.1_x-y", "meta-cni"] {
            assert!(is_identifier(good), "{good}");
        }
        for bad in [
            "", ".", "..", "../sh", "a/b", "-x", ".hidden", "a b", "a\0", "é",
        ] {
            assert!(!is_identifier(bad), "{bad:?}");
        }
    }

    #[test]
    fn interface_names_are_what_the_kernel_takes() {
        for good in ["eth0", "net1", "a.b", "...", "123456789012345", "ü"] {
            assert_eq!(interface_name_problem(good), None, "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "1234567890123456",
            "a/b",
            "a:b",
            "a b",
            "eth%d",
            "a\tb",
            "a\u{0}b",
            "12345678901234ü",
        ] {
            assert!(interface_name_problem(bad).is_some(), "{bad:?}");
        }
    }
}
