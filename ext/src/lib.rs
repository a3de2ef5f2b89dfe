//! `fanfare.so`: gives PHP a native way to broadcast.
//!
//! One class, `Fanfare\Sidecar`, hands publications to the Fanfare server on this host: through shared memory, or
//! as messages on the server's Unix socket where shared memory cannot be had. Owns what happens inside PHP's
//! process; the bytes are [`fanfare_wire`]'s, everything behind them the server's.
//!
//! The host is sacred: nothing starts at module startup (php-fpm runs it once, in the master, and forks),
//! nothing blocks without a bound, nothing unwinds into PHP, and a fork is survived.

#![allow(missing_docs, reason = "the module macro makes an entry point that cannot be documented")]

mod attachment;
mod inquiry;
mod link;
mod options;
mod outcome;
mod sidecar;
mod transport;
mod zend;

use std::panic::{AssertUnwindSafe, catch_unwind};

use ext_php_rs::flags::ErrorType;
use ext_php_rs::prelude::*;
use ext_php_rs::zend::ModuleEntry;
use ext_php_rs::{info_table_end, info_table_row, info_table_start};

/// Registers the class and the life-cycle hooks. The exceptions are registered first, at startup.
#[php_module]
#[php(startup = "startup")]
pub fn module(module: ModuleBuilder) -> ModuleBuilder {
    module
        .name("fanfare")
        .class::<sidecar::Sidecar>()
        .request_startup_function(request_startup)
        .request_shutdown_function(request_shutdown)
        .shutdown_function(shutdown)
        .info_function(info)
}

const SUCCESS: i32 = 0;
const FAILURE: i32 = 1;

extern "C" fn startup(_kind: i32, _module: i32) -> i32 {
    match catch_unwind(outcome::register_exceptions) {
        Ok(Ok(())) => SUCCESS,
        _ => FAILURE,
    }
}

extern "C" fn request_startup(_kind: i32, _module: i32) -> i32 {
    contained(zend::complete_signatures);
    SUCCESS
}

extern "C" fn request_shutdown(_kind: i32, _module: i32) -> i32 {
    contained(|| {
        if zend::one_request_per_process() { attachment::finish_all(warn) } else { attachment::resume_all() }
    });
    SUCCESS
}

extern "C" fn shutdown(_kind: i32, _module: i32) -> i32 {
    // php-fpm's workers and embedding servers end here; output and error handlers are gone by now.
    contained(|| attachment::finish_all(|text| eprintln!("PHP Warning:  {text}")));
    SUCCESS
}

extern "C" fn info(_module: *mut ModuleEntry) {
    contained(|| {
        info_table_start!();
        info_table_row!("Fanfare", "enabled");
        info_table_row!("Version", env!("CARGO_PKG_VERSION"));
        info_table_row!("Protocol version", fanfare_wire::attach::VERSION.to_string());
        info_table_row!("Ring version", fanfare_wire::ring::VERSION.to_string());
        info_table_row!("Record version", fanfare_wire::record::VERSION.to_string());
        for line in attachment::describe_all() {
            info_table_row!("Attachment", line);
        }
        info_table_end!();
    });
}

/// A panic in a hook would abort PHP: it ends here, and the hook has simply not done its work.
fn contained(hook: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(hook));
}

/// A core warning reaches the log and the screen as PHP is configured, but no user error handler: a framework
/// would turn it into an exception at a time when nobody can catch one any more, and nobody would see it.
fn warn(text: &str) {
    ext_php_rs::error::php_error(&ErrorType::CoreWarning, text);
}
