//! `route show`: a routing table, as route(8) and netstat(1) print it.
//!
//! Columns are those of sbin/route/show.c with `-n`: names are never resolved, and what is too long overflows.
//! Refs and Use are always 0: Linux counts neither per route. Mtu is `-` unless the route has an MTU of its own.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::art;
use super::facts::{LinkFacts, NeighbourFacts, RouteFacts};
use super::prefix::destination;
use super::route_map;
use super::text;
use crate::model::{DomainId, Prefix};

/// The routes of a domain's own rtable, in the order in which OpenBSD walks its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteTable {
    /// The number of the domain.
    pub domain: u32,
    /// The routes.
    pub routes: Vec<RouteRow>,
}

/// One route, one gateway: a multipath route has a row for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteRow {
    /// Where to.
    #[serde(with = "text")]
    #[schemars(with = "String")]
    pub to: Prefix,
    /// What becomes of a packet, in the words of ip-route(8); `neighbour` for a host whose link address is known.
    #[serde(rename = "type")]
    pub route_type: String,
    /// What stands in the Gateway column: an address, a link address, an interface's name, or `link#INDEX`.
    pub gateway: String,
    /// The gateway, if packets do not go straight onto the link.
    pub via: Option<IpAddr>,
    /// The interface.
    pub dev: String,
    /// The preferred source address.
    pub src: Option<IpAddr>,
    /// The kernel's metric.
    pub metric: u32,
    /// Who made it, in the words of ip-route(8).
    pub protocol: String,
    /// OpenBSD's flags.
    pub flags: BTreeSet<RouteFlag>,
    /// OpenBSD's priority: the lower wins.
    pub priority: u32,
    /// Bytes of the largest packet, if the route says so.
    pub mtu: Option<u32>,
    /// Whether path MTU discovery may not change that.
    pub mtu_locked: bool,
}

/// A flag of a route; in the order of OpenBSD's bits (`RTF_*`, net/route.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouteFlag {
    /// Usable: its interface has a carrier.
    Up,
    /// By a gateway.
    Gateway,
    /// To one host.
    Host,
    /// Dropped, and the sender hears of it.
    Reject,
    /// Made by a redirect.
    Dynamic,
    /// Hosts on the link are resolved one by one.
    Cloning,
    /// To a group.
    Multicast,
    /// Has a link address.
    Llinfo,
    /// Added by hand.
    Static,
    /// Dropped in silence.
    Blackhole,
    /// Made by a cloning route.
    Cloned,
    /// The gateway of another route.
    Cached,
    /// One of several to the same destination.
    Multipath,
    /// To this host.
    Local,
    /// To everybody on the link.
    Broadcast,
    /// To the network of an address of this host.
    Connected,
}

impl RouteFlag {
    /// Its letter in the Flags column.
    pub fn letter(self) -> char {
        match self {
            RouteFlag::Up => 'U',
            RouteFlag::Gateway => 'G',
            RouteFlag::Host => 'H',
            RouteFlag::Reject => 'R',
            RouteFlag::Dynamic => 'D',
            RouteFlag::Cloning => 'C',
            RouteFlag::Multicast => 'm',
            RouteFlag::Llinfo => 'L',
            RouteFlag::Static => 'S',
            RouteFlag::Blackhole => 'B',
            RouteFlag::Cloned => 'c',
            RouteFlag::Cached => 'h',
            RouteFlag::Multipath => 'P',
            RouteFlag::Local => 'l',
            RouteFlag::Broadcast => 'b',
            RouteFlag::Connected => 'n',
        }
    }

