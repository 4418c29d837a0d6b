//! What cargo knows about the crates of this workspace: names, folders, features, examples.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::sh;

/// The crate that only `cargo xtask bench` builds: its peers take longer to compile than everything else together.
pub(crate) const BENCH: &str = "hyper-client-cache-bench";
/// The umbrella crate.
pub(crate) const UMBRELLA: &str = "hyper-client-cache";
/// The crate that all others build on.
pub(crate) const CORE: &str = "hyper-client-cache-core";
/// The crate that proves backends.
pub(crate) const TESTKIT: &str = "hyper-client-cache-testkit";

/// The workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Its top folder.
    pub(crate) root: PathBuf,
    /// Its members, by name.
    pub(crate) packages: Vec<Package>,
}

/// A member of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) features: BTreeMap<String, Vec<String>>,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Self> {
        #[derive(Deserialize)]
        struct Metadata {
            packages: Vec<Package>,
            workspace_root: PathBuf,
        }
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let json = sh::output(&mut sh::cargo(here, &["metadata", "--format-version=1", "--no-deps"]))?;
        let mut metadata: Metadata = serde_json::from_str(&json).context("cargo's metadata")?;
        metadata.packages.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { root: metadata.workspace_root, packages: metadata.packages })
    }

    /// The member of this name.
    pub(crate) fn package(&self, name: &str) -> Result<&Package> {
        match self.packages.iter().find(|package| package.name == name) {
            Some(package) => Ok(package),
            None => {
                let names: Vec<_> = self.packages.iter().map(|package| package.name.as_str()).collect();
                bail!("no crate `{name}` in this workspace; there are {}", names.join(", "))
            }
        }
    }

    /// The crates that implement a backend on a driver.
    pub(crate) fn backends(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.is_backend())
    }

    /// The arguments that select every member but the bench crate.
    pub(crate) fn all_but_bench(&self) -> Vec<&str> {
        let mut args = vec!["--workspace"];
        // Cargo warns about the exclusion of a crate that is not there.
        if self.packages.iter().any(|package| package.name == BENCH) {
            args.extend(["--exclude", BENCH]);
        }
        args
    }
}

impl Package {
    /// The folder of its manifest.
    pub(crate) fn dir(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }

    fn is_backend(&self) -> bool {
        self.name.starts_with("hyper-client-cache-") && ![BENCH, CORE, TESTKIT].contains(&self.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_are_found_and_told_apart() {
        let workspace = Workspace::load().unwrap();
        assert!(workspace.package(CORE).is_ok());
        assert!(workspace.package("no-such-crate").unwrap_err().to_string().contains(CORE));
        let backends: Vec<_> = workspace.backends().map(|package| package.name.as_str()).collect();
        assert!(backends.contains(&"hyper-client-cache-sqlite"), "{backends:?}");
        assert!(!backends.contains(&CORE) && !backends.contains(&TESTKIT), "{backends:?}");
    }
}
