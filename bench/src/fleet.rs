//! Several servers that share a Redis, started for a scenario and stopped after it.
//!
//! Owns the Redis and what is asked of it: what it used and what went through it. Assumes `redis-server` where the
//! bench runs.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::accounting::Meter;
use crate::contestant::Places;
use crate::failure::Failure;
use crate::http;
use crate::pipe::Pipe;
use crate::program::Program;
use crate::server::Server;

/// How long the servers may take to find each other.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long Redis is watched before anybody connects.
const ALONE: Duration = Duration::from_secs(2);
/// How often Redis is asked what the servers have asked of it.
const LOOK: Duration = Duration::from_millis(20);
/// Where servers have their leases: in server/src/fleet/store.
const LEASES: &str = "fanfare:leases";

/// Two servers and their Redis.
#[derive(Debug)]
pub(crate) struct Fleet {
    redis: Program,
    /// Share of a processor that Redis takes when nobody is connected: it looks at its clocks.
    pub(crate) redis_alone: f64,
    address: SocketAddr,
    /// What asking Redis for what it carried adds to that.
    asking: Carried,
    /// Between the far server and Redis, when it is counted.
    pipe: Option<Pipe>,
    /// The one that is published to.
    pub(crate) near: Server,
    /// The other one.
    pub(crate) far: Server,
}

/// What one side of the fleet used, and what Redis had to carry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traffic {
    /// CPU of the server that is published to.
    pub(crate) near_ns: f64,
    /// CPU of the other one.
    pub(crate) far_ns: f64,
    /// CPU of Redis.
    pub(crate) redis_ns: f64,
    /// Bytes that Redis received, from all.
    pub(crate) in_bytes: f64,
    /// Bytes that Redis sent, to all.
    pub(crate) out_bytes: f64,
    /// Bytes that Redis sent to the far server; 0 in a fleet where they are not counted.
    pub(crate) far_bytes: f64,
}

/// Takes down what is so far, to tell what came later.
#[derive(Debug)]
pub(crate) struct Accounts {
    near: Meter,
    far: Meter,
    redis: Meter,
    carried: Carried,
}

#[derive(Debug, Clone, Copy)]
struct Carried {
    input: f64,
    output: f64,
    far: f64,
}

/// The first lease of a server that there is not, as it stands in Redis: the last 16 bits count those of one server.
fn lease_of(node: u64) -> String {
    format!("{:016x}", node << 16)
}

impl Fleet {
    /// Starts all three, and waits until the servers know each other. With `counted`, what Redis sends to the far server
    /// is counted, which takes time on its way.
    ///
    /// # Errors
    /// When one of them does not serve, or there is no Redis.
    pub(crate) fn start(places: &Places, limits: &Value, counted: bool) -> Result<Self, Failure> {
        let (redis, address) = redis(&places.scratch)?;
        let alone = Meter::start(&[redis.pid()])?;
        std::thread::sleep(ALONE);
        let redis_alone = alone.read()?.share;
        let pipe = counted.then(|| Pipe::open(address)).transpose()?;
        let serve = |name: &str, redis: SocketAddr| {
            let socket = places.scratch.join(format!("{name}.sock"));
            Server::serve(&places.server, socket, limits, Some(&format!("redis://{redis}")))
        };
        let near = serve("near", address)?;
        let far = serve("far", pipe.as_ref().map_or(address, |pipe| pipe.address))?;
        let asking = Carried { input: 0.0, output: 0.0, far: 0.0 };
        let mut fleet = Self { redis, redis_alone, address, asking, pipe, near, far };
        fleet.knows_of(0)?;
        fleet.asking = fleet.cost_of_asking()?;
        Ok(fleet)
    }

    /// The least that is found between two questions in a row: servers may say something in between.
    fn cost_of_asking(&self) -> Result<Carried, Failure> {
        let mut least = Carried { input: f64::INFINITY, output: f64::INFINITY, far: 0.0 };
        for _ in 0..5 {
            let (before, now) = (self.carried()?, self.carried()?);
            least.input = least.input.min(now.input - before.input);
            least.output = least.output.min(now.output - before.output);
        }
        Ok(least)
    }

    /// What the metric `name` of a server stands at.
    ///
    /// # Errors
    /// When it does not answer, or has none of that name.
    pub(crate) fn metric(server: &Server, name: &str) -> Result<f64, Failure> {
        let status = status(server)?;
        status.pointer(&format!("/metrics/{name}")).and_then(Value::as_f64).ok_or_else(|| {
            Failure::new(format!("expected the metric {name} in a server's status, but found {status}"))
        })
    }

