//! The apps that a node serves: what is configured for each, and what each has going on.
//!
//! Owns finding an app by key or id, and replacing what is configured while everything goes on: an [`App`] lives
//! for as long as the process, its [`Settings`] until the configuration is read again. An app that the
//! configuration no longer names stays, as [`Standing::Removed`], and is itself again when it comes back.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;

use crate::config;
use crate::frame;
use crate::hub::cache::EventCache;
use crate::hub::{Directory, Users};
use crate::limits::Limits;
use crate::metrics::Metric;
use crate::webhooks::AppHooks;

/// Which app, from 0, for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AppIndex(pub usize);

/// One tenant.
#[derive(Debug)]
pub struct App {
    /// Which one.
    pub index: AppIndex,
    /// What it is known by, in all nodes.
    pub id: Arc<str>,
    settings: ArcSwap<Settings>,
    /// Its channels.
    pub directory: Directory,
    /// The last events of its cache channels.
    pub cache: EventCache,
    /// Its signed-in users.
    pub users: Users,
    /// Its WebSocket connections.
    pub connections: Metric,
}

/// What is configured for an app at the moment.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configuration's words.
    pub app: config::App,
    /// Whether it is served.
    pub standing: Standing,
    /// Who is told what happens in its channels; none, when nobody is.
    pub hooks: Option<Arc<AppHooks>>,
}

/// Whether an app is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Served,
    /// It is switched off.
    Disabled,
    /// The configuration no longer has it.
    Removed,
}

impl Settings {
    /// What is configured in place of `before`.
    fn new(app: config::App, before: Option<&Self>) -> Arc<Self> {
        let standing = if app.enabled { Standing::Served } else { Standing::Disabled };
        let hooks = (!app.webhooks.is_empty() || app.listener.is_some()).then(|| {
            let hooks = AppHooks::new(&*app.id, &*app.key, app.secret.clone(), app.webhooks.clone());
            let hooks = match before.and_then(|before| before.hooks.as_ref()) {
                Some(before) => hooks.following(before),
                None => hooks,
            };
            Arc::new(hooks.with_listener(app.listener.clone().filter(|_| app.enabled)))
        });
        Arc::new(Self { app, standing, hooks })
    }

    /// The app's limits.
    pub fn limits(&self) -> &Limits {
        &self.app.limits
    }
}

impl App {
    fn new(index: AppIndex, configured: config::App) -> Arc<Self> {
        Arc::new(Self {
            index,
            id: configured.id.as_str().into(),
            directory: Directory::default(),
            cache: EventCache::new((&configured.limits).into()),
            users: Users::default(),
            connections: Metric::default(),
            settings: ArcSwap::new(Settings::new(configured, None)),
        })
    }

    /// What is configured at this moment. Not to be held across an await.
    pub fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// A frame for about so many of this app's clients, compressed for those who can take it so if it is large.
    pub fn shared(&self, frame: Bytes, readers: usize) -> frame::Shared {
        frame::Shared::new(frame, self.settings().limits().deflate_bytes_min, readers)
    }

    fn configure(&self, settings: Arc<Settings>) {
        self.cache.bound(settings.limits().into());
        self.settings.store(settings);
    }
}

/// All of a node's apps.
#[derive(Debug)]
pub struct Apps(ArcSwap<Table>);

#[derive(Debug, Default)]
struct Table {
    apps: Vec<Arc<App>>,
    by_key: HashMap<String, AppIndex>,
    by_id: HashMap<String, AppIndex>,
}

/// What reading the configuration again has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// Apps that are new.
    pub added: usize,
    /// Apps whose settings are others.
    pub changed: usize,
    /// Apps that are gone.
    pub removed: usize,
}

impl Apps {
    /// The apps that are configured.
    pub fn new(configured: Vec<config::App>) -> Self {
        let apps = Self(ArcSwap::from_pointee(Table::default()));
        apps.configure(configured);
        apps
    }

    /// Takes what is configured now in place of what was. Ids are what an app is known by.
    pub fn configure(&self, configured: Vec<config::App>) -> Changes {
        let current = self.0.load();
        let mut changes = Changes::default();
        let mut table = Table { apps: current.apps.clone(), ..Table::default() };
        for app in configured {
            let known = table.apps.iter().find(|known| known.settings().app.id == app.id).cloned();
            let index = known.as_ref().map_or(AppIndex(table.apps.len()), |known| known.index);
            table.by_key.insert(app.key.clone(), index);
            table.by_id.insert(app.id.clone(), index);
            match known {
                Some(known) => {
                    let settings = known.settings();
                    if settings.standing == Standing::Removed || settings.app != app {
                        changes.changed += 1;
                        known.configure(Settings::new(app, Some(&settings)));
                    }
                }
                None => {
                    changes.added += 1;
                    table.apps.push(App::new(index, app));
                }
            }
        }
        for app in &table.apps {
            let settings = app.settings();
            if !table.by_id.contains_key(&settings.app.id) && settings.standing != Standing::Removed {
                changes.removed += 1;
                app.configure(Arc::new(Settings {
                    standing: Standing::Removed,
                    // They were removed with it.
                    hooks: None,
                    ..Settings::clone(&settings)
                }));
            }
        }
        self.0.store(Arc::new(table));
        changes
    }

