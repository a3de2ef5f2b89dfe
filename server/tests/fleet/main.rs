//! Several nodes with a real Redis or Valkey between them, in one binary, so that the long test runs beside the others.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what is needed to repeat a failure stands with it")]

#[path = "../harness/mod.rs"]
mod harness;

mod adversity;
mod cut_off;
mod facts;
mod failover;
mod leases;
mod presence;
mod traffic;
mod webhooks;
