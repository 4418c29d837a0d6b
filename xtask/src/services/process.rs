//! Starts servers, waits until they answer, and sees to it that they end.
//!
//! A supervised server hangs on a pipe: the shell that started it waits for the pipe's end and then ends the server by
//! its process id. The end comes when the [`Launcher`] is dropped, and also when this process is killed.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// How long a server may take until it answers: the slowest, on a Java machine that was just unpacked, takes ten
/// seconds on a busy computer.
const READY: Duration = Duration::from_secs(90);

/// How long a server has for its end before it is killed.
const END: Duration = Duration::from_secs(5);

/// Waits for the end of its input, then ends the server: first politely, after five seconds for good.
/// Interrupts from the keyboard are for whoever holds the pipe.
const SUPERVISOR: &str = r#"
trap '' INT
"$@" </dev/null &
server=$!
cat >/dev/null
kill -TERM "$server" 2>/dev/null
for step in $(seq 50); do
    kill -0 "$server" 2>/dev/null || exit 0
    sleep 0.1
done
kill -KILL "$server" 2>/dev/null
exit 0
"#;

/// What starts servers: each in a folder of its own.
#[derive(Debug)]
pub(crate) struct Launcher {
    folder: Folder,
    servers: Vec<Server>,
    supervised: bool,
}

#[derive(Debug)]
enum Folder {
    Private(TempDir),
    Kept(PathBuf),
}

/// A server that was started.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) port: u16,
    /// The supervisor's process, or the server's own where there is none.
    child: Child,
}

impl Launcher {
    /// Its servers end with it, and their folders go.
    pub(crate) fn supervised() -> Result<Self> {
        let folder = TempDir::with_prefix("hyper-client-cache-services-").context("no folder for servers")?;
        Ok(Self { folder: Folder::Private(folder), servers: Vec::new(), supervised: true })
    }

    /// Its servers outlive this process; their data is in `folder`.
    pub(crate) fn detached(folder: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(Self { folder: Folder::Kept(folder), servers: Vec::new(), supervised: false })
    }

    /// The servers, and the process id of each.
    pub(crate) fn detached_servers(&self) -> impl Iterator<Item = (&str, u16, u32)> {
        self.servers.iter().map(|server| (server.name.as_str(), server.port, server.child.id()))
    }

    /// A new folder for the data of a server.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = match &self.folder {
            Folder::Private(folder) => folder.path().join(name),
            Folder::Kept(folder) => folder.join(name),
        };
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// Starts a server that was told to listen on `port`, and waits until `answers` says so.
    pub(crate) fn start(
        &mut self,
        name: &str,
        port: u16,
        command: &Command,
        answers: impl Fn(u16) -> bool,
    ) -> Result<()> {
        let folder = self.folder(name)?;
        let log = folder.join("log");
        let output = File::create(&log).with_context(|| log.display().to_string())?;
        let mut started = if self.supervised { supervise(command) } else { detach(command) };
        started.stdout(output.try_clone()?).stderr(output).current_dir(&folder);
        let child = started.spawn().with_context(|| format!("cannot start {}", crate::sh::describe(command)))?;
        self.servers.push(Server { name: name.to_owned(), port, child });
        let began = Instant::now();
        while !answers(port) {
            let ended = self.servers.last_mut().is_some_and(|server| matches!(server.child.try_wait(), Ok(Some(_))));
            if ended || began.elapsed() > READY {
                let how = if ended { "ended" } else { "does not answer" };
                bail!("the server {name} {how}; its last lines:\n{}", last_lines(&log));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        if !self.supervised {
            return;
        }
        for server in &mut self.servers {
            drop(server.child.stdin.take());
        }
        let limit = END.saturating_mul(2);
        for server in &mut self.servers {
            let began = Instant::now();
            while matches!(server.child.try_wait(), Ok(None)) && began.elapsed() < limit {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn supervise(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", SUPERVISOR, "supervisor"]).arg(command.get_program()).args(command.get_args());
    // The writing end is closed in every other process that we start, so that ours alone keeps the server going.
    shell.stdin(Stdio::piped());
    shell
}

fn detach(command: &Command) -> Command {
    let mut detached = Command::new(command.get_program());
    detached.args(command.get_args()).stdin(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut detached, 0);
    detached
}

/// A port of 127.0.0.1 that nobody listens on, below `below`, for which `fits` holds too.
///
/// Somebody else may take it before the server does; the server then ends, which is an error that says so.
pub(crate) fn free_port(below: u16, fits: impl Fn(u16) -> bool) -> Result<u16> {
    for _ in 0..1000 {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        if port < below && fits(port) {
            return Ok(port);
        }
    }
    bail!("no free port on 127.0.0.1")
}

/// Whether nobody listens on the port.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Whether a connection to the port is accepted.
pub(crate) fn accepts(port: u16) -> bool {
    connect(port).is_ok()
}

/// Whether whoever listens on the port says anything when it is sent `question`.
pub(crate) fn replies(port: u16, question: &[u8]) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = connect(port)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(question)?;
        Ok(stream.read(&mut [0])? > 0)
    };
    ask().unwrap_or(false)
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Duration::from_secs(1))
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(10).collect();
    lines.into_iter().rev().map(|line| format!("      {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server of three lines that needs nothing but Python, which the MongoDB server needs as well.
    fn server(port: u16) -> Command {
        let mut command = Command::new("python3");
        command.args(["-m", "http.server", "--bind", "127.0.0.1", &port.to_string()]);
        command
    }

    #[test]
    fn a_supervised_server_ends_with_its_launcher() {
        let mut launcher = Launcher::supervised().unwrap();
        let port = free_port(u16::MAX, |_| true).unwrap();
        launcher.start("python", port, &server(port), |port| replies(port, b"GET / HTTP/1.0\r\n\r\n")).unwrap();
        let folder = launcher.folder("python").unwrap();
        drop(launcher);
        assert!(!accepts(port) && !folder.exists());
    }

    /// So it is when the holder of the pipe is killed: the pipe closes all the same.
    #[test]
    fn a_supervised_server_ends_when_its_pipe_closes() {
        let port = free_port(u16::MAX, |_| true).unwrap();
        let mut shell = supervise(&server(port)).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        while !accepts(port) && began.elapsed() < READY {
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(shell.stdin.take());
        assert!(shell.wait().unwrap().success());
        assert!(!accepts(port));
    }

    #[test]
    fn a_server_that_ends_at_once_is_an_error_with_its_last_words() {
        let mut launcher = Launcher::detached(tempfile::tempdir().unwrap().keep()).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no licence; exit 3"]);
        let error = launcher.start("broken", 1, &command, |_| false).unwrap_err().to_string();
        assert!(error.contains("broken") && error.contains("no licence"), "{error}");
        let Folder::Kept(folder) = &launcher.folder else { unreachable!() };
        std::fs::remove_dir_all(folder).unwrap();
    }
}