    /// Its word in the answer of `route get`.
    pub fn word(self) -> &'static str {
        match self {
            RouteFlag::Up => "UP",
            RouteFlag::Gateway => "GATEWAY",
            RouteFlag::Host => "HOST",
            RouteFlag::Reject => "REJECT",
            RouteFlag::Dynamic => "DYNAMIC",
            RouteFlag::Cloning => "CLONING",
            RouteFlag::Multicast => "MULTICAST",
            RouteFlag::Llinfo => "LLINFO",
            RouteFlag::Static => "STATIC",
            RouteFlag::Blackhole => "BLACKHOLE",
            RouteFlag::Cloned => "CLONED",
            RouteFlag::Cached => "CACHED",
            RouteFlag::Multipath => "MPATH",
            RouteFlag::Local => "LOCAL",
            RouteFlag::Broadcast => "BROADCAST",
            RouteFlag::Connected => "CONNECTED",
        }
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4, `-inet`.
    Inet,
    /// IPv6, `-inet6`.
    Inet6,
}

impl RouteTable {
    /// Puts what a kernel has for a domain into OpenBSD's words and order.
    pub fn new(
        domain: DomainId,
        routes: &[RouteFacts],
        neighbours: &[NeighbourFacts],
        links: &[LinkFacts],
    ) -> Self {
        let mut rows = route_map::rows(routes, neighbours, links);
        rows.sort_by(|left, right| {
            art::compare(left.to, right.to).then_with(|| left.preference().cmp(&right.preference()))
        });
        Self { domain: domain.number(), routes: rows }
    }

    /// Only the routes of one family.
    pub fn only(mut self, family: Family) -> Self {
        self.routes.retain(|row| row.family() == family);
        self
    }
}

impl RouteTable {
    /// Without what every domain has: routes of loopback, of groups, of broadcasts and of link-local networks.
    pub fn outward(mut self) -> Self {
        let is_aside = |row: &RouteRow| {
            row.to.address().is_loopback()
                || row.flags.contains(&RouteFlag::Multicast)
                || row.flags.contains(&RouteFlag::Broadcast)
                || matches!(row.to.address(), IpAddr::V6(v6) if v6.is_unicast_link_local())
        };
        self.routes.retain(|row| !is_aside(row));
        self
    }

    /// Only what concerns a packet to this address: the routes that cover it or a gateway on the way to it, and what
    /// is known of these as neighbours; where no route covers it, all of its family.
    pub fn about(self, address: IpAddr) -> Self {
        let mut table = self.only(if address.is_ipv6() { Family::Inet6 } else { Family::Inet });
        let covering: Vec<_> = table.routes.iter().filter(|row| row.to.contains(address)).collect();
        if covering.is_empty() {
            return table.outward();
        }
        let concerned: Vec<_> = covering.iter().filter_map(|row| row.via).chain([address]).collect();
        table.routes.retain(|row| concerned.iter().any(|address| row.to.contains(*address)));
        table
    }
}

impl fmt::Display for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Routing tables")?;
        write_family(f, Family::Inet, &self.routes)?;
        write_family(f, Family::Inet6, &self.routes)
    }
}

fn write_family(f: &mut fmt::Formatter<'_>, family: Family, rows: &[RouteRow]) -> fmt::Result {
    let mut rows = rows.iter().filter(|row| row.family() == family).peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    let title = match family {
        Family::Inet => "Internet",
        Family::Inet6 => "Internet6",
    };
    let (to_width, gateway_width) = widths(family);
    writeln!(f, "\n{title}:")?;
    write!(f, "{:to_width$} {:gateway_width$} ", "Destination", "Gateway")?;
    writeln!(f, "{:6} {:>5} {:>8} {:>5}  {:>4} Iface", "Flags", "Refs", "Use", "Mtu", "Prio")?;
    rows.try_for_each(|row| row.write_line(f))
}

fn widths(family: Family) -> (usize, usize) {
    match family {
        Family::Inet => (18, 18),
        Family::Inet6 => (43, 39),
    }
}

impl RouteRow {
    /// The family of its destination.
    pub fn family(&self) -> Family {
        if self.to.is_ipv6() { Family::Inet6 } else { Family::Inet }
    }

