//! One namespace, looked at.

use std::collections::BTreeMap;

use crate::backend::BackendError;
use crate::backend::linux::address::{self, Held};
use crate::backend::linux::explain::Doing;
use crate::backend::linux::link::{self, Driver, Link};
use crate::backend::linux::namespace::Namespace;
use crate::backend::linux::netlink::{Netlink, Protocol};
use crate::backend::linux::qdisc;
use crate::model::{Address, DomainId, DomainName, Impairment, Interface, InterfaceName, Kind};

/// The size of packets that most interfaces have unless something else is said, and that of tunnels.
const USUAL_MTU: [u32; 2] = [1500, 1420];

/// What was seen of it.
pub(super) struct Sight {
    pub(super) name: DomainName,
    pub(super) namespace: Namespace,
    pub(super) route: Netlink,
    pub(super) links: BTreeMap<InterfaceName, Link>,
    pub(super) addresses: Vec<Held>,
    pub(super) impairments: BTreeMap<u32, Impairment>,
    /// Which domain a number of the namespace's stands for.
    pub(super) numbers: BTreeMap<i32, DomainId>,
}

/// A VRF device.
pub(super) struct Vrf {
    pub(super) index: u32,
    pub(super) table: u32,
}

impl Sight {
    /// The VRF that a link is in, itself or by a bridge; that of its own if it is the device.
    pub(super) fn vrf_of(&self, link: &Link) -> Option<Vrf> {
        if let Driver::Vrf { table } = link.driver {
            return Some(Vrf { index: link.index, table });
        }
        let above = self.links.values().find(|above| Some(above.index) == link.controller)?;
        self.vrf_of(above)
    }

    /// The VRF that every link is in, if there is such a one.
    pub(super) fn vrf(&self) -> Option<Vrf> {
        let mut links = self.links.values().filter(|link| link.driver != Driver::Loopback);
        let first = self.vrf_of(links.next()?)?;
        links.all(|link| self.vrf_of(link).is_some_and(|other| other.index == first.index)).then_some(first)
    }

    /// A link of it as an interface of this kind.
    pub(super) fn interface(&self, name: &InterfaceName, kind: Kind) -> Interface {
        let link = &self.links[name];
        let name_of =
            |index| self.links.iter().find(|(_, link)| link.index == index).map(|(name, _)| name.clone());
        let held = self.addresses.iter().filter(|held| held.index == link.index && !held.is_link_local());
        let is_loopback = kind == Kind::Loopback;
        let impaired = matches!(kind, Kind::Veth { .. });
        let usual = is_loopback || link.mtu == USUAL_MTU[usize::from(matches!(kind, Kind::WireGuard(_)))];
        let address =
            |held: &Held| if is_loopback { Address::new(held.address.network) } else { held.address };
        Interface {
            addresses: held.map(address).collect(),
            mtu: (!usual).then_some(link.mtu),
            up: link.up || is_loopback,
            controller: link.controller.and_then(name_of),
            impairment: self.impairments.get(&link.index).copied().filter(|_| impaired).unwrap_or_default(),
            kind,
        }
    }
}

/// Looks at a namespace of this name.
pub(super) fn sight(name: DomainName, namespace: Namespace) -> Result<Sight, BackendError> {
    let what = || format!("read namespace {name}");
    let mut route = Netlink::of(&namespace, Protocol::Route).doing(what)?;
    let links = link::dump(&mut route).doing(what)?;
    let impaired = links.iter().any(|link| qdisc::impairs(&link.discipline));
    let impairments = if impaired { qdisc::dump(&mut route).doing(what)? } else { BTreeMap::new() };
    let named =
        links.into_iter().filter_map(|link| Some((InterfaceName::new(link.name.as_str()).ok()?, link)));
    let links = named.collect();
    let addresses = address::dump(&mut route).doing(what)?;
    Ok(Sight { name, namespace, route, links, addresses, impairments, numbers: BTreeMap::new() })
}
