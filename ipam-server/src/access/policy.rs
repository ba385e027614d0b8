//! The policy file: which name has which roles. A name that it does not have has none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use process::yaml;
use serde::Deserialize;

use super::operations::Role;

/// Names and their roles.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Rules; each one that fits adds its roles.
    pub rules: Vec<Rule>,
}

/// A name or a user, and its roles.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Common name or SPIFFE URI of a certificate, or the user name of a token. One `*` stands for any text without `/`
    /// and `:`; for the role node it is the node's name.
    #[serde(default)]
    pub name: Option<String>,
    /// A user of this machine on the Unix socket.
    #[serde(default)]
    pub uid: Option<u32>,
    /// The roles.
    pub roles: Vec<Role>,
}

/// A policy that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("reading {} (--policy); name a file that exists and that ipam-server may read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{} (--policy): {problem}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The rule and what is wrong with it.
        problem: String,
    },
}

/// What a rule that fits gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// The role.
    pub role: Role,
    /// For the role node: the node's name, if the rule's `*` says it.
    pub node: Option<Arc<str>>,
}

impl Policy {
    /// Where there is no file: the certificate of a node is the node, and there is nobody else.
    pub fn of_nodes() -> Policy {
        let name = Some("system:node:*".to_owned());
        let roles = vec![Role::Node];
        Policy {
            rules: vec![Rule {
                name,
                uid: None,
                roles,
            }],
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn read(path: &Path) -> Result<Policy, PolicyError> {
        let read = |source| PolicyError::Read {
            path: path.to_owned(),
            source,
        };
        let content = |problem: String| PolicyError::Content {
            path: path.to_owned(),
            problem,
        };
        let bytes = dial::regular::read(path).map_err(read)?;
        let text = String::from_utf8(bytes).map_err(|_| content("is not UTF-8".to_owned()))?;
        let policy: Policy = yaml::read(&text).map_err(|error| content(error.to_string()))?;
        policy.check().map_err(content)?;
        Ok(policy)
    }

    fn check(&self) -> Result<(), String> {
        for (index, rule) in self.rules.iter().enumerate() {
            let problem = match (&rule.name, rule.uid) {
                (None, None) | (Some(_), Some(_)) => "needs either name or uid",
                (Some(name), _) if name.is_empty() => "name must not be empty",
                (Some(name), _) if name.matches('*').count() > 1 => "name may have one * only",
                _ if rule.roles.is_empty() => "roles must not be empty",
                _ => continue,
            };
            return Err(format!("rules[{index}]: {problem}"));
        }
        Ok(())
    }

    /// The roles of a name.
    pub fn of_name<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Fit> + 'a {
        let fits = self.rules.iter().filter_map(move |rule| {
            let node = matched(rule.name.as_deref()?, name)?;
            Some((rule, node))
        });
        fits.flat_map(|(rule, node)| {
            rule.roles.iter().map(move |&role| Fit {
                role,
                node: node.map(Arc::from),
            })
        })
    }

    /// The roles of a user on the Unix socket.
    pub fn of_uid(&self, uid: u32) -> impl Iterator<Item = Role> + '_ {
        let fits = self.rules.iter().filter(move |rule| rule.uid == Some(uid));
        fits.flat_map(|rule| rule.roles.iter().copied())
    }
}

/// Whether a name fits a pattern; what its `*` stands for, if it has one.
fn matched<'a>(pattern: &str, name: &'a str) -> Option<Option<&'a str>> {
    let Some((before, after)) = pattern.split_once('*') else {
        return (pattern == name).then_some(None);
    };
    let middle = name.strip_prefix(before)?.strip_suffix(after)?;
    let is_one_part = !middle.is_empty() && !middle.contains(['/', ':']);
    is_one_part.then_some(Some(middle))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Result<Policy, PolicyError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        std::fs::write(&path, text).unwrap();
        Policy::read(&path)
    }

    #[test]
    fn a_file_that_is_missing_is_named_with_what_to_do() {
        let error = Policy::read(Path::new("/missing/policy.yaml")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "reading /missing/policy.yaml (--policy); name a file that exists and that ipam-server may read"
        );
    }

    fn roles(policy: &Policy, name: &str) -> Vec<(Role, String)> {
        let fits = policy.of_name(name);
        fits.map(|fit| (fit.role, fit.node.as_deref().unwrap_or("").to_owned()))
            .collect()
    }

    #[test]
    fn a_name_has_the_roles_of_the_rules_that_fit_and_an_unknown_name_none() {
        let policy = policy(
            "rules:
- {name: 'system:node:*', roles: [node]}
- {name: 'spiffe://example.org/node/*', roles: [node]}
- {name: admin, roles: [operator, reader]}
- {uid: 7, roles: [reader]}",
        )
        .unwrap();
        let node = |name: &str| vec![(Role::Node, name.to_owned())];
        for (name, expected) in [
            ("system:node:worker-1", node("worker-1")),
            ("system:node:", vec![]),
            ("system:node:a:b", vec![]),
            ("system:node:a/b", vec![]),
            ("xsystem:node:a", vec![]),
            ("spiffe://example.org/node/w2", node("w2")),
            ("spiffe://example.org/node/w2/x", vec![]),
            (
                "admin",
                vec![
                    (Role::Operator, String::new()),
                    (Role::Reader, String::new()),
                ],
            ),
            ("Admin", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(roles(&policy, name), expected, "{name}");
        }
        assert_eq!(policy.of_uid(7).collect::<Vec<_>>(), [Role::Reader]);
        assert_eq!(policy.of_uid(0).count(), 0);
    }

    #[test]
    fn without_a_file_there_are_nodes_only() {
        let policy = Policy::of_nodes();
        assert_eq!(
            roles(&policy, "system:node:n1"),
            [(Role::Node, "n1".to_owned())]
        );
        assert_eq!(roles(&policy, "admin"), []);
    }

    #[test]
    fn a_file_that_is_wrong_is_refused_with_the_rule() {
        for (text, words) in [
            ("rules: [{roles: [reader]}]", "rules[0]: needs either"),
            (
                "rules: [{name: a, uid: 1, roles: [reader]}]",
                "needs either",
            ),
            ("rules: [{name: '', roles: [reader]}]", "must not be empty"),
            ("rules: [{name: a, roles: []}]", "roles must not be empty"),
            ("rules: [{name: '*a*', roles: [reader]}]", "one * only"),
            ("rules: [{name: a, roles: [root]}]", "rules[0].roles[0]"),
            ("rules: [{name: a, role: reader}]", "unknown field"),
            ("[]", "--policy"),
        ] {
            let error = policy(text).unwrap_err().to_string();
            assert!(
                error.contains(words) && error.len() < 300,
                "{text}: {error}"
            );
        }
        assert!(Policy::read(Path::new("/dev/zero")).is_err());
    }
}
