//! How a link comes up and goes down.

pub mod v1;
pub mod v2;
