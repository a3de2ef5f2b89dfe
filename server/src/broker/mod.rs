//! How nodes hear each other.
//!
//! Owns the way of a publication from the node that took it on to every node that has subscribers for it. There
//! is one node so far, so [`memory`] gives every publication straight back to it.

pub mod memory;
