//! What the host loses by lending its interfaces: `plan` says it, and so do `up` and `apply` before they do it. Who
//! would cut off the session that they type in is asked for a word more.
//!
//! The session is known by SSH_CONNECTION (ssh(1)), which sudo(8) drops unless it is told to keep it.

use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::net::IpAddr;

use clap::Args;

use super::say::complain;
use super::trouble::Trouble;
use crate::backend::BackendError;
use crate::backend::linux::Survey;
use crate::backend::linux::view::Which;
use crate::model::{DomainId, InterfaceName, Kind, Network};
use crate::state::Directories;

/// The word more.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Consent {
    /// Lend an interface of the host even if the SSH session that this is typed in comes by it
    #[arg(long)]
    cut_off: bool,
}

/// What goes with an interface that is lent.
#[derive(Debug)]
pub(super) struct Loss {
    home: InterfaceName,
    what: What,
}

#[derive(Debug)]
enum What {
    DefaultRoute,
    /// The session of a client at this address.
    Session(IpAddr),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let home = &self.home;
        match self.what {
            What::DefaultRoute => write!(f, "the default route of domain 0 goes with {home}"),
            What::Session(from) => write!(f, "this SSH session, from {from}, comes by {home}"),
        }
    }
}

impl Consent {
    /// Says what the network takes from the host by lending, and refuses to take the session unless that was asked for.
    pub(super) fn ask(self, network: &Network, directories: &Directories) -> Result<(), Trouble> {
        for loss in losses(network, directories).map_err(Trouble::failed)? {
            if !self.cut_off && matches!(loss.what, What::Session(_)) {
                let help = "rdom apply --confirm 60s FILE gives it back by itself if you cannot confirm it; \
                            --cut-off does it all the same";
                return Err(Trouble::failed(BackendError::new(format!("not lent: {loss}")).help(help)));
            }
            complain(format_args!("warning: {loss}"));
        }
        Ok(())
    }

    /// The same, for who has taken care.
    pub(super) fn given() -> Self {
        Self { cut_off: true }
    }
}

/// What goes with the interfaces that a network would have lent and that are at home now.
pub(super) fn losses(network: &Network, directories: &Directories) -> Result<Vec<Loss>, BackendError> {
    let lent = network.interfaces().filter_map(|(_, interface)| match &interface.kind {
        Kind::Physical { home } => Some(home.clone()),
        _ => None,
    });
    let lent: BTreeSet<InterfaceName> = lent.collect();
    if lent.is_empty() {
        return Ok(Vec::new());
    }
    let survey = Survey::of(directories)?;
    let named = |dev: &str| lent.iter().find(|home| home.as_str() == dev).cloned();
    let mut losses = Vec::new();
    for row in survey.route_table(DomainId::DEFAULT, Which::Own)?.routes {
        let home = named(&row.dev).filter(|_| row.to.is_default() && row.route_type == "unicast");
        losses.extend(home.map(|home| Loss { home, what: What::DefaultRoute }));
    }
    if let Some(client) = session() {
        let way = survey.route_get(DomainId::DEFAULT, Which::Own, client)?;
        let home = way.and_then(|way| named(&way.route.dev));
        losses.extend(home.map(|home| Loss { home, what: What::Session(client) }));
    }
    Ok(losses)
}

/// Where the session comes from that this is typed in.
fn session() -> Option<IpAddr> {
    env::var("SSH_CONNECTION").ok()?.split(' ').next()?.parse().ok()
}
