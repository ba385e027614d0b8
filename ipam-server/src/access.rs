//! Who may do what: `connection` is what a connection proves, [`policy`] the roles of an identity, [`operations`] what each
//! role may do. [`layer`] asks here before a request reaches a service; the allocator then keeps a node to its own leases.

mod connection;
pub mod files;
pub mod layer;
pub mod operations;
pub mod policy;
pub mod token;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::identity::Identity;
use operations::{Operation, Reach, Role};
use policy::{Fit, Policy};

/// How often a refusal of one caller is logged at most.
const LOG_INTERVAL: Duration = Duration::from_secs(1);
/// Callers whose refusals are logged within that time.
const LOGGED_CALLERS: usize = 100;

/// How the server is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// This machine's node: what root on the Unix socket is.
    pub node: String,
    /// Whether root on the Unix socket is also an operator.
    pub unix_operator: bool,
    /// Whether a client on TCP that proves nothing is an operator.
    pub any_client: bool,
}

/// What a caller is allowed: travels with the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Role and identity, for the history.
    pub actor: Arc<str>,
    /// The node whose leases are reached; none: all leases are.
    pub node: Option<Arc<str>>,
    /// The role that allows it; none for what everybody may do.
    pub role: Option<Role>,
    /// Whether few leases at once are reached only.
    pub is_bounded: bool,
}

/// Decides about requests.
#[derive(Debug)]
pub struct Access {
    setup: Setup,
    /// This process's user, whose files the store is.
    own_uid: u32,
    policy: RwLock<Arc<Policy>>,
    /// When a refusal of each caller was logged, and how many were not since.
    logged: std::sync::Mutex<HashMap<String, (Instant, u64)>>,
}

impl Access {
    /// Decides by a policy.
    pub fn new(setup: Setup, policy: Policy) -> Access {
        Access {
            setup,
            own_uid: nix::unistd::geteuid().as_raw(),
            policy: RwLock::new(Arc::new(policy)),
            logged: std::sync::Mutex::default(),
        }
    }

