//! Everything that `broadcast()` and `ask()` may say no with, and the one function that makes it a PHP exception.
//!
//! Owns the exception classes and the words; the places where things go wrong make an [`Outcome`].

use ext_php_rs::builders::ClassBuilder;
use ext_php_rs::error::Error as RegistrationError;
use ext_php_rs::exception::PhpException;
use ext_php_rs::zend::{ClassEntry, ce};
use fanfare_wire::record::Unfit;
use thiserror::Error;

use crate::zend::{self, ClassSlot};

/// Why a publication was not accepted, or a `Sidecar` not made. The text is the exception's message.
#[derive(Debug, Error)]
pub(crate) enum Outcome {
    /// `Fanfare\Unavailable`: nobody can be reached behind the socket. Trying again later may help.
    #[error("{0}")]
    Unavailable(String),
    /// `Fanfare\Unanswered`: a question was sent, and no answer came. Whether it was carried out is not known.
    #[error("{0}")]
    Unanswered(String),
    /// `Fanfare\Full`: the server is there but does not read fast enough. Trying again later may help.
    #[error("{0}")]
    Full(String),
    /// `Fanfare\TooLarge`: this publication will never fit.
    #[error("{0}")]
    TooLarge(String),
    /// `Fanfare\Rejected`: the server does not want this process. Somebody must change something.
    #[error("{0}")]
    Rejected(String),
    /// `ValueError`: an argument of the right type that is wrong.
    #[error("{0}")]
    Value(String),
    /// `TypeError`: an argument of the wrong type.
    #[error("{0}")]
    Type(String),
}

impl From<Unfit> for Outcome {
    fn from(unfit: Unfit) -> Self {
        let text = format!("Fanfare\\Sidecar::broadcast(): {unfit}");
        match unfit {
            Unfit::TooLarge { .. } | Unfit::LongData { .. } => Self::TooLarge(text),
            _ => Self::Value(text),
        }
    }
}

impl Outcome {
    /// The exception class.
    fn class(&self) -> &'static ClassEntry {
        match self {
            Self::Unavailable(_) => UNAVAILABLE.class(),
            Self::Unanswered(_) => UNANSWERED.class(),
            Self::Full(_) => FULL.class(),
            Self::TooLarge(_) => TOO_LARGE.class(),
            Self::Rejected(_) => REJECTED.class(),
            Self::Value(_) => ce::value_error(),
            Self::Type(_) => ce::type_error(),
        }
    }
}

static EXCEPTION: ClassSlot = ClassSlot::empty();
static UNAVAILABLE: ClassSlot = ClassSlot::empty();
static UNANSWERED: ClassSlot = ClassSlot::empty();
static FULL: ClassSlot = ClassSlot::empty();
static TOO_LARGE: ClassSlot = ClassSlot::empty();
static REJECTED: ClassSlot = ClassSlot::empty();

impl From<Outcome> for PhpException {
    fn from(outcome: Outcome) -> Self {
        let class = outcome.class();
        // PHP's throw takes a C string: a NUL from a caller's argument would make it fail.
        Self::new(outcome.to_string().replace('\0', "\\0"), 0, class)
    }
}

/// Registers `Fanfare\Exception` (a `RuntimeException`) and the five below it, natively: classes made by the
/// extension's macros could not be constructed or extended in PHP and would carry no file, line or trace.
pub(crate) fn register_exceptions() -> Result<(), RegistrationError> {
    let below = |name| ClassBuilder::new(name).extends((|| EXCEPTION.class(), "Fanfare\\Exception"));
    ClassBuilder::new("Fanfare\\Exception")
        .extends((zend::runtime_exception, "RuntimeException"))
        .registration(|class, _| EXCEPTION.fill(class))
        .register()?;
    below("Fanfare\\Unavailable").registration(|class, _| UNAVAILABLE.fill(class)).register()?;
    below("Fanfare\\Unanswered").registration(|class, _| UNANSWERED.fill(class)).register()?;
    below("Fanfare\\Full").registration(|class, _| FULL.fill(class)).register()?;
    below("Fanfare\\TooLarge").registration(|class, _| TOO_LARGE.fill(class)).register()?;
    below("Fanfare\\Rejected").registration(|class, _| REJECTED.fill(class)).register()
}
