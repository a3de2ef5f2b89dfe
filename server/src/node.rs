//! One running server process: its apps, its hub, and the way from a publication to every shard.
//!
//! Owns step 5 of a broadcast: a node *publishes*. Rings, the socket, the HTTP API and client events all come in
//! through [`Node::publish`]; nothing behind it can tell where a publication came from. Owns too what others are
//! told when a channel or a user changes ([`Herald`]), and what a new configuration changes.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_rustls::rustls;
use tracing::{Level, trace};

use crate::apps::{App, AppIndex, Apps, Changes};
use crate::broker::frame::Published;
use crate::broker::{Broker, Readiness, Topic};
use crate::config::{self, Configuration};
use crate::fleet::Part;
use crate::fleet::asking::Told;
use crate::fleet::frames::{About, Answer, Message, Terminate};
use crate::fleet::store::{self, FleetTurn};
use crate::frame;
use crate::http::Proxies;
use crate::hub::users::Attendance;
use crate::hub::{
    Change, ConnectionKey, Delivery, Herald, Round, ShardIndex, ShardSet, Turn, Unheard, UserChange, delivery,
};
use crate::lifecycle::Phase;
use crate::limits::Limits;
use crate::logs::{self, Sparingly};
use crate::metrics::Metrics;
use crate::publication::Publication;
use crate::pusher::admission::{self, Refusal};
use crate::pusher::channel::{self, Kind};
use crate::pusher::events;
use crate::shard::Post;
use crate::tail::Tails;
use crate::webhooks::{AppHooks, Event, EventKind, Newcomer, Webhooks};

/// Subscribers from which on they are told their number only every now and then.
const COUNTED_AT_ONCE_MAX: usize = 99;

/// What all shards share.
#[derive(Debug)]
pub struct Node {
    /// The tenants.
    pub apps: Apps,
    /// What comes before `/app/{key}`.
    pub path: String,
    /// Where clients connect.
    pub listen: Vec<SocketAddr>,
    /// When this process began to serve, by the wall clock and by one that nobody sets.
    pub started: (SystemTime, Instant),
    /// Certificate and key; none where nothing is encrypted. Replaced while it runs.
    pub tls: ArcSwapOption<rustls::ServerConfig>,
    /// Whose word about a client's address counts. Replaced while it runs.
    pub proxies: ArcSwap<Proxies>,
    /// Users that may attach beside the server's own and root.
    pub socket_uids: Vec<u32>,
    /// The limits of the node; each app has its own beside them.
    pub limits: Limits,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who watches publications pass.
    pub tails: Tails,
    webhooks: Webhooks,
    /// How the other nodes are heard and told.
    pub broker: Arc<dyn Broker>,
    /// What it owns and knows of the fleet; nothing where it is alone.
    pub part: OnceLock<Arc<Part>>,
    mailboxes: Vec<mpsc::UnboundedSender<Post>>,
    /// Where the server is in its life.
    pub phase: watch::Receiver<Phase>,
    /// Changes when the apps are configured anew.
    configured: watch::Sender<()>,
    /// Numbers of subscriptions that are to be told, and since when.
    counts_due: Mutex<HashMap<(AppIndex, Arc<str>), Instant>>,
    /// Keeps refused attachments from filling the log, one quota per refusal code.
    pub refusals: [Sparingly; 8],
    /// Keeps dropped publications from filling the log.
    pub rejections: Sparingly,
}

/// Held by every shard that a batch went to, and dropped when that shard has flushed it.
#[derive(Debug, Clone)]
pub struct Unflushed {
    /// Dropped with the last clone, which the other end of the channel notices.
    _sender: Arc<oneshot::Sender<()>>,
}

/// Resolves when every other shard has flushed the batch, or is gone.
#[derive(Debug)]
pub struct Flushed(oneshot::Receiver<()>);

impl Flushed {
    /// Waits.
    pub async fn wait(self) {
        // Nothing is ever sent: the error says that all senders are gone.
        let _ = self.0.await;
    }
}

