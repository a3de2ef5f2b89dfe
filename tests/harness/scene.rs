//! One test's folder: its socket, its configuration, its scripts.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The app of every scene.
pub const APP_KEY: &str = "scene-key";
/// Its secret.
pub const APP_SECRET: &str = "scene-secret";

/// Options of a `Sidecar` that waits for a busy machine. Tests of a timeout set their own.
pub fn patient() -> Value {
    json!({"connect_timeout_ms": 10_000, "publish_timeout_ms": 10_000, "exit_timeout_ms": 10_000})
}

/// A folder that goes away with the test.
#[derive(Debug)]
pub struct Scene {
    folder: tempfile::TempDir,
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

impl Scene {
    /// An empty scene, in a place whose path is short enough for a Unix socket.
    pub fn new() -> Self {
        Self { folder: tempfile::Builder::new().prefix("fanfare-").tempdir_in("/tmp").unwrap() }
    }

    /// A file of this scene.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The server's Unix socket.
    pub fn socket(&self) -> String {
        self.path("fanfare.sock").to_str().unwrap().to_owned()
    }

    /// A configuration for this scene's server, listening on `listen`, every publication in its log.
    pub fn configuration(&self, listen: &str) -> Value {
        json!({
            "listen": listen,
            "socket": self.socket(),
            "log": {"level": "trace", "format": "json"},
            "apps": [{"id": "scene", "key": APP_KEY, "secret": APP_SECRET}],
        })
    }

    /// The repository.
    pub fn repository() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }
}
