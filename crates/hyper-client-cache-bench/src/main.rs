//! The command: `cargo run --release -p hyper-client-cache-bench -- [ROW ...] [--rounds N] [--quick]`.
//!
//! It runs on the system's allocator as it is, since counting would tax every allocation of everybody;
//! `bin/counting.rs` is the same program on one that counts.
//! Read `lib.rs` next.

use std::process::ExitCode;

fn main() -> ExitCode {
    hyper_client_cache_bench::main(None)
}
