//! `cargo xtask tidy`: the rules that no compiler checks. One file for each rule.
//!
//! A check returns what it found; [`Finding`] says where and what to do. [`source`] reads Rust files for them.

mod backend_files;
mod dependency_limits;
mod feature_table;
mod headers;
mod imports;
mod leftovers;
mod length;
mod links;
mod manifests;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use self::source::Source;
use crate::workspace::Workspace;
use crate::{no_arguments, sh};

type Check = (&'static str, fn(&Repository) -> Result<Vec<Finding>>);

const CHECKS: &[Check] = &[
    ("modules of core import in one direction", imports::check),
    ("every Rust file begins with its reason", headers::check),
    ("files stay short", length::check),
    ("backends use the same file names", backend_files::check),
    ("nothing is left over", leftovers::check),
    ("the feature table is that of the manifests", feature_table::check),
    ("crates pull only what they need", dependency_limits::check),
    ("links in Markdown resolve", links::check),
    ("manifests take lints and package fields from the workspace", manifests::check),
];

/// Runs every check and prints what each found; an error where one found more than a warning.
pub(crate) fn main(args: &[String]) -> Result<()> {
    no_arguments("tidy", args)?;
    let repository = Repository::load()?;
    let mut errors: usize = 0;
    for (name, check) in CHECKS {
        let findings = check(&repository).with_context(|| format!("the check `{name}`"))?;
        let fatal = findings.iter().filter(|finding| !finding.warning).count();
        errors = errors.saturating_add(fatal);
        println!("   {} {name}", if fatal == 0 { "ok  " } else { "FAIL" });
        for mut finding in findings {
            if let Ok(inside) = finding.path.strip_prefix(&repository.workspace.root) {
                finding.path = inside.to_owned();
            }
            println!("        {finding}");
        }
    }
    if errors > 0 {
        bail!("tidy found {errors} things to put right");
    }
    Ok(())
}

/// What the checks look at.
#[derive(Debug)]
struct Repository {
    workspace: Workspace,
    /// Every file that is tracked or could be, relative to the root.
    files: Vec<PathBuf>,
    /// What each Rust file among them is, by path.
    sources: BTreeMap<PathBuf, Source>,
}

impl Repository {
    fn load() -> Result<Self> {
        let workspace = Workspace::load()?;
        let mut git = std::process::Command::new("git");
        // New files too: what is not committed yet is what most needs a look.
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(&workspace.root);
        let listing = sh::output(&mut git)?;
        let files = listing.split('\0').filter(|path| !path.is_empty()).map(PathBuf::from);
        // A file that was deleted but is still in the index is gone.
        let files = files.filter(|path| workspace.root.join(path).is_file()).collect();
        let mut repository = Self { workspace, files, sources: BTreeMap::new() };
        for path in repository.with_extension("rs").map(Path::to_owned).collect::<Vec<_>>() {
            let source = Source::parse(&repository.read(&path)?).with_context(|| path.display().to_string())?;
            repository.sources.insert(path, source);
        }
        Ok(repository)
    }

    /// The Rust files that are part of a library or program, not of its tests.
    fn without_tests(&self) -> impl Iterator<Item = (&Path, &Source)> {
        let of_modules = self.sources.iter().flat_map(|(path, source)| source.test_files(path));
        let test_files: BTreeSet<_> = of_modules.collect();
        self.sources.iter().map(|(path, source)| (path.as_path(), source)).filter(move |(path, _)| {
            // Integration tests are tests as a whole.
            !test_files.contains(*path) && !path.iter().any(|part| part == "tests")
        })
    }

    fn with_extension<'a>(&'a self, extension: &'a str) -> impl Iterator<Item = &'a Path> {
        self.files.iter().map(PathBuf::as_path).filter(move |path| path.extension().is_some_and(|e| e == extension))
    }

    fn read(&self, path: &Path) -> Result<String> {
        std::fs::read_to_string(self.workspace.root.join(path)).with_context(|| path.display().to_string())
    }
}

/// One thing to put right.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: PathBuf,
    line: Option<usize>,
    message: String,
    warning: bool,
}

impl Finding {
    fn new(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self { path: path.into(), line: None, message: message.into(), warning: false }
    }

    fn at(self, line: usize) -> Self {
        Self { line: Some(line), ..self }
    }

    fn warning(self) -> Self {
        Self { warning: true, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.warning {
            f.write_str("warning: ")?;
        }
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}
