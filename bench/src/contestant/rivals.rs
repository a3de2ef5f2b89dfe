//! How rivals are started.
//!
//! Owns their settings. Each is as its own documentation has it for production, with rate limits off. A rival that is
//! not there is a reason on the page, never a failed bench.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use serde_json::json;

use super::Places;
use crate::failure::Failure;
use crate::program::Program;
use crate::server::{APP, KEY, SECRET};

/// The server in Rust, from the registry.
pub(super) fn sockudo(places: &Places) -> Result<(Program, SocketAddr), Failure> {
    let binary = places.sockudo.as_ref().map_err(|why| Failure::new(*why))?;
    let address = free_address()?;
    let settings = json!({
        "debug": false,
        "mode": "production",
        "host": "127.0.0.1",
        "port": address.port(),
        "adapter": {"driver": "local"},
        "app_manager": {"driver": "memory", "array": {"apps": [{
            "id": APP,
            "key": KEY,
            "secret": SECRET,
            "enabled": true,
            "policy": {
                "limits": {"max_connections": 1_000_000, "max_client_events_per_second": 1_000_000},
                "features": {"enable_client_messages": false},
                "channels": {"allowed_origins": ["*"]},
            },
        }]}},
        "cache": {"driver": "memory"},
        "queue": {"driver": "memory"},
        "rate_limiter": {"enabled": false, "driver": "memory"},
        "metrics": {"enabled": false},
        "ssl": {"enabled": false},
        "delta_compression": {"enabled": false},
        "tag_filtering": {"enabled": false},
        "connection_recovery": {"enabled": false},
        "idempotency": {"enabled": false},
    });
    let file = places.scratch.join("sockudo.json");
    fs::write(&file, settings.to_string()).map_err(Failure::system("write sockudo's settings"))?;
    let mut command = Command::new(binary);
    command.arg("--config").arg(&file).env("RUST_LOG", "error").current_dir(&places.scratch);
    serving(&mut command, address)
}

/// Laravel's server in PHP, of an application that has it.
pub(super) fn reverb(places: &Places) -> Result<(Program, SocketAddr), Failure> {
    let application = places.reverb.as_ref().ok_or_else(|| {
        Failure::new("no application given; `bench/run --reverb PATH` takes a Laravel application that has laravel/reverb")
    })?;
    if !application.join("artisan").is_file() {
        let found = application.display();
        return Err(Failure::new(format!(
            "expected a Laravel application with an artisan file, but found {found}"
        )));
    }
    let address = free_address()?;
    let mut command = Command::new("php");
    // The limits of the command line are those of a long-running process.
    command
        .args(["-d", "memory_limit=-1", "artisan", "reverb:start", "--host=127.0.0.1"])
        .arg(format!("--port={}", address.port()))
        .current_dir(application)
        .envs([("REVERB_APP_ID", APP), ("REVERB_APP_KEY", KEY), ("REVERB_APP_SECRET", SECRET)])
        .envs([("REVERB_MAX_REQUEST_SIZE", "1000000"), ("REVERB_APP_RATE_LIMITING_ENABLED", "false")])
        // It looks there every few seconds whether it is to restart.
        .env("CACHE_STORE", "array")
        .envs([("REVERB_SCALING_ENABLED", "false"), ("APP_DEBUG", "false"), ("APP_ENV", "production")]);
    serving(&mut command, address)
}

fn serving(command: &mut Command, address: SocketAddr) -> Result<(Program, SocketAddr), Failure> {
    let mut program = Program::start(command, "see bench/README.md on rivals")?;
    program.wait_until(|| TcpStream::connect(address).is_ok())?;
    Ok((program, address))
}

/// Rivals want to be told a port. It may be taken by somebody else before they take it; then they say so.
fn free_address() -> Result<SocketAddr, Failure> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(Failure::system("find a free port"))
}
