//! What is told about channels and who is on them.
//!
//! Owns the attributes (`info`), who has which, and the form of the answers. Leaves to others what is true: the fleet's
//! answer comes from [`crate::node::Node::enquire`].

use serde_json::{Map, Value, json};

use super::parameters::Parameters;
use super::rejection::{Code, Rejection};
use crate::fleet::frames::Answer;
use crate::limits::Limits;
use crate::pusher::channel::{self, Kind};

/// The prefix that `filter_by_prefix` needs for users to be counted.
const PRESENCE_PREFIX: &str = "presence-";

/// What is to be told about a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Distinct users, of a presence channel.
    pub user_count: bool,
    /// Connections that are subscribed.
    pub subscription_count: bool,
    /// The last event of a cache channel.
    pub cache: bool,
}

impl Attributes {
    /// Reads `info`, names between commas.
    ///
    /// # Errors
    /// [`Code::Info`]: another name.
    pub fn parse(info: &str) -> Result<Self, Rejection> {
        let mut attributes = Self::default();
        for name in info.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "user_count" => attributes.user_count = true,
                "subscription_count" => attributes.subscription_count = true,
                "cache" => attributes.cache = true,
                _ => {
                    let message = format!(
                        "expected info to be of user_count, subscription_count and cache, but found {name:?} in it"
                    );
                    return Err(Rejection::new(Code::Info, message));
                }
            }
        }
        Ok(attributes)
    }

    /// Whether anything is to be told.
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

/// Which channels are asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// What their names begin with.
    pub prefix: String,
    /// What is to be told about each.
    pub wanted: Attributes,
}

impl Listing {
    /// Reads the parameters of `GET …/channels`.
    ///
    /// # Errors
    /// [`Code::Info`]: what not all of these channels have.
    pub fn judge(parameters: &Parameters) -> Result<Self, Rejection> {
        let prefix = parameters.value("filter_by_prefix").unwrap_or_default().to_owned();
        let wanted = Attributes::parse(parameters.value("info").unwrap_or_default())?;
        if wanted.user_count && !prefix.starts_with(PRESENCE_PREFIX) {
            let message = "expected filter_by_prefix to begin with presence-, since info has user_count, but it does not; only presence channels have users";
            return Err(Rejection::new(Code::Info, message));
        }
        if wanted.cache {
            let message =
                "expected info without cache, since it is about many channels; ask about each by itself";
            return Err(Rejection::new(Code::Info, message));
        }
        Ok(Self { prefix, wanted })
    }

    /// Every occupied channel. Those of single users are the application's own and are not listed.
    pub fn answer(&self, told: Answer) -> Value {
        let listed = told.channels.into_iter().filter(|(name, ..)| channel::kind(name) != Kind::User);
        let described = listed.map(|(name, subscriptions, users)| {
            let mut about = Map::new();
            if self.wanted.user_count {
                about.insert("user_count".into(), users.into());
            }
            if self.wanted.subscription_count {
                about.insert("subscription_count".into(), subscriptions.into());
            }
            (name, Value::Object(about))
        });
        json!({"channels": described.collect::<Map<_, _>>()})
    }
}

/// Which one channel is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enquiry {
    /// Its name, which is legal.
    pub channel: String,
    /// What is to be told.
    pub wanted: Attributes,
}

impl Enquiry {
    /// Reads the parameters of `GET …/channels/{name}`.
    ///
    /// # Errors
    /// The name is not legal, or what is asked for is not there.
    pub fn judge(channel: String, parameters: &Parameters, limits: &Limits) -> Result<Self, Rejection> {
        let kind = judge_name(&channel, limits)?;
        let wanted = Attributes::parse(parameters.value("info").unwrap_or_default())?;
        if wanted.user_count && kind != Kind::Presence {
            let message = "expected info without user_count, since this is not a presence channel; ask for subscription_count";
            return Err(Rejection::new(Code::Info, message));
        }
        Ok(Self { channel, wanted })
    }

