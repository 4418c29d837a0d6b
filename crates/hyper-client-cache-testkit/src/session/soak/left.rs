//! What the process holds: what must not grow from one round to the next.

use std::fmt;

/// What is there between two rounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    pub(super) tasks: usize,
    /// 0 where the system does not say.
    pub(super) descriptors: usize,
    /// Resident, in KiB; 0 where the system does not say.
    pub(super) memory: u64,
}

impl Left {
    pub(super) fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Self {
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            descriptors: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            memory: resident.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0),
        }
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tasks, {} descriptors, {} KiB", self.tasks, self.descriptors, self.memory)
    }
}
