//! The one list of feature combinations that must compile, made from the manifests.

use anyhow::Result;

use crate::sh;
use crate::workspace::{CORE, UMBRELLA, Workspace};

/// A crate and the features it is built with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Combination {
    package: String,
    /// `None`: the default features.
    features: Option<Vec<String>>,
}

/// Core without its client, each backend alone, the umbrella with nothing, with each feature alone, with everything.
pub(crate) fn combinations(workspace: &Workspace) -> Result<Vec<Combination>> {
    let none = |package: &str| Combination { package: package.to_owned(), features: Some(Vec::new()) };
    let default = |package: &str| Combination { package: package.to_owned(), features: None };
    let mut list = vec![none(CORE), default(CORE)];
    for backend in workspace.backends() {
        list.push(none(&backend.name));
        list.push(default(&backend.name));
    }
    list.push(none(UMBRELLA));
    list.push(default(UMBRELLA));
    for feature in workspace.package(UMBRELLA)?.features.keys().filter(|name| *name != "default") {
        list.push(Combination { package: UMBRELLA.to_owned(), features: Some(vec![feature.clone()]) });
    }
    Ok(list)
}

/// Lints the library of each combination; a warning is an error, because code that only another feature uses shows as
/// one.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    for combination in combinations(workspace)? {
        println!("   {}", combination.describe());
        let features = combination.features.as_ref().map(|features| features.join(","));
        let mut args = vec!["clippy", "--quiet", "--lib", "--package", &combination.package];
        if let Some(features) = &features {
            args.push("--no-default-features");
            if !features.is_empty() {
                args.extend(["--features", features]);
            }
        }
        args.extend(["--", "-D", "warnings"]);
        sh::run(&mut sh::cargo(&workspace.root, &args))?;
    }
    Ok(())
}

impl Combination {
    fn describe(&self) -> String {
        match &self.features {
            None => format!("{}, default features", self.package),
            Some(features) if features.is_empty() => format!("{}, no features", self.package),
            Some(features) => format!("{}, only {}", self.package, features.join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_covers_core_without_its_client_and_every_feature_of_the_umbrella() {
        let workspace = Workspace::load().unwrap();
        let list: Vec<_> = combinations(&workspace).unwrap().iter().map(Combination::describe).collect();
        for wanted in [
            "hyper-client-cache-core, no features",
            "hyper-client-cache-sqlite, default features",
            "hyper-client-cache, no features",
            "hyper-client-cache, only sqlite",
            "hyper-client-cache, only full",
        ] {
            assert!(list.iter().any(|line| line == wanted), "{wanted} is not in {list:?}");
        }
    }
}