    /// Replaces the policy: the next request is decided by the new one.
    pub fn set_policy(&self, policy: Policy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    /// Whether an identity may call a method, and how far it reaches.
    ///
    /// # Errors
    /// [`Error::NoIdentity`], [`Error::NotAllowed`].
    pub fn decide(&self, identity: &Identity, operation: &Operation) -> Result<Grant, Error> {
        let roles = self.roles(identity);
        let best = roles
            .iter()
            .map(|fit| (operation.reach(fit.role), fit))
            // The first one of those that reach farthest; an operator before others, whatever the order of rules.
            .rev()
            .max_by_key(|(reach, fit)| (*reach, fit.role == Role::Operator));
        match best {
            Some((reach, fit)) if reach > Reach::Nothing => Ok(grant(identity, reach, fit)),
            _ if operation.is_open => Ok(Grant {
                actor: identity.shown().into(),
                node: Some(Arc::from("")),
                role: None,
                is_bounded: false,
            }),
            _ => Err(self.refusal(identity, operation, &roles)),
        }
    }

    /// The roles of an identity, operator first.
    fn roles(&self, identity: &Identity) -> Vec<Fit> {
        let policy = self.policy.read().unwrap_or_else(PoisonError::into_inner);
        let of_node = |role| Fit {
            role,
            node: (role == Role::Node).then(|| self.setup.node.as_str().into()),
        };
        let mut roles: Vec<Fit> = match identity {
            Identity::User(uid) => {
                let is_root = *uid == 0 || *uid == self.own_uid;
                let operator = is_root && self.setup.unix_operator;
                let own = [(operator, Role::Operator), (is_root, Role::Node)];
                let own = own.into_iter().filter(|(is, _)| *is).map(|(_, role)| role);
                own.chain(policy.of_uid(*uid)).map(of_node).collect()
            }
            Identity::Certificate(names) => {
                names.iter().flat_map(|name| policy.of_name(name)).collect()
            }
            // The node of a token is the one that it is bound to, whatever the name says.
            Identity::Token { name, node } => policy
                .of_name(name)
                .map(|fit| Fit {
                    role: fit.role,
                    node: node.as_deref().map(Arc::from),
                })
                .collect(),
            Identity::Nobody(Some(_)) if self.setup.any_client => vec![of_node(Role::Operator)],
            Identity::Nobody(_) => Vec::new(),
        };
        // A rule for nodes that does not say which one is of no use.
        roles.retain(|fit| {
            fit.role != Role::Node || fit.node.as_ref().is_some_and(|n| !n.is_empty())
        });
        roles
    }

    /// Whether the policy gives a name the role of nodes.
    fn is_for_nodes(&self, name: &str) -> bool {
        let policy = self.policy.read().unwrap_or_else(PoisonError::into_inner);
        policy.of_name(name).any(|fit| fit.role == Role::Node)
    }

    fn refusal(&self, identity: &Identity, operation: &Operation, roles: &[Fit]) -> Error {
        let remedy = match identity {
            Identity::Nobody(_) => {
                return Error::NoIdentity {
                    operation: operation.name,
                };
            }
            Identity::User(uid) if *uid == 0 || *uid == self.own_uid => {
                "start ipam-server with --unix-operator, or assign the role to this user in --policy"
            }
            Identity::User(_) => "use root, or assign the role to this user in --policy",
            Identity::Token { name, node: None } if self.is_for_nodes(name) => {
                "its token is bound to no node: use a projected token of a pod, on Kubernetes 1.30 or later"
            }
            Identity::Certificate(_) | Identity::Token { .. } => {
                "assign the role to this name in --policy of ipam-server"
            }
        };
        let names: Vec<_> = roles.iter().map(|fit| fit.role.name()).collect();
        Error::NotAllowed {
            who: identity.shown(),
            roles: match names.is_empty() {
                true => "no role".to_owned(),
                false => format!("role {}", names.join(", ")),
            },
            operation: operation.name,
            remedy,
        }
    }

    /// Logs a refusal, unless one of the same caller was logged a moment ago.
    fn log(&self, identity: &Identity, what: &str) {
        let caller = identity.shown();
        let suppressed = {
            let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
            if logged.len() >= LOGGED_CALLERS {
                logged.retain(|_, (at, _)| at.elapsed() < LOG_INTERVAL);
            }
            let is_full = logged.len() >= LOGGED_CALLERS;
            match logged.get_mut(&caller) {
                Some((at, suppressed)) if at.elapsed() < LOG_INTERVAL => {
                    *suppressed += 1;
                    return;
                }
                None if is_full => return,
                known => {
                    let suppressed = known.map_or(0, |(_, suppressed)| *suppressed);
                    logged.insert(caller.clone(), (Instant::now(), 0));
                    suppressed
                }
            }
        };
        tracing::warn!(caller, what, suppressed, "a caller was refused");
    }
}

fn grant(identity: &Identity, reach: Reach, fit: &Fit) -> Grant {
    let who = match (&fit.node, fit.role) {
        (Some(node), Role::Node) => node.to_string(),
        _ => identity.shown(),
    };
    Grant {
        actor: format!("{}/{who}", fit.role.name()).into(),
        node: fit.node.clone().filter(|_| reach == Reach::Own),
        role: Some(fit.role),
        is_bounded: reach == Reach::Bounded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(unix_operator: bool, any_client: bool) -> Access {
        let setup = Setup {
            node: "here".to_owned(),
            unix_operator,
            any_client,
        };
        let mut access = Access::new(setup, Policy::of_nodes());
        access.own_uid = 0;
        access
    }

    fn of(path: &str) -> &'static Operation {
        Operation::of(path).unwrap()
    }

    #[test]
    fn root_on_the_socket_is_the_node_and_an_operator_only_if_that_was_said() {
        let (root, other) = (Identity::User(0), Identity::User(1000));
        let (leases, pools) = (
            of("/ipam.v1.LeaseService/Allocate"),
            of("/ipam.v1.PoolService/CreatePool"),
        );
        let closed = access(false, false);
        let granted = closed.decide(&root, leases).unwrap();
        assert_eq!(granted.actor.as_ref(), "node/here");
        assert_eq!(granted.node.as_deref(), Some("here"));
        let refused = closed.decide(&root, pools).unwrap_err().to_string();
        assert!(refused.contains("--unix-operator"), "{refused}");
        assert!(matches!(
            closed.decide(&other, leases),
            Err(Error::NotAllowed { .. })
        ));
        let open = access(true, false);
        let granted = open.decide(&root, leases).unwrap();
        assert_eq!(granted.actor.as_ref(), "operator/uid:0");
        assert_eq!(granted.node, None);
        assert!(open.decide(&root, pools).is_ok());
        assert!(open.decide(&other, pools).is_err());
    }

    #[test]
    fn who_proves_nothing_reads_health_only_unless_any_client_is_let_in() {
        let nobody = Identity::Nobody(Some(IpAddr::from([127, 0, 0, 1])));
        let closed = access(true, false);
        let health = of("/grpc.health.v1.Health/Check");
        assert!(closed.decide(&nobody, health).is_ok());
        let refused = closed.decide(&nobody, of("/ipam.v1.PoolService/GetPool"));
        assert!(matches!(refused, Err(Error::NoIdentity { .. })));
        let open = access(false, true);
        let granted = open.decide(&nobody, of("/ipam.v1.PoolService/CreatePool"));
        assert_eq!(granted.unwrap().actor.as_ref(), "operator/127.0.0.1");
    }

    #[test]
    fn the_farthest_reach_of_all_roles_counts() {
        let access = access(false, false);
        let text = |roles| Policy {
            rules: vec![policy::Rule {
                name: Some("n*".to_owned()),
                uid: None,
                roles,
            }],
        };
        access.set_policy(text(vec![Role::Node, Role::Reader]));
        let caller = Identity::Certificate(vec!["n1".to_owned()]);
        let reads = access.decide(&caller, of("/ipam.v1.LeaseService/ListLeases"));
        assert_eq!(reads.unwrap().node, None);
        let writes = access.decide(&caller, of("/ipam.v1.LeaseService/Release"));
        assert_eq!(writes.unwrap().node.as_deref(), Some("1"));
        access.set_policy(text(vec![Role::Reclaimer]));
        let ends = access.decide(&caller, of("/ipam.v1.AdminService/ReclaimOrphans"));
        assert!(ends.unwrap().is_bounded);
    }

    use std::net::IpAddr;
}
