//! Transcripts of the protocol: `tests/fixtures/pusher`, played in memory by the library's own tests and over real
//! sockets by `tests/transcripts.rs`.
//!
//! Owns the form of a scene ([`scene`]), its placeholders ([`words`]), playing it ([`play`]) and the list of all
//! scenes ([`for_every_scene`]). Leaves to either side where the clients connect: a [`play::Place`].

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a harness, compiled into two tests: it fails by panicking, and each uses a part of it"
)]

pub mod play;
pub mod scene;
pub mod words;

/// The app of every scene.
pub const KEY: &str = "app-key";
pub const SECRET: &str = "app-secret";

/// How pusher-js connects.
pub const GREETED_PATH: &str = "/app/app-key?protocol=7&client=js&version=8.6.0&flash=false";

/// Gives the name of every scene to a macro: each becomes a test, so that a scene can be run, and fails, by itself.
macro_rules! for_every_scene {
    ($generate:ident) => {
        $generate! {
            a1_signatures_of_private_channels
            a2_signatures_of_presence_channels
            a3_u4_signatures_of_users
            a5_u1_encrypted_channel
            c1_c2_c3_let_in
            c2_e_binary_messages_are_not_spoken
            c3_activity_timeout
            c4_e_a_disabled_app
            c4_e_l_app_connections_max
            c4_e_l_connections_max
            c4_e_refusals
            c5_e_protocol_versions
            c6_a_missing_origin
            c6_e_origins
            l_connection_channels_max
            l_e_message_bytes_max
            l_message_bytes_max_by_default
            l_subscriptions_per_s
            m10_e_invalid_utf8
            m10_l_json_depth_max
            m10_s13_not_understood
            m1_auth_may_be_absent
            m1_s3_s7_public_channel
            m2_a1_s3_private_channel
            m3_a2_s4_presence_channel
            m3_m5_a3_a_signed_in_member
            m4_a_private_channel_is_left
            m4_unsubscribing
            m5_s11_a3_signing_in
            m6_m7_s1_ping_and_pong
            m8_s8_client_events
            m9_data_as_text
            n1_l_channel_bytes_max
            n1_n3_names
            n2_n3_kinds
            n4_s15_server_to_user
            n5_subscribing_twice
            s10_l_subscription_count_ms
            s10_subscription_count
            s10_subscription_count_is_off
            s12_a_watcher_that_is_gone
            s12_u5_watchlists
            s14_s13_n3_refused_subscriptions
            s15_order
            s2_m7_t1_t2_e_who_says_nothing_is_asked
            s2_t2_silence_without_a_subscription
            s4_s5_s6_members_come_and_go
            s4_u3_ids_and_infos_of_any_kind
            s6_members_whose_connection_ends
            s7_a1_apps_are_apart
            s7_several_channels_in_one_publication
            s8_client_events_of_members
            s9_l_cache_ttl_s
            s9_l_cached_events_are_bounded
            s9_n2_s15_cache_channels
            s9_what_cache_channels_remember
            u1_client_events_are_off
            u1_l_client_event_sizes
            u1_l_client_events_per_s
            u1_where_clients_may_send
            u2_l_member_info_bytes_max
            u2_l_presence_members_max
            u3_s4_ids_that_are_numbers
            u4_e_l_signin_timeout_s
            u5_e_l_watchlist_users_max
            u5_l_a_page_that_is_loaded_again
        }
    };
}
pub(crate) use for_every_scene;
