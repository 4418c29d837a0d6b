//! What the counting allocator says. The counting itself is `stats_alloc` (what is live) over `peakmem_alloc` (the most
//! there was since a reset), because an allocator cannot be written without `unsafe`.

use std::alloc::System;
use std::fmt;

use peakmem_alloc::{PeakMemAlloc, PeakMemAllocTrait};
use stats_alloc::StatsAlloc;

/// The counters of the allocator that a program runs on.
#[derive(Clone, Copy)]
pub struct Allocator {
    peak: &'static PeakMemAlloc<&'static StatsAlloc<System>>,
    live: &'static StatsAlloc<System>,
}

impl Allocator {
    /// The counters of `peak`, which allocates through `live`.
    #[must_use]
    pub const fn new(
        peak: &'static PeakMemAlloc<&'static StatsAlloc<System>>,
        live: &'static StatsAlloc<System>,
    ) -> Self {
        Self { peak, live }
    }

    /// Starts counting anew for [`peak`](Self::peak).
    pub(crate) fn reset_peak(&self) {
        self.peak.reset_peak_memory();
    }

    /// The most bytes that were live at once since [`reset_peak`](Self::reset_peak), over those live then.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.get_peak_memory() as u64
    }

    /// The bytes that are live now.
    pub(crate) fn live(&self) -> u64 {
        let stats = self.live.stats();
        (stats.bytes_allocated as u64).saturating_sub(stats.bytes_deallocated as u64)
    }
}

impl fmt::Debug for Allocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allocator").field("live", &self.live()).finish_non_exhaustive()
    }
}
