//! Servers of a test's own, to be stopped, killed, filled and counted; each ends with its test, also by a panic.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A `redis-server` with a folder of its own.
pub struct Server {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    /// Where its configuration is, if it has one.
    more: Option<tempfile::TempDir>,
}

impl Server {
    /// One with these arguments beside the usual ones, on a free port.
    pub fn start(arguments: &[&str]) -> Self {
        let mut folder = tempfile::tempdir().unwrap();
        let mut arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        // The port was free a moment ago: somebody else may have been quicker.
        for _ in 0..10 {
            let port = free_port();
            let child = spawn(port, &folder, &arguments);
            let mut server = Self { child, port, folder, arguments, more: None };
            if server.is_ready() {
                return server;
            }
            folder = std::mem::replace(&mut server.folder, tempfile::tempdir().unwrap());
            arguments = std::mem::take(&mut server.arguments);
        }
        panic!("no redis-server could be started: is it on the PATH?");
    }

    /// A node of a cluster that has no slots and has met no other.
    pub fn start_node() -> Self {
        // Without an announcement it would not know its address.
        let address = ["--cluster-announce-ip", "127.0.0.1"];
        Self::start(&[&["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"][..], &address].concat())
    }

    /// A cluster of one.
    pub fn start_cluster() -> Self {
        let server = Self::start_node();
        assert_eq!(server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "+OK");
        let begun = Instant::now();
        while !server.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
            assert!(begun.elapsed() < Duration::from_secs(10), "the cluster does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// A sentinel that alone decides about the server on `port` of this machine, under `name`.
    pub fn start_sentinel(port: u16, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sentinel.conf");
        let settings = [
            format!("sentinel monitor {name} 127.0.0.1 {port} 1"),
            format!("sentinel down-after-milliseconds {name} 500"),
            format!("sentinel failover-timeout {name} 2000"),
        ];
        std::fs::write(&file, settings.join("\n")).unwrap();
        let mut server = Self::start(&[file.to_str().unwrap(), "--sentinel"]);
        server.more = Some(folder);
        server
    }

    /// Where it is.
    pub const fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn cluster_url(&self) -> String {
        format!("redis-cluster://127.0.0.1:{}", self.port)
    }

    /// Stops it where it stands: it is connected to and answers nothing.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Ends it without any last word.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same port, with what it had saved.
    pub fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// The same, with these arguments from now on beside those that it had.
    pub fn restart_with(&mut self, arguments: &[&str]) {
        self.kill();
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        for _ in 0..50 {
            self.child = spawn(self.port, &self.folder, &self.arguments);
            if self.is_ready() {
                return;
            }
            self.kill();
        }
        panic!("the redis-server cannot be started again on port {}", self.port);
    }

    /// The reply to a command, on a connection of its own: the line of a simple one, the text of a bulk.
    pub fn command(&self, words: &[&str]) -> String {
        command(self.port, words).unwrap()
    }

    /// How often each command was called, by `INFO commandstats`.
    pub fn calls(&self, name: &str) -> u64 {
        let stats = self.command(&["INFO", "commandstats"]);
        let line =
            stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")).map(str::to_owned));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    fn is_ready(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if command(self.port, &["PING"]).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody listens on, low enough for a cluster's second one.
pub fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port < 55_000 {
            return port;
        }
    }
}

fn spawn(port: u16, folder: &tempfile::TempDir, arguments: &[String]) -> Child {
    Command::new("redis-server")
        // First, for the first may be a file.
        .args(arguments)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
        .arg(folder.path())
        .args(["--save", "", "--appendonly", "no"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("`redis-server` must be on the PATH: `cargo xtask services` says how to install it")
}

fn command(port: u16, words: &[&str]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        write!(text, "${}\r\n{word}\r\n", word.len()).unwrap();
    }
    stream.write_all(text.as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    match line.strip_prefix('$').and_then(|len| len.trim_end().parse::<usize>().ok()) {
        Some(len) => {
            let mut bulk = vec![0; len];
            reader.read_exact(&mut bulk)?;
            Ok(String::from_utf8_lossy(&bulk).into_owned())
        }
        None => Ok(line.trim_end().to_owned()),
    }
}