    /// Whether it is occupied, and what else is asked for.
    pub fn answer(&self, told: &Answer) -> Value {
        let mut about = describe(&self.channel, self.wanted, told);
        about.insert("occupied".into(), (!told.channels.is_empty()).into());
        Value::Object(about)
    }
}

/// What is wanted about one channel. It says nothing of users where there cannot be any.
pub fn describe(name: &str, wanted: Attributes, told: &Answer) -> Map<String, Value> {
    let (subscriptions, users) =
        told.channels.first().map_or((0, 0), |(_, subscriptions, users)| (*subscriptions, *users));
    let mut about = Map::new();
    if wanted.user_count && channel::kind(name) == Kind::Presence {
        about.insert("user_count".into(), users.into());
    }
    if wanted.subscription_count {
        about.insert("subscription_count".into(), subscriptions.into());
    }
    if wanted.cache {
        // Rounded up: what is there has some time left.
        let cache =
            told.last.as_ref().map(|(_, data, left_ms)| json!({"data": data, "ttl": left_ms.div_ceil(1000)}));
        about.insert("cache".into(), cache.unwrap_or_default());
    }
    about
}

/// Reads `GET …/channels/{name}/users`.
///
/// # Errors
/// The name is not legal, or not a presence channel's.
pub fn judge_presence(channel: &str, limits: &Limits) -> Result<(), Rejection> {
    if judge_name(channel, limits)? != Kind::Presence {
        let message =
            "expected the name of a presence channel (presence-…), but found another; only they have users";
        return Err(Rejection::new(Code::NotPresence, message));
    }
    Ok(())
}

/// The users of a presence channel.
pub fn users(told: &Answer) -> Value {
    json!({"users": told.users.iter().map(|user_id| json!({"id": user_id})).collect::<Vec<_>>()})
}

