//! Real servers of Redis and Valkey, alone, behind a Sentinel and as a cluster; and a way to them that a test can cut.
//!
//! They run where PHP is (dev/run), which may be the machine itself, and listen on loopback.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::wait_until;

/// A server that is ended with its test.
pub struct Redis {
    child: Option<Child>,
    program: String,
    arguments: Vec<String>,
    pub port: u16,
    pub directory: PathBuf,
}

/// A port that is free now, and so high as to be nobody's in particular.
pub fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A command where Redis is.
pub fn run(program: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut command = Command::new(root.join("dev/run"));
    command.current_dir(root).arg(program);
    command
}

impl Redis {
    /// Starts `redis-server` or `valkey-server`, and waits until it answers.
    pub fn start(program: &str, directory: &Path, arguments: &[&str]) -> Self {
        let port = port();
        let directory = directory.join(port.to_string());
        std::fs::create_dir(&directory).unwrap();
        let mut all = vec!["--port".to_owned(), port.to_string()];
        all.extend(["--bind", "127.0.0.1", "--save", "", "--dir"].map(str::to_owned));
        all.push(directory.to_str().unwrap().to_owned());
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let mut redis = Self { child: None, program: program.to_owned(), arguments: all, port, directory };
        redis.restart();
        redis
    }

    /// A Sentinel that watches `primary` as "main".
    fn sentinel(directory: &Path, primary: &Self) -> Self {
        let port = port();
        let directory = directory.join(port.to_string());
        std::fs::create_dir(&directory).unwrap();
        let file = directory.join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n",
            directory.display(),
            primary.port
        );
        std::fs::write(&file, text).unwrap();
        let arguments = vec![file.to_str().unwrap().to_owned(), "--sentinel".to_owned()];
        let mut sentinel =
            Self { child: None, program: "redis-server".to_owned(), arguments, port, directory };
        sentinel.restart();
        sentinel
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// How many leases it knows, those among them that have run out and were not reaped; `None` when it does not know.
    pub fn leases(&self) -> Option<usize> {
        // What else stands among them never runs out.
        self.ask("ZCOUNT fanfare:leases -inf (+inf")?.trim().strip_prefix(':')?.parse().ok()
    }

    /// Lets the user `fanfare`, with the password `secret`, do everything but what `rights` takes away.
    pub fn allow(&self, rights: &str) {
        let all = "on >secret resetkeys ~* resetchannels &* -@all +@all";
        assert_eq!(self.ask(&format!("ACL SETUSER fanfare {all} {rights}")).as_deref(), Some("+OK\r\n"));
    }

    /// Whether it is a replica that has what its primary has.
    fn follows(&self) -> bool {
        self.ask("INFO replication").is_some_and(|info| info.contains("master_link_status:up"))
    }

    /// Starts it again, as it was.
    pub fn restart(&mut self) {
        let log = File::create(self.directory.join("log")).unwrap();
        let mut command = run(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stderr(log.try_clone().unwrap()).stdout(log);
        self.child = Some(command.spawn().unwrap());
        wait_until(&format!("{} answers", self.program), || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            let log = || std::fs::read_to_string(self.directory.join("log")).unwrap();
            assert!(ended.is_none(), "{}", log());
            // One that speaks TLS does not understand, and says so by ending the connection.
            self.speaks_tls() || self.ask("PING").is_some_and(|answer| !answer.starts_with("-LOADING"))
        });
        if self.speaks_tls() {
            wait_until("it listens", || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
        }
    }

    fn speaks_tls(&self) -> bool {
        self.arguments.iter().any(|argument| argument == "--tls-port")
    }

    /// What it answers to one inline command, as far as it comes in one piece; `None` when it is not there.
    pub fn ask(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
        stream.write_all(format!("{command}\r\n").as_bytes()).ok()?;
        let mut buf = [0; 65_536];
        let n = stream.read(&mut buf).ok()?;
        (n > 0).then(|| String::from_utf8_lossy(&buf[..n]).into_owned())
    }

    /// Ends it as a kill -9 does.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
        child.wait().unwrap();
    }