impl Node {
    /// A node with one mailbox per shard.
    pub fn new(
        configuration: Configuration,
        mailboxes: Vec<mpsc::UnboundedSender<Post>>,
        phase: watch::Receiver<Phase>,
        metrics: Arc<Metrics>,
        webhooks: Webhooks,
        broker: Arc<dyn Broker>,
    ) -> Self {
        Self {
            apps: Apps::new(configuration.apps),
            path: configuration.path,
            listen: configuration.listen,
            started: (SystemTime::now(), Instant::now()),
            tails: Tails::new(&configuration.limits),
            tls: ArcSwapOption::empty(),
            proxies: ArcSwap::from_pointee(configuration.trusted_proxies),
            socket_uids: configuration.socket_uids,
            limits: configuration.limits,
            metrics,
            webhooks,
            broker,
            part: OnceLock::new(),
            mailboxes,
            phase,
            configured: watch::Sender::new(()),
            counts_due: Mutex::default(),
            refusals: [const { Sparingly::new() }; 8],
            rejections: Sparingly::new(),
        }
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.mailboxes.len()
    }

    /// Whether the server is on its way out.
    pub fn is_leaving(&self) -> bool {
        *self.phase.borrow() >= Phase::Draining
    }

    /// Judges a client's WebSocket request: which app it is let in to, if any.
    ///
    /// # Errors
    /// [`Refusal`] is what the client is told.
    pub fn admit(&self, path: &str, query: Option<&str>, origin: Option<&[u8]>) -> Result<Arc<App>, Refusal> {
        let app = admission::admit(path, query, &self.path, |key| self.apps.by_key(key))?;
        admission::judge_app(&app.settings(), origin)?;
        Ok(app)
    }

    /// Publishes: writes the journal, collects in `round` what is to be delivered here, and hands it to the broker
    /// for the other nodes.
    pub fn publish(&self, app: &App, publication: &Publication<'_>, round: &mut Round) {
        if tracing::enabled!(target: logs::PUBLICATION, Level::TRACE) {
            // Legal names hold no space.
            let channels = publication.channels.join(" ");
            trace!(
                target: logs::PUBLICATION,
                app = app.settings().app.id,
                channels,
                event = publication.event,
                data = publication.data.as_str(),
                "publication"
            );
        }
        self.tails.show(app, publication);
        delivery::deliver(app, publication, round);
        if self.broker.reaches_others() {
            self.tell_others(app, publication);
        }
    }

    /// Hands a publication to the nodes that listen to its channels: one frame per channel. A frame for several
    /// channels would reach nodes that listen to one of them with what they have no use for, and Redis gives each
    /// topic to its own listeners anyway.
    fn tell_others(&self, app: &App, publication: &Publication<'_>) {
        let origin = self.broker.node_id();
        for &channel in &publication.channels {
            let frame = Published::of(&app.id, channel, publication).encode(origin);
            let topic = Topic::Channel { app: Arc::clone(&app.id), channel: channel.into() };
            self.broker.publish(topic, frame);
        }
    }

    /// Posts the round to every shard but `local`, whose deliveries stay in it. `None` when nothing was posted.
    pub fn post(&self, round: &mut Round, local: ShardIndex) -> Option<Flushed> {
        let mut pending: Option<(Unflushed, Flushed)> = None;
        for (shard, deliveries) in round.shards.iter_mut().enumerate() {
            if shard == local || deliveries.is_empty() {
                continue;
            }
            let (unflushed, _) = pending.get_or_insert_with(|| {
                let (sender, receiver) = oneshot::channel();
                (Unflushed { _sender: Arc::new(sender) }, Flushed(receiver))
            });
            // A shard that is gone has no connections left; the guard in the returned post is dropped with it.
            let deliveries = std::mem::take(deliveries);
            self.send(shard, Post::Deliver { deliveries, unflushed: Some(unflushed.clone()) });
        }
        pending.map(|(_, flushed)| flushed)
    }

    /// Hands something to a shard; whether it is still there.
    pub fn send(&self, shard: ShardIndex, post: Post) -> bool {
        self.mailboxes[shard].send(post).is_ok()
    }

    /// Hands something to every shard.
    fn send_all(&self, post: impl Fn() -> Post) {
        for shard in 0..self.shards() {
            self.send(shard, post());
        }
    }

