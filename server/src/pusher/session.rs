//! One client's conversation.
//!
//! Owns what each message of a client means, which channels this client holds and who it is signed in as. Leaves
//! to others to carry out the [`Effect`]s, in their order: that order is what makes `subscription_succeeded` come
//! before the first event of its channel.
//!
//! A message that is not understood or not allowed never ends a connection: it is answered by one `pusher:error`
//! whose code is in the frame only.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::channel::Kind;
use super::member::{self, MemberError, SignedIn, UserData};
use super::{ChannelName, Code, SocketId, events, object, signature};
use crate::config::App;
use crate::hub::Member;
use crate::limits::Limits;

/// What is to be done about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send this text.
    Send(Cow<'static, str>),
    /// Make the connection a subscriber, tell it that it is one, and what the channel remembers. It may be one
    /// already. When the channel is full, tell [`Session::channel_is_full`].
    Subscribe {
        /// The channel.
        channel: ChannelName,
        /// Who subscribes, on a presence channel.
        member: Option<Member>,
    },
    /// Make the connection a subscriber no longer.
    Unsubscribe(ChannelName),
    /// The connection is signed in, and is told of its watchlist.
    SignIn(Arc<SignedIn>),
    /// Publish this to the others.
    Publish(ClientEvent),
    /// Send a close frame and end the connection.
    Close(Code, &'static str),
}

/// An event that a client sends to the other subscribers of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientEvent {
    /// The channel, private or presence, which the client is subscribed to.
    pub channel: ChannelName,
    /// Its name, which begins with `client-`.
    pub event: String,
    /// Any JSON value, as it was sent; none when there was none.
    pub json: Option<Box<str>>,
}

/// What a message is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// The app that the client is connected to.
    pub app: &'a App,
    /// The time.
    pub now: Instant,
}

/// The state of one conversation.
#[derive(Debug)]
pub struct Session {
    socket_id: SocketId,
    /// Sorted. A set of names costs 16 bytes a channel this way and nothing when there are none.
    channels: Vec<ChannelName>,
    user: Option<Arc<SignedIn>>,
    client_events: Rate,
    subscriptions: Allowance,
}

/// What is left of a number that grows again with time.
#[derive(Debug, Default)]
struct Allowance {
    /// When it was used last; nothing is used before.
    used: Option<(Instant, f32)>,
}

impl Allowance {
    /// Whether one more is within `max` at once and `per_s` a second; it is used up if so.
    fn permits(&mut self, now: Instant, max: usize, per_s: usize) -> bool {
        let max = max as f32;
        let left = self.used.map_or(max, |(then, left)| {
            (left + now.duration_since(then).as_secs_f32() * per_s as f32).min(max)
        });
        let permitted = left >= 1.0;
        self.used = Some((now, if permitted { left - 1.0 } else { left }));
        permitted
    }
}

/// How many there were within the last second that was begun.
#[derive(Debug, Default)]
struct Rate {
    since: Option<Instant>,
    used: usize,
}

impl Rate {
    /// Whether one more is within `max` a second; it is counted if so.
    fn permits(&mut self, now: Instant, max: usize) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            *self = Self { since: Some(now), used: 0 };
        }
        let permitted = self.used < max;
        self.used += usize::from(permitted);
        permitted
    }
}

#[derive(Deserialize)]
struct Message<'a> {
    event: String,
    #[serde(borrow, default)]
    channel: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
}

/// A field that is there, also when it is null: clients may send null to each other.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// `data` of subscribe and unsubscribe.
#[derive(Deserialize)]
struct Subscription {
    channel: String,
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    channel_data: Option<String>,
}

/// `data` of signin.
#[derive(Deserialize)]
struct Signin {
    #[serde(default)]
    auth: Option<String>,
    user_data: String,
}

/// Why a subscription is refused.
struct Refused {
    code: Code,
    /// In one word, for the application.
    kind: &'static str,
    /// The HTTP status that says the same.
    status: u16,
    message: Cow<'static, str>,
}

