//! A simulator of OpenBSD's routing domains as ifconfig(8), route(8) and netstat(1) show them. It is no kernel.
//!
//! Written from the properties of OpenBSD 7.8 by number (docs/parity.md lists them), not from what the backend sends:
//! state, error texts, exit statuses and output formats. It has:
//!
//! 1 ranges and their texts; 2 rdomain 0, rtable 0 and lo0; 3 which rtable is whose; 4 rdomains made by attaching;
//! 5 rtables made by adding a route, even one that is refused; 6 no other use makes one; 7 an rtable with routes is no
//! rdomain, an empty one becomes one; 8 a loN elsewhere stands in the way; 9 a refused rdomain is a warning with status 0;
//! 10 loN stays in its rdomain; 11 lo goes last; 12 rtables stay; 16 what is made is in rdomain 0; 17 words make
//! interfaces; 18 a move loses addresses and routes; 19 the address comes last within one run; 20 the same subnet in
//! two rdomains; 21 the same address twice in one; 23 masks that were not given; 24 the first address is replaced, an
//! address raises its interface; 25 IPv6 lengths do not change; 26 loopbacks are bare, and get ::1 by themselves; 28 a
//! tunnel has no link-local address; 29 names are the machine's; 31 pair and patch; 35 `exec` looks for the rtable first; 40 sockets are in wgrtable; 41 which must exist; 42 sockets open when the tunnel
//! goes up; 43 ports clash; 44 wgaip replaces and takes; 45 the order in which peers and their addresses are shown; 46 a
//! peer with the own key; 47 names are resolved once; 48 the order of words; 49 wgpka is lost on a tunnel that went
//! down; 51 flags and MTU; 54 connected routes are in the rdomain's rtable only; 55 gateways are reached there; 57 drops
//! need the loopback's address; 58 priorities, and several ways of one.
//!
//! Of what has no number it has vlan(4), after sys/net/if_vlan.c: a parent is an Ethernet and there before, a number is
//! used once on it, without a parent it does not go up, and it stays when that goes. Beside the tools it has the request that gives a tunnel its keys, SIOCSWG, as far as it sets keys: `siocswg IF HEX`.
//!
//! It has not: packets, processes, pf, cloned routes, IPv6 duplicate detection, and what a user other than
//! root may do.

mod interfaces;
mod print;
mod routes;
mod tunnel;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnetwork::IpNetwork;
use rdomain::backend::openbsd::Output;
use rdomain::convert::openbsd::arguments::Refusal;
use rdomain::convert::openbsd::ifconfig::{Change, Ifconfig};
use rdomain::convert::openbsd::route::{RouteCommand, Verb};
use rdomain::model::{Prefix, PublicKey};

