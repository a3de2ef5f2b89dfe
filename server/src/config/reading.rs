//! Reading JSON field by field while collecting mistakes.
//!
//! Owns the path of every field and the sentence that is said about it. Knows nothing of what the fields mean.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use serde_json::Value;

/// Something in the configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where, such as `apps[1].key`.
    pub path: String,
    /// What was expected, what was found, what to do.
    pub message: String,
}

impl Mistake {
    /// A mistake at `path`.
    pub fn new(path: &str, expected: &str, found: impl fmt::Display, advice: &str) -> Self {
        Self { path: path.to_owned(), message: format!("expected {expected}, but found {found}; {advice}") }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub(super) fn add(&mut self, path: &str, expected: &str, found: impl fmt::Display, advice: &str) {
        self.0.push(Mistake::new(path, expected, found, advice));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_vec(self) -> Vec<Mistake> {
        self.0
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    pub(super) path: String,
    pub(super) value: &'a Value,
}

impl<'a> Field<'a> {
    /// The value as a message shows it: cut short. What is inside of a list or an object is not shown, since it
    /// may be an app's secret in the wrong place.
    pub(super) fn found(&self) -> String {
        let text = match self.value {
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
            value => value.to_string(),
        };
        match text.char_indices().nth(80) {
            Some((cut, _)) => format!("{}…", &text[..cut]),
            None => text,
        }
    }

    /// A string that is not empty.
    pub(super) fn text(&self, expected: &str, mistakes: &mut Mistakes) -> Option<&'a str> {
        let text = self.value.as_str().filter(|text| !text.is_empty());
        if text.is_none() {
            mistakes.add(&self.path, expected, self.found(), "write it as a string in quotes");
        }
        text
    }

    /// A string that is not empty and is not shown when it is wrong.
    pub(super) fn secret(&self, expected: &str, mistakes: &mut Mistakes) -> Option<&'a str> {
        let text = self.value.as_str().filter(|text| !text.is_empty());
        if text.is_none() {
            let found =
                if self.value.is_string() { "an empty string" } else { "something that is not a string" };
            mistakes.add(&self.path, expected, found, "write it as a string in quotes");
        }
        text
    }

    /// True or false.
    pub(super) fn boolean(&self, mistakes: &mut Mistakes) -> Option<bool> {
        let value = self.value.as_bool();
        if value.is_none() {
            mistakes.add(&self.path, "true or false", self.found(), "write one of them, without quotes");
        }
        value
    }

    /// A whole number within `range`.
    pub(super) fn integer(&self, range: RangeInclusive<usize>, mistakes: &mut Mistakes) -> Option<usize> {
        let number = self.value.as_u64().and_then(|number| usize::try_from(number).ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            mistakes.add(&self.path, &expected, self.found(), "choose one in that range");
        }
        number
    }

    /// One of a few words.
    pub(super) fn one_of<T: Copy>(
        &self,
        words: &[(&str, T)],
        expected: &str,
        mistakes: &mut Mistakes,
    ) -> Option<T> {
        let text = self.value.as_str();
        let found = words.iter().find(|(word, _)| text == Some(word)).map(|&(_, meaning)| meaning);
        if found.is_none() {
            mistakes.add(&self.path, expected, self.found(), "choose one of them");
        }
        found
    }

    /// The items of a list; none, and a mistake, when it is not one.
    pub(super) fn items(&self, mistakes: &mut Mistakes) -> Vec<Field<'a>> {
        let Value::Array(items) = self.value else {
            mistakes.add(&self.path, "a list", self.found(), "put it between [ and ]");
            return Vec::new();
        };
        let field = |(at, value)| Field { path: format!("{}[{at}]", self.path), value };
        items.iter().enumerate().map(field).collect()
    }
}

/// The fields of an object that nobody has asked for yet.
#[derive(Debug)]
pub(super) struct Object<'a> {
    path: String,
    fields: BTreeMap<&'a str, &'a Value>,
}

impl<'a> Object<'a> {
    /// Opens an object; a mistake when it is not one.
    pub(super) fn open(
        path: &str,
        value: &'a Value,
        expected: &str,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        let Value::Object(fields) = value else {
            let field = Field { path: if path.is_empty() { "$".to_owned() } else { path.to_owned() }, value };
            mistakes.add(&field.path, expected, field.found(), "put it between { and }");
            return None;
        };
        let fields = fields.iter().map(|(name, value)| (name.as_str(), value)).collect();
        Some(Self { path: path.to_owned(), fields })
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Takes a field that may be missing. Null counts as missing: configuration writers emit it for "unset".
    pub(super) fn optional(&mut self, name: &str) -> Option<Field<'a>> {
        let value = self.fields.remove(name).filter(|value| !value.is_null())?;
        Some(Field { path: self.path_of(name), value })
    }

    /// Takes a field; a mistake when it is missing.
    pub(super) fn required(&mut self, name: &str, mistakes: &mut Mistakes) -> Option<Field<'a>> {
        let field = self.optional(name);
        if field.is_none() {
            mistakes.add(&self.path_of(name), "this field", "nothing", "add it");
        }
        field
    }

    /// What nobody asked for is a mistake.
    pub(super) fn close(self, expected: &str, mistakes: &mut Mistakes) {
        for name in self.fields.keys() {
            let found = "an unknown field";
            mistakes.add(&self.path_of(name), expected, found, "correct its name or leave it out");
        }
    }
}
