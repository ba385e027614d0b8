//! A field that cannot be accepted.

/// One field of a request that cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// Its path in the request: `pool.ipv4.ranges[1]`.
    pub field: String,
    /// What is wrong with it and what it should be, in one sentence.
    pub problem: String,
}
