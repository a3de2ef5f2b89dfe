//! Every mistake has its path, and all are told at once.

use super::*;
use crate::pusher::origin::Origins;

const SMALLEST: &str = r#"{"listen":"127.0.0.1:8080","socket":"/run/f.sock",
    "apps":[{"id":"app","key":"app-key","secret":"app-secret"}]}"#;

fn mistakes(text: &str) -> Vec<String> {
    Configuration::parse(text, 2).unwrap_err().iter().map(ToString::to_string).collect()
}

fn paths(text: &str) -> Vec<String> {
    Configuration::parse(text, 2).unwrap_err().into_iter().map(|mistake| mistake.path).collect()
}

#[test]
fn the_smallest_configuration_has_defaults() {
    let configuration = Configuration::parse(SMALLEST, 3).unwrap();
    assert_eq!(configuration.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!((configuration.socket_mode, configuration.shards), (0o660, 3));
    assert_eq!(configuration.log, Log { level: Level::INFO, format: LogFormat::Text });
    assert_eq!(configuration.limits, Limits::default());
    assert_eq!((configuration.apps.len(), configuration.path.as_str()), (1, ""));
}

#[test]
fn a_full_configuration_is_read() {
    let configuration = Configuration::parse(
        r#"{"listen":["127.0.0.1:0","[::1]:0"],"path":"/ws/","socket":"/run/f.sock","socket_mode":"0666",
            "socket_uids":[33,0],"shards":4,"log":{"level":"trace","format":"json"},
            "limits":{"outbox_bytes_max":2048,"close_timeout_ms":null},
            "apps":[{"id":1,"key":"a","secret":"x"},{"id":"2","key":"b","secret":"x"}]}"#,
        1,
    )
    .unwrap();
    assert_eq!((configuration.listen.len(), configuration.path.as_str()), (2, "/ws"));
    assert_eq!((configuration.socket_mode, configuration.shards), (0o666, 4));
    assert_eq!(configuration.socket_uids, [33, 0]);
    assert_eq!(configuration.log, Log { level: Level::TRACE, format: LogFormat::Json });
    assert_eq!(configuration.limits, Limits { outbox_bytes_max: 2048, ..Limits::default() });
    assert_eq!(configuration.apps[0].id, "1");
}

#[test]
fn tls_and_trusted_proxies_are_read() {
    let text = SMALLEST.replace(
        r#""socket":"#,
        r#""tls":{"certificate":"/c.pem","key":"/k.pem"},
           "trusted_proxies":["127.0.0.1","10.0.0.0/8","::1","2001:db8::/32","*"],"socket":"#,
    );
    let configuration = Configuration::parse(&text, 1).unwrap();
    let tls = configuration.tls.unwrap();
    assert_eq!((tls.certificate, tls.key), (PathBuf::from("/c.pem"), PathBuf::from("/k.pem")));
    let forwarded_for = || [b"203.0.113.9".as_slice()].into_iter();
    let client = configuration.trusted_proxies.client("192.0.2.1".parse().unwrap(), forwarded_for());
    assert_eq!(client.to_string(), "203.0.113.9");

    let smallest = Configuration::parse(SMALLEST, 1).unwrap();
    assert_eq!(smallest.tls, None);
    let peer = "127.0.0.1".parse().unwrap();
    assert_eq!(smallest.trusted_proxies.client(peer, forwarded_for()), peer);
}

#[test]
fn mistakes_in_tls_and_trusted_proxies_are_told() {
    let text = SMALLEST.replace(
        r#""socket":"#,
        r#""tls":{"certificate":"c.pem","private_key":"/k.pem"},
           "trusted_proxies":["localhost","10.0.0.1/8",7,"10.0.0.0/33","203.0.113.9/32"],"socket":"#,
    );
    let unknown = "expected an address or a network, such as \"127.0.0.1\" or \"10.0.0.0/8\", or \"*\"";
    let advice = "write addresses as numbers";
    assert_eq!(
        mistakes(&text),
        [
            "tls.certificate: expected an absolute path, but found \"c.pem\"; the server may be started in any \
             directory: write it from the root"
                .to_owned(),
            "tls.key: expected this field, but found nothing; add it".to_owned(),
            "tls.private_key: expected certificate or key, but found an unknown field; correct its name or leave \
             it out"
                .to_owned(),
            format!("trusted_proxies[0]: {unknown}, but found \"localhost\"; {advice}"),
            "trusted_proxies[1]: expected a network without bits beyond its length, but found \"10.0.0.1/8\"; \
             write 10.0.0.0/8, or the address alone"
                .to_owned(),
            format!("trusted_proxies[2]: {unknown}, but found 7; {advice}"),
            format!("trusted_proxies[3]: {unknown}, but found \"10.0.0.0/33\"; {advice}"),
        ]
    );
    let text = SMALLEST.replace(r#""socket":"#, r#""tls":"/c.pem","trusted_proxies":"*","socket":"#);
    assert_eq!(paths(&text), ["tls", "trusted_proxies"]);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = r#"{"listen":["here",7],"path":"ws","socket":"run/f","socket_mode":"0999","socket_uids":[-1],
        "shards":0,"log":{"level":"loud","shape":1},"limits":{"outbox_bytes_max":1,"unheard_max":2},
        "apps":[{"id":"a","key":"k","secret":""},{"id":"a","key":"k","secret":"s"},{"id":"b","key":"a b"},7],
        "typo":true}"#;
    assert_eq!(
        paths(text),
        [
            "listen[0]",
            "listen[1]",
            "path",
            "socket",
            "socket_mode",
            "socket_uids[0]",
            "shards",
            "log.level",
            "log.shape",
            "limits.outbox_bytes_max",
            "limits.unheard_max",
            "apps[0].secret",
            "apps[1].id",
            "apps[1].key",
            "apps[2].key",
            "apps[2].secret",
            "apps[3]",
            "typo",
        ]
    );
    for mistake in mistakes(text) {
        assert!(
            mistake.contains(": expected ") && mistake.contains(", but found ") && mistake.contains("; "),
            "{mistake}"
        );
    }
}

