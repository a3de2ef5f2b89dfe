//! Reading `"tls"`: where certificate and key are.
//!
//! Owns the paths. What is in the files is [`crate::tls`]'.

use std::path::PathBuf;

use super::reading::{Field, Mistakes, Object};

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The server's certificate and those between it and the authority, PEM.
    pub certificate: PathBuf,
    /// The certificate's private key, PEM.
    pub key: PathBuf,
}

pub(super) fn read(field: Option<Field<'_>>, mistakes: &mut Mistakes) -> Option<Tls> {
    let field = field?;
    let mut object = Object::open(&field.path, field.value, "an object with certificate and key", mistakes)?;
    let certificate = read_path(object.required("certificate", mistakes), mistakes);
    let key = read_path(object.required("key", mistakes), mistakes);
    object.close("certificate or key", mistakes);
    Some(Tls { certificate: certificate?, key: key? })
}

fn read_path(field: Option<Field<'_>>, mistakes: &mut Mistakes) -> Option<PathBuf> {
    let field = field?;
    let path = PathBuf::from(field.text("the path of a PEM file", mistakes)?);
    if path.is_relative() {
        let advice = "the server may be started in any directory: write it from the root";
        mistakes.add(&field.path, "an absolute path", field.found(), advice);
        return None;
    }
    Some(path)
}
