//! What `route -T N -nv show` prints, as values: numbers only, with the column of labels that `-v` adds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use ipnetwork::IpNetwork;

use super::arguments::{address, width};
use super::listing::Unreadable;
use crate::model::{Hop, Prefix, Route, Target};

/// One route of one rtable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRoute {
    /// Where to.
    pub to: Prefix,
    /// What stands in the Gateway column: an address, a link address, an interface, `link#N`.
    pub gateway: String,
    /// Its flags: `UGS`, ..; no more than six letters of them are printed.
    pub flags: String,
    /// Its priority.
    pub priority: u8,
    /// Its interface.
    pub interface: String,
    /// Its label.
    pub label: Option<String>,
}

impl ListedRoute {
    /// The address of the gateway, if it is one.
    pub fn gateway_address(&self) -> Option<IpAddr> {
        self.gateway.split('%').next()?.parse().ok()
    }

    /// Whether it has this flag.
    pub fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }
}

/// Routes of one destination and priority are the ways of one route.
pub fn together(routes: impl IntoIterator<Item = Route>) -> BTreeSet<Route> {
    let mut ways: BTreeMap<(Prefix, u32), Vec<Route>> = BTreeMap::new();
    for route in routes {
        ways.entry((route.to, route.metric)).or_default().push(route);
    }
    ways.into_values().flat_map(joined).collect()
}

fn joined(ways: Vec<Route>) -> Vec<Route> {
    let hop = |way: &Route| match &way.target {
        Target::Unicast { via, dev, .. } => Some(Hop { via: *via, dev: dev.clone(), weight: 1 }),
        Target::Multipath { .. } | Target::Blackhole | Target::Unreachable | Target::Prohibit => None,
    };
    let hops: Option<Vec<Hop>> = ways.iter().map(hop).collect();
    let Some(hops) = hops.filter(|hops| hops.len() > 1) else { return ways };
    let target = Target::Multipath { hops, src: None };
    vec![Route { target, ..ways[0].clone() }.with_sorted_ways()]
}

/// Reads what `route -T N -nv show` printed.
pub fn read(text: &str) -> Result<Vec<ListedRoute>, Unreadable> {
    let mut v6 = None;
    let mut routes = Vec::new();
    for (number, line) in text.lines().enumerate() {
        match line.trim() {
            "" | "Routing tables" => {}
            "Internet:" => v6 = Some(false),
            "Internet6:" => v6 = Some(true),
            other if other.ends_with(':') => v6 = None,
            other if other.starts_with("Destination") => {}
            other => {
                let Some(v6) = v6 else { continue };
                let row = row(other, v6);
                routes.push(row.ok_or_else(|| Unreadable { line: number + 1, text: other.to_owned() })?);
            }
        }
    }
    Ok(routes)
}

/// `Destination Gateway Flags Refs Use Mtu [L] Prio Iface [Label]`
fn row(line: &str, v6: bool) -> Option<ListedRoute> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [to, gateway, flags, _refs, _use, _mtu, tail @ ..] = words.as_slice() else { return None };
    let tail = tail.strip_prefix(&["L"]).unwrap_or(tail);
    let [priority, interface, label @ ..] = tail else { return None };
    Some(ListedRoute {
        to: destination(to, v6)?,
        gateway: (*gateway).to_owned(),
        flags: (*flags).to_owned(),
        priority: priority.parse().ok()?,
        interface: (*interface).to_owned(),
        label: label.first().map(|label| (*label).to_owned()),
    })
}

fn destination(text: &str, v6: bool) -> Option<Prefix> {
    if text == "default" {
        let any = if v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::from([0, 0, 0, 0]) };
        return Some(Prefix::everything_like(any));
    }
    let unscoped = match text.split_once('%') {
        Some((address, scope)) => format!("{address}{}", scope.find('/').map_or("", |at| &scope[at..])),
        None => text.to_owned(),
    };
    let (address, length) = address(&unscoped)?;
    IpNetwork::new(address, length.unwrap_or(width(address))).ok().map(Prefix::containing)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `route -T1 show` of an OpenBSD of 2020, its columns put back, with routes of every kind and labels.
    const TABLE: &str = "\
Routing tables

Internet:
Destination        Gateway            Flags   Refs      Use   Mtu  Prio Iface Label
default            192.168.5.2        UGS        0        0     -     8 wg1   rdom:x
10/8               127.0.0.1          UGRS       0        0 32768 L  8 lo1
192.168.5/24       192.168.5.1        UCn        1        0     -     4 wg1
192.168.5.1        wg1                UHLl       0        2     -     1 wg1
192.168.5.2        link#0             UHc        0        1     -     3 wg1
192.168.5.255      192.168.5.1        UHb        0        0     -     1 wg1

Internet6:
Destination                                 Gateway                                 Flags   Refs      Use   Mtu  Prio Iface
fe80::%lo1/64                               fe80::1%lo1                             Un         0        0 32768     4 lo1
";

    #[test]
    fn a_transcript_is_read() {
        let rows = read(TABLE).unwrap();
        let seen: Vec<String> = rows
            .iter()
            .map(|row| format!("{} {} {} {} {:?}", row.to, row.flags, row.priority, row.interface, row.label))
            .collect();
        assert_eq!(
            seen,
            [
                "0.0.0.0/0 UGS 8 wg1 Some(\"rdom:x\")",
                "10.0.0.0/8 UGRS 8 lo1 None",
                "192.168.5.0/24 UCn 4 wg1 None",
                "192.168.5.1/32 UHLl 1 wg1 None",
                "192.168.5.2/32 UHc 3 wg1 None",
                "192.168.5.255/32 UHb 1 wg1 None",
                "fe80::/64 Un 4 lo1 None",
            ]
        );
    }

    #[test]
    fn an_empty_table_is_none() {
        assert_eq!(read("Routing tables\n"), Ok(vec![]));
        assert!(read("Internet:\nwhat is this\n").is_err());
    }
}
