//! Reading `"apps"`: who the tenants are, and what each has of its own.
//!
//! Owns [`App`] and the defaults of its fields. Leaves to others what a pattern of origins means
//! ([`crate::pusher::origin`]), which limits there are ([`crate::limits`]) and what a webhook is ([`super::webhooks`]).

use std::collections::HashMap;

use super::limits;
use super::reading::{Field, Mistakes, Object};
use super::webhooks;
use crate::limits::Limits;
use crate::pusher::origin::{Origins, Pattern};
use crate::webhooks::{Endpoint, Filter};

/// One tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Names the app in paths of the HTTP API and in logs.
    pub id: String,
    /// Names the app to clients; public.
    pub key: String,
    /// Signs and proves.
    pub secret: Secret,
    /// Otherwise clients are refused with 4003, requests of the HTTP API with 403, and PHP's attachments too.
    pub enabled: bool,
    /// The origins of pages whose scripts may connect.
    pub allowed_origins: Origins,
    /// Whether a client without an `Origin` is let in. Only browsers send one that the page cannot choose; who is
    /// not a browser can send any, so refusing keeps nobody out who wants in, and the default is to allow.
    pub missing_origin: bool,
    /// Whether clients may send events to each other (`client-…`).
    pub client_events: bool,
    /// Whether channels without members are told how many subscribe. Off, as at Pusher until it is switched on.
    pub subscription_count: bool,
    /// The node's limits with the app's own in their places.
    pub limits: Limits,
    /// Who is told what happens in its channels.
    pub webhooks: Vec<Endpoint>,
    /// What of it is kept for a listener; none, when nobody may listen.
    pub listener: Option<Filter>,
}

/// A secret that no log and no panic message shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret in `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whom it is a password.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// The bytes, for a MAC.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The apps, ids and keys unique.
pub(super) fn read(field: Option<Field<'_>>, node: &Limits, mistakes: &mut Mistakes) -> Vec<App> {
    let Some(field) = field else { return Vec::new() };
    let items = field.items(mistakes);
    if items.is_empty() && field.value.is_array() {
        mistakes.add(&field.path, "at least one app", "an empty list", "add one with id, key and secret");
    }
    let mut names = Names::default();
    items.iter().filter_map(|item| read_app(item, &mut names, node, mistakes)).collect()
}

/// Where the ids and keys that were read so far stand.
#[derive(Debug, Default)]
struct Names {
    paths_by_id: HashMap<String, String>,
    paths_by_key: HashMap<String, String>,
}

fn read_app(item: &Field<'_>, names: &mut Names, node: &Limits, mistakes: &mut Mistakes) -> Option<App> {
    let mut object = Object::open(&item.path, item.value, "an object with id, key and secret", mistakes)?;
    let id = read_name(object.required("id", mistakes), &mut names.paths_by_id, mistakes);
    let key = read_name(object.required("key", mistakes), &mut names.paths_by_key, mistakes);
    let secret = object
        .required("secret", mistakes)
        .and_then(|field| field.secret("the app's secret", mistakes))
        .map(Secret::new);
    let mut flag =
        |name, default| object.optional(name).and_then(|field| field.boolean(mistakes)).unwrap_or(default);
    let enabled = flag("enabled", true);
    let client_events = flag("client_events", true);
    let subscription_count = flag("subscription_count", false);
    let allowed_origins = read_origins(object.optional("allowed_origins"), mistakes);
    let missing_origin = object
        .optional("missing_origin")
        .and_then(|field| field.one_of(&[("allow", true), ("refuse", false)], "allow or refuse", mistakes))
        .unwrap_or(true);
    let limits = limits::read(object.optional("limits"), Some(node), mistakes);
    let webhooks = webhooks::read(object.optional("webhooks"), mistakes);
    let listener = webhooks::read_listener(object.optional("listener"), mistakes);
    object.close(
        "id, key, secret, enabled, client_events, subscription_count, allowed_origins, missing_origin, limits, webhooks or listener",
        mistakes,
    );
    Some(App {
        id: id?,
        key: key?,
        secret: secret?,
        enabled,
        allowed_origins,
        missing_origin,
        client_events,
        subscription_count,
        limits,
        webhooks,
        listener,
    })
}

/// Ids and keys stand in paths of URLs, and a key stands before a colon in signatures.
fn read_name(
    field: Option<Field<'_>>,
    paths: &mut HashMap<String, String>,
    mistakes: &mut Mistakes,
) -> Option<String> {
    let field = field?;
    let number = field.value.as_u64().map(|number| number.to_string());
    let name = match &number {
        // REVERB_APP_ID is a number in many .env files, and PHP may hand it on as one.
        Some(number) if field.path.ends_with(".id") => number.as_str(),
        _ => field.text("1 to 200 letters, digits or . _ ~ -", mistakes)?,
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
    if name.len() > 200 || !name.bytes().all(legal) {
        let expected = "1 to 200 letters, digits or . _ ~ -";
        mistakes.add(&field.path, expected, field.found(), "choose another: it stands in URLs");
        return None;
    }
    if let Some(other) = paths.insert(name.to_owned(), field.path.clone()) {
        let expected = format!("a value other than that of {other}");
        mistakes.add(&field.path, &expected, field.found(), "give each app its own");
        return None;
    }
    Some(name.to_owned())
}

/// An empty list would let no page connect, which nobody means who writes it: `enabled` says that.
fn read_origins(field: Option<Field<'_>>, mistakes: &mut Mistakes) -> Origins {
    let Some(field) = field else { return Origins::any() };
    let items = field.items(mistakes);
    if items.is_empty() && field.value.is_array() {
        let advice = "name the origins of your pages, or * for all";
        mistakes.add(&field.path, "at least one origin", "an empty list", advice);
    }
    let mut patterns = Vec::new();
    for item in items {
        match item.value.as_str().and_then(Pattern::parse) {
            Some(pattern) => patterns.push(pattern),
            None => mistakes.add(
                &item.path,
                "an origin such as \"https://example.com\", \"*.example.com\", \"localhost:3000\" or \"*\"",
                item.found(),
                "write scheme, host and port as a browser's address line shows them, and no path",
            ),
        }
    }
    Origins::new(patterns)
}
