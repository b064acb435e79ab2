//! `rdom status`: what there is of networks, domain by domain, in ifconfig(8)'s own words.

use std::process::ExitCode;

use clap::Args;

use super::host::{Host, all, captured, tools};
use super::say::{answer, complain};
use super::trouble::Trouble;
use super::{Common, Ended, Which, print_json};
use crate::backend::openbsd::{Captured, blocks, sockets, status};
use crate::model::{DomainId, InterfaceName, Kind, Network};
use crate::status::StatusView;

#[derive(Debug, Args)]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
}

pub(super) fn run(_: &Words, common: &Common) -> Ended {
    let captured = captured()?;
    let blocks = blocks(&captured.ifconfig);
    let mut found = all()?;
    found.retain(|name| common.network.as_ref().is_none_or(|named| named == name));
    if found.is_empty() {
        complain("no network is up");
        return Ok(ExitCode::FAILURE);
    }
    for name in &found {
        let observed = Host::of(name)?.observe()?;
        if common.json {
            print_json(&view(&observed, &captured)?)?;
            continue;
        }
        answer(format_args!("network {name}\n"))?;
        for (&id, domain) in &observed.domains {
            let interfaces = shown(&observed, id);
            if id.is_default() && interfaces.is_empty() {
                continue;
            }
            answer(format_args!("domain {id} {}\n", domain.name))?;
            for interface in interfaces {
                answer(blocks.get(interface.as_str()).copied().unwrap_or_default())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The same as a document.
fn view(observed: &Network, captured: &Captured) -> Result<StatusView, Trouble> {
    let sockets = sockets(&mut tools()?, observed).map_err(Trouble::failed)?;
    status(observed, captured, &sockets).map_err(Trouble::failed)
}

/// The interfaces that are the network's, by OpenBSD's names.
fn shown(observed: &Network, id: DomainId) -> Vec<String> {
    let Some(domain) = observed.domains.get(&id) else { return Vec::new() };
    let ours = domain
        .interfaces
        .iter()
        .filter(|(_, held)| held.kind != Kind::Existing || !held.addresses.is_empty());
    let name = |name: &InterfaceName| match *name == InterfaceName::loopback() {
        true => format!("lo{id}"),
        false => name.to_string(),
    };
    ours.map(|(interface, _)| name(interface)).collect()
}
