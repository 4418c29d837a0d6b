//! Looking at what lies in the directory, in a thread of its own, so that nobody waits for it who does not need it.
//!
//! Reading needs none of this. The first look begins with the first change or count; after that, folders that others
//! have changed are looked at again now and then. The thread stops when the cache is closed or its last handle gone.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use hyper_client_cache_core::clock::{Clock, SystemClock};
use tokio::sync::watch;

use crate::engine::Shared;
use crate::evict;
use crate::folder::Folder;
use crate::format::{self, Outline};
use crate::index::Meta;
use crate::layout::{self, Id, Store};
use crate::sys::{self, Dir};

/// How long after a look the next one may begin, at least; and at least so many times as long as the last one took.
const INTERVAL: Duration = Duration::from_secs(30);
const SHARE: u32 = 50;

/// Two changes of a folder within this time may leave it with the same time of its last change.
const BLUR: Duration = Duration::from_secs(2);

/// How far the first look has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    None,
    Running,
    Loaded,
    Closed,
}

/// What is known about folders since the last look.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// When each was changed last, in microseconds since 1970.
    changed: HashMap<(Store, u8), u64>,
    running: bool,
    next: Option<Instant>,
}

impl Seen {
    pub(crate) fn forget(&mut self) {
        self.changed.clear();
    }

    fn begin(&mut self) -> bool {
        let due = self.next.is_none_or(|next| Instant::now() >= next);
        due && !std::mem::replace(&mut self.running, true)
    }

    fn finish(&mut self, took: Duration) {
        self.running = false;
        self.next = Instant::now().checked_add(INTERVAL.max(took.saturating_mul(SHARE)));
    }
}

/// Begins the first look, or another one where it is time.
pub(crate) fn start_if_due(shared: &Arc<Shared>) {
    let first = shared.progress.send_if_modified(|progress| {
        let first = *progress == Progress::None;
        if first {
            *progress = Progress::Running;
        }
        first
    });
    if first {
        // A look that is under way is not the first one of a directory that was made anew.
        shared.seen().running = true;
    } else if *shared.progress.borrow() != Progress::Loaded || !shared.seen().begin() {
        return;
    }
    let weak = Arc::downgrade(shared);
    // Not on the blocking pool: a runtime that ends would wait for it.
    let thread = thread::Builder::new().name("http-cache-scan".into()).spawn(move || run(&weak));
    if thread.is_err() {
        // Counts are those of what this process does until the next look.
        finish(shared, Duration::ZERO);
    }
}

/// The directory is another one: what was known of it is not.
pub(crate) fn mark_stale(progress: &watch::Sender<Progress>) {
    progress.send_if_modified(|progress| {
        let loaded = *progress == Progress::Loaded;
        if loaded {
            *progress = Progress::None;
        }
        loaded
    });
}

fn run(weak: &Weak<Shared>) {
    let begun = Instant::now();
    for store in Store::ALL {
        let Some(shared) = open(weak) else { return };
        let mut leaves = layout::leaves(shared.folder().store(store)).unwrap_or_default();
        leaves.extend(shared.index().leaves(store));
        leaves.sort_unstable();
        leaves.dedup();
        drop(shared);
        for leaf in leaves {
            let Some(shared) = open(weak) else { return };
            look_at(&shared, &shared.folder(), store, leaf);
        }
    }
    let Some(shared) = open(weak) else { return };
    if !shared.config.read_only {
        let folder = shared.folder();
        if folder.is_current() {
            folder.sweep();
        } else {
            drop(shared.renew(&folder));
        }
        evict::down_to_bound(&shared);
    }
    finish(&shared, begun.elapsed());
}

fn open(weak: &Weak<Shared>) -> Option<Arc<Shared>> {
    weak.upgrade().filter(|shared| !shared.is_closed())
}

fn finish(shared: &Shared, took: Duration) {
    shared.seen().finish(took);
    shared.progress.send_if_modified(|progress| {
        let running = *progress == Progress::Running;
        if running {
            *progress = Progress::Loaded;
        }
        running
    });
}

/// Puts into the index what lies in a folder, unless nothing has changed in it. What fails is left for the next time.
fn look_at(shared: &Shared, folder: &Folder, store: Store, leaf: u8) {
    let dir = match layout::open_leaf(folder.store(store), leaf) {
        Ok(dir) => dir,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return shared.index().replace_leaf(store, leaf, &[]);
        }
        Err(_) => return,
    };
    // Nobody of our kind changes the folder or what is known of it meanwhile.
    let Ok(changed) = dir.lock(false).and_then(|()| dir.look_at_self()).map(|found| found.modified) else { return };
    if shared.seen().changed.get(&(store, leaf)) == Some(&changed) {
        return;
    }
    let Ok(names) = dir.names() else { return };
    let mut found: Vec<_> = names
        .into_iter()
        .filter(|(_, is_dir)| !is_dir)
        .filter_map(|(name, _)| Id::parse(store, leaf, &name))
        .filter_map(|id| Some((id, meta_of(&dir, id)?)))
        .collect();
    found.sort_unstable_by_key(|(id, _)| *id);
    for (_, meta) in &found {
        shared.continue_after(meta.used);
    }
    shared.index().replace_leaf(store, leaf, &found);
    let now = sys::to_micros(SystemClock.now());
    let is_sharp = Duration::from_micros(now.saturating_sub(changed)) > BLUR;
    let mut seen = shared.seen();
    if is_sharp {
        seen.changed.insert((store, leaf), changed);
    } else {
        seen.changed.remove(&(store, leaf));
    }
}

/// What the file says of itself; `None` where it is gone or no entry, which whoever reads it deals with.
pub(crate) fn meta_of(leaf: &Dir, id: Id) -> Option<Meta> {
    let mut file = leaf.file(id.name().as_str()).ok()?;
    let found = sys::look_at(&file).ok().filter(|found| found.is_file)?;
    let outline = Outline::read(&mut file, id, id.store()).ok()?.ok()?;
    Some(Meta {
        used: found.modified,
        deadline: outline.deadline,
        len: u32::try_from(found.len).ok()?,
        overhead: u8::try_from(format::overhead(outline.key_len)).unwrap_or(u8::MAX),
    })
}