    /// Closes every connection that is signed in as a user of `app`, or is a member of a presence channel as that
    /// user, on all nodes.
    pub fn terminate(&self, app: &App, user_id: &str) {
        self.terminate_here(app, user_id);
        if self.broker.reaches_others() {
            let terminate = Terminate { app: app.id.to_string(), user_id: user_id.to_owned() };
            let frame = Message::Terminate(terminate).encode(self.broker.node_id());
            self.broker.publish(Topic::Fleet, frame);
        }
    }

    /// The same on this node.
    pub fn terminate_here(&self, app: &App, user_id: &str) {
        let user_id: Arc<str> = user_id.into();
        self.send_all(|| Post::Terminate { app: app.index, user_id: Arc::clone(&user_id) });
    }

    /// What the fleet says to a question about an app: this node alone where there is no other.
    pub async fn enquire(&self, app: &App, about: About) -> Told {
        match self.part.get() {
            Some(part) => {
                let within = Duration::from_millis(self.limits.fleet_answer_timeout_ms as u64);
                part.ask(self, app, about, within).await
            }
            None => Told { answer: Answer::of(app, &about), missing: 0 },
        }
    }

    /// Takes what is configured for the apps now. Connections and attachments of an app that is served no longer
    /// are told so and end; all others go on.
    pub fn configure(&self, apps: Vec<config::App>) -> Changes {
        let changes = self.apps.configure(apps);
        let served = self.apps.configured();
        self.webhooks.configured(served.iter().filter_map(|app| app.settings().hooks.clone()).collect());
        self.configured.send_replace(());
        self.send_all(|| Post::Configured);
        changes
    }

    /// Changes when the apps are configured anew.
    pub fn configured(&self) -> watch::Receiver<()> {
        self.configured.subscribe()
    }

    /// Tells the numbers of subscriptions that have been due for as long as their app wants to wait.
    pub fn tell_counts_due(&self) {
        let now = Instant::now();
        let mut due = Vec::new();
        self.counts_due.lock().unwrap_or_else(PoisonError::into_inner).retain(|(app, channel), since| {
            let Some(app) = self.apps.by_index(*app) else { return false };
            let wait = Duration::from_millis(app.settings().limits().subscription_count_ms as u64);
            let keep = now.duration_since(*since) < wait;
            if !keep {
                due.push((app, Arc::clone(channel)));
            }
            keep
        });
        for (app, channel) in due {
            app.directory.count(&channel, |subscriptions, shards| {
                self.tell_count(&app, &channel, subscriptions, shards);
            });
        }
    }

    /// Tells the app's webhooks, if one of them wants to hear of this kind or its opposite: otherwise the event is not
    /// even made.
    pub fn tell_webhooks(&self, app: &App, kind: EventKind, event: impl FnOnce() -> Event) {
        if let Some(hooks) = app.settings().hooks.as_ref().filter(|hooks| hooks.wants(kind)) {
            self.webhooks.notify(hooks, event());
        }
    }

    /// Leaves a connection of somebody who may listen to the webhooks' thread.
    pub(crate) fn attend_listener(&self, newcomer: Newcomer) {
        self.webhooks.attend(newcomer);
    }

    /// Whether anybody is told by webhook what happens in an app.
    pub fn tells_webhooks(&self, app_id: &str) -> bool {
        self.apps.by_id(app_id).is_some_and(|app| app.settings().hooks.is_some())
    }

    /// Tells webhooks what has changed for the whole fleet, and has settled.
    pub fn tell_webhooks_of_fleet(&self, hooks: &Arc<AppHooks>, channel: &Arc<str>, turn: &FleetTurn) {
        if channel::kind(channel) == Kind::User {
            return;
        }
        let channel = Arc::clone(channel);
        let event = match turn {
            FleetTurn::Added(user_id) => Event::MemberAdded { channel, user_id: Arc::clone(user_id) },
            FleetTurn::Removed(user_id) => Event::MemberRemoved { channel, user_id: Arc::clone(user_id) },
            FleetTurn::Occupied => Event::ChannelOccupied { channel },
            FleetTurn::Vacated => Event::ChannelVacated { channel },
        };
        self.webhooks.notify_settled(hooks, event);
    }

