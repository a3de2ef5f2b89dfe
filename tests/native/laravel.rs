//! Laravel's own events, from the chat example's application into pusher-js.

use std::process::Command;

use fanfare_tests::{APP_KEY, APP_SECRET, Php, PusherJs, Scene, Server};
use serde_json::json;

/// A PHP process of the chat example that broadcasts to the scene's server and has a database of its own.
fn chat(scene: &Scene, arguments: &[&str]) -> Php {
    let chat = Scene::repository().join("examples/chat");
    let database = scene.path("chat.sqlite");
    if !database.exists() {
        std::fs::write(&database, "").unwrap();
    }
    Php::spawn(
        Command::new("php")
            .args(arguments)
            .current_dir(chat)
            // Nothing is left to the example's .env, which is there only once the demo has run.
            .env("APP_ENV", "testing")
            .env("CACHE_STORE", "array")
            .env("SESSION_DRIVER", "array")
            .env("APP_KEY", "base64:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
            .env("BROADCAST_CONNECTION", "fanfare")
            .env("QUEUE_CONNECTION", "database")
            .env("DB_CONNECTION", "sqlite")
            .env("DB_DATABASE", database)
            .env("FANFARE_APP_ID", "scene")
            .env("FANFARE_APP_KEY", APP_KEY)
            .env("FANFARE_APP_SECRET", APP_SECRET)
            .env("FANFARE_CONNECT_TIMEOUT_MS", "10000")
            .env("FANFARE_SOCKET", scene.socket()),
    )
}

fn broadcasting(scene: &Scene) -> Php {
    chat(scene, &[Scene::repository().join("tests/fixtures/laravel.php").to_str().unwrap()])
}

#[test]
fn an_event_broadcast_now_reaches_a_client() {
    let scene = Scene::new();
    let server = Server::start(&scene);
    let client = PusherJs::subscribe(&server, "chat");
    let mut php = broadcasting(&scene);
    php.tell(&json!({"now": "grüße"}).to_string());
    let (event, data, _) = client.next_event(0);
    assert_eq!(event, "App\\Events\\MessageSent");
    assert_eq!(data["text"], "grüße");
    assert_eq!(data.get("socket"), None, "`socket` belongs to the publication, not to the payload");
    php.succeed();
    client.quit();
    server.stop();
}

#[test]
fn a_queued_event_reaches_a_client_through_a_queue_worker() {
    let scene = Scene::new();
    let server = Server::start(&scene);
    let client = PusherJs::subscribe(&server, "chat");
    chat(&scene, &["artisan", "migrate", "--force"]).succeed();
    let mut php = broadcasting(&scene);
    php.tell(&json!({"queue": true}).to_string());
    php.succeed();
    let worked = chat(&scene, &["artisan", "queue:work", "--once"]).succeed();
    assert!(worked.iter().any(|line| line.contains("DONE")), "{}", worked.join("\n"));
    let (event, data, _) = client.next_event(0);
    assert_eq!(event, "App\\Events\\RoomCounted");
    assert_eq!(data["messages"], 0);
    assert_eq!(client.quit().len(), 1);
    server.stop();
}

#[test]
fn to_others_skips_the_sender_and_nobody_else() {
    let scene = Scene::new();
    let server = Server::start(&scene);
    let sender = PusherJs::subscribe(&server, "chat");
    let other = PusherJs::subscribe(&server, "chat");
    let mut php = broadcasting(&scene);
    php.tell(&json!({"others": "for others", "socket_id": sender.socket_id}).to_string());
    // Order holds: a sender that got the first would have it before the second.
    php.tell(&json!({"now": "for all"}).to_string());
    assert_eq!(sender.next_event(0).1["text"], "for all");
    let (_, data, line) = other.next_event(0);
    assert_eq!(data["text"], "for others");
    assert_eq!(other.next_event(line).1["text"], "for all");
    php.succeed();
    assert_eq!(sender.quit().len(), 1);
    assert_eq!(other.quit().len(), 2);
    server.stop();
}
