//! An interface, in the user's words.

use ipnetwork::IpNetwork;

use super::kinds::{self, Vxlan};
use super::wireguard::WireGuard;
use crate::diagnostic::Diagnostic;
use crate::model::InterfaceName;
use crate::spec::fields::{Fields, Shape, each_parsed, parsed_text};
use crate::spec::node::{Entry, Node};
use crate::spec::report::{Placed, Report};
use crate::spec::values;

const INTERFACE: Shape = Shape {
    what: "an interface",
    keys: &[
        "addresses",
        "mtu",
        "up",
        "dad",
        "wireguard",
        "bridge",
        "vlan",
        "vxlan",
        "macvlan",
        "dummy",
        "physical",
    ],
};
const KINDS: [&str; 7] = ["wireguard", "bridge", "vlan", "vxlan", "macvlan", "dummy", "physical"];

/// One entry of `interfaces`.
#[derive(Debug)]
pub(in crate::spec) struct Interface {
    pub(in crate::spec) name: Placed<InterfaceName>,
    pub(in crate::spec) kind: Option<Placed<Kind>>,
    pub(in crate::spec) addresses: Vec<Placed<IpNetwork>>,
    pub(in crate::spec) mtu: Option<Placed<u32>>,
    pub(in crate::spec) up: bool,
    pub(in crate::spec) duplicate_detection: bool,
}

/// What an interface says that it is, at the place of the key that says it.
#[derive(Debug)]
pub(in crate::spec) enum Kind {
    WireGuard(WireGuard),
    Bridge {
        ports: Vec<Placed<InterfaceName>>,
    },
    Dummy,
    Vlan {
        parent: Placed<String>,
        id: Placed<u16>,
    },
    Macvlan {
        parent: Placed<String>,
    },
    Vxlan(Vxlan),
    Physical {
        /// What the host calls it, where that is another name.
        home: Option<Placed<InterfaceName>>,
    },
    /// Something that could not be read, which has been reported.
    Unknown,
}

impl Interface {
    pub(super) fn read(entry: &Entry, report: &mut Report) -> Option<Self> {
        let key = Placed::new(entry.key.value.as_str(), entry.key.place);
        let name = parsed_text(&key, values::interface_name, report);
        let fields = Fields::of(&entry.value, &INTERFACE, report)?;
        let interface = Self {
            kind: kind(fields, report),
            addresses: fields.value("addresses").map(|node| addresses(node, report)).unwrap_or_default(),
            mtu: fields.parsed("mtu", "a number", |text| values::number(text, "an MTU", 68, 65535), report),
            up: truth(fields, "up", report).unwrap_or(true),
            duplicate_detection: truth(fields, "dad", report).unwrap_or(false),
            name: name?,
        };
        check_mtu(&interface, report);
        Some(interface)
    }
}

fn truth(fields: Fields<'_>, key: &str, report: &mut Report) -> Option<bool> {
    fields.parsed(key, "`true` or `false`", values::truth, report).map(|truth| truth.value)
}

/// The items of a list of addresses.
pub(super) fn addresses(node: &Node, report: &mut Report) -> Vec<Placed<IpNetwork>> {
    let addresses = each_parsed(node, "addresses", values::address, report);
    for address in addresses.iter().filter(|address| is_no_host(address.value)) {
        let message = format!("{} is the address of a network, not of a host in it", address.value);
        report.push(Diagnostic::warning(address.place, message).help("write the address of a host"));
    }
    addresses
}

/// Whether the host part is all zeros or all ones, which IPv4 keeps for the network and for broadcasts (RFC 922).
fn is_no_host(address: IpNetwork) -> bool {
    match address {
        IpNetwork::V4(v4) => v4.prefix() < 31 && (v4.ip() == v4.network() || v4.ip() == v4.broadcast()),
        IpNetwork::V6(_) => false,
    }
}

fn kind(fields: Fields<'_>, report: &mut Report) -> Option<Placed<Kind>> {
    let said: Vec<&Entry> = KINDS.iter().filter_map(|key| fields.entry(key)).collect();
    let (&first, others) = said.split_first()?;
    for other in others {
        report.push(
            Diagnostic::error(other.key.place, "an interface of two kinds")
                .related(first.key.place, "one kind")
                .label("another")
                .help(format!("keep one of `{}` and `{}`", first.key.value, other.key.value)),
        );
    }
    let kinds: Vec<Kind> = said.into_iter().map(|entry| kinds::read(entry, report)).collect();
    Some(Placed::new(kinds.into_iter().next()?, first.key.place))
}

/// IPv6 is off on a link of less than 1280 bytes (RFC 8200, 5).
fn check_mtu(interface: &Interface, report: &mut Report) {
    let (Some(mtu), Some(v6)) = (&interface.mtu, interface.addresses.iter().find(|a| a.value.is_ipv6()))
    else {
        return;
    };
    if mtu.value < 1280 {
        report.push(
            Diagnostic::error(mtu.place, format!("MTU {} is too small for IPv6", mtu.value))
                .related(v6.place, "an IPv6 address")
                .help("write `mtu: 1280` or more"),
        );
    }
}
