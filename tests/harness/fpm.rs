//! A php-fpm of its own: static workers, its own socket, ended with the test.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Lines, Scene, eventually};

/// A running php-fpm.
#[derive(Debug)]
pub struct Fpm {
    master: Child,
    log: Lines,
    /// Where it takes requests.
    pub socket: PathBuf,
}

impl Fpm {
    /// Starts a pool of `workers`, each recycled after `requests_max` requests.
    pub fn start(scene: &Scene, workers: usize, requests_max: usize) -> Self {
        let socket = scene.path("fpm.sock");
        let configuration = format!(
            "[global]\nerror_log = /dev/stderr\ndaemonize = no\n[www]\nlisten = {}\npm = static\n\
             pm.max_children = {workers}\npm.max_requests = {requests_max}\ncatch_workers_output = yes\n\
             clear_env = no\n{}",
            socket.display(),
            if rustix::process::geteuid().is_root() { "user = root\ngroup = root\n" } else { "" }
        );
        let file = scene.path("fpm.conf");
        std::fs::write(&file, configuration).unwrap();
        let mut master = Command::new(binary())
            .args(["--nodaemonize", "--allow-to-run-as-root", "--fpm-config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Lines::collect("php-fpm", master.stderr.take().unwrap());
        log.wait("readiness", |line| line.contains("ready to handle connections").then_some(()));
        Self { master, log, socket }
    }

    /// Reloads gracefully (SIGUSR2) and waits until the new generation is ready.
    pub fn reload(&self) {
        let from = self.log.so_far().len();
        self.signal(Signal::USR2);
        self.log.wait_from(from, "readiness after the reload", |line| {
            line.contains("ready to handle connections").then_some(())
        });
    }

    /// Ends it gracefully (SIGQUIT) and gives its log.
    pub fn stop(mut self) -> Vec<String> {
        self.signal(Signal::QUIT);
        self.master.wait().unwrap();
        self.log.all()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.master), signal).unwrap();
    }
}

impl Drop for Fpm {
    fn drop(&mut self) {
        // SIGQUIT, not kill: the master takes its workers along.
        if self.master.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal(Signal::TERM);
            let _ = self.master.wait();
        }
    }
}

/// php-fpm as distributions call it: with or without its version.
fn binary() -> PathBuf {
    let folders = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];
    let found = folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
    let mut fpms: Vec<PathBuf> = found
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("php-fpm")))
        .collect();
    fpms.sort();
    let path = fpms.pop();
    eventually("a php-fpm in the usual folders", || path.clone())
}
