//! What [`Draft::allocate`] would do, step by step.

use super::allocate::{Allocation, Made, is_of_one_pool};
use super::draft::Draft;
use crate::error::Error;
use crate::family::Family;
use crate::request::Wish;

/// What was found of one request.
#[derive(Clone, Debug, Default)]
pub struct Explanation {
    /// One after the other.
    pub steps: Vec<Step>,
    /// The lease, if there would be one.
    pub would_allocate: Option<Allocation>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The pool; empty: of none.
    pub pool: String,
    /// A sentence.
    pub finding: String,
    /// The reason of an error, see [`Error::reason`]; empty: it is none.
    pub reason: &'static str,
}

impl Explanation {
    fn add(&mut self, pool: &str, finding: impl Into<String>) {
        self.steps.push(Step {
            pool: pool.to_owned(),
            finding: finding.into(),
            reason: "",
        });
    }

    fn add_error(&mut self, pool: &str, error: &Error) {
        self.steps.push(Step {
            pool: pool.to_owned(),
            finding: error.to_string(),
            reason: error.reason(),
        });
    }
}

impl Draft<'_> {
    /// What [`Draft::allocate`] would do.
    ///
    /// # Errors
    /// [`Error::Store`] only: any other error is a finding.
    pub fn explain(&mut self, wish: &Wish) -> Result<Explanation, Error> {
        let mut explanation = Explanation::default();
        match self.existing(wish) {
            Ok(Some(lease)) => {
                let finding = format!("lease {} exists for this request", lease.id);
                explanation.add(&lease.pool, finding);
                explanation.would_allocate = Some(self.allocation(lease, Made::Before)?);
                return Ok(explanation);
            }
            Ok(None) => explanation.add("", "no lease exists for this request or attachment"),
            Err(Error::Store(error)) => return Err(Error::Store(error)),
            Err(error) => {
                explanation.add_error("", &error);
                return Ok(explanation);
            }
        }
        if let Err(error) = self.check_heard() {
            explanation.add_error("", &error);
            return Ok(explanation);
        }
        for name in self.in_order(wish) {
            self.describe_pool(name, wish, &mut explanation);
            match self.try_pool(name, wish) {
                Ok(lease) => {
                    explanation.add(name, "would allocate");
                    explanation.would_allocate = Some(self.allocation(lease, Made::Now)?);
                    return Ok(explanation);
                }
                Err(Error::Store(error)) => return Err(Error::Store(error)),
                Err(error) => {
                    explanation.add_error(name, &error);
                    let is_outside = matches!(error, Error::AddressNotInPool { .. });
                    if !is_outside && !is_of_one_pool(&error) {
                        return Ok(explanation);
                    }
                }
            }
        }
        Ok(explanation)
    }

    /// What a pool has for a request, if it is open to it.
    fn describe_pool(&self, name: &str, wish: &Wish, explanation: &mut Explanation) {
        let namespace = &wish.owner.namespace;
        let open = self.state.pool(name);
        let Some((id, pool)) = open.filter(|(_, pool)| pool.pool.is_open_to(namespace)) else {
            return;
        };
        for family in Family::ALL {
            if let Some(addresses) = pool.family(family) {
                let (free, all) = (addresses.free.count(), addresses.subnet.leasable.count());
                explanation.add(
                    name,
                    format!("{family}: {free} of {all} addresses are free"),
                );
            }
        }
        let quota = pool.pool.namespace_quota;
        if quota > 0 {
            let count = self.state.leases_of(id, namespace);
            let finding = format!("namespace {namespace} has {count} of {quota} leases");
            explanation.add(name, finding);
        }
        if let Some(record) = self.reservation_for(id, wish) {
            let reservation = &record.reservation.name;
            explanation.add(name, format!("reservation {reservation} is for this owner"));
        }
    }
}
