//! The same program on an allocator that counts, for the rows that are about memory.
//!
//! The main program starts it once a measurement, with `probe` as its first argument: each begins in a fresh process,
//! with the origin in another one.
//! Read `../alloc.rs` next.

use std::alloc::System;
use std::process::ExitCode;

use hyper_client_cache_bench::Allocator;
use peakmem_alloc::PeakMemAlloc;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: PeakMemAlloc<&'static StatsAlloc<System>> = PeakMemAlloc::new(&INSTRUMENTED_SYSTEM);

fn main() -> ExitCode {
    hyper_client_cache_bench::main(Some(Allocator::new(&ALLOCATOR, &INSTRUMENTED_SYSTEM)))
}