impl Refused {
    fn unauthorised(message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: Code::Unauthorised, kind: "AuthError", status: 401, message: message.into() }
    }

    fn limit(message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: Code::OverCapacity, kind: "LimitReached", status: 429, message: message.into() }
    }
}

impl From<MemberError> for Refused {
    fn from(error: MemberError) -> Self {
        match error {
            MemberError::Form(message) => {
                Self { code: Code::Malformed, kind: "ChannelDataError", status: 400, message: message.into() }
            }
            MemberError::Large(message) => Self::limit(message),
        }
    }
}

impl Session {
    /// A conversation that begins.
    pub fn new(socket_id: SocketId) -> Self {
        let (client_events, subscriptions) = (Rate::default(), Allowance::default());
        Self { socket_id, channels: Vec::new(), user: None, client_events, subscriptions }
    }

    /// The connection's Pusher name.
    pub fn socket_id(&self) -> SocketId {
        self.socket_id
    }

    /// The user that the connection is signed in as.
    pub fn user_id(&self) -> Option<&Arc<str>> {
        self.user.as_ref().map(|user| &user.user_id)
    }

    /// Says hello: the first text of every conversation.
    pub fn open(&self, limits: &Limits, effects: &mut Vec<Effect>) {
        let text = events::connection_established(self.socket_id, limits.activity_timeout_s as u64);
        effects.push(Effect::Send(text.into()));
    }

