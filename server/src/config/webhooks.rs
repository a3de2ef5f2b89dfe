//! Reading an app's `"webhooks"` and `"listener"`, and `"webhook_ca_file"`.
//!
//! Owns their shape. What makes a URL or a header usable is [`crate::webhooks`]'. No message shows a URL or a header's
//! value: both may hold a token.

use std::path::PathBuf;

use serde_json::Value;

use super::reading::{Field, Mistakes, Object};
use crate::webhooks::{Endpoint, EventKind, EventKinds, ExtraHeader, Filter, Unusable, Url};

/// The endpoints of one app, no two alike.
pub(super) fn read(field: Option<Field<'_>>, mistakes: &mut Mistakes) -> Vec<Endpoint> {
    let Some(field) = field else { return Vec::new() };
    let mut endpoints: Vec<(String, Endpoint)> = Vec::new();
    for item in field.items(mistakes) {
        let Some(endpoint) = read_endpoint(&item, mistakes) else { continue };
        match endpoints.iter().find(|(_, other)| other.is_same_place(&endpoint)) {
            Some((path, _)) => {
                let expected = format!("another url or other filters than those of {path}");
                mistakes.add(&item.path, &expected, "the same", "leave it out, or everything is told twice");
            }
            None => endpoints.push((item.path, endpoint)),
        }
    }
    endpoints.into_iter().map(|(_, endpoint)| endpoint).collect()
}

fn read_endpoint(item: &Field<'_>, mistakes: &mut Mistakes) -> Option<Endpoint> {
    let mut object = Object::open(&item.path, item.value, "an object with url", mistakes)?;
    let url = object.required("url", mistakes).and_then(|field| {
        let text = field.secret("a URL such as \"https://example.com/pusher/webhook\"", mistakes)?;
        usable(&field, Url::parse(text), mistakes)
    });
    let filter = read_filter(&mut object, mistakes);
    let headers = read_headers(object.optional("headers"), mistakes);
    object.close("url, events, channel_prefix, channel_suffix or headers", mistakes);
    Some(Endpoint { url: url?, filter, headers })
}

fn read_filter(object: &mut Object<'_>, mistakes: &mut Mistakes) -> Filter {
    Filter {
        events: read_events(object.optional("events"), mistakes),
        channel_prefix: read_part(object.optional("channel_prefix"), mistakes),
        channel_suffix: read_part(object.optional("channel_suffix"), mistakes),
    }
}

/// What is kept for an app's listener: everything, or what an object asks for.
pub(super) fn read_listener(field: Option<Field<'_>>, mistakes: &mut Mistakes) -> Option<Filter> {
    let field = field?;
    if let Value::Bool(on) = field.value {
        return on.then(Filter::default);
    }
    const EXPECTED: &str = "true, false or an object with events, channel_prefix or channel_suffix";
    let mut object = Object::open(&field.path, field.value, EXPECTED, mistakes)?;
    let filter = read_filter(&mut object, mistakes);
    object.close("events, channel_prefix or channel_suffix", mistakes);
    Some(filter)
}

fn usable<T>(field: &Field<'_>, parsed: Result<T, Unusable>, mistakes: &mut Mistakes) -> Option<T> {
    match parsed {
        Ok(value) => Some(value),
        Err(Unusable { expected, found, advice }) => {
            mistakes.add(&field.path, expected, found, advice);
            None
        }
    }
}

fn read_events(field: Option<Field<'_>>, mistakes: &mut Mistakes) -> EventKinds {
    let Some(field) = field else { return EventKinds::ALL };
    let items = field.items(mistakes);
    if items.is_empty() && field.value.is_array() {
        let advice = "name some, or leave the field out for all";
        mistakes.add(&field.path, "at least one event", "an empty list", advice);
    }
    let kinds = EventKind::ALL.map(|kind| (kind.name(), kind));
    let expected = format!("one of {}", EventKind::ALL.map(EventKind::name).join(", "));
    items.iter().filter_map(|item| item.one_of(&kinds, &expected, mistakes)).collect()
}

/// What a channel's name begins or ends with. One that no name can have is a mistake: a pattern, mostly.
fn read_part(field: Option<Field<'_>>, mistakes: &mut Mistakes) -> Option<String> {
    const EXPECTED: &str = "characters that channel names have: A-Z a-z 0-9 _ - = @ , . ;";
    let field = field?;
    let text = field.text(EXPECTED, mistakes)?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"_-=@,.;".contains(&b);
    if !text.bytes().all(legal) {
        mistakes.add(&field.path, EXPECTED, field.found(), "write it literally: there are no patterns here");
        return None;
    }
    Some(text.to_owned())
}