    /// Whether webhooks are told how many subscribe to a channel.
    pub fn tells_webhooks_of_count(&self, app: &App, channel: &str) -> bool {
        let wants = |hooks: &Arc<AppHooks>| hooks.wants(EventKind::SubscriptionCount);
        is_counted(app, channel) && app.settings().hooks.as_ref().is_some_and(wants)
    }

    /// Tells webhooks how many subscribe to a channel on all nodes.
    pub fn tell_webhooks_of_fleet_count(&self, app: &App, channel: &Arc<str>, subscriptions: u64) {
        self.tell_webhooks_of_count(app, channel, usize::try_from(subscriptions).unwrap_or(usize::MAX));
    }

    /// What happens on this node alone, told to webhooks where there is no other; what it means for the fleet is told
    /// by whoever makes the difference ([`crate::fleet::conduct`]).
    fn tell_webhooks_of_this_node(&self, app: &App, kind: EventKind, event: impl FnOnce() -> Event) {
        if self.part.get().is_none() {
            self.tell_webhooks(app, kind, event);
        }
    }

    /// Writes into the ledger what is true here.
    fn note(&self, app: &App, channel: &Arc<str>, change: &Change<'_>) {
        let Some(part) = self.part.get() else { return };
        match change {
            Change::Arrived { member } => part.join(app, channel, member),
            Change::Departed { user_id } => part.leave(app, channel, user_id),
            Change::Counted { here, .. } if self.shares(app, channel) => part.count(app, channel, *here),
            // Webhooks are told of the first and the last.
            Change::Counted { .. } if self.is_occupancy_told(app, channel) => part.count(app, channel, 1),
            Change::Vacated => part.count(app, channel, 0),
            _ => {}
        }
    }

    fn is_occupancy_told(&self, app: &App, channel: &str) -> bool {
        let wants = |hooks: &Arc<AppHooks>| hooks.wants(EventKind::ChannelOccupied);
        channel::kind(channel) != Kind::User && app.settings().hooks.as_ref().is_some_and(wants)
    }

    fn tell_webhooks_of_count(&self, app: &App, channel: &Arc<str>, subscriptions: usize) {
        self.tell_webhooks(app, EventKind::SubscriptionCount, || Event::SubscriptionCount {
            channel: Arc::clone(channel),
            subscription_count: subscriptions as u64,
        });
    }

    /// Tells the subscribers of a channel the number of subscriptions once more: they could not hear it before the
    /// channel was ready.
    pub(crate) fn tell_count_again(&self, app: &App, channel: &Arc<str>) {
        if is_counted(app, channel) {
            app.directory.count(channel, |subscriptions, shards| {
                let text = events::subscription_count(channel, subscriptions);
                self.tell_subscribers(app, channel, shards, &text, Unheard::ByAll);
            });
        }
    }

    fn tell_count(&self, app: &App, channel: &Arc<str>, subscriptions: usize, shards: ShardSet) {
        if self.part.get().is_none() {
            self.tell_webhooks_of_count(app, channel, subscriptions);
        }
        let text = events::subscription_count(channel, subscriptions);
        self.tell_subscribers(app, channel, shards, &text, Unheard::ByAll);
    }

    /// Posts a text to the subscribers of a channel on some shards. The local shard too: its mailbox keeps the
    /// order in which changes happened.
    fn tell_subscribers(
        &self,
        app: &App,
        channel: &Arc<str>,
        shards: ShardSet,
        text: &str,
        unheard: Unheard,
    ) {
        // Small, but for a member of whom much is told.
        let frame = app.shared(frame::text(text), 1);
        for shard in shards.iter() {
            let (app, channel, frame) = (app.index, Arc::clone(channel), frame.clone());
            let deliveries = vec![Delivery { app, channel, frame, except: None, unheard }];
            self.send(shard, Post::Deliver { deliveries, unflushed: None });
        }
    }
}

/// Whether anybody is told how many subscribe.
fn is_counted(app: &App, channel: &str) -> bool {
    let has_no_members = matches!(channel::kind(channel), Kind::Public | Kind::Private | Kind::Encrypted);
    has_no_members && app.settings().app.subscription_count
}