    /// Hears a text message.
    pub fn on_text(&mut self, text: &str, setting: Setting<'_>, effects: &mut Vec<Effect>) {
        let limits = &setting.app.limits;
        let Some(message) = object::read::<Message<'_>>(text, limits.json_depth_max) else {
            return complain(
                effects,
                "expected a JSON object with the string \"event\", not nested too deeply",
            );
        };
        match message.event.as_str() {
            "pusher:ping" => effects.push(Effect::Send(Cow::Borrowed(events::PONG))),
            "pusher:pong" => {}
            "pusher:subscribe" => match fields::<Subscription>(message.data, limits) {
                Some(subscription) => self.subscribe(&subscription, setting, effects),
                None => {
                    complain(effects, "expected pusher:subscribe to have data with the string \"channel\"")
                }
            },
            "pusher:unsubscribe" => match fields::<Subscription>(message.data, limits) {
                Some(subscription) => self.unsubscribe(&subscription.channel, effects),
                None => {
                    complain(effects, "expected pusher:unsubscribe to have data with the string \"channel\"")
                }
            },
            "pusher:signin" => match fields::<Signin>(message.data, limits) {
                Some(signin) => self.sign_in(&signin, setting, effects),
                None => {
                    complain(effects, "expected pusher:signin to have data with the string \"user_data\"")
                }
            },
            event if event.starts_with("pusher:") || event.starts_with("pusher_internal:") => complain(
                effects,
                "expected a pusher: event that clients of protocol 7 send, but found another",
            ),
            _ => {
                if let Err((code, message)) = self.publish(&message, setting, effects) {
                    effects.push(send_error(code, &message));
                }
            }
        }
    }

    /// Hears a binary message, which Pusher's protocol does not have.
    pub fn on_binary(&mut self, effects: &mut Vec<Effect>) {
        effects.push(Effect::Close(Code::Unsupported, Code::Unsupported.meaning()));
    }

    /// Hears that a presence channel has as many members as it may.
    pub fn channel_is_full(&mut self, channel: &ChannelName, limits: &Limits, effects: &mut Vec<Effect>) {
        self.forget(channel.as_str());
        let max = limits.presence_members_max;
        let message = format!(
            "expected at most {max} members on one presence channel; try again when somebody has left, or raise presence_members_max"
        );
        refuse(effects, channel.as_str(), &Refused::limit(message));
    }

    fn subscribe(&mut self, subscription: &Subscription, setting: Setting<'_>, effects: &mut Vec<Effect>) {
        match self.judge_subscription(subscription, setting) {
            // Subscribing twice is answered twice: the second time it changes nothing.
            Ok((channel, member)) => {
                if let Err(place) = self.channels.binary_search(&channel) {
                    if self.channels.is_empty() {
                        // Mostly it stays the only one, and a vector begins with room for four.
                        self.channels.reserve_exact(1);
                    }
                    self.channels.insert(place, channel.clone());
                }
                effects.push(Effect::Subscribe { channel, member });
            }
            Err(refused) => refuse(effects, &subscription.channel, &refused),
        }
    }

    fn judge_subscription(
        &mut self,
        subscription: &Subscription,
        Setting { app, now }: Setting<'_>,
    ) -> Result<(ChannelName, Option<Member>), Refused> {
        let limits = &app.limits;
        let per_s = limits.subscriptions_per_s;
        if !self.subscriptions.permits(now, limits.connection_channels_max + per_s, per_s) {
            let message = format!("expected at most {per_s} subscriptions a second; subscribe less often");
            return Err(Refused::limit(message));
        }
        let channel =
            ChannelName::parse(&subscription.channel, limits.channel_bytes_max).map_err(|error| Refused {
                code: Code::Malformed,
                kind: "ChannelNameError",
                status: 400,
                message: error.to_string().into(),
            })?;
        let traits = channel.traits();
        let channel_data = subscription.channel_data.as_deref().filter(|_| traits.kind == Kind::Presence);
        if traits.needs_signature() {
            let key = (app.key.as_str(), &app.secret);
            let auth = subscription.auth.as_deref();
            signature::judge_subscription(key, self.socket_id, channel.as_str(), channel_data, auth)
                .map_err(|error| Refused::unauthorised(error.message()))?;
        }
        if let Some(user_id) = channel.user_id()
            && self.user.as_ref().is_none_or(|user| *user.user_id != *user_id)
        {
            return Err(Refused::unauthorised(
                "expected a connection that is signed in as the user of this channel; sign in first (pusher.signin())",
            ));
        }
        let member = match traits.kind {
            Kind::Presence => Some(self.member(channel_data, limits)?),
            _ => None,
        };
        let max = limits.connection_channels_max;
        if self.channels.len() >= max && self.channels.binary_search(&channel).is_err() {
            let message = format!("expected at most {max} channels on one connection; unsubscribe from some");
            return Err(Refused::limit(message));
        }
        Ok((channel, member))
    }

    /// Who joins a presence channel: whom `channel_data` names, or else who the connection is signed in as.
    fn member(&self, channel_data: Option<&str>, limits: &Limits) -> Result<Member, Refused> {
        match (channel_data, &self.user) {
            (Some(channel_data), _) => Ok(member::member(channel_data, limits)?),
            (None, Some(user)) => {
                Ok(Member { user_id: Arc::clone(&user.user_id), user_info: user.user_info.clone() })
            }
            (None, None) => Err(Refused::unauthorised(
                "expected channel_data from the application's authorization endpoint, or a connection that is signed in, but found neither",
            )),
        }
    }

    fn unsubscribe(&mut self, name: &str, effects: &mut Vec<Effect>) {
        if let Some(channel) = self.forget(name) {
            effects.push(Effect::Unsubscribe(channel));
        }
    }

    fn forget(&mut self, name: &str) -> Option<ChannelName> {
        self.place_of(name).map(|place| self.channels.remove(place))
    }

    fn place_of(&self, name: &str) -> Option<usize> {
        self.channels.binary_search_by(|channel| channel.as_str().cmp(name)).ok()
    }

    fn sign_in(&mut self, signin: &Signin, Setting { app, .. }: Setting<'_>, effects: &mut Vec<Effect>) {
        let unauthorised = |message: &str| send_error(Code::Unauthorised, message);
        let judged = signature::judge_user(
            (&app.key, &app.secret),
            self.socket_id,
            &signin.user_data,
            signin.auth.as_deref(),
        );
        if let Err(error) = judged {
            return effects.push(unauthorised(error.message()));
        }
        let UserData { user, user_data, watchlist_surplus } =
            match member::user(&signin.user_data, &app.limits) {
                Ok(data) => data,
                Err(MemberError::Form(message)) => return effects.push(unauthorised(message)),
                Err(MemberError::Large(message)) => return effects.push(unauthorised(&message)),
            };
        if self.user.as_ref().is_some_and(|present| present.user_id != user.user_id) {
            return effects.push(unauthorised(
                "expected the user that this connection is signed in as, but found another one; connect anew for it",
            ));
        }
        effects.push(Effect::Send(events::signin_success(&user_data).into()));
        if watchlist_surplus > 0 {
            let max = app.limits.watchlist_users_max;
            let message = format!(
                "expected a watchlist of at most {max} users, but found {watchlist_surplus} more; the first {max} are watched"
            );
            effects.push(send_error(Code::WatchlistTooLong, &message));
        }
        // Signing in twice is answered twice: the second time it changes nothing.
        if self.user.is_none() {
            let user = Arc::new(user);
            self.user = Some(Arc::clone(&user));
            effects.push(Effect::SignIn(user));
        }
    }

    fn publish(
        &mut self,
        message: &Message<'_>,
        Setting { app, now }: Setting<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), (Code, Cow<'static, str>)> {
        let rejected = |message: &'static str| Err((Code::ClientEventRejected, message.into()));
        let too_large = |field: &str, max: usize, found: usize| {
            let message = format!("expected {field} of at most {max} bytes, but found {found}");
            Err((Code::ClientEventRejected, message.into()))
        };
        if !message.event.starts_with("client-") {
            return rejected("expected a client event's name to begin with client-, but found another one");
        }
        if !app.client_events {
            return rejected("this app does not take client events; switch client_events on");
        }
        let name: Option<String> = message.channel.and_then(|raw| serde_json::from_str(raw.get()).ok());
        let Some(name) = name else {
            return rejected("expected a client event to have the string \"channel\"");
        };
        let Some(channel) = self.place_of(&name).map(|place| &self.channels[place]) else {
            return Err((
                Code::Unauthorised,
                "expected a client event on a channel that this connection is subscribed to".into(),
            ));
        };
        if !channel.traits().takes_client_events() {
            return rejected(
                "expected a client event on a private or presence channel that is not encrypted",
            );
        }
        let limits = &app.limits;
        if message.event.len() > limits.event_bytes_max {
            return too_large("an event name", limits.event_bytes_max, message.event.len());
        }
        let json = message.data.map(RawValue::get);
        let found = json.unwrap_or_default().len();
        if found > limits.client_event_bytes_max {
            return too_large("the data of a client event", limits.client_event_bytes_max, found);
        }
        if !self.client_events.permits(now, limits.client_events_per_s) {
            let max = limits.client_events_per_s;
            let message = format!("expected at most {max} client events a second; send fewer");
            return Err((Code::ClientEventRejected, message.into()));
        }
        let (channel, event) = (channel.clone(), message.event.clone());
        effects.push(Effect::Publish(ClientEvent { channel, event, json: json.map(Into::into) }));
        Ok(())
    }
}

/// The fields of `data`, an object or a string that holds one: clients of several generations differ.
fn fields<T: for<'de> Deserialize<'de>>(data: Option<&RawValue>, limits: &Limits) -> Option<T> {
    let raw = data?.get();
    if raw.starts_with('"') {
        object::read(&serde_json::from_str::<String>(raw).ok()?, limits.json_depth_max)
    } else {
        object::read(raw, limits.json_depth_max)
    }
}

fn send_error(code: Code, message: &str) -> Effect {
    Effect::Send(events::error(code, message).into())
}

fn complain(effects: &mut Vec<Effect>, message: &str) {
    effects.push(send_error(Code::Malformed, message));
}

/// A refused subscription is told twice: to Echo's `.error()` of the channel, and to the connection's `error`.
fn refuse(effects: &mut Vec<Effect>, channel: &str, refused: &Refused) {
    let Refused { code, kind, status, message } = refused;
    effects.push(Effect::Send(events::subscription_error(channel, kind, message, *status).into()));
    effects.push(send_error(*code, message));
}

#[cfg(test)]
mod tests;
