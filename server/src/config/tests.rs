//! Every mistake has its path, and all are told at once.

use super::*;

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
