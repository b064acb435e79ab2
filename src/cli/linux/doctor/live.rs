//! Whether the network that is up is whole: the UDP sockets of each tunnel are where they belong, and nothing of the
//! system is in their way.

use std::collections::BTreeSet;

use super::super::Common;
use super::super::live::Live;
use super::super::trouble::Trouble;
use super::hazard_view;
use crate::backend::Backend;
use crate::backend::linux::{Linux, Survey};
use crate::model::{End, Network, WireGuard};
use crate::state::KeyRing;
use crate::status::{LiveView, SocketTable, TunnelPlace};
use crate::supervisor::{NoEngines, hazards_within, misplaced};

/// The network that is meant, if one is up.
pub(super) fn view(common: &Common) -> Result<Option<LiveView>, Trouble> {
    let Some(live) = Live::find_any(common)? else { return Ok(None) };
    let engines = Box::new(NoEngines);
    let opened = Linux::open(live.name.clone(), &live.directories, KeyRing::default(), engines);
    let observed = opened.and_then(|mut backend| backend.observe()).map_err(Trouble::failed)?;
    let survey = live.survey()?;
    let misplaced = misplaced(&survey, &observed).map_err(Trouble::failed)?;
    let hazards = hazards_within(&survey, &observed, &BTreeSet::new()).map_err(Trouble::failed)?;
    Ok(Some(LiveView {
        network: observed.name.to_string(),
        tunnels: tunnels(&survey, &observed)?,
        misplaced: misplaced.iter().map(ToString::to_string).collect(),
        hazards: hazards.into_iter().map(hazard_view).collect(),
    }))
}

fn tunnels(survey: &Survey, observed: &Network) -> Result<Vec<TunnelPlace>, Trouble> {
    let tables = observed.domains.keys().map(|&id| survey.socket_table(id));
    let tables: Vec<SocketTable> = tables.collect::<Result<_, _>>().map_err(Trouble::failed)?;
    let place = |(at, tunnel): (End, &WireGuard)| {
        let listen_port = tunnel.listen_port?;
        let sockets_in = tables.iter().filter(|table| table.has_udp(listen_port));
        Some(TunnelPlace {
            tunnel: at.to_string(),
            listen_port,
            underlay: tunnel.underlay.number(),
            sockets_in: sockets_in.map(|table| table.domain).collect(),
        })
    };
    Ok(observed.tunnels().filter_map(place).collect())
}