    /// Has it end in good order, and removes what it has kept.
    pub fn lose_all(&mut self) {
        // It ends instead of answering.
        self.ask("SHUTDOWN NOSAVE");
        self.child.take().unwrap().wait().unwrap();
        for entry in std::fs::read_dir(&self.directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap()
            } else {
                std::fs::remove_file(path).unwrap()
            }
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A primary with a replica, and a Sentinel that knows both.
pub struct Watched {
    pub primary: Redis,
    pub replica: Redis,
    sentinel: Redis,
}

impl Watched {
    pub fn start(directory: &Path) -> Self {
        let primary = Redis::start("redis-server", directory, &[]);
        let of = format!("127.0.0.1 {}", primary.port);
        let replica = Redis::start("redis-server", directory, &["--replicaof", &of]);
        wait_until("the replica follows", || replica.follows());
        let sentinel = Redis::sentinel(directory, &primary);
        wait_until("the Sentinel knows both", || {
            let known = sentinel.ask("SENTINEL REPLICAS main");
            known.is_some_and(|answer| answer.contains(&replica.port.to_string()))
        });
        Self { primary, replica, sentinel }
    }

    /// What the configuration says of it.
    pub fn configuration(&self) -> Value {
        json!({"url": self.sentinel.url(), "sentinel": {"master": "main"}})
    }
}

/// A cluster of three primaries with a replica each.
pub struct Cluster(pub Vec<Redis>);

impl Cluster {
    pub fn start(directory: &Path) -> Self {
        let servers: Vec<Redis> = (0..6)
            .map(|_| {
                let bus = port().to_string();
                let arguments =
                    ["--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--cluster-port", &bus];
                Redis::start("redis-server", directory, &arguments)
            })
            .collect();
        let addresses = servers.iter().map(|server| format!("127.0.0.1:{}", server.port));
        let mut command = run("redis-cli");
        command.args(["--cluster", "create"]).args(addresses);
        let made = command.args(["--cluster-replicas", "1", "--cluster-yes"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        let cluster = Self(servers);
        cluster.is_whole();
        cluster
    }

    /// Waits until all are there, and every primary has its replica.
    pub fn is_whole(&self) {
        wait_until("all know all", || {
            self.0.iter().all(|server| {
                let info = server.ask("CLUSTER INFO").unwrap_or_default();
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:6")
            })
        });
        wait_until("every primary has its replica", || {
            self.0.iter().filter(|server| server.follows()).count() == 3
        });
    }

    /// What the first server that is there answers.
    fn ask(&self, command: &str) -> String {
        self.0.iter().find_map(|server| server.ask(command)).unwrap()
    }

    /// What the configuration says of it.
    pub fn configuration(&self) -> Value {
        json!({"url": self.0.iter().map(Redis::url).collect::<Vec<_>>(), "cluster": true})
    }

    /// The slot of a key.
    pub fn slot(&self, key: &str) -> u32 {
        let slot = self.ask(&format!("CLUSTER KEYSLOT {key}"));
        slot.trim().trim_start_matches(':').parse().unwrap()
    }

    /// Which of the servers is the primary of a slot.
    pub fn primary_of(&self, slot: u32) -> usize {
        let nodes = self.ask("CLUSTER NODES");
        let has = |line: &&str| {
            line.contains("master")
                && line.split(' ').skip(8).any(|range| {
                    let (first, last) = range.trim().split_once('-').unwrap_or((range, range));
                    let range = first.parse::<u32>().ok().zip(last.trim().parse::<u32>().ok());
                    range.is_some_and(|(first, last)| (first..=last).contains(&slot))
                })
        };
        let line = nodes.lines().find(has).unwrap();
        let address = line.split(' ').nth(1).unwrap().split('@').next().unwrap();
        let port: u16 = address.rsplit_once(':').unwrap().1.parse().unwrap();
        self.0.iter().position(|server| server.port == port).unwrap()
    }
}

/// A way to a server that can be cut, and may be a slow one.
pub struct Proxy {
    pub port: u16,
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    passage: Passage,
    streams: Vec<TcpStream>,
    /// When something is asked that has these bytes in it, no answer passes from then on.
    last_asked: Option<Vec<u8>>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Passage {
    #[default]
    Open,
    /// Who comes is sent away.
    Cut,
    /// Nothing passes, and nobody is told.
    Held,
    /// What is asked passes, and no answer does.
    Mute,
}

impl Proxy {
    pub fn to(target: u16) -> Self {
        Self::slow(target, Duration::ZERO)
    }

    /// What passes takes so long each way.
    pub fn slow(target: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let proxy = Self { port, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let mut state = shared.0.lock().unwrap();
                if state.passage == Passage::Cut {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                state.streams.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                for (from, to, answers) in [
                    (client.try_clone().unwrap(), server.try_clone().unwrap(), false),
                    (server, client, true),
                ] {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || pass(from, to, answers, delay, &shared));
                }
            }
        });
        proxy
    }

    /// Ends what goes over it, and lets nothing through.
    pub fn cut(&self) {
        self.turn(Passage::Cut);
        for stream in self.shared.0.lock().unwrap().streams.drain(..) {
            // The other side may have ended it.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets nothing through any more, and tells neither side: no byte, no end. What comes meanwhile is late, not lost.
    pub fn hold(&self) {
        self.turn(Passage::Held);
    }

    pub fn heal(&self) {
        self.turn(Passage::Open);
    }

    /// The next command with these bytes in it is done, and neither its answer nor any other comes back.
    pub fn loses_the_answer_to(&self, asked: &[u8]) {
        self.shared.0.lock().unwrap().last_asked = Some(asked.to_owned());
    }

    fn turn(&self, passage: Passage) {
        self.shared.0.lock().unwrap().passage = passage;
        self.shared.1.notify_all();
    }
}

/// Passes on what comes, and the end of either side.
fn pass(
    mut from: TcpStream,
    mut to: TcpStream,
    answers: bool,
    delay: Duration,
    (state, turned): &(Mutex<State>, Condvar),
) {
    let mut buf = [0; 16_384];
    loop {
        let n = from.read(&mut buf).unwrap_or(0);
        thread::sleep(delay);
        let mut state =
            turned.wait_while(state.lock().unwrap(), |state| state.passage == Passage::Held).unwrap();
        let has = |asked: &Vec<u8>| buf[..n].windows(asked.len()).any(|bytes| bytes == asked);
        if !answers && state.last_asked.take_if(|asked| has(asked)).is_some() {
            state.passage = Passage::Mute;
        }
        if answers && n > 0 && state.passage == Passage::Mute {
            continue;
        }
        drop(state);
        if n == 0 || to.write_all(&buf[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