    /// The app that a client or a PHP process names.
    pub fn by_key(&self, key: &str) -> Option<Arc<App>> {
        let table = self.0.load();
        table.by_key.get(key).map(|index| Arc::clone(&table.apps[index.0]))
    }

    /// The app that a path of the HTTP API names.
    pub fn by_id(&self, id: &str) -> Option<Arc<App>> {
        let table = self.0.load();
        table.by_id.get(id).map(|index| Arc::clone(&table.apps[index.0]))
    }

    /// The app with an index that was given out.
    pub fn by_index(&self, index: AppIndex) -> Option<Arc<App>> {
        self.0.load().apps.get(index.0).map(Arc::clone)
    }

    /// Those that are configured, in the order in which this process came to know them.
    pub fn configured(&self) -> Vec<Arc<App>> {
        let table = self.0.load();
        let mut indices: Vec<_> = table.by_id.values().map(|index| index.0).collect();
        indices.sort_unstable();
        indices.into_iter().map(|index| Arc::clone(&table.apps[index])).collect()
    }

    /// All that this process has ever known, those that the configuration no longer names included.
    pub fn known(&self) -> Vec<Arc<App>> {
        self.0.load().apps.clone()
    }

    /// How many are configured.
    pub fn len(&self) -> usize {
        self.0.load().by_id.len()
    }

    /// Whether none is, which a configuration does not allow.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Configuration;

    fn configured(apps: &str) -> Vec<config::App> {
        let text = format!(r#"{{"listen":"127.0.0.1:0","socket":"/s","apps":{apps}}}"#);
        Configuration::parse(&text, 1).unwrap().apps
    }

    const ONE: &str = r#"{"id":"1","key":"a","secret":"x"}"#;

    #[test]
    fn an_app_stays_itself_whatever_is_configured_for_it() {
        let apps = Apps::new(configured(&format!("[{ONE}]")));
        let one = apps.by_key("a").unwrap();
        let same = configured(&format!("[{ONE}]"));
        assert_eq!(apps.configure(same), Changes::default());
        let other_key = configured(
            r#"[{"id":"2","key":"a","secret":"x"},{"id":"1","key":"b","secret":"y","enabled":false}]"#,
        );
        assert_eq!(apps.configure(other_key), Changes { added: 1, changed: 1, removed: 0 });
        assert!(Arc::ptr_eq(&apps.by_key("b").unwrap(), &one));
        assert_eq!(one.settings().standing, Standing::Disabled);
        assert_eq!(apps.by_id("2").unwrap().index, AppIndex(1));
        assert_eq!(apps.by_key("a").unwrap().index, AppIndex(1));

        let without = configured(r#"[{"id":"2","key":"a","secret":"x"}]"#);
        assert_eq!(apps.configure(without), Changes { added: 0, changed: 0, removed: 1 });
        assert_eq!((apps.by_key("b").is_none(), apps.len()), (true, 1));
        assert_eq!(one.settings().standing, Standing::Removed);
        assert_eq!(
            apps.configure(configured(&format!("[{ONE}]"))),
            Changes { added: 0, changed: 1, removed: 1 }
        );
        assert!(Arc::ptr_eq(&apps.by_id("1").unwrap(), &one));
        assert_eq!(one.settings().standing, Standing::Served);
    }
    #[test]
    fn w_a_new_configuration_replaces_who_is_told() {
        let with = |webhooks: &str| {
            configured(&format!(r#"[{{"id":"1","key":"a","secret":"x","webhooks":{webhooks}}}]"#))
        };
        let apps = Apps::new(with("[]"));
        let app = apps.by_key("a").unwrap();
        assert!(app.settings().hooks.is_none());
        let hooks = |app: &App| app.settings().hooks.clone().unwrap();
        apps.configure(with(r#"[{"url":"http://one/"}]"#));
        let first = hooks(&app);
        assert_eq!((&*first.key, first.endpoints[0].url.to_string()), ("a", "http://one/".to_owned()));
        apps.configure(with(r#"[{"url":"http://one/"}]"#));
        assert!(Arc::ptr_eq(&first, &hooks(&app)), "nothing has changed");
        apps.configure(with(r#"[{"url":"http://two/"},{"url":"http://three/"}]"#));
        assert_eq!(hooks(&app).endpoints.len(), 2);
        apps.configure(configured(r#"[{"id":"2","key":"b","secret":"x"}]"#));
        assert!(app.settings().hooks.is_none(), "its endpoints were removed with it");
    }
}
