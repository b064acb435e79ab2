//! A repairing step, said as what somebody did to make it necessary.

use std::fmt;

use crate::model::{Object, RtableId};
use crate::plan::Step;

/// What had changed, if this step puts it back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Difference<'s>(pub(super) &'s Step);

/// The differences that these steps put back; what went with something that is made anew is not counted again.
pub(super) fn differences(steps: &[Step]) -> Vec<String> {
    let made = |object: Object| steps.iter().any(|step| is_made_by(step, &object));
    let parents = |step: &Step| std::iter::successors(step.object().parent(), Object::parent);
    let sets = |step: &Step| {
        matches!(
            step,
            Step::SetUp { .. }
                | Step::SetImpairment { .. }
                | Step::SetMtu { .. }
                | Step::SetController { .. }
                | Step::SetTunnel { .. }
        )
    };
    let own = |step: &Step| match step {
        Step::SetPeer { at, .. } => Some(Object::Interface(at.clone())),
        step => sets(step).then(|| step.object()),
    };
    let removed = |step: &Step| matches!(step, Step::DeleteInterface { .. } | Step::DeleteDomain { .. });
    let remade = |step: &Step| removed(step) && made(step.object());
    let primary = steps.iter().filter(|step| !remade(step) && !parents(step).chain(own(step)).any(made));
    primary.map(|step| Difference(step).to_string()).collect()
}

fn is_made_by(step: &Step, object: &Object) -> bool {
    let makes =
        matches!(step, Step::CreateDomain { .. } | Step::CreateInterface { .. } | Step::LendInterface { .. });
    makes && step.object() == *object
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Step::CreateDomain { domain, name, .. } => write!(f, "domain {domain} ({name}) removed"),
            Step::DeleteDomain { domain, name } => write!(f, "domain {domain} ({name}) added"),
            Step::RequireInterface { at } | Step::CreateInterface { at, .. } => {
                write!(f, "interface {at} removed")
            }
            Step::DeleteInterface { at } => write!(f, "interface {at} added or changed in kind"),
            Step::LendInterface { at, .. } => write!(f, "lent interface {at} removed or renamed"),
            Step::ReturnInterface { at, .. } => write!(f, "lent interface moved or renamed to {at}"),
            Step::SetMtu { at, .. } => write!(f, "mtu of {at} changed"),
            Step::SetImpairment { at, .. } => write!(f, "impairment of {at} changed"),
            Step::SetController { at, controller: Some(controller) } => {
                write!(f, "{at} removed from {controller}")
            }
            Step::SetController { at, controller: None } => write!(f, "{at} added to a bridge"),
            Step::SetUp { at, up: true } => write!(f, "{at} set down"),
            Step::SetUp { at, up: false } => write!(f, "{at} set up"),
            Step::AddAddress { at, address } => write!(f, "address {address} removed from {at}"),
            Step::RemoveAddress { at, address } => write!(f, "address {address} added to {at}"),
            Step::SetTunnel { at, .. } => write!(f, "port or key of {at} changed"),
            Step::SetPeer { at, key, .. } => write!(f, "peer {key} of {at} changed or removed"),
            Step::RemovePeer { at, key } => write!(f, "peer {key} added to {at}"),
            Step::AddRoute { domain, rtable, route } => {
                write!(f, "route {} removed from ", route.to)?;
                write_table(f, domain.number(), *rtable)
            }
            Step::RemoveRoute { domain, rtable, route } => {
                write!(f, "route {} added to ", route.to)?;
                write_table(f, domain.number(), *rtable)
            }
            Step::AddRule { domain, rule } => write!(f, "rule {rule} removed from domain {domain}"),
            Step::RemoveRule { domain, rule } => write!(f, "rule {rule} added to domain {domain}"),
            Step::SetSysctl { domain, name, .. } => write!(f, "sysctl {name} of domain {domain} changed"),
            Step::ResetSysctl { domain, name } => write!(f, "sysctl {name} of domain {domain} set"),
        }
    }
}

fn write_table(f: &mut fmt::Formatter<'_>, domain: u32, rtable: RtableId) -> fmt::Result {
    match rtable.number() == domain {
        true => write!(f, "domain {domain}"),
        false => write!(f, "rtable {rtable} of domain {domain}"),
    }
}
