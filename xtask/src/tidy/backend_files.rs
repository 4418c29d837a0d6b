//! The same job has the same file name in every backend.

use std::path::Path;

use anyhow::Result;

use super::{Finding, Repository};

const FILES: &[&str] = &["config.rs", "storage.rs", "cache.rs", "error.rs"];

pub(super) fn check(repository: &Repository) -> Result<Vec<Finding>> {
    Ok(repository.workspace.backends().flat_map(|backend| missing(backend.dir())).collect())
}

fn missing(backend: &Path) -> Vec<Finding> {
    let source = backend.join("src");
    let absent = FILES.iter().filter(|name| !source.join(name).is_file());
    absent.map(|name| Finding::new(source.join(name), "every backend has this file")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_without_its_files_is_found() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("src")).unwrap();
        for name in FILES {
            std::fs::write(folder.path().join("src").join(name), "//! Why.\n").unwrap();
        }
        assert_eq!(missing(folder.path()), []);
        std::fs::remove_file(folder.path().join("src/error.rs")).unwrap();
        assert_eq!(missing(folder.path()).len(), 1);
    }
}
