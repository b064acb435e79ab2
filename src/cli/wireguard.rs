//! `rdom wireguard [-f] IFNAME`: the engine alone, driven by wg(8), until the interface is deleted.

use std::process::ExitCode;

use clap::Args;

use super::Ended;
use super::trouble::Trouble;
use crate::model::InterfaceName;
use crate::probe;
use crate::wireguard;

#[derive(Debug, Args)]
pub(super) struct Words {
    /// The interface to make in this network namespace
    interface: InterfaceName,
}

pub(super) fn run(words: &Words) -> Ended {
    probe::tun_device()?;
    wireguard::run_standalone(words.interface.as_str()).map_err(Trouble::failed)?;
    Ok(ExitCode::SUCCESS)
}
