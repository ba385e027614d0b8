//! The result of an ADD.
