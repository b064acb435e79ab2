//! `rdom exec [-T] DOMAIN [--] COMMAND...`: becomes `route -TN exec COMMAND`.

use std::ffi::OsString;

use super::citizen::{Words, no_command, status_of_route};
use super::host::{Host, all, programs};
use super::trouble::Trouble;
use super::{Common, Ended};
use crate::exec;
use crate::model::{DomainId, NetworkName};

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    replaced(words, common).map_err(status_of_route)
}

fn replaced(words: &Words, common: &Common) -> Ended {
    let (domain, command) = words.parted()?;
    if command.is_empty() {
        return Err(no_command());
    }
    let programs = programs()?;
    let rtable = rtable(&domain, common)?;
    let arguments =
        [[format!("-T{rtable}"), "exec".to_owned()].map(OsString::from).as_slice(), command].concat();
    match exec::become_program(programs.path("route").as_os_str(), &arguments) {
        Ok(never) => match never {},
        Err(error) => Err(error.into()),
    }
}

/// The rtable of a number, of which route(8) knows whether it is there, or of a domain's name.
fn rtable(word: &str, common: &Common) -> Result<u32, Trouble> {
    if let Ok(number) = word.parse() {
        return Ok(number);
    }
    let mut found: Vec<(NetworkName, DomainId)> = Vec::new();
    let asked = |name: &NetworkName| common.network.as_ref().is_none_or(|named| named == name);
    for name in all()?.into_iter().filter(asked) {
        let observed = Host::of(&name)?.observe()?;
        let called = observed.domains.iter().find(|(_, domain)| domain.name.as_str() == word);
        found.extend(called.map(|(id, _)| (name, *id)));
    }
    match found.as_slice() {
        [(_, id)] => Ok(id.number()),
        [] => Err(Trouble::Failed(
            format!("there is no domain {word}: `rdom status` shows those there are").into(),
        )),
        [(one, _), (other, _), ..] => Err(Trouble::Usage {
            message: format!("networks {one} and {other} both have a domain {word}"),
            help: Some("say which: -n NETWORK".into()),
        }),
    }
}