    /// The letters of its flags, as many as there are; `B` stands beside `R`, against the order of the bits.
    pub fn letters(&self) -> String {
        let is_early = |flag: &&RouteFlag| **flag <= RouteFlag::Reject;
        let blackhole = self.flags.get(&RouteFlag::Blackhole);
        let early = self.flags.iter().filter(is_early).chain(blackhole);
        let late = self.flags.iter().filter(|flag| !is_early(flag) && **flag != RouteFlag::Blackhole);
        early.chain(late).map(|flag| flag.letter()).collect()
    }

    /// Its rank among routes to the same destination, the best first.
    fn preference(&self) -> (bool, u32, u32, &str) {
        (!self.flags.contains(&RouteFlag::Up), self.priority, self.metric, &self.dev)
    }

    fn write_line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (to_width, gateway_width) = widths(self.family());
        let to = destination(self.to, Some(&self.dev));
        let mtu = self.mtu.map_or_else(|| "-".to_owned(), |mtu| mtu.to_string());
        let lock = if self.mtu_locked { 'L' } else { ' ' };
        write!(f, "{to:to_width$} {:gateway_width$} {:6.6} ", self.gateway, self.letters())?;
        writeln!(f, "{:>5} {:>8} {mtu:>5} {lock}  {:>2} {:5}", 0, 0, self.priority, self.dev)
    }
}

/// What route(8) answers, on standard output and with exit status 1, when nothing leads to an address.
pub fn not_in_table(address: IpAddr) -> String {
    format!("get host {address}: not in table\n")
}

#[cfg(test)]
mod tests {
    use super::super::facts::RouteType;
    use super::super::samples::*;
    use super::*;

    const ONE: &str = "\
Routing tables

Internet:
Destination        Gateway            Flags   Refs      Use   Mtu  Prio Iface
192.168.5/24       192.168.5.1        UCn        0        0     -     4 wg1  
192.168.5.1        wg1                UHLl       0        0     -     1 wg1  
192.168.5.255      192.168.5.1        UHb        0        0     -     1 wg1  
";

    #[test]
    fn the_manual_page_example_prints_as_openbsd_does() {
        let table = RouteTable::new(domain(1), &wg1_routes(), &[], &[bare_lo(), wg1()]);
        assert_eq!(table.to_string(), ONE);
    }

    #[test]
    fn a_loopback_address_takes_the_link_flag_from_local_routes() {
        let table = RouteTable::new(domain(1), &wg1_routes(), &[], &[lo(), wg1()]);
        assert!(table.to_string().contains("192.168.5.1        wg1                UHl        0"), "{table}");
    }

    #[test]
    fn an_empty_table_is_one_line() {
        assert_eq!(RouteTable::new(domain(9), &[], &[], &[]).to_string(), "Routing tables\n");
    }

    #[test]
    fn every_kind_of_route_has_its_flags() {
        let table = RouteTable::new(domain(0), &every_kind(), &neighbours(), &[lo(), eth0()]);
        assert_eq!(
            table.to_string(),
            "\
Routing tables

Internet:
Destination        Gateway            Flags   Refs      Use   Mtu  Prio Iface
default            192.0.2.254        UGS        0        0  1400 L   8 eth0 
10.1/16            192.0.2.9          UG         0        0     -    32 eth0 
10.2/16            192.0.2.7          UGSP       0        0     -     8 eth0 
10.2/16            192.0.2.8          UGSP       0        0     -     8 eth0 
10.3/16            192.0.2.1          US         0        0     -     8 eth0 
10.66/16           127.0.0.1          UGRS       0        0     -     8 lo   
10.67.0.1          127.0.0.1          UGHBS      0        0     -     8 lo   
127/8              127.0.0.1          Ul         0        0     -     1 lo   
127.0.0.1          127.0.0.1          UHl        0        0     -     1 lo   
192.0.2/24         192.0.2.1          UCn        0        0     -     4 eth0 
192.0.2.1          02:00:00:00:00:01  UHLl       0        0     -     1 eth0 
192.0.2.8          link#2             UHLch      0        0     -     3 eth0 
192.0.2.254        02:00:00:00:00:fe  UHLch      0        0     -     3 eth0 
192.0.2.255        192.0.2.1          UHb        0        0     -     1 eth0 

Internet6:
Destination                                 Gateway                                 Flags   Refs      Use   Mtu  Prio Iface
fd00::/64                                   fd00::1                                 UCn        0        0     -     4 eth0 
fd00::1                                     02:00:00:00:00:01                       UHLl       0        0     -     1 eth0 
fe80::%eth0/64                              fe80::1%eth0                            UCn        0        0     -     4 eth0 
ff00::/8                                    fd00::1                                 Um         0        0     -     4 eth0 
"
        );
    }

