//! Redis: one server, a cluster of three masters, one with TLS, and one behind a sentinel.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::process::{Launcher, accepts, free_port, is_free, replies};
use super::{Variable, install};
use crate::sh;

const STANDALONE: &str = "HCC_REDIS_URL";
const CLUSTER: &str = "HCC_REDIS_CLUSTER_URL";
const TLS: &str = "HCC_REDIS_TLS_URL";
/// The file with the certificate authority's certificate, in PEM form, of the server with TLS.
const TLS_CA: &str = "HCC_REDIS_TLS_CA";
const SENTINEL: &str = "HCC_REDIS_SENTINEL_URL";

/// The variables that tell tests where each is. That of the certificate comes with the server with TLS.
pub(super) const VARIABLES: &[&str] = &[STANDALONE, CLUSTER, TLS, SENTINEL];

/// A node's bus listens this far above its port.
const BUS: u16 = 10_000;

pub(super) fn start(launcher: &mut Launcher, wanted: &[&'static str]) -> Result<Vec<Variable>> {
    install::program("redis-server", "redis-server")?;
    install::program("redis-cli", "redis-tools")?;
    let mut variables = Vec::new();
    for variable in wanted {
        variables.extend(match *variable {
            STANDALONE => vec![(STANDALONE, format!("redis://127.0.0.1:{}", plain(launcher, "redis")?))],
            CLUSTER => vec![(CLUSTER, cluster(launcher)?)],
            TLS => tls(launcher)?,
            _ => vec![(SENTINEL, sentinel(launcher)?)],
        });
    }
    Ok(variables)
}

/// A server that keeps nothing on disk.
fn plain(launcher: &mut Launcher, name: &str) -> Result<u16> {
    let port = free_port(u16::MAX, |_| true)?;
    launcher.start(name, port, server(&launcher.folder(name)?).args(["--port", &port.to_string()]), answers)?;
    Ok(port)
}

fn cluster(launcher: &mut Launcher) -> Result<String> {
    let mut nodes = Vec::new();
    for number in 1..=3 {
        let name = format!("redis-cluster-{number}");
        let has_bus = |port: u16| port.checked_add(BUS).is_some_and(is_free);
        let port = free_port(u16::MAX.saturating_sub(BUS), has_bus)?;
        let mut command = server(&launcher.folder(&name)?);
        command.args(["--port", &port.to_string(), "--cluster-enabled", "yes"]);
        command.args(["--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000"]);
        launcher.start(&name, port, &command, answers)?;
        nodes.push(format!("127.0.0.1:{port}"));
    }
    let mut create = Command::new("redis-cli");
    create.args(["--cluster", "create"]).args(&nodes).arg("--cluster-yes").stdin(Stdio::null()).stdout(Stdio::null());
    sh::run(&mut create)?;
    let began = Instant::now();
    while !nodes.iter().all(|node| is_joined(node)) {
        if began.elapsed() > Duration::from_secs(30) {
            bail!("the cluster of {} does not come together", nodes.join(", "));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let (first, rest) = nodes.split_first().context("a cluster has nodes")?;
    let others: Vec<_> = rest.iter().map(|node| format!("node={node}")).collect();
    Ok(format!("redis-cluster://{first}?{}", others.join("&")))
}

fn is_joined(node: &str) -> bool {
    let Some((host, port)) = node.split_once(':') else { return false };
    let output = Command::new("redis-cli").args(["-h", host, "-p", port, "cluster", "info"]).output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("cluster_state:ok"))
}

fn tls(launcher: &mut Launcher) -> Result<Vec<Variable>> {
    let folder = launcher.folder("redis-tls")?;
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).context("no certificate for Redis")?;
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    let port = free_port(u16::MAX, |_| true)?;
    let mut command = server(&folder);
    command.args(["--port", "0", "--tls-auth-clients", "no", "--tls-port", &port.to_string()]);
    command.arg("--tls-cert-file").arg(&certificate).arg("--tls-key-file").arg(&key);
    launcher.start("redis-tls", port, &command, accepts)?;
    Ok(vec![(TLS, format!("rediss://localhost:{port}")), (TLS_CA, certificate.display().to_string())])
}

fn sentinel(launcher: &mut Launcher) -> Result<String> {
    let master = plain(launcher, "redis-sentinel-master")?;
    let folder = launcher.folder("redis-sentinel")?;
    let port = free_port(u16::MAX, |_| true)?;
    let file = folder.join("sentinel.conf");
    let settings = format!(
        "port {port}\nbind 127.0.0.1\nsentinel monitor hcc 127.0.0.1 {master} 1\n\
         sentinel down-after-milliseconds hcc 1000\nsentinel failover-timeout hcc 3000\n"
    );
    std::fs::write(&file, settings)?;
    let mut command = Command::new("redis-server");
    command.arg(&file).args(["--sentinel", "--dir"]).arg(&folder);
    launcher.start("redis-sentinel", port, &command, answers)?;
    Ok(format!("redis-sentinel://127.0.0.1:{port}?sentinelServiceName=hcc"))
}

fn server(folder: &Path) -> Command {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]).arg(folder);
    command
}

fn answers(port: u16) -> bool {
    replies(port, b"PING\r\n")
}