fn judge_name(name: &str, limits: &Limits) -> Result<Kind, Rejection> {
    channel::judge(name, limits.channel_bytes_max)
        .map(|traits| traits.kind)
        .map_err(|error| Rejection::new(Code::ChannelName, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::{App, Apps};
    use crate::config::Configuration;
    use crate::fleet::frames::About;
    use crate::hub::Member;
    use std::sync::Arc;
    use std::time::Duration;

    fn app() -> Arc<App> {
        let text = r#"{"listen":"127.0.0.1:0","socket":"/s","apps":[{"id":"1","key":"a","secret":"x"}]}"#;
        Apps::new(Configuration::parse(text, 1).unwrap().apps).by_id("1").unwrap()
    }

    fn subscribe(app: &App, channel: &str, user_id: Option<&str>) {
        let member = user_id.map(|user_id| Member { user_id: user_id.into(), user_info: None });
        app.directory.subscribe(&channel.into(), 0, member.as_ref(), 9, false, |_| ()).unwrap();
    }

    fn listing(query: &str) -> Result<Listing, Code> {
        Listing::judge(&Parameters::parse(Some(query)).unwrap()).map_err(|rejection| rejection.code)
    }

    fn listed(app: &App, query: &str) -> Value {
        let listing = listing(query).unwrap();
        listing.answer(Answer::of(app, &About::Channels(listing.prefix.clone())))
    }

    fn enquiry(channel: &str, query: &str) -> Result<Enquiry, Code> {
        let parameters = Parameters::parse(Some(query)).unwrap();
        Enquiry::judge(channel.into(), &parameters, &Limits::default()).map_err(|rejection| rejection.code)
    }

    #[test]
    fn h6_occupied_channels_are_listed_in_an_object() {
        let app = app();
        assert_eq!(listed(&app, "").to_string(), r#"{"channels":{}}"#);
        for (channel, user_id) in
            [("news", None), ("presence-a", Some("1")), ("presence-a", Some("1")), ("presence-a", Some("2"))]
        {
            subscribe(&app, channel, user_id);
        }
        assert_eq!(listed(&app, ""), json!({"channels": {"news": {}, "presence-a": {}}}));
        let all = listed(&app, "info=subscription_count");
        let counted = json!({"news": {"subscription_count": 1}, "presence-a": {"subscription_count": 3}});
        assert_eq!(all, json!({"channels": counted}));
        let present = listed(&app, "filter_by_prefix=presence-&info=user_count");
        assert_eq!(present, json!({"channels": {"presence-a": {"user_count": 2}}}));
        assert_eq!(listed(&app, "filter_by_prefix=x"), json!({"channels": {}}));
    }

    #[test]
    fn h6_users_are_counted_on_presence_channels_only() {
        for query in ["info=user_count", "info=user_count&filter_by_prefix=presence", "info=cache", "info=x"]
        {
            assert_eq!(listing(query), Err(Code::Info), "{query}");
        }
        assert!(listing("info=user_count&filter_by_prefix=presence-cache-").is_ok());
    }

    #[test]
    fn n4_channels_of_single_users_are_not_listed() {
        let app = app();
        subscribe(&app, "#server-to-user-1", None);
        assert_eq!(listed(&app, ""), json!({"channels": {}}));
        assert_eq!(listed(&app, "filter_by_prefix=%23"), json!({"channels": {}}));
    }

    #[tokio::test(start_paused = true)]
    async fn h7_one_channel_with_what_is_asked_for() {
        let app = app();
        let answer = |channel: &str, query: &str| {
            let told = Answer::of(&app, &About::Channel(channel.into()));
            enquiry(channel, query).unwrap().answer(&told)
        };
        assert_eq!(answer("news", "").to_string(), r#"{"occupied":false}"#);
        subscribe(&app, "presence-cache-a", Some("1"));
        let all = "info=user_count,subscription_count,cache";
        assert_eq!(
            answer("presence-cache-a", all),
            json!({"occupied": true, "user_count": 1, "subscription_count": 1, "cache": null})
        );
        app.cache.remember("presence-cache-a", "e", r#"{"a":1}"#);
        tokio::time::advance(Duration::from_millis(1_740_500)).await;
        let cache = json!({"data": r#"{"a":1}"#, "ttl": 60});
        assert_eq!(answer("presence-cache-a", "info=cache"), json!({"occupied": true, "cache": cache}));
        assert_eq!(answer("news", "info=cache"), json!({"occupied": false, "cache": null}));
        assert_eq!(
            answer("news", "info=subscription_count"),
            json!({"occupied": false, "subscription_count": 0})
        );
    }

    #[test]
    fn h7_what_a_channel_does_not_have_is_refused() {
        for channel in ["news", "private-a", "presence", "#server-to-user-1"] {
            assert_eq!(enquiry(channel, "info=user_count"), Err(Code::Info), "{channel}");
        }
        assert_eq!(enquiry("presence-a", "info=users"), Err(Code::Info));
        assert_eq!(enquiry("a b", ""), Err(Code::ChannelName));
        assert_eq!(enquiry("", ""), Err(Code::ChannelName));
    }

    #[test]
    fn h8_users_of_presence_channels() {
        let (app, limits) = (app(), Limits::default());
        let about = About::Users("presence-a".into());
        assert_eq!(users(&Answer::of(&app, &about)).to_string(), r#"{"users":[]}"#);
        for user_id in ["2", "1", "2"] {
            subscribe(&app, "presence-a", Some(user_id));
        }
        assert_eq!(users(&Answer::of(&app, &about)).to_string(), r#"{"users":[{"id":"1"},{"id":"2"}]}"#);
        let judged = |channel| judge_presence(channel, &limits).map_err(|rejection| rejection.code);
        assert_eq!(judged("presence-cache-a"), Ok(()));
        assert_eq!(judged("private-a"), Err(Code::NotPresence));
        assert_eq!(judged("a b"), Err(Code::ChannelName));
    }
}