impl Herald for Node {
    fn shares(&self, app: &App, channel: &str) -> bool {
        self.part.get().is_some() && (channel::kind(channel) == Kind::Presence || is_counted(app, channel))
    }

    fn changed(&self, app: &App, channel: &Arc<str>, change: Change<'_>) {
        self.note(app, channel, &change);
        match change {
            Change::Occupied { ready } => ready.set(self.listen(app, channel) == Readiness::Ready),
            Change::Vacated => self.listen_no_longer(app, channel),
            _ => {}
        }
        match change {
            // The connections of one user are nobody's business but the user's.
            Change::Occupied { .. } | Change::Vacated if channel::kind(channel) == Kind::User => {}
            Change::Occupied { .. } => {
                self.tell_webhooks_of_this_node(app, EventKind::ChannelOccupied, || Event::ChannelOccupied {
                    channel: Arc::clone(channel),
                })
            }
            Change::Vacated => {
                // Nobody is left to be told the number 0 but these.
                if is_counted(app, channel) && self.part.get().is_none() {
                    self.tell_webhooks_of_count(app, channel, 0);
                }
                self.tell_webhooks_of_this_node(app, EventKind::ChannelVacated, || Event::ChannelVacated {
                    channel: Arc::clone(channel),
                });
            }
            Change::MemberAdded { member, shards, stamp } => {
                self.tell_webhooks_of_this_node(app, EventKind::MemberAdded, || Event::MemberAdded {
                    channel: Arc::clone(channel),
                    user_id: Arc::clone(&member.user_id),
                });
                let text = events::member_added(channel, member);
                self.tell_subscribers(app, channel, shards, &text, Unheard::AsMembership(stamp));
            }
            Change::MemberRemoved { user_id, shards, stamp } => {
                self.tell_webhooks_of_this_node(app, EventKind::MemberRemoved, || Event::MemberRemoved {
                    channel: Arc::clone(channel),
                    user_id: user_id.into(),
                });
                let text = events::member_removed(channel, user_id);
                self.tell_subscribers(app, channel, shards, &text, Unheard::AsMembership(stamp));
            }
            Change::Arrived { .. } | Change::Departed { .. } => {}
            Change::Counted { subscriptions, shards, .. } => {
                if !is_counted(app, channel) {
                    return;
                }
                if subscriptions <= COUNTED_AT_ONCE_MAX {
                    return self.tell_count(app, channel, subscriptions, shards);
                }
                let mut due = self.counts_due.lock().unwrap_or_else(PoisonError::into_inner);
                due.entry((app.index, Arc::clone(channel))).or_insert_with(Instant::now);
            }
        }
    }

    fn user_changed(&self, app: &App, change: UserChange<'_>) {
        match change {
            UserChange::Turned(turn) => self.tell_watchers(&turn),
            UserChange::Here { user_id, here } => {
                if let Some(part) = self.part.get() {
                    part.count(app, &store::user_channel(user_id), usize::from(here));
                }
            }
            UserChange::Watched { user_id, watched: true, reads } => {
                reads.set(self.listen_to_user(app, user_id))
            }
            UserChange::Watched { user_id, watched: false, .. } => {
                self.listen_no_longer(app, &store::user_channel(user_id));
            }
        }
    }
}

impl Node {
    /// Tells those who watch a user that it has come or gone.
    fn tell_watchers(&self, turn: &Turn<'_>) {
        let mut connections: BTreeMap<ShardIndex, Vec<ConnectionKey>> = BTreeMap::new();
        for watcher in turn.watchers {
            connections.entry(watcher.shard).or_default().push(watcher.connection);
        }
        if connections.is_empty() {
            return;
        }
        let mut attendance = Attendance::default();
        let list = if turn.online { &mut attendance.online } else { &mut attendance.offline };
        list.push(turn.user_id.into());
        let frame: Bytes = frame::text(&events::watchlist_events(&attendance));
        for (shard, connections) in connections {
            self.send(shard, Post::Tell { connections, frame: frame.clone() });
        }
    }
}