    /// Waits until both servers know of each other, and of `pretended` more.
    fn knows_of(&self, pretended: u64) -> Result<(), Failure> {
        let due = (2 + pretended) as f64;
        let knows = |server: &Server| Ok::<_, Failure>(Self::metric(server, "fleet_nodes")? == due);
        let deadline = Instant::now() + PATIENCE;
        while !(knows(&self.near)? && knows(&self.far)?) {
            if Instant::now() > deadline {
                return Err(Failure::new(format!(
                    "expected two servers to know {due} over Redis within {PATIENCE:?}, but found that they do not; one said:{}",
                    self.far.log()
                )));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Waits until both servers have called the roll twice more while nothing else was asked: whatever has changed
    /// before is known then, and said no more.
    ///
    /// # Errors
    /// When Redis is gone, or they do not.
    pub(crate) fn roll_calls(&self) -> Result<(), Failure> {
        let due = self.scripts()? + 4.0;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let scripts = self.scripts()?;
            if scripts >= due {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Failure::new(format!(
                    "expected {due} scripts to have run in Redis within {PATIENCE:?}, but found {scripts}"
                )));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Scripts that Redis has run by now: a roll call is one.
    fn scripts(&self) -> Result<f64, Failure> {
        let stats = command(self.address, "INFO commandstats")?;
        let calls = stats.lines().find_map(|line| {
            let (calls, _) = line.strip_prefix("cmdstat_evalsha:calls=")?.split_once(',')?;
            calls.parse().ok()
        });
        calls.ok_or_else(|| {
            Failure::new(format!("expected scripts in what Redis says of its commands, but found {stats:?}"))
        })
    }

    /// Puts `count` more leases where those of living servers are, for an hour, and waits until the servers know them:
    /// their roll calls are then as long as with so many more of them. Each time they are others, for those that were
    /// taken away are dead.
    ///
    /// # Errors
    /// When Redis is gone, or the servers do not find them.
    pub(crate) fn pretend(&self, count: u64) -> Result<Range<u64>, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires_ms = (now + Duration::from_secs(3_600)).as_millis();
        let first = now.as_micros() as u64;
        let pretended = first..first + count;
        let leases: String =
            pretended.clone().map(|node| format!(" {expires_ms} {}", lease_of(node))).collect();
        command(self.address, &format!("ZADD {LEASES}{leases}"))?;
        self.knows_of(count)?;
        Ok(pretended)
    }

    /// Takes them away.
    ///
    /// # Errors
    /// When Redis is gone, or the servers do not notice.
    pub(crate) fn pretend_no_longer(&self, pretended: Range<u64>) -> Result<(), Failure> {
        let leases: String = pretended.map(|node| format!(" {}", lease_of(node))).collect();
        command(self.address, &format!("ZREM {LEASES}{leases}"))?;
        self.knows_of(0)
    }

    /// From now on.
    ///
    /// # Errors
    /// When one of them is gone.
    pub(crate) fn account(&self) -> Result<Accounts, Failure> {
        Ok(Accounts {
            carried: self.carried()?,
            near: Meter::start(&[self.near.pid()])?,
            far: Meter::start(&[self.far.pid()])?,
            redis: Meter::start(&[self.redis.pid()])?,
        })
    }

    /// Since then.
    ///
    /// # Errors
    /// When one of them is gone.
    pub(crate) fn since(&self, accounts: &Accounts) -> Result<Traffic, Failure> {
        let cpu_ns = |meter: &Meter| meter.read().map(|used| used.cpu_ns);
        let (near_ns, far_ns, redis_ns) =
            (cpu_ns(&accounts.near)?, cpu_ns(&accounts.far)?, cpu_ns(&accounts.redis)?);
        let (before, now) = (accounts.carried, self.carried()?);
        Ok(Traffic {
            near_ns,
            far_ns,
            redis_ns,
            in_bytes: now.input - before.input - self.asking.input,
            out_bytes: now.output - before.output - self.asking.output,
            far_bytes: now.far - before.far,
        })
    }

    /// Waits until nobody has anything to do.
    ///
    /// # Errors
    /// When one of them is gone.
    pub(crate) fn quiet(&self) -> Result<(), Failure> {
        [self.near.pid(), self.redis.pid(), self.far.pid()].into_iter().try_for_each(crate::accounting::quiet)
    }

    fn carried(&self) -> Result<Carried, Failure> {
        let stats = command(self.address, "INFO stats")?;
        let figure = |name: &str| {
            stats.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).ok_or_else(|| {
                Failure::new(format!("expected {name} in what Redis says of itself, but found {stats:?}"))
            })
        };
        let far = self.pipe.as_ref().map_or(0.0, Pipe::returned_bytes);
        Ok(Carried {
            input: figure("total_net_input_bytes:")?,
            output: figure("total_net_output_bytes:")?,
            far,
        })
    }

    /// Ends all of them, the servers in good order.
    ///
    /// # Errors
    /// As [`Server::stop`].
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        self.near.stop()?;
        self.far.stop()?;
        self.redis.stop().map(drop)
    }
}

fn redis(scratch: &Path) -> Result<(Program, SocketAddr), Failure> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let address = free.map_err(Failure::system("find a port for Redis"))?;
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--port", &address.port().to_string(), "--dir"]);
    let mut redis = Program::start(command.arg(scratch), "install redis-server")?;
    redis.wait_until(|| self::command(address, "PING").is_ok())?;
    Ok((redis, address))
}

/// The answer of Redis to an inline command: a bulk string, or a status.
fn command(address: SocketAddr, command: &str) -> Result<String, Failure> {
    let failed = || Failure::system(format!("ask Redis for {command}"));
    let mut stream = TcpStream::connect(address).map_err(failed())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed())?;
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).map_err(failed())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed())?;
    if answer.starts_with('-') {
        return Err(Failure::new(format!("expected Redis to understand {command}, but found {answer:?}")));
    }
    Ok(answer)
}

fn status(server: &Server) -> Result<Value, Failure> {
    let failed = || Failure::system("ask a server for its status");
    let mut stream = UnixStream::connect(&server.socket).map_err(failed())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed())?;
    stream.write_all(b"GET /status HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\n\r\n").map_err(failed())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed())?;
    let body = http::first(&answer).map(|answer| answer.body).unwrap_or_default();
    serde_json::from_slice(body)
        .map_err(|error| Failure::new(format!("expected a status as JSON, but found {body:?} ({error})")))
}
