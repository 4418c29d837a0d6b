//! `cargo xtask services`: the servers that tests need. Finds or installs them, starts them, and ends them again.
//!
//! Each server listens on a free port of 127.0.0.1 and keeps its data in a private folder. Tests learn where from the
//! environment: a variable that is set already means that there is such a server, and none is started.
//!
//! [`redis`], [`mongo`] and [`dynamodb`] know their server each; [`install`] gets what is missing, [`process`] starts and
//! ends, [`left_running`] is about servers that outlive the command (`up`, `down`, `status`).

mod dynamodb;
pub(crate) mod install;
mod left_running;
mod mongo;
mod process;
mod redis;

use anyhow::{Context, Result, bail};

use self::process::Launcher;
use crate::workspace::UMBRELLA;

/// A kind of server that tests need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    Redis,
    Mongo,
    DynamoDb,
}

/// A variable of the environment, and its value.
pub(crate) type Variable = (&'static str, String);

impl Service {
    const ALL: [Self; 3] = [Self::Redis, Self::Mongo, Self::DynamoDb];

    /// The server of this name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|service| service.name() == name) {
            Some(service) => Ok(service),
            None => bail!("no server is called `{name}`: there are {}", Self::ALL.map(Self::name).join(", ")),
        }
    }

    /// What it is called in arguments.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Mongo => "mongo",
            Self::DynamoDb => "dynamodb",
        }
    }

    /// The crate whose tests cannot run without it.
    pub(crate) fn package(self) -> String {
        format!("{UMBRELLA}-{}", self.name())
    }

    /// The servers that the tests of these crates need; of all crates where none is named.
    ///
    /// The umbrella has an example for each backend.
    pub(crate) fn needed_by(packages: &[String]) -> Vec<Self> {
        let is_needed = |service: &Self| {
            packages.is_empty() || packages.iter().any(|name| *name == service.package() || name == UMBRELLA)
        };
        Self::ALL.into_iter().filter(is_needed).collect()
    }

    /// What tells tests where it is; each is left alone where it is set already.
    fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Redis => redis::VARIABLES,
            Self::Mongo => &[mongo::VARIABLE],
            Self::DynamoDb => &[dynamodb::VARIABLE],
        }
    }

    fn start(self, launcher: &mut Launcher, wanted: &[&'static str]) -> Result<Vec<Variable>> {
        match self {
            Self::Redis => redis::start(launcher, wanted),
            Self::Mongo => mongo::start(launcher),
            Self::DynamoDb => dynamodb::start(launcher),
        }
    }
}

/// Servers that end with this value, or with this process, however it ends.
#[derive(Debug)]
pub(crate) struct Servers {
    /// What tests must find in their environment.
    pub(crate) environment: Vec<Variable>,
    _launcher: Launcher,
}

impl Servers {
    /// Starts what the environment does not name already.
    pub(crate) fn start(services: &[Service]) -> Result<Self> {
        let mut launcher = Launcher::supervised()?;
        let environment = start_all(services, &mut launcher)?;
        Ok(Self { environment, _launcher: launcher })
    }
}

/// Starts, stops or shows the servers that a developer has left running.
pub(crate) fn main(args: &[String]) -> Result<()> {
    let (task, options) = match args.split_first() {
        Some((task, options)) => (task.as_str(), options),
        None => ("", args),
    };
    match task {
        "up" => left_running::up(&without(options)?),
        "down" if options.is_empty() => left_running::down(),
        "status" if options.is_empty() => left_running::status(),
        _ => bail!("`cargo xtask services` takes one of up, down, status; up takes `--without SERVICE`"),
    }
}

/// All servers but those that the arguments leave out.
fn without(args: &[String]) -> Result<Vec<Service>> {
    let mut services = Service::ALL.to_vec();
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            lexopt::Arg::Long("without") => {
                let left_out = Service::named(&lexopt::ValueExt::string(parser.value()?)?)?;
                services.retain(|service| *service != left_out);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(services)
}

fn start_all(services: &[Service], launcher: &mut Launcher) -> Result<Vec<Variable>> {
    let mut environment = Vec::new();
    for service in services {
        let is_wanted = |name: &&str| std::env::var_os(name).is_none();
        let wanted: Vec<_> = service.variables().iter().copied().filter(is_wanted).collect();
        if wanted.is_empty() {
            println!("   {} is named by the environment", service.name());
            continue;
        }
        let name = service.name();
        let started = service.start(launcher, &wanted).with_context(|| {
            format!("the tests need the server `{name}`; `--without {name}` leaves out what needs it")
        })?;
        for (variable, value) in &started {
            println!("   {name}: {variable}={value}");
        }
        environment.extend(started);
    }
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn an_unknown_server_is_an_error_that_names_the_known_ones() {
        let error = Service::named("oracle").unwrap_err().to_string();
        assert!(error.contains("oracle") && error.contains("redis, mongo, dynamodb"), "{error}");
        assert!(without(&words("--without oracle")).is_err());
    }

    #[test]
    fn a_server_is_left_out_by_name() {
        assert_eq!(without(&words("--without mongo")).unwrap(), [Service::Redis, Service::DynamoDb]);
        assert_eq!(without(&[]).unwrap(), Service::ALL);
    }

    #[test]
    fn only_the_servers_of_the_crates_under_test_are_needed() {
        assert_eq!(Service::needed_by(&[]), Service::ALL);
        assert_eq!(Service::needed_by(&words("hyper-client-cache")), Service::ALL);
        assert_eq!(Service::needed_by(&words("hyper-client-cache-mongo")), [Service::Mongo]);
        assert_eq!(Service::needed_by(&words("hyper-client-cache-core hyper-client-cache-sqlite")), []);
    }

    #[test]
    fn an_unknown_subtask_is_an_error() {
        assert!(main(&words("restart")).is_err());
        assert!(main(&[]).is_err());
        assert!(main(&words("down --without redis")).is_err());
    }
}
