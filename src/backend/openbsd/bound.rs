//! A file's network as an OpenBSD kernel can hold it.

use std::collections::BTreeSet;

use crate::model::{Address, Bindings, Capabilities, Isolation, Kind, Network, Route};
use crate::plan::bind;

/// The network with its open fields closed, and with what OpenBSD's kernel adds by itself: an rdomain is no more
/// than itself, a loopback that has an address has ::1 too, every IPv6 address is looked for first. What [`limits`]
/// tells of is left out.
///
/// [`limits`]: super::limits()
pub fn bound(network: &Network, bindings: &Bindings) -> Network {
    let mut bound = bind(network, bindings, &Capabilities { kernel_wireguard: true, ..Capabilities::PLAIN });
    for (id, inside) in &mut bound.domains {
        if let Some(asked) = network.domains.get(id) {
            inside.rtables = asked.rtables.clone();
        }
        inside.isolation = Isolation::Auto;
        inside.routes = sorted(&inside.routes);
        inside.rtables.values_mut().for_each(|routes| *routes = sorted(routes));
        inside.rules.clear();
        inside.sysctls.clear();
        for interface in inside.interfaces.values_mut() {
            let addresses = std::mem::take(&mut interface.addresses);
            interface.addresses = addresses.iter().map(|address| Address::new(address.network)).collect();
            if interface.kind == Kind::Loopback {
                interface.mtu = None;
                if !interface.addresses.is_empty() {
                    interface.addresses.insert(own_loopback());
                }
            }
        }
    }
    bound
}

/// Ways have no order here.
fn sorted(routes: &BTreeSet<Route>) -> BTreeSet<Route> {
    routes.iter().cloned().map(Route::with_sorted_ways).collect()
}

/// The address that a loopback gets with its first one, or when it first goes up (netinet6/in6_ifattach.c).
pub(super) fn own_loopback() -> Address {
    Address::new(std::net::IpAddr::V6(std::net::Ipv6Addr::LOCALHOST).into())
}
