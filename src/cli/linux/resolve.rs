//! `rdom resolve NAME`, hidden: the addresses of a name as any program of this domain gets them (getaddrinfo(3)).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

use clap::Args;

use super::Ended;
use super::say::say;
use super::trouble::Trouble;

#[derive(Debug, Args)]
pub(super) struct Words {
    /// The name
    name: String,
}

pub(super) fn run(words: &Words) -> Ended {
    let found = (words.name.as_str(), 0).to_socket_addrs();
    let found = found.map_err(|error| Trouble::failed(format!("{}: {error}", words.name)))?;
    let addresses: BTreeSet<IpAddr> = found.map(|address: SocketAddr| address.ip()).collect();
    addresses.iter().for_each(say);
    Ok(ExitCode::SUCCESS)
}
