//! What a network looked like where a test of it failed: the same views that `rdom route`, `netstat` and `wg show`
//! print, cut down to what the test is about, each below the command that shows it whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::overview::TunnelStatus;
use super::route::{RouteTable, not_in_table};
use super::route_get::RouteGet;
use super::rule::RuleTable;
use super::service::ServiceView;
use super::socket::SocketTable;
use super::wg::WgShow;

/// What was seen of the network when a test had failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// The way of a packet, from table to table, as far as the file knows where a link leads.
    pub way: Vec<Lookup>,
    /// The routes and neighbours where the way begins and where it ends.
    pub routes: Vec<RouteTable>,
    /// The rules there, but for the kernel's own.
    pub rules: Vec<RuleTable>,
    /// The port that the sockets are of, if it is about one.
    pub port: Option<u16>,
    /// The sockets that wait for somebody, of that port if there is one.
    pub sockets: Vec<SocketTable>,
    /// Tunnels that the way leads through, by `DOMAIN/IF`.
    pub tunnels: BTreeMap<String, TunnelStatus>,
    /// The interfaces that the way leads out by and in by, as `DOMAIN/IF`, domains by name if they have one.
    pub interfaces: BTreeSet<String>,
    /// What the file's services did, and what they wrote last.
    #[serde(default)]
    pub services: Vec<ServiceEvidence>,
}

/// A service where a test had failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceEvidence {
    /// What it did.
    #[serde(flatten)]
    pub view: ServiceView,
    /// The last lines that it wrote.
    pub log: Vec<String>,
}

/// One look into the tables of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lookup {
    /// The number of the domain.
    pub domain: u32,
    /// The address that was looked up.
    pub to: IpAddr,
    /// The route, if there is one.
    pub found: Option<RouteGet>,
    /// Whether the packet comes from another domain and goes no further for all that: this one does not forward.
    #[serde(default)]
    pub is_stopped: bool,
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, to, found, is_stopped } = self;
        match found {
            Some(found) => write!(f, "{domain}: {}", found.sentence())?,
            None => write!(f, "{domain}: {}", not_in_table(*to).trim_end())?,
        }
        let sysctl = if to.is_ipv4() { "net.ipv4.ip_forward" } else { "net.ipv6.conf.all.forwarding" };
        if *is_stopped {
            write!(f, ", but domain {domain} does not forward; it does with sysctls: {{{sysctl}: 1}}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.way.is_empty() {
            write_under(f, "the way, domain by domain", &lines(&self.way))?;
        }
        for table in &self.routes {
            let text = table.to_string();
            // The first line says only that routes follow.
            let rows = text.split_once("\n\n").map_or("none", |(_, rows)| rows);
            write_under(f, &format!("rdom route -T{} show", table.domain), rows)?;
        }
        for table in self.rules.iter().filter(|table| !table.rules.is_empty()) {
            write_under(f, &format!("rdom exec {} ip rule", table.domain), &table.to_string())?;
        }
        let port = self.port.map_or(String::new(), |port| format!(", port {port}"));
        for table in &self.sockets {
            let text = if table.sockets.is_empty() { "none".to_owned() } else { table.to_string() };
            write_under(f, &format!("rdom netstat -ln -T{}{port}", table.domain), &text)?;
        }
        if !self.tunnels.is_empty() {
            write_under(f, "rdom wg show", &WgShow::from(&self.tunnels).to_string())?;
        }
        for ServiceEvidence { view, log } in &self.services {
            write_under(f, &format!("rdom logs {} ({})", view.name, view.text()), &log.join("\n"))?;
        }
        Ok(())
    }
}

fn lines(of: &[impl fmt::Display]) -> String {
    of.iter().map(|line| format!("{line}\n")).collect()
}

fn write_under(f: &mut fmt::Formatter<'_>, heading: &str, text: &str) -> fmt::Result {
    writeln!(f, "{heading}:")?;
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.try_for_each(|line| writeln!(f, "  {}", line.trim_end()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::facts::RouteType;
    use super::super::samples::*;
    use super::super::socket::{Protocol, SocketView};
    use super::*;
    use crate::status::{RuleView, ServiceState};

    /// Something of everything but tunnels.
    pub(in crate::status) fn evidence() -> Evidence {
        let links = [lo(), eth0()];
        let matched = facts(RouteType::Unicast, "0.0.0.0/0", &["192.0.2.254"], 2);
        let to: IpAddr = "203.0.113.7".parse().unwrap();
        let found = RouteGet::new(domain(1), to, &matched, matched.hops.first(), None, &links);
        let dropped = facts(RouteType::Blackhole, "203.0.113.0/24", &[], 1);
        let blackhole = RouteGet::new(domain(2), to, &dropped, None, None, &links);
        let at = |domain, found| Lookup { domain, to, found, is_stopped: false };
        let web = SocketView {
            protocol: Protocol::Tcp,
            local: "0.0.0.0:80".parse().unwrap(),
            dev: None,
            receive_queue: 0,
            send_queue: 0,
        };
        let rule = RuleView { priority: 5, selector: "from all".into(), action: "prohibit".into() };
        let view = ServiceView {
            name: "web".into(),
            domain: 3,
            state: ServiceState::Failed,
            pid: None,
            restarts: 2,
            status: Some(1),
        };
        Evidence {
            way: vec![
                at(1, Some(found.clone())),
                at(2, Some(blackhole)),
                at(3, None),
                Lookup { is_stopped: true, ..at(4, Some(found)) },
            ],
            routes: vec![RouteTable::new(domain(1), &[matched], &[], &links)],
            rules: vec![RuleTable { domain: 1, rules: vec![rule] }],
            port: Some(80),
            sockets: vec![SocketTable::new(domain(2), vec![]), SocketTable::new(domain(3), vec![web])],
            services: vec![ServiceEvidence { view, log: vec!["ready".into()] }],
            ..Evidence::default()
        }
    }

    #[test]
    fn each_part_stands_below_the_command_that_shows_it_whole() {
        let evidence = evidence();
        assert_eq!(
            evidence.to_string(),
            "\
the way, domain by domain:
  1: 203.0.113.7 goes by 0.0.0.0/0 via 192.0.2.254 dev eth0
  2: 203.0.113.7 is dropped by 203.0.113.0/24 (blackhole)
  3: get host 203.0.113.7: not in table
  4: 203.0.113.7 goes by 0.0.0.0/0 via 192.0.2.254 dev eth0, but domain 4 does not forward; it does with sysctls: \
{net.ipv4.ip_forward: 1}
rdom route -T1 show:
  Internet:
  Destination        Gateway            Flags   Refs      Use   Mtu  Prio Iface
  default            192.0.2.254        UGS        0        0     -     8 eth0
rdom exec 1 ip rule:
  5:	from all prohibit
rdom netstat -ln -T2, port 80:
  none
rdom netstat -ln -T3, port 80:
  Active Internet connections (only servers)
  Proto   Recv-Q Send-Q  Local Address          Foreign Address        TCP-State
  tcp          0      0  *.80                   *.*                    LISTEN
rdom logs web (service web: failed, it ended with status 1):
  ready
"
        );
        let json = serde_json::to_string(&evidence).unwrap();
        assert_eq!(serde_json::from_str::<Evidence>(&json).unwrap(), evidence);
    }
}
