//! `rdom status`: what there is of networks, domain by domain, in ifconfig(8)'s own words.

use std::process::ExitCode;

use clap::Args;

use super::host::{Host, all, captured};
use super::say::complain;
use super::trouble::Trouble;
use super::{Common, Ended, Which};
use crate::backend::openbsd::blocks;
use crate::model::{DomainId, InterfaceName, Kind, Network};

#[derive(Debug, Args)]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
}

pub(super) fn run(_: &Words, common: &Common) -> Ended {
    if common.json {
        return Err(Trouble::usage("status has no JSON on OpenBSD; `rdom plan --json` has"));
    }
    let printed = captured()?.ifconfig;
    let blocks = blocks(&printed);
    let mut found = all()?;
    found.retain(|name| common.network.as_ref().is_none_or(|named| named == name));
    if found.is_empty() {
        complain("no network is up");
        return Ok(ExitCode::FAILURE);
    }
    for name in &found {
        let observed = Host::of(name)?.observe()?;
        println!("network {name}");
        for (&id, domain) in &observed.domains {
            let interfaces = shown(&observed, id);
            if id.is_default() && interfaces.is_empty() {
                continue;
            }
            println!("domain {id} {}", domain.name);
            for interface in interfaces {
                print!("{}", blocks.get(interface.as_str()).copied().unwrap_or_default());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
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