    #[test]
    fn a_route_that_the_local_one_hides_is_left_out() {
        let local = facts(RouteType::Local, "::1/128", &[], 1);
        let beside = RouteFacts { metric: 256, ..facts(RouteType::Unicast, "::1/128", &[], 1) };
        let other = RouteFacts { metric: 256, ..facts(RouteType::Unicast, "fd00::9/128", &[], 2) };
        let table = RouteTable::new(domain(1), &[local, beside, other], &[], &[lo(), eth0()]);
        let rows: Vec<_> = table.routes.iter().map(|row| (row.to.to_string(), row.letters())).collect();
        assert_eq!(rows, [("::1/128".into(), "UHl".into()), ("fd00::9/128".into(), "UHn".to_owned())]);
    }

    #[test]
    fn one_family_can_be_asked_for() {
        let table = RouteTable::new(domain(0), &every_kind(), &[], &[lo(), eth0()]);
        assert!(!table.clone().only(Family::Inet).to_string().contains("Internet6:"));
        assert!(!table.only(Family::Inet6).to_string().contains("Internet:"));
    }

    #[test]
    fn what_is_about_an_address_leaves_the_rest_out() {
        let rows = |routes: &[RouteFacts]| {
            let table = RouteTable::new(domain(0), routes, &neighbours(), &[lo(), eth0()]);
            let about = table.about("10.2.0.9".parse().unwrap());
            about.routes.iter().map(|row| row.to.to_string()).collect::<Vec<_>>()
        };
        let [network, gateways] = [&["10.2.0.0/16"; 2][..], &["192.0.2.0/24", "192.0.2.8/32"]];
        let ways = [&["0.0.0.0/0"], network, gateways, &["192.0.2.254/32"]].concat();
        assert_eq!(rows(&every_kind()), ways);
        let elsewhere = facts(RouteType::Unicast, "10.7.0.0/16", &["192.0.2.9"], 2);
        let aside = facts(RouteType::Broadcast, "192.0.2.255/32", &[], 2);
        assert_eq!(rows(&[elsewhere, aside]), ["10.7.0.0/16", "192.0.2.8/32", "192.0.2.254/32"]);
    }

    #[test]
    fn a_route_without_carrier_is_not_up_and_comes_last() {
        let table = RouteTable::new(domain(0), &two_defaults(), &[], &[lo(), unplugged_eth0(), eth1()]);
        let rows: Vec<_> = table.routes.iter().map(|row| (row.dev.as_str(), row.letters())).collect();
        assert_eq!(rows, [("eth1", "UGS".to_owned()), ("eth0", "GS".to_owned())]);
    }

    #[test]
    fn json_says_the_same_in_words() {
        let table = RouteTable::new(domain(1), &wg1_routes(), &[], &[bare_lo(), wg1()]);
        let json = serde_json::to_value(&table).unwrap();
        let row = &json["routes"][0];
        assert_eq!(row["to"], "192.168.5.0/24");
        assert_eq!(row["type"], "unicast");
        assert_eq!(row["flags"], serde_json::json!(["up", "cloning", "connected"]));
        assert_eq!(serde_json::from_value::<RouteTable>(json).unwrap(), table);
    }
}
