//! `rdom resolve NAME`, hidden: the addresses of a name as any program of this domain gets them (getaddrinfo(3)), in the
//! order in which to try them.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

use clap::Args;
use nix::unistd::alarm;

use super::Ended;
use super::say::say;
use super::trouble::Trouble;
use crate::engine::keep_capabilities;

#[derive(Debug, Args)]
pub(super) struct Words {
    /// End without an answer after as many seconds
    #[arg(long, value_name = "SECS")]
    within: Option<u32>,
    /// The name
    name: String,
}

pub(super) fn run(words: &Words) -> Ended {
    // Who reads what somebody on the wire wrote needs no privilege for it.
    keep_capabilities(&[]).map_err(Trouble::failed)?;
    if let Some(secs) = words.within {
        alarm::set(secs);
    }
    let found = (words.name.as_str(), 0).to_socket_addrs();
    let found = found.map_err(|error| Trouble::failed(format!("{}: {error}", words.name)))?;
    let mut addresses: Vec<IpAddr> = found.map(|address: SocketAddr| address.ip()).collect();
    addresses.dedup();
    addresses.iter().for_each(say);
    Ok(ExitCode::SUCCESS)
}
