//! Those who are compared: Fanfare, the floor, and rivals, each started with comparable settings.
//!
//! Owns who there is and how each is started and ended. Comparable means: the same app, no limit on rates, nothing
//! logged per message, no metrics that nobody asks for, one process, all processors. What they are made to do is the
//! scenarios'.

mod rivals;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::failure::Failure;
use crate::program::Program;
use crate::server::Server;

/// The argument that makes this program the floor.
pub(crate) const FLOOR: &str = "floor";

/// Who it is, in the order of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// What this repository is about.
    Fanfare,
    /// The bare loop.
    Floor,
    /// A server in Rust.
    Sockudo,
    /// Laravel's server in PHP.
    Reverb,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Fanfare, Self::Floor, Self::Sockudo, Self::Reverb];

    /// As the page has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fanfare => "Fanfare",
            Self::Floor => "floor",
            Self::Sockudo => "sockudo",
            Self::Reverb => "Reverb",
        }
    }

    /// The name of a figure of this contestant among the samples.
    pub(crate) fn of(self, figure: &str) -> String {
        format!("{} {figure}", self.name())
    }

    /// Whether the bench can do without.
    pub(crate) fn is_rival(self) -> bool {
        matches!(self, Self::Sockudo | Self::Reverb)
    }
}

/// Where the contestants are.
#[derive(Debug)]
pub(crate) struct Places {
    /// Our server's binary.
    pub(crate) server: PathBuf,
    /// A directory for sockets and settings, removed by whoever made it.
    pub(crate) scratch: PathBuf,
    /// sockudo's binary, or why there is none.
    pub(crate) sockudo: Result<PathBuf, &'static str>,
    /// A Laravel application with Reverb.
    pub(crate) reverb: Option<PathBuf>,
}

/// One of them, running.
#[derive(Debug)]
pub(crate) struct Contestant {
    /// Who it is.
    pub(crate) kind: Kind,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Ours(Server),
    Other { program: Program, address: SocketAddr },
}

impl Contestant {
    /// Starts `kind`; `limits` are our server's only, since the others have none that would matter here.
    ///
    /// # Errors
    /// When it is not there, or does not serve.
    pub(crate) fn start(kind: Kind, places: &Places, limits: &Value) -> Result<Self, Failure> {
        let running = match kind {
            Kind::Fanfare => Running::Ours(Server::start(&places.server, &places.scratch, limits)?),
            Kind::Floor => {
                let (program, address) = floor()?;
                Running::Other { program, address }
            }
            Kind::Sockudo => {
                let (program, address) = rivals::sockudo(places)?;
                Running::Other { program, address }
            }
            Kind::Reverb => {
                let (program, address) = rivals::reverb(places)?;
                Running::Other { program, address }
            }
        };
        Ok(Self { kind, running })
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        match &self.running {
            Running::Ours(server) => server.address,
            Running::Other { address, .. } => *address,
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        match &self.running {
            Running::Ours(server) => server.pid(),
            Running::Other { program, .. } => program.pid(),
        }
    }

    /// The server that PHP publishes to, when it is ours.
    pub(crate) fn server(&self) -> Option<&Server> {
        match &self.running {
            Running::Ours(server) => Some(server),
            Running::Other { .. } => None,
        }
    }

    /// The last lines that it said.
    pub(crate) fn said(&self) -> String {
        match &self.running {
            Running::Ours(server) => server.log(),
            Running::Other { program, .. } => program.said(),
        }
    }

    /// Ends it; ours in good order.
    ///
    /// # Errors
    /// As [`Server::stop`].
    pub(crate) fn stop(self) -> Result<(), Failure> {
        match self.running {
            Running::Ours(server) => server.stop(),
            Running::Other { mut program, .. } => program.stop().map(drop),
        }
    }
}

fn floor() -> Result<(Program, SocketAddr), Failure> {
    let program = std::env::current_exe().map_err(Failure::system("find the bench itself"))?;
    let mut program =
        Program::start(Command::new(program).arg(FLOOR), "the bench starts itself as the floor")?;
    let address = program.wait_for(|line| line.parse().ok())?;
    Ok((program, address))
}
