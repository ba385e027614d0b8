//! Hardware addresses as texts, in every form that plugins in Go take (package net, "ParseMAC").

/// The octets of `text`: 6, 8 or 20 of them, as `02:00:5e:10:00:01`, `02-00-5e-10-00-01` or `0200.5e10.0001`.
pub fn octets(text: &str) -> Option<Vec<u8>> {
    let (separator, digits) = match text.as_bytes().get(2) {
        Some(b':') => (':', 2),
        Some(b'-') => ('-', 2),
        _ => ('.', 4),
    };
    let mut octets = Vec::with_capacity(20);
    for group in text.split(separator) {
        let hexadecimal = group.bytes().all(|byte| byte.is_ascii_hexdigit());
        if group.len() != digits || !hexadecimal {
            return None;
        }
        for start in (0..digits).step_by(2) {
            octets.push(u8::from_str_radix(&group[start..start + 2], 16).ok()?);
        }
    }
    [6, 8, 20].contains(&octets.len()).then_some(octets)
}

/// The octets in the form that plugins and the kernel show: `02:00:5e:10:00:01`.
pub fn text(octets: &[u8]) -> String {
    let pairs: Vec<_> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_go_takes_is_read() {
        let six = vec![0x02, 0x00, 0x5e, 0x10, 0x00, 0xab];
        for text in [
            "02:00:5e:10:00:ab",
            "02-00-5E-10-00-AB",
            "0200.5e10.00ab",
            "0200.5E10.00AB",
        ] {
            assert_eq!(octets(text), Some(six.clone()), "{text}");
        }
        assert_eq!(text(&six), "02:00:5e:10:00:ab");
        for text in [
            "c2:11:22:33:44:55:66:77",
            "c2-11-22-33-44-55-66-77",
            "c211.2233.4455.6677",
        ] {
            assert_eq!(octets(text).map(|octets| octets.len()), Some(8), "{text}");
        }
        let infiniband = ["0000"; 10].join(".");
        assert_eq!(octets(&infiniband), Some(vec![0; 20]));
    }

    #[test]
    fn nothing_else_is_a_hardware_address() {
        for text in [
            "",
            "02:00",
            "02:00:5e:10:00",
            "02:00:5e:10:00:0g",
            "02:00:5e-10:00:01",
            "0200:5e10:0001",
            "02.00.5e.10.00.01",
            "0200.5e10.00",
            "02005e100001",
            "2:0:5e:10:0:1",
            "+2:00:5e:10:00:01",
            "02:00:5e:10:00:01:",
            "ü2:00:5e:10:00:01",
        ] {
            assert_eq!(octets(text), None, "{text:?}");
        }
    }
}
