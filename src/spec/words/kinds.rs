//! What an interface says that it is, in the user's words.

use std::net::IpAddr;

use super::interface::Kind;
use super::wireguard::WireGuard;
use crate::diagnostic::Diagnostic;
use crate::model::InterfaceName;
use crate::spec::fields::{Fields, Shape, each_parsed, parsed};
use crate::spec::node::{Entry, Node, Value};
use crate::spec::report::{Placed, Report};
use crate::spec::values::{self, Trouble};

const BRIDGE: Shape = Shape { what: "a bridge", keys: &["ports"] };
const DUMMY: Shape = Shape { what: "a dummy", keys: &[] };
const VLAN: Shape = Shape { what: "a vlan", keys: &["parent", "id"] };
const MACVLAN: Shape = Shape { what: "a macvlan", keys: &["parent"] };
const VXLAN: Shape = Shape { what: "a vxlan", keys: &["id", "underlay", "local", "remote", "port"] };

/// The value of `vxlan`.
#[derive(Debug)]
pub(in crate::spec) struct Vxlan {
    pub(in crate::spec) id: Placed<u32>,
    pub(in crate::spec) underlay: Option<Placed<String>>,
    pub(in crate::spec) local: Option<IpAddr>,
    pub(in crate::spec) remote: Option<IpAddr>,
    pub(in crate::spec) port: u16,
}

/// The port of RFC 7348.
const VXLAN_PORT: u16 = 4789;

/// The kind that this key names.
pub(super) fn read(entry: &Entry, report: &mut Report) -> Kind {
    let node = &entry.value;
    let kind = match entry.key.value.as_str() {
        "wireguard" => WireGuard::read(node, report).map(Kind::WireGuard),
        "bridge" => ports(node, report).map(|ports| Kind::Bridge { ports }),
        "dummy" => Fields::of(node, &DUMMY, report).map(|_| Kind::Dummy),
        "vlan" => vlan(node, report),
        "macvlan" => {
            let fields = Fields::of(node, &MACVLAN, report);
            fields.and_then(|fields| parent(fields, report)).map(|parent| Kind::Macvlan { parent })
        }
        "physical" => physical(node, report),
        _ => Vxlan::read(node, report).map(Kind::Vxlan),
    };
    kind.unwrap_or(Kind::Unknown)
}

fn ports(node: &Node, report: &mut Report) -> Option<Vec<Placed<InterfaceName>>> {
    let fields = Fields::of(node, &BRIDGE, report)?;
    let ports = fields.value("ports").map(|node| each_parsed(node, "ports", values::interface_name, report));
    Some(ports.unwrap_or_default())
}

/// `{}` or nothing for an interface that is called the same at home, else its name there.
fn physical(node: &Node, report: &mut Report) -> Option<Kind> {
    match &node.value {
        Value::Null => Some(Kind::Physical { home: None }),
        Value::Map(entries) if entries.is_empty() => Some(Kind::Physical { home: None }),
        Value::Text(_) => {
            let home = parsed(node, "the name of an interface", lendable, report)?;
            Some(Kind::Physical { home: Some(home) })
        }
        Value::Map(_) | Value::List(_) => {
            let message = format!("expected the name of an interface, found {}", node.kind());
            let help = "write `physical: NAME` if the host calls it NAME, `physical: {}` if it does as here";
            report.push(Diagnostic::error(node.place, message).help(help));
            None
        }
    }
}

fn lendable(text: &str) -> Result<InterfaceName, Trouble> {
    match text {
        "lo" => Err(Trouble::new("the loopback cannot be lent").help("every domain has one of its own")),
        _ => values::any_interface_name(text),
    }
}

fn vlan(node: &Node, report: &mut Report) -> Option<Kind> {
    let fields = Fields::of(node, &VLAN, report)?;
    let parent = parent(fields, report);
    let tag = |text: &str| values::number(text, "the id of a vlan", 1, 4094);
    let id = required(fields, "id", "write `id: NUMBER`, 1 to 4094", tag, report);
    Some(Kind::Vlan { parent: parent?, id: id? })
}

fn parent(fields: Fields<'_>, report: &mut Report) -> Option<Placed<String>> {
    let help = "write `parent: IF`, or `parent: DOMAIN/IF` for one of another domain";
    required(fields, "parent", help, values::any_text, report)
}

fn required<T>(
    fields: Fields<'_>,
    key: &str,
    help: &str,
    parse: impl FnOnce(&str) -> Result<T, Trouble>,
    report: &mut Report,
) -> Option<Placed<T>> {
    if fields.value(key).is_none() {
        report.push(Diagnostic::error(fields.place, format!("no `{key}` here")).help(help));
    }
    fields.parsed(key, &format!("`{key}`"), parse, report)
}

impl Vxlan {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let fields = Fields::of(node, &VXLAN, report)?;
        let network = |text: &str| values::number(text, "the id of a vxlan", 1, (1 << 24) - 1);
        let id = required(fields, "id", "write `id: NUMBER`, up to 16777215", network, report);
        let local = fields.parsed("local", "an address", values::ip, report);
        let remote = fields.parsed("remote", "an address", remote, report);
        if let (Some(local), Some(remote)) = (&local, &remote)
            && local.value.is_ipv6() != remote.value.is_ipv6()
        {
            let message = format!("{} is not of the family of {}", remote.value, local.value);
            report.push(Diagnostic::error(remote.place, message).related(local.place, "the local address"));
        }
        Some(Self {
            id: id?,
            underlay: fields.parsed("underlay", "a domain", values::any_text, report),
            local: local.map(|local| local.value),
            remote: remote.map(|remote| remote.value),
            port: fields.parsed("port", "a port", values::port, report).map_or(VXLAN_PORT, |port| port.value),
        })
    }
}

fn remote(text: &str) -> Result<IpAddr, Trouble> {
    let address = values::ip(text)?;
    match address.is_multicast() {
        true => Err(Trouble::new(format!("{address} is a group, not a host"))
            .help("write the address of the other end")),
        false => Ok(address),
    }
}
