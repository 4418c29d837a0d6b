//! What may be changed while a layer is in use: its settings, and whether it uses its cache at all.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::CacheLayer;
use crate::error::Result;
use crate::policy::Settings;

impl CacheLayer {
    /// The settings as they are now.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.handle.engine.settings.load_full()
    }

    /// Changes the settings, for every request that begins from now on; one that is under way goes by those it began
    /// with.
    ///
    /// `change` is given the present settings. It may be called more than once, where two change them at the same time:
    /// neither change is lost.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) where a setting is impossible; the message names it, and nothing
    /// is changed.
    pub fn update_settings(&self, change: impl Fn(Settings) -> Settings) -> Result<()> {
        let settings = &self.handle.engine.settings;
        loop {
            let before = settings.load_full();
            // What keeps a session apart is no setting, and stays whatever they are replaced by.
            let after = Settings { apart: before.apart, ..change((*before).clone()) };
            after.validate()?;
            let found = settings.compare_and_swap(&before, Arc::new(after));
            if Arc::ptr_eq(&found, &before) {
                return Ok(());
            }
        }
    }

    /// Goes offline or back; see [`Settings::offline`].
    pub fn offline(&self, offline: bool) {
        self.handle.engine.settings.rcu(|settings| Settings::clone(settings).offline(offline));
    }

    /// Lets requests go past the cache for as long as the guard lives: nothing is read, nothing is stored.
    ///
    /// This is about this layer and its services only; others that share its cache go on using it. An unsafe request
    /// still removes what it makes invalid, so that nothing outdated is found afterwards. Guards add up: the cache is
    /// used again when the last of them is gone.
    pub fn disabled(&self) -> Disabled {
        let count = self.handle.engine.disabled.clone();
        count.fetch_add(1, Ordering::AcqRel);
        Disabled { count }
    }

    /// Whether a [guard](Self::disabled) keeps requests from using the cache.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.handle.engine.disabled.load(Ordering::Acquire) > 0
    }
}

/// While this lives, requests go past the cache; see [`CacheLayer::disabled`]. Dropping it ends that, however that comes
/// about.
#[must_use = "the cache is used again as soon as this is dropped"]
pub struct Disabled {
    count: Arc<AtomicUsize>,
}

impl Drop for Disabled {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for Disabled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disabled").finish_non_exhaustive()
    }
}
