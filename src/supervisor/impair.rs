//! What somebody has a link of a network do to packets, beside its file. It is part of what is desired, so that nothing
//! takes it for drift, until another file is: that says again what its links do.

use tracing::info;

use super::Supervisor;
use crate::backend::Backend;
use crate::control::{Answer, Impair};
use crate::diagnostic::chain;
use crate::model::{End, Impairment, InterfaceName, Kind, Network};
use crate::plan::Step;
use crate::spec;

impl Supervisor {
    /// Has the ends of a link that are meant do this, or none.
    pub(super) fn impair(&mut self, wanted: &Impair) -> Answer {
        let mut ends = ends_of_link(&self.desired, &wanted.interface)?;
        if wanted.one_way {
            ends.truncate(1);
        }
        let words = wanted.impairment.as_ref();
        let given = words.map(|words| spec::impairment(words.iter().map(|(key, text)| (&**key, &**text))));
        let given = given.transpose().map_err(|trouble| trouble.to_string())?;
        let before = self.desired.clone();
        let wanted = |at: &End| given.unwrap_or_else(|| self.gist.impairment(at));
        let wanted: Vec<(End, Impairment)> = ends.iter().map(|at| (at.clone(), wanted(at))).collect();
        if let Err(why) = wanted.iter().try_for_each(|(at, impairment)| self.set_impairment(at, *impairment))
        {
            for at in &ends {
                // What could not be set cannot have changed.
                let _ = self.set_impairment(at, impairment(&before, at));
            }
            return Err(why);
        }
        let told: Vec<String> = wanted.iter().map(|(at, impairment)| told(at, impairment)).collect();
        info!(network = %self.desired.name, "impaired: {}", told.join(", "));
        serde_json::to_string(&told).map_err(|error| error.to_string())
    }

    fn set_impairment(&mut self, at: &End, impairment: Impairment) -> Result<(), String> {
        self.backend
            .apply(&Step::SetImpairment { at: at.clone(), impairment })
            .map_err(|error| chain(&error))?;
        self.desired.impair(at, impairment);
        Ok(())
    }

    /// What links do that the file does not say, one sentence each.
    pub(super) fn impaired(&self) -> Vec<String> {
        let own = self.desired.interfaces().filter(|(at, it)| it.impairment != self.gist.impairment(at));
        own.map(|(at, it)| told(&at, &it.impairment)).collect()
    }
}

fn told(at: &End, impairment: &Impairment) -> String {
    format!("{at} by {impairment}")
}

fn impairment(network: &Network, at: &End) -> Impairment {
    network.interface(at).map(|interface| interface.impairment).unwrap_or_default()
}

/// Both ends of the link that one of them, `DOMAIN/IF`, names.
fn ends_of_link(network: &Network, word: &str) -> Result<Vec<End>, String> {
    let is_end = |at: &End| matches!(network.interface(at).map(|it| &it.kind), Some(Kind::Veth { .. }));
    let links = || {
        let all = network.interfaces().map(|(at, _)| at).filter(is_end);
        let all: Vec<_> = all.map(|at| at.to_string()).collect();
        match all.is_empty() {
            true => "the network has no links".to_owned(),
            false => format!("ends of links are {}", all.join(", ")),
        }
    };
    end(network, word)
        .filter(is_end)
        .map(|at| network.ends(&at))
        .ok_or_else(|| format!("{word} is no end of a link\nhelp: {}", links()))
}

fn end(network: &Network, word: &str) -> Option<End> {
    let (domain, interface) = word.split_once('/')?;
    let mut domains = network.domains.iter();
    let (id, _) = domains.find(|(id, it)| it.name.as_str() == domain || id.to_string() == domain)?;
    Some(End { domain: *id, interface: InterfaceName::new(interface).ok()? })
}
