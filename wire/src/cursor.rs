//! Reading bytes from strangers: every read is bounded by what is there, and says what it wanted when it is not.
//!
//! Owns the bounds checks of record and attach messages. Assumes that the bytes are already a private copy.

use thiserror::Error;

/// A read wanted more bytes than were left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected {expected} more bytes for {field}, but found {found}")]
pub struct Short {
    /// What was being read.
    pub field: &'static str,
    /// Bytes that the field needs.
    pub expected: usize,
    /// Bytes that were left.
    pub found: usize,
}

/// A position in borrowed bytes. Integers are little-endian.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Takes `len` bytes.
    ///
    /// # Errors
    /// [`Short`] when fewer are left; nothing is taken then.
    pub fn bytes(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], Short> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(Short { field, expected: len, found: self.rest.len() }),
        }
    }

    /// Takes an array of `N` bytes.
    ///
    /// # Errors
    /// [`Short`] when fewer are left.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Short> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(Short { field, expected: N, found: self.rest.len() }),
        }
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`Short`] at the end.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, Short> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// Takes a 16-bit integer.
    ///
    /// # Errors
    /// [`Short`] when fewer than 2 bytes are left.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, Short> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// Takes a 32-bit integer.
    ///
    /// # Errors
    /// [`Short`] when fewer than 4 bytes are left.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, Short> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// Takes a 64-bit integer.
    ///
    /// # Errors
    /// [`Short`] when fewer than 8 bytes are left.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, Short> {
        self.array(field).map(u64::from_le_bytes)
    }
}