fn read_headers(field: Option<Field<'_>>, mistakes: &mut Mistakes) -> Vec<ExtraHeader> {
    let Some(field) = field else { return Vec::new() };
    // PHP writes an array without elements as a list.
    let Value::Object(fields) = field.value else {
        if field.value.as_array().is_none_or(|list| !list.is_empty()) {
            let advice = "put it between { and }";
            mistakes.add(&field.path, "an object of headers", "something else", advice);
        }
        return Vec::new();
    };
    let mut headers: Vec<ExtraHeader> = Vec::new();
    for (name, value) in fields {
        let field = Field { path: format!("{}.{name}", field.path), value };
        let Some(text) = field.secret("a header's value", mistakes) else { continue };
        let Some(header) = usable(&field, ExtraHeader::parse(name, text), mistakes) else { continue };
        if headers.iter().any(|other| other.name == header.name) {
            let advice = "write one of them";
            mistakes.add(&field.path, "each header once", "the same name in other letters", advice);
        } else {
            headers.push(header);
        }
    }
    headers
}

/// The file itself is read when the server starts.
pub(super) fn read_ca_file(field: Option<Field<'_>>, mistakes: &mut Mistakes) -> Option<PathBuf> {
    let field = field?;
    let path = field.text("the path of a PEM file", mistakes)?;
    if !path.starts_with('/') {
        mistakes.add(&field.path, "an absolute path", field.found(), "write it from the root");
    }
    Some(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::super::{App, Configuration, Mistake};
    use super::*;

    fn parse(webhooks: &str) -> Result<App, Vec<Mistake>> {
        let text = format!(
            r#"{{"listen":"127.0.0.1:8080","socket":"/run/f.sock",
                "apps":[{{"id":"app","key":"app-key","secret":"app-secret","webhooks":{webhooks}}}]}}"#
        );
        Configuration::parse(&text, 1).map(|mut configuration| configuration.apps.remove(0))
    }

    fn mistakes(webhooks: &str) -> Vec<String> {
        parse(webhooks).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn w_endpoints_are_read_with_their_filters_and_headers() {
        assert_eq!(parse("null").unwrap().webhooks, []);
        assert_eq!(parse("[]").unwrap().webhooks, []);
        let app = parse(
            r#"[{"url":"https://example.com/hook?token=abc"},
                {"url":"http://127.0.0.1:9/","events":["member_added","channel_vacated"],"channel_prefix":"presence-",
                 "channel_suffix":"-eu","headers":{"Authorization":"Bearer abc"}},
                {"url":"http://127.0.0.1:9/","headers":[]}]"#,
        );
        let [all, some, third] = <[Endpoint; 3]>::try_from(app.unwrap().webhooks).unwrap();
        assert_eq!(all, Endpoint::new(Url::parse("https://example.com/hook?token=abc").unwrap()));
        assert_eq!(
            some.filter.events,
            EventKinds::from_iter([EventKind::MemberAdded, EventKind::ChannelVacated])
        );
        assert_eq!(
            (some.filter.channel_prefix.as_deref(), some.filter.channel_suffix.as_deref()),
            (Some("presence-"), Some("-eu"))
        );
        assert_eq!(some.headers, [ExtraHeader::parse("authorization", "Bearer abc").unwrap()]);
        assert_eq!(third.filter, Filter::default());
    }

    #[test]
    fn w_a_listener_is_off_or_hears_all_or_some() {
        let parse = |listener: &str| {
            let text = format!(
                r#"{{"listen":"127.0.0.1:8080","socket":"/run/f.sock",
                    "apps":[{{"id":"app","key":"app-key","secret":"app-secret","listener":{listener}}}]}}"#
            );
            Configuration::parse(&text, 1).map(|mut configuration| configuration.apps.remove(0).listener)
        };
        assert_eq!((parse("null").unwrap(), parse("false").unwrap()), (None, None));
        assert_eq!(parse("true").unwrap(), Some(Filter::default()));
        assert_eq!(parse("{}").unwrap(), Some(Filter::default()));
        let some = parse(r#"{"events":["client_event"],"channel_prefix":"presence-"}"#).unwrap().unwrap();
        assert_eq!(some.events, EventKinds::from_iter([EventKind::ClientEvent]));
        assert_eq!((some.channel_prefix.as_deref(), some.channel_suffix), (Some("presence-"), None));
        let mistakes = parse(r#"{"events":["typing"],"channel_suffix":"*","url":"http://a/"}"#).unwrap_err();
        let paths: Vec<&str> = mistakes.iter().map(|mistake| mistake.path.as_str()).collect();
        assert_eq!(
            paths,
            ["apps[0].listener.events[0]", "apps[0].listener.channel_suffix", "apps[0].listener.url"]
        );
        let mistakes = parse("7").unwrap_err();
        assert!(mistakes[0].message.starts_with("expected true, false or an object with events"));
    }

    #[test]
    fn w_all_mistakes_are_told_with_their_paths_and_without_what_is_secret() {
        let told = mistakes(
            r#"[{"url":"https://user:hidden@example.com/"},
                {"url":["hidden"],"events":["channel_occupied","occupied"],"channel_prefix":"private-*","channel_suffix":""},
                {"events":[],"headers":{"x-pusher-key":"hidden","a":["hidden"],"b":"hidden\n","c":"","Dup":"hidden","dup":"hidden"}},
                {"url":"http://a/","events":"hidden","headers":["hidden"],"secret":"hidden"},
                "hidden","x"]"#,
        );
        let paths: Vec<&str> = told.iter().map(|mistake| mistake.split_once(": ").unwrap().0).collect();
        assert_eq!(
            paths,
            [
                "apps[0].webhooks[0].url",
                "apps[0].webhooks[1].url",
                "apps[0].webhooks[1].events[1]",
                "apps[0].webhooks[1].channel_prefix",
                "apps[0].webhooks[1].channel_suffix",
                "apps[0].webhooks[2].url",
                "apps[0].webhooks[2].events",
                "apps[0].webhooks[2].headers.a",
                "apps[0].webhooks[2].headers.b",
                "apps[0].webhooks[2].headers.c",
                "apps[0].webhooks[2].headers.dup",
                "apps[0].webhooks[2].headers.x-pusher-key",
                "apps[0].webhooks[3].events",
                "apps[0].webhooks[3].headers",
                "apps[0].webhooks[3].secret",
                "apps[0].webhooks[4]",
                "apps[0].webhooks[5]",
            ]
        );
        for mistake in &told {
            let whole = [": expected ", ", but found ", "; "].iter().all(|part| mistake.contains(part));
            assert!(whole, "{mistake}");
        }
        assert_eq!(
            told[2],
            "apps[0].webhooks[1].events[1]: expected one of channel_occupied, channel_vacated, member_added, \
             member_removed, client_event, cache_miss, subscription_count, but found \"occupied\"; choose one of them"
        );
        let shown = told.iter().filter(|mistake| mistake.contains("hidden")).collect::<Vec<_>>();
        // What stands where no secret belongs is shown, so that it can be found.
        assert_eq!(shown.len(), 2, "{shown:#?}");
        assert!(shown[0].starts_with("apps[0].webhooks[3].events: "));
        assert!(shown[1].starts_with("apps[0].webhooks[4]: "));
    }

    #[test]
    fn w_the_same_endpoint_twice_is_a_mistake_and_other_filters_make_it_another() {
        let told = mistakes(
            r#"[{"url":"http://a/"},{"url":"http://a/","channel_prefix":"b"},{"url":"http://a/","headers":{"a":"b"}}]"#,
        );
        assert_eq!(
            told,
            [
                "apps[0].webhooks[2]: expected another url or other filters than those of apps[0].webhooks[0], but found \
              the same; leave it out, or everything is told twice"
            ]
        );
    }

    #[test]
    fn w_a_reload_sees_that_webhooks_changed_and_secrets_stay_unseen() {
        let with = |headers: &str| parse(&format!(r#"[{{"url":"http://a/","headers":{headers}}}]"#)).unwrap();
        assert_eq!(with(r#"{"a":"b"}"#), with(r#"{"a":"b"}"#));
        assert_ne!(with(r#"{"a":"b"}"#), with(r#"{"a":"c"}"#));
        assert!(!format!("{:?}", with(r#"{"a":"hidden"}"#)).contains("hidden"));
    }

    #[test]
    fn w_the_file_of_authorities_has_an_absolute_path() {
        let parse = |field: &str| {
            let text = format!(
                r#"{{"listen":"127.0.0.1:8080","socket":"/s","apps":[{{"id":"a","key":"k","secret":"s"}}]{field}}}"#
            );
            Configuration::parse(&text, 1).map(|configuration| configuration.webhook_ca_file)
        };
        assert_eq!(parse("").unwrap(), None);
        assert_eq!(parse(r#","webhook_ca_file":"/etc/ca.pem""#).unwrap(), Some(PathBuf::from("/etc/ca.pem")));
        for wrong in [r#""ca.pem""#, "7", r#""""#] {
            let mistakes = parse(&format!(r#","webhook_ca_file":{wrong}"#)).unwrap_err();
            assert_eq!((mistakes.len(), mistakes[0].path.as_str()), (1, "webhook_ca_file"));
        }
    }
}
