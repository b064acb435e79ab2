//! `rdom exec [-T] DOMAIN [--] COMMAND...`, and `ping` for machines that have none.

use std::env;
use std::ffi::OsString;
use std::path::Path;

use super::citizen::{Words, no_command, status_of_route};
use super::live::{Live, several};
use super::trouble::Trouble;
use super::{Common, Ended, ping};
use crate::control::enter;
use crate::enter::remedy;
use crate::exec::{self, ExecError};
use crate::model::NetworkName;
use crate::probe::{self, Unsupported};

/// The program that takes users other than root into a domain.
const ENTER: &str = "rdom-enter";

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let (domain, command) = words.parted()?;
    become_citizen(&domain, command, common)
}

/// Turns this process into the command in that domain. The domain is looked at first: without it no command is.
/// What fails before there is a command ends with 1, as with route(8).
pub(super) fn become_citizen(domain: &str, command: &[OsString], common: &Common) -> Ended {
    replaced(domain, command, common).map_err(status_of_route)
}

fn replaced(domain: &str, command: &[OsString], common: &Common) -> Ended {
    if let Some(network) = door(common)? {
        return by_door(&network, domain, command);
    }
    enter(&Live::find(common)?, domain)?;
    become_command(command)
}

/// Makes this process a citizen of a domain.
pub(super) fn enter(live: &Live, domain: &str) -> Result<(), Trouble> {
    let entrances = live.entrances();
    let survey = entrances.survey(domain).map_err(Trouble::failed)?;
    let (id, which) = live.rtable(&survey, domain)?;
    let place = entrances.place(survey, id, which).map_err(Trouble::failed)?;
    exec::announce(&live.name, id, &place.name);
    Ok(exec::enter(&place)?)
}

/// Turns this process into the command, where it is.
pub(super) fn become_command(command: &[OsString]) -> Ended {
    let (program, arguments) = command.split_first().ok_or_else(no_command)?;
    match exec::become_program(program, arguments) {
        Ok(never) => match never {},
        Err(ExecError::NotFound { .. }) if program == "ping" => ping::run(arguments),
        Err(error) => Err(error.into()),
    }
}

/// The network whose door somebody without privileges has to go through, if there is one.
fn door(common: &Common) -> Result<Option<NetworkName>, Trouble> {
    if probe::administration().is_ok() {
        return Ok(None);
    }
    let mut doors = enter::doors();
    if let Some(named) = &common.network {
        doors.retain(|name| name == named);
    }
    match (doors.pop(), doors.as_slice()) {
        (only, []) => Ok(only),
        (last, others) => Err(several(others.iter().chain(&last))),
    }
}

/// Becomes `rdom-enter`, which may do what this program may not.
fn by_door(network: &NetworkName, domain: &str, command: &[OsString]) -> Ended {
    if command.is_empty() {
        return Err(no_command());
    }
    let words = ["-n", network.as_str(), "-T", domain, "--"].map(OsString::from);
    let arguments = [&words, command].concat();
    let own = env::current_exe().ok().map(|path| path.with_file_name(ENTER)).filter(|path| path.exists());
    match exec::become_program(own.as_deref().unwrap_or(Path::new(ENTER)).as_os_str(), &arguments) {
        Ok(never) => match never {},
        Err(ExecError::NotFound { .. }) => Err(Trouble::Unsupported(Unsupported {
            missing: format!("{ENTER} is not installed, which takes users other than root into a domain"),
            remedy: format!("put {ENTER} beside rdom, and {}", remedy(Path::new(ENTER))),
        })),
        Err(error) => Err(error.into()),
    }
}
