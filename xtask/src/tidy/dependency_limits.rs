//! What a crate must not pull: a backend builds no HTTP client, no TLS and no other backend's driver.

use anyhow::Result;

use super::{Finding, Repository};
use crate::sh;
use crate::workspace::{CORE, UMBRELLA};

const CLIENT: &[&str] = &["hyper", "hyper-util", "hyper-rustls", "rustls", "native-tls", "openssl-sys"];
const DRIVERS: &[&str] = &["sqlx", "fred", "mongodb", "aws-sdk-dynamodb"];

/// The driver of each backend, which it may pull, and what of the client the driver needs itself.
const OWN_DRIVER: &[(&str, &[&str])] = &[
    ("hyper-client-cache-dynamodb", &["aws-sdk-dynamodb", "hyper", "hyper-util", "hyper-rustls", "rustls"]),
    ("hyper-client-cache-mongo", &["mongodb", "rustls"]),
    ("hyper-client-cache-redis", &["fred", "rustls"]),
    ("hyper-client-cache-sqlite", &["sqlx"]),
];

pub(super) fn check(repository: &Repository) -> Result<Vec<Finding>> {
    let without_drivers = [CLIENT, DRIVERS].concat();
    let mut limits = vec![
        (CORE, "--no-default-features", without_drivers.clone()),
        (CORE, "--all-features", DRIVERS.to_vec()),
        (UMBRELLA, "--no-default-features", DRIVERS.to_vec()),
    ];
    for backend in repository.workspace.backends() {
        let own = OWN_DRIVER.iter().find(|(name, _)| *name == backend.name).map_or(&[][..], |(_, crates)| *crates);
        let forbidden = without_drivers.iter().copied().filter(|name| !own.contains(name)).collect();
        limits.push((&backend.name, "--all-features", forbidden));
    }
    let mut findings = Vec::new();
    for (package, features, forbidden) in limits {
        let args = ["tree", "--edges=normal", "--prefix=none", "--package", package, features];
        let tree = sh::output(&mut sh::cargo(&repository.workspace.root, &args))?;
        let manifest = &repository.workspace.package(package)?.manifest_path;
        findings.extend(pulled(&tree, &forbidden).into_iter().map(|name| {
            Finding::new(
                manifest,
                format!("{package} with {features} must not pull {name}: see `cargo tree -i {name}`"),
            )
        }));
    }
    Ok(findings)
}

fn pulled<'a>(tree: &str, forbidden: &[&'a str]) -> Vec<&'a str> {
    let is_in_tree = |name: &&str| tree.lines().any(|line| line.split(' ').next() == Some(*name));
    forbidden.iter().copied().filter(is_in_tree).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_crate_is_found_by_its_whole_name() {
        let tree = "ours v0.1.0 (/path)\nhyper v1.8.0\ntokio-rustls v0.26.4\n";
        assert_eq!(pulled(tree, CLIENT), ["hyper"]);
        assert_eq!(pulled(tree, DRIVERS), [""; 0]);
    }
}