/// The state of the machine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Simulator {
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) rtables: BTreeMap<u8, Rtable>,
    next_index: u32,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rtable {
    pub(crate) rdomain: u8,
    pub(crate) routes: Vec<Route>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) rdomain: u8,
    pub(crate) up: bool,
    pub(crate) was_up: bool,
    pub(crate) mtu: u32,
    pub(crate) description: String,
    pub(crate) addresses: Vec<IpNetwork>,
    pub(crate) patch: Option<String>,
    pub(crate) parent: Option<String>,
    pub(crate) vnetid: Option<u16>,
    pub(crate) tunnel: Option<Tunnel>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tunnel {
    pub(crate) port: u16,
    pub(crate) rtable: u8,
    pub(crate) key: Option<[u8; 32]>,
    pub(crate) peers: Vec<Peer>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Peer {
    pub(crate) key: [u8; 32],
    pub(crate) description: String,
    pub(crate) preshared: Option<[u8; 32]>,
    pub(crate) keepalive_secs: u16,
    pub(crate) endpoint: Option<SocketAddr>,
    /// The newest first.
    pub(crate) allowed_ips: Vec<IpNetwork>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Route {
    pub(crate) to: IpNetwork,
    pub(crate) gateway: IpAddr,
    pub(crate) flags: String,
    pub(crate) priority: u8,
    pub(crate) interface: String,
    /// The own address that it is reached by: it goes with that.
    pub(crate) by: IpNetwork,
    pub(crate) label: Option<String>,
}

/// What a tool says and ends with when it gives up.
type Outcome = Result<(), Refusal>;

impl Simulator {
    /// A machine that has just been installed: lo0 and one network card.
    pub(crate) fn new() -> Self {
        let mut machine =
            Self { interfaces: Vec::new(), rtables: BTreeMap::from([(0, Rtable::default())]), next_index: 1 };
        for name in ["em0", "lo0"] {
            machine.attach(name);
        }
        machine.must("ifconfig lo0 inet 127.0.0.1/8");
        machine.must("ifconfig em0 inet 192.0.2.10/24");
        machine
    }

    /// Runs a line that is known to be good.
    pub(crate) fn must(&mut self, line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let output = self.run(&words);
        assert!(output.status == 0 && output.stderr.is_empty(), "{line}: {output:?}");
        output.stdout
    }

    /// Runs a command; the program's name is its first word.
    pub(crate) fn run(&mut self, words: &[String]) -> Output {
        let (program, rest) = words.split_first().expect("a command has a name");
        match program.as_str() {
            "ifconfig" => self.ifconfig(rest),
            "route" => self.route(rest),
            "siocswg" => self.siocswg(rest),
            "netstat" if rest.first().is_some_and(|word| word == "-ln") => self.listening(rest),
            "netstat" if rest == ["-R"] => printed(print::rdomains(self)),
            other => failed(127, format!("{other}: not simulated\n")),
        }
    }

    fn ifconfig(&mut self, words: &[String]) -> Output {
        match Ifconfig::parse(words) {
            Err(refusal) => failed(1, format!("{refusal}\n")),
            Ok(Ifconfig::ShowAll { whole }) => {
                printed(self.interfaces.iter().map(|found| print::interface(found, whole)).collect())
            }
            Ok(Ifconfig::Show(name)) => match self.interface(&name) {
                Some(found) => printed(print::interface(found, true)),
                None => failed(1, format!("{name}: no such interface\n")),
            },
            Ok(Ifconfig::Change(change)) => self.change(&change),
        }
    }

    /// `netstat -ln -TN`: of sockets there are those of tunnels alone (40, 42).
    fn listening(&self, words: &[String]) -> Output {
        let id = words.get(1).and_then(|word| word.strip_prefix("-T")?.parse().ok()).unwrap_or(0);
        if !self.rtables.contains_key(&id) {
            return failed(1, format!("netstat: routing table {id}: No such file or directory\n"));
        }
        printed(print::sockets(self, id))
    }

    fn change(&mut self, change: &Change) -> Output {
        let mut warnings = String::new();
        match self.try_change(change, &mut warnings) {
            Ok(()) => Output { status: 0, stdout: String::new(), stderr: warnings },
            Err(refusal) => failed(1, format!("{warnings}{refusal}\n")),
        }
    }

    fn route(&mut self, words: &[String]) -> Output {
        let command = match RouteCommand::parse(words) {
            Ok(command) => command,
            Err(refusal) => return failed(1, format!("{refusal}\n")),
        };
        let id = command.rtable.unwrap_or(0);
        if !matches!(command.verb, Verb::Add(_)) && !self.rtables.contains_key(&id) {
            return failed(1, format!("route: routing table {id}: No such file or directory\n"));
        }
        match command.verb {
            Verb::Add(words) => self.add_route(id, &words, command.quiet),
            Verb::Delete(words) => self.delete_route(id, &words, command.quiet),
            Verb::Show => printed(print::routes(self, id, command.verbose)),
            Verb::Exec(inner) if inner.is_empty() => failed(1, "usage: route exec command\n".to_owned()),
            Verb::Exec(inner) => self.run(&inner),
            Verb::Other(other) => failed(1, format!("route: {other}: not simulated\n")),
        }
    }

    /// The same without what depends on the order in which things were made.
    pub(crate) fn normal(mut self) -> Self {
        self.next_index = 0;
        for found in &mut self.interfaces {
            found.index = 0;
            found.addresses.sort();
            if let Some(tunnel) = &mut found.tunnel {
                tunnel.peers.sort_by_key(|peer| peer.key);
            }
        }
        self.interfaces.sort_by(|one, other| one.name.cmp(&other.name));
        for table in self.rtables.values_mut() {
            table.routes.sort_by_key(|route| (route.to, route.priority, route.gateway));
            for route in &mut table.routes {
                // Of several addresses that reach its gateway it was the one that was there.
                route.by = route.to;
            }
        }
        self
    }

    pub(crate) fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|found| found.name == name)
    }

    fn interface_mut(&mut self, name: &str) -> &mut Interface {
        self.interfaces.iter_mut().find(|found| found.name == name).expect("it was there before")
    }

    /// The rdomain that an rtable belongs to.
    fn rdomain_of(&self, rtable: u8) -> Option<u8> {
        self.rtables.get(&rtable).map(|table| table.rdomain)
    }
}

impl Interface {
    fn is_loopback(&self) -> bool {
        driver(&self.name) == "lo"
    }

    /// Whether it is the loopback that stands for its rdomain.
    fn is_own_loopback(&self) -> bool {
        self.name == format!("lo{}", self.rdomain)
    }
}

impl Peer {
    fn public(&self) -> PublicKey {
        PublicKey(self.key)
    }
}

/// The letters of an interface's name.
fn driver(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit())
}

fn prefix(network: IpNetwork) -> Prefix {
    Prefix::containing(network)
}

fn printed(stdout: String) -> Output {
    Output { status: 0, stdout, stderr: String::new() }
}

fn failed(status: i32, stderr: String) -> Output {
    Output { status, stdout: String::new(), stderr }
}

fn refuse(text: impl Into<String>) -> Outcome {
    Err(Refusal(format!("ifconfig: {}", text.into())))
}
