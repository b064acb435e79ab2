//! `rdom-enter`: a user without privileges becomes a command in a domain that `allow` opens to them.
//!
//! The program has the file capability cap_sys_admin (capabilities(7)) and does one thing with it: it asks the
//! supervisor's door for a domain, goes there as `rdom exec` does, gives up every capability, and becomes the command.
//! Whether the caller may is the supervisor's to say; that it is root's supervisor is looked at here. Nothing is taken
//! from the environment, PATH among it, before the capabilities are gone. Descriptors that the caller has open stay
//! open, as with every exec; those made here close.
//!
//! What the command may gain by programs that are set-user-ID or have capabilities themselves (ping, sudo) it may gain
//! in the domain as well, as on OpenBSD: the bounding set and `no_new_privs` are left as they were.

mod words;

use std::convert::Infallible;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use caps::errors::CapsError;
use caps::{CapSet, Capability};
use thiserror::Error;

use crate::control::enter::{Admission, Door, EnterError, doors};
use crate::exec::{self, ExecError, Lookups, Place};
use crate::model::NetworkName;
use words::{HELP, Words};

/// Why the caller did not become the command.
#[derive(Debug, Error)]
enum Trouble {
    /// It was called in a way that means nothing.
    #[error("{0}")]
    Usage(String),
    /// The program has gained no capability.
    #[error(
        "{} has not gained cap_sys_admin: its file lacks it, its file system is mounted nosuid, or the caller may gain \
         nothing (no_new_privs)", .0.display()
    )]
    Powerless(PathBuf),
    /// A capability that cannot be had or given up.
    #[error("capabilities: {0}")]
    Capabilities(#[from] CapsError),
    /// The door stayed closed.
    #[error("{0}")]
    Closed(#[from] EnterError),
    /// The domain could not be entered, or the command not be run.
    #[error("{0}")]
    Exec(#[from] ExecError),
}

impl Trouble {
    /// As with route(8): 127, 126 or 1; 4 for what is not supported here.
    fn status(&self) -> u8 {
        match self {
            Trouble::Usage(_) | Trouble::Capabilities(_) | Trouble::Closed(_) => 1,
            Trouble::Powerless(_) => 4,
            Trouble::Exec(error) => error.exit_status(),
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Trouble::Usage(_) => Some("rdom-enter [-n NETWORK] DOMAIN [--] COMMAND...".into()),
            Trouble::Powerless(program) => Some(remedy(program)),
            Trouble::Closed(EnterError::Refused(refusal)) => refusal.help.clone(),
            Trouble::Closed(EnterError::NobodyIsIn(_)) => Some("as root: rdom up -d FILE".into()),
            Trouble::Closed(
                EnterError::NoDoor(_) | EnterError::NotRoots { .. } | EnterError::Broken { .. },
            ) => None,
            Trouble::Exec(error) => error.help().map(str::to_owned),
            Trouble::Capabilities(_) => None,
        }
    }
}

/// What gives a program the capability.
pub fn remedy(program: &Path) -> String {
    format!("as root: setcap cap_sys_admin=p {}", program.display())
}

/// Runs the command line that this process was started with.
pub fn main() -> ExitCode {
    let trouble = match Words::read(std::env::args_os().skip(1)) {
        Ok(None) => {
            let _ = write!(io::stdout(), "{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Some(words)) => match enter(&words) {
            Ok(never) => match never {},
            Err(trouble) => trouble,
        },
        Err(message) => Trouble::Usage(message),
    };
    let _ = writeln!(io::stderr(), "rdom-enter: {trouble}");
    if let Some(help) = trouble.help() {
        let _ = writeln!(io::stderr(), "help: {help}");
    }
    ExitCode::from(trouble.status())
}

fn enter(words: &Words) -> Result<Infallible, Trouble> {
    check_power()?;
    let network = match &words.network {
        Some(network) => network.clone(),
        None => only_network()?,
    };
    let door = Door::of(&network);
    let admission = door.ask(&words.domain)?;
    caps::raise(None, CapSet::Effective, Capability::CAP_SYS_ADMIN)?;
    let Admission { domain, name, namespace } = admission;
    // Sockets of tunnels are root's alone, so there is nothing to show of them.
    let wireguard = PathBuf::new();
    let lookups = match domain.is_default() {
        true => Lookups::Host,
        false => Lookups::at(door.lookups(domain)),
    };
    let place = Place { name: name.to_string(), namespace, wireguard, membership: None, lookups };
    exec::enter(&place)?;
    give_up_power()?;
    exec::announce(&network, domain, &place.name);
    Ok(exec::become_program(&words.program, &words.arguments)?)
}

/// Without the capability nobody needs to be asked.
fn check_power() -> Result<(), Trouble> {
    match caps::has_cap(None, CapSet::Permitted, Capability::CAP_SYS_ADMIN)? {
        true => Ok(()),
        false => Err(Trouble::Powerless(std::env::current_exe().unwrap_or_else(|_| "rdom-enter".into()))),
    }
}

fn only_network() -> Result<NetworkName, Trouble> {
    let mut found = doors();
    match (found.pop(), found.as_slice()) {
        (Some(only), []) => Ok(only),
        (None, _) => Err(Trouble::Usage("no network that is up lets anybody in".into())),
        (Some(last), others) => {
            let all: Vec<_> = others.iter().chain([&last]).map(NetworkName::as_str).collect();
            Err(Trouble::Usage(format!("several networks are up: {}; say which: -n NETWORK", all.join(", "))))
        }
    }
}

/// Root gets its own back with the next program.
fn give_up_power() -> Result<(), CapsError> {
    for set in [CapSet::Ambient, CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        caps::clear(None, set)?;
    }
    Ok(())
}
