//! How a link comes up and goes down.

pub mod v1;
