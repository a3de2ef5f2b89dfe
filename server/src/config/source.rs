//! Where a configuration comes from, and taking it from there, with the files that it names.
//!
//! Owns reading, at the start and again later, and what is said when it fails. Standard input can be read once.

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio_rustls::rustls;

use super::reading::{Mistake, Mistakes};
use super::{Configuration, parse};
use crate::tls;
use crate::webhooks::read_authorities;

/// Far more than any configuration, and less than what a wrong file might be.
const BYTES_MAX: u64 = 4 << 20;

/// Where a configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A pipe, which can be read once.
    StandardInput,
    /// A file, which can be read again.
    File(PathBuf),
}

/// A configuration, and what is in the files that it names.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration's words.
    pub configuration: Configuration,
    /// Certificate and key, ready for use.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The system does not give it.
    #[error("cannot read the configuration {from}: {source}; name a JSON file")]
    Unreadable {
        /// Where it should be.
        from: Source,
        /// The system's answer.
        source: io::Error,
    },
    /// It has mistakes, at least one.
    #[error("{}", describe(from, mistakes))]
    Mistaken {
        /// Where it is.
        from: Source,
        /// All of them.
        mistakes: Vec<Mistake>,
    },
}

fn describe(from: &Source, mistakes: &[Mistake]) -> String {
    let plural = if mistakes.len() == 1 { "mistake" } else { "mistakes" };
    let mut text = format!("{} {plural} in the configuration {from}", mistakes.len());
    for mistake in mistakes {
        text.push_str(&format!("\n  {mistake}"));
    }
    text
}

impl Source {
    /// What the command line names: `-` is standard input.
    pub fn named(argument: PathBuf) -> Self {
        if argument == Path::new("-") { Self::StandardInput } else { Self::File(argument) }
    }

    /// Reads the configuration and the files that it names. `cores` is the default number of shards.
    ///
    /// # Errors
    /// [`LoadError`], with the mistakes of all the files at once.
    pub fn load(&self, cores: usize) -> Result<Loaded, LoadError> {
        let text = self.read().map_err(|source| LoadError::Unreadable { from: self.clone(), source })?;
        let mut mistakes = Mistakes::default();
        let configuration = parse(&text, cores, &mut mistakes);
        let files = configuration.as_ref().and_then(|configuration| configuration.tls.as_ref());
        let mut mistakes = mistakes.into_vec();
        let tls = match files.map(tls::read).transpose() {
            Ok(tls) => tls,
            Err(of_files) => {
                mistakes.extend(of_files);
                None
            }
        };
        // Read for its mistakes alone: the webhooks read it again when they start.
        let ca_file =
            configuration.as_ref().and_then(|configuration| configuration.webhook_ca_file.as_deref());
        if let Some(Err(error)) = ca_file.map(|path| read_authorities(path, "webhook_ca_file")) {
            mistakes.push(Mistake { path: "webhook_ca_file".to_owned(), message: error.to_string() });
        }
        let mut configuration = configuration;
        if let Some(redis) = configuration.as_mut().and_then(|configuration| configuration.redis.as_mut()) {
            mistakes.extend(redis.read_files());
        }
        match configuration {
            Some(configuration) if mistakes.is_empty() => Ok(Loaded { configuration, tls }),
            _ => Err(LoadError::Mistaken { from: self.clone(), mistakes }),
        }
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        match self {
            Self::StandardInput => io::stdin().take(BYTES_MAX).read_to_end(&mut text)?,
            Self::File(path) => std::fs::File::open(path)?.take(BYTES_MAX).read_to_end(&mut text)?,
        };
        Ok(text)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StandardInput => f.write_str("on standard input"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}
