//! Amazon's own DynamoDB Local, from Maven Central.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::process::{Launcher, free_port, replies};
use super::{Variable, install};
use crate::sh;

pub(super) const VARIABLE: &str = "HCC_DYNAMODB_URL";

const VERSION: &str = "2.6.1";

pub(super) fn start(launcher: &mut Launcher) -> Result<Vec<Variable>> {
    install::program("java", "openjdk-17-jre-headless")?;
    let libraries = install::folder(&format!("dynamodb-local-{VERSION}"), install)?.join("lib");
    let port = free_port(u16::MAX, |_| true)?;
    let mut command = Command::new("java");
    command.arg(format!("-Djava.library.path={}", libraries.display()));
    command.arg("-cp").arg(libraries.join("*"));
    command.args(["com.amazonaws.services.dynamodbv2.local.main.ServerRunner", "-inMemory", "-sharedDb"]);
    command.args(["-disableTelemetry", "-port", &port.to_string()]);
    let answers = |port| replies(port, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    launcher.start("dynamodb", port, &command, answers)?;
    Ok(vec![(VARIABLE, format!("http://127.0.0.1:{port}"))])
}

fn install(folder: &Path) -> Result<()> {
    install::program("mvn", "maven")?;
    std::fs::write(folder.join("pom.xml"), project())?;
    let mut maven = Command::new("mvn");
    maven.args(["-B", "-q", "dependency:copy-dependencies"]);
    maven.arg(format!("-DoutputDirectory={}", folder.join("lib").display()));
    sh::run(maven.current_dir(folder).stdin(Stdio::null())).context("DynamoDB Local comes from Maven Central")
}

/// A project with one dependency, for Maven to copy it and what it needs.
fn project() -> String {
    format!(
        "<project><modelVersion>4.0.0</modelVersion>\
         <groupId>local</groupId><artifactId>local</artifactId><version>1</version>\
         <dependencies><dependency><groupId>com.amazonaws</groupId><artifactId>DynamoDBLocal</artifactId>\
         <version>{VERSION}</version></dependency></dependencies></project>"
    )
}
