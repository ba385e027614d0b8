//! Name servers of a file as the resolver reads it (resolv.conf(5)).

use std::fs;
use std::path::Path;

use cni::result::Dns;

use crate::failure::Failure;

/// The name servers of a file.
///
/// # Errors
/// [`Failure::File`].
pub(super) fn read(path: &Path) -> Result<Dns, Failure> {
    let text = fs::read(path).map_err(|source| Failure::File {
        doing: "read resolvConf",
        path: path.to_owned(),
        source,
    })?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

fn parse(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            continue;
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(key), Some(first)) = (words.next(), words.next()) else {
            continue;
        };
        match key.as_str() {
            "nameserver" => dns.nameservers.push(first),
            "domain" => dns.domain = Some(first),
            "search" => dns.search.extend([first].into_iter().chain(words)),
            "options" => dns.options.extend([first].into_iter().chain(words)),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_adds_and_the_last_domain_counts() {
        let dns = parse(
            "# comment\n; comment\nnameserver 10.0.0.1 rest\n\tnameserver\t10.0.0.2\nnameserver\n\
             domain a\ndomain b\nsearch x y\nsearch z\noptions ndots:5 edns0\nother 1\n",
        );
        assert_eq!(dns.nameservers, ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(dns.domain.as_deref(), Some("b"));
        assert_eq!(dns.search, ["x", "y", "z"]);
        assert_eq!(dns.options, ["ndots:5", "edns0"]);
    }
}