fn app(fields: &str) -> App {
    let text = SMALLEST.replace(r#""secret":"app-secret""#, &format!(r#""secret":"app-secret"{fields}"#));
    Configuration::parse(&text, 1).unwrap().apps.remove(0)
}

#[test]
fn an_app_has_defaults() {
    let app = app("");
    assert_eq!((app.enabled, app.client_events, app.subscription_count), (true, true, false));
    assert_eq!((&app.allowed_origins, app.missing_origin), (&Origins::any(), true));
    assert_eq!(app.limits, Limits::default());
    assert_eq!(app.limits.message_bytes_max, 100_000);
}

#[test]
fn a_full_app_is_read() {
    let app = app(r#","enabled":false,"client_events":false,"subscription_count":true,
        "allowed_origins":["https://example.com","*.example.com"],"missing_origin":"refuse",
        "limits":{"app_connections_max":5,"pong_timeout_s":null}"#);
    assert_eq!((app.enabled, app.client_events, app.subscription_count), (false, false, true));
    assert!(app.allowed_origins.allows(Some(b"https://example.com"), false));
    assert!(!app.allowed_origins.allows(Some(b"http://example.com"), false));
    assert!(!app.missing_origin);
    assert_eq!(app.limits, Limits { app_connections_max: 5, ..Limits::default() });
}

#[test]
fn an_app_has_the_nodes_limits_where_it_has_none_of_its_own() {
    let text = SMALLEST
        .replace(r#""secret":"#, r#""limits":{"message_bytes_max":2048,"data_bytes_max":500},"secret":"#)
        .replace(r#""socket":"#, r#""limits":{"message_bytes_max":1024,"cache_ttl_s":60},"socket":"#);
    let configuration = Configuration::parse(&text, 1).unwrap();
    let node = Limits { message_bytes_max: 1024, cache_ttl_s: 60, ..Limits::default() };
    let app = Limits { message_bytes_max: 2048, data_bytes_max: 500, ..node.clone() };
    assert_eq!((&configuration.limits, &configuration.apps[0].limits), (&node, &app));
}

#[test]
fn a_reload_sees_which_apps_changed() {
    assert_eq!(app(""), app(r#","enabled":true,"limits":{"message_bytes_max":100000}"#));
    assert_ne!(app(""), app(r#","limits":{"message_bytes_max":100001}"#));
    assert_ne!(app(""), app(r#","allowed_origins":["example.com"]"#));
}

#[test]
fn mistakes_of_an_app_are_told() {
    let text = SMALLEST.replace(
        r#""app-secret""#,
        r#""app-secret","enabled":"yes","client_events":1,"allowed_origins":["https://example.com/","*",7],
           "missing_origin":true,"limits":{"attachments_max":5,"pong_timeout_s":0,"unheard_max":1},"origins":[]"#,
    );
    assert_eq!(
        mistakes(&text)[..5],
        [
            "apps[0].enabled: expected true or false, but found \"yes\"; write one of them, without quotes",
            "apps[0].client_events: expected true or false, but found 1; write one of them, without quotes",
            "apps[0].allowed_origins[0]: expected an origin such as \"https://example.com\", \
             \"*.example.com\", \"localhost:3000\" or \"*\", but found \"https://example.com/\"; write scheme, host \
             and port as a browser's address line shows them, and no path",
            "apps[0].allowed_origins[2]: expected an origin such as \"https://example.com\", \
             \"*.example.com\", \"localhost:3000\" or \"*\", but found 7; write scheme, host \
             and port as a browser's address line shows them, and no path",
            "apps[0].missing_origin: expected allow or refuse, but found true; choose one of them",
        ]
    );
    assert_eq!(
        mistakes(&text)[6],
        "apps[0].limits.attachments_max: expected a limit of one app, but found one that all apps share; move \
         it to limits, beside apps"
    );
    assert_eq!(paths(&text)[5], "apps[0].limits.pong_timeout_s");
    assert_eq!(paths(&text)[7..], ["apps[0].limits.unheard_max", "apps[0].origins"]);
    let empty = SMALLEST.replace(r#""app-secret""#, r#""app-secret","allowed_origins":[]"#);
    assert_eq!(paths(&empty), ["apps[0].allowed_origins"]);
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(paths("{}"), ["listen", "socket", "apps"]);
    assert_eq!(paths(r#"{"listen":[],"socket":"/x","apps":[]}"#), ["listen", "apps"]);
    assert_eq!(paths("[]"), ["$"]);
    assert_eq!(paths("{"), ["$"]);
    assert_eq!(paths(""), ["$"]);
}

#[test]
fn a_socket_path_is_as_long_as_the_kernel_takes() {
    for (bytes, good) in [(107, true), (108, false)] {
        let path = format!("/{}", "x".repeat(bytes - 1));
        let text = SMALLEST.replace("/run/f.sock", &path);
        assert_eq!(Configuration::parse(&text, 1).is_ok(), good, "{bytes}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let configuration = Configuration::parse(SMALLEST, 1).unwrap();
    assert!(!format!("{configuration:?}").contains("app-secret"));
    let text = SMALLEST.replace(r#""app-secret""#, r#"["app-secret"]"#);
    assert!(mistakes(&text).iter().all(|mistake| !mistake.contains("app-secret")), "{:?}", mistakes(&text));
}
