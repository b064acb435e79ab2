//! One step as commands of ip(8), wg(8) and sysctl(8).

use std::fmt::{self, Display};

use super::{KeyFiles, namespace};
use crate::model::{
    Action, Address, DomainId, End, Hop, Impairment, InterfaceName, Key, Kind, Network, Peer, Preshared,
    Route, RtableId, Rule, Target, Vxlan, WireGuard,
};
use crate::plan::Step;

/// What commands are made with.
pub(super) struct Shell<'n> {
    pub(super) network: &'n Network,
    pub(super) keys: KeyFiles<'n>,
}

impl Shell<'_> {
    /// The commands that take this step; none where there is nothing to be done.
    pub(super) fn commands(&self, step: &Step) -> Vec<String> {
        let command = match step {
            Step::CreateDomain { domain, .. } => return self.netns("add", *domain),
            Step::DeleteDomain { domain, .. } => return self.netns("delete", *domain),
            Step::RequireInterface { at } => {
                format!("{} link show dev {} >/dev/null", self.ip(at.domain), at.interface)
            }
            Step::CreateInterface { at, kind } => return self.create(at, kind),
            Step::DeleteInterface { at } => {
                format!("{} link delete dev {}", self.ip(at.domain), at.interface)
            }
            Step::LendInterface { at, home } => {
                let place = self.place(at.domain);
                format!("ip link set dev {home} netns {place} name {}", at.interface)
            }
            Step::ReturnInterface { at, home } => return self.give_back(at, home),
            Step::SetMtu { at, mtu } => format!("{} mtu {mtu}", self.set(at)),
            Step::SetController { at, controller } => match controller {
                Some(controller) => format!("{} master {controller}", self.set(at)),
                None => format!("{} nomaster", self.set(at)),
            },
            Step::SetImpairment { at, impairment } => self.impair(at, impairment),
            Step::SetUp { at, up: true } => return self.up(at),
            Step::SetUp { at, up: false } => format!("{} down", self.set(at)),
            Step::AddAddress { at, address } => self.address("add", at, *address),
            Step::RemoveAddress { at, address } => self.address("delete", at, *address),
            Step::SetTunnel { at, tunnel } => self.tunnel(at, tunnel),
            Step::SetPeer { at, key, peer, .. } => self.peer(at, key, peer),
            Step::RemovePeer { at, key } => format!("{} peer {} remove", self.wg(at), self.public_key(key)),
            Step::AddRoute { domain, rtable, route } => self.route("add", *domain, *rtable, route),
            Step::RemoveRoute { domain, rtable, route } => self.route("delete", *domain, *rtable, route),
            Step::AddRule { domain, rule } => return self.rule("add", *domain, rule),
            Step::RemoveRule { domain, rule } => return self.rule("delete", *domain, rule),
            Step::SetSysctl { domain, name, value } => {
                format!("{}sysctl -q -w {}", self.inside(*domain), quoted(&format!("{name}={value}")))
            }
            Step::ResetSysctl { domain, name } => {
                let stays = format!("sysctl {name} of domain {domain} stays as it is");
                format!("echo {} >&2", quoted(&stays))
            }
        };
        vec![command]
    }

    fn netns(&self, verb: &str, domain: DomainId) -> Vec<String> {
        let namespace = self.namespace(domain);
        namespace.map(|name| format!("ip netns {verb} {name}")).into_iter().collect()
    }

    /// Each kind is asked for where its packets leave, and made where it belongs: that is how the sockets of a tunnel
    /// come to be in its underlay (ip-link(8), `netns`).
    fn create(&self, at: &End, kind: &Kind) -> Vec<String> {
        let (name, place) = (&at.interface, self.place(at.domain));
        let add = |from: DomainId, rest: String| {
            let moved = if self.namespace(from) == self.namespace(at.domain) {
                String::new()
            } else {
                format!(" netns {place}")
            };
            format!("{} link add name {name}{moved} {rest}", self.ip(from))
        };
        let above = |parent: &End, rest: String| {
            let moved = if parent.domain == at.domain { String::new() } else { format!(" netns {place}") };
            format!("{} link add link {} name {name}{moved} {rest}", self.ip(parent.domain), parent.interface)
        };
        match kind {
            Kind::Loopback | Kind::Existing | Kind::Physical { .. } => Vec::new(),
            Kind::Veth { peer } => {
                let there = self.place(peer.domain);
                let other = format!("type veth peer name {} netns {there}", peer.interface);
                vec![add(at.domain, other)]
            }
            Kind::Bridge => vec![add(at.domain, "type bridge".to_owned())],
            Kind::Dummy => vec![add(at.domain, "type dummy".to_owned())],
            Kind::Vrf { rtable } => vec![add(at.domain, format!("type vrf table {rtable}"))],
            Kind::Vlan { parent, id } => vec![above(parent, format!("type vlan id {id}"))],
            Kind::Macvlan { parent } => vec![above(parent, "type macvlan mode bridge".to_owned())],
            Kind::Vxlan(vxlan) => vec![add(vxlan.underlay, vxlan_words(vxlan))],
            Kind::WireGuard(tunnel) => {
                vec![add(tunnel.underlay, "type wireguard".to_owned()), self.tunnel(at, tunnel)]
            }
        }
    }

    fn give_back(&self, at: &End, home: &InterfaceName) -> Vec<String> {
        let bare = format!("{home} is bare: its addresses and routes of before are not put back");
        let moved = format!("{} netns {} name {home}", self.set(at), self.place(DomainId::DEFAULT));
        vec![moved, format!("echo {} >&2", quoted(&bare))]
    }

    /// The kernel gives a loopback its usual addresses when it comes up; those that nobody wants go again.
    fn up(&self, at: &End) -> Vec<String> {
        let mut commands = vec![format!("{} up", self.set(at))];
        let Some(interface) = self.network.interface(at) else { return commands };
        if interface.kind == Kind::Loopback {
            let usual = ["127.0.0.1/8", "::1/128"];
            let unwanted = usual
                .into_iter()
                .filter(|usual| !interface.addresses.iter().any(|address| address.to_string() == *usual));
            commands.extend(unwanted.map(|usual| {
                format!("{} address delete {usual} dev lo 2>/dev/null || :", self.ip(at.domain))
            }));
        }
        commands
    }

    /// As the backend does it: a rate alone is a token bucket (tc-tbf(8)), everything else the emulator's (tc-netem(8)).
    fn impair(&self, at: &End, impairment: &Impairment) -> String {
        let tc = self.namespace(at.domain).map_or_else(|| "tc".to_owned(), |name| format!("tc -n {name}"));
        if impairment.is_none() {
            return format!("{tc} qdisc delete dev {} root", at.interface);
        }
        let kind = match impairment.is_emulated() {
            true => "netem limit 10000",
            false => "tbf burst 64kb latency 50ms",
        };
        let words = impairment.words().into_iter().map(|(key, value)| match key {
            // It stands behind the delay without a word of its own.
            "jitter" => format!(" {value}"),
            key => format!(" {key} {value}"),
        });
        format!("{tc} qdisc replace dev {} root {kind}{}", at.interface, words.collect::<String>())
    }

    fn address(&self, verb: &str, at: &End, address: Address) -> String {
        let at_once = address.network.is_ipv6() && !address.duplicate_detection && verb == "add";
        let nodad = if at_once { " nodad" } else { "" };
        format!("{} address {verb} {address} dev {}{nodad}", self.ip(at.domain), at.interface)
    }

    fn tunnel(&self, at: &End, tunnel: &WireGuard) -> String {
        let port = tunnel.listen_port.map_or(String::new(), |port| format!(" listen-port {port}"));
        let key = quoted(&self.keys.private(at).display().to_string());
        format!("{}{port} private-key {key}", self.wg(at))
    }

    fn peer(&self, at: &End, key: &Key, peer: &Peer) -> String {
        let mut words = format!("{} peer {}", self.wg(at), self.public_key(key));
        if let Some(Preshared::Of(name)) = &peer.preshared_key
            && let Some(file) = self.keys.preshared(name)
        {
            words += &format!(" preshared-key {}", quoted(&file.display().to_string()));
        }
        if let Some(endpoint) = &peer.endpoint {
            words += &format!(" endpoint {}", quoted(&endpoint.to_string()));
        }
        if peer.persistent_keepalive_secs != 0 {
            words += &format!(" persistent-keepalive {}", peer.persistent_keepalive_secs);
        }
        let allowed: Vec<_> = peer.allowed_ips.iter().map(ToString::to_string).collect();
        words + &format!(" allowed-ips {}", quoted(&allowed.join(",")))
    }

    fn public_key(&self, key: &Key) -> String {
        match key {
            Key::Public(key) => key.to_string(),
            Key::Of(end) => {
                format!("\"$(wg pubkey <{})\"", quoted(&self.keys.private(end).display().to_string()))
            }
        }
    }

    fn route(&self, verb: &str, domain: DomainId, rtable: RtableId, route: &Route) -> String {
        let family = if route.to.is_ipv6() { "-6 " } else { "" };
        let table = match self.table(domain, rtable).as_str() {
            "main" => String::new(),
            table => format!(" table {table}"),
        };
        format!("{} {family}route {verb} {}{table}", self.ip(domain), RouteWords(route))
    }

    /// Without an address a rule is about both families, which ip-rule(8) has a list of each for.
    fn rule(&self, verb: &str, domain: DomainId, rule: &Rule) -> Vec<String> {
        let selector = &rule.selector;
        let families = match selector.from.or(selector.to) {
            Some(prefix) if prefix.is_ipv6() => &["-6 "][..],
            Some(_) => &[""],
            None => &["", "-6 "],
        };
        let action = match rule.action {
            Action::Lookup(rtable) => format!("lookup {}", self.table(domain, rtable)),
            Action::GoTo(priority) => format!("goto {priority}"),
            Action::Continue => "nop".to_owned(),
        };
        let all = |family: &&str| {
            let ip = format!("{} {family}rule", self.ip(domain));
            let words = RuleWords(rule);
            let mut commands = vec![format!("{ip} {verb} priority {}{words} {action}", rule.priority)];
            if rule.priority == 0 {
                commands.extend(local_behind(&ip, verb));
            }
            commands
        };
        families.iter().flat_map(all).collect()
    }

    /// The table of an rtable: `main` is the own one of a namespace without a VRF.
    fn table(&self, domain: DomainId, rtable: RtableId) -> String {
        let has_vrf = self.network.domains.get(&domain).is_some_and(|inside| inside.isolation.has_vrf());
        match rtable == domain.into() && !has_vrf {
            true => "main".to_owned(),
            false => rtable.to_string(),
        }
    }

    fn namespace(&self, domain: DomainId) -> Option<&str> {
        self.network.domains.get(&domain).and_then(namespace)
    }

    /// `ip`, in that domain.
    fn ip(&self, domain: DomainId) -> String {
        self.namespace(domain).map_or_else(|| "ip".to_owned(), |name| format!("ip -n {name}"))
    }

    /// What ip-link(8) calls the namespace of a domain: the one of this shell has no name.
    fn place(&self, domain: DomainId) -> &str {
        self.namespace(domain).unwrap_or("$$")
    }

    /// What stands before a command that is to run in that domain.
    fn inside(&self, domain: DomainId) -> String {
        self.namespace(domain).map_or_else(String::new, |name| format!("ip netns exec {name} "))
    }

    fn set(&self, at: &End) -> String {
        format!("{} link set dev {}", self.ip(at.domain), at.interface)
    }

    fn wg(&self, at: &End) -> String {
        format!("{}wg set {}", self.inside(at.domain), at.interface)
    }
}

fn vxlan_words(vxlan: &Vxlan) -> String {
    let Vxlan { id, underlay: _, local, remote, port } = vxlan;
    let local = local.map_or(String::new(), |local| format!(" local {local}"));
    let remote = remote.map_or(String::new(), |remote| format!(" remote {remote}"));
    format!("type vxlan id {id}{local}{remote} dstport {port}")
}

/// A route as ip-route(8) takes it.
pub(in crate::convert) struct RouteWords<'r>(pub(in crate::convert) &'r Route);

impl Display for RouteWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Route { to, metric, target } = self.0;
        match target {
            Target::Blackhole => write!(f, "blackhole {to}")?,
            Target::Unreachable => write!(f, "unreachable {to}")?,
            Target::Prohibit => write!(f, "prohibit {to}")?,
            Target::Unicast { .. } | Target::Multipath { .. } => write!(f, "{to}")?,
        }
        let other_family = |via: std::net::IpAddr| if via.is_ipv6() && !to.is_ipv6() { "inet6 " } else { "" };
        self.0.source().iter().try_for_each(|src| write!(f, " src {src}"))?;
        if *metric != Route::default_metric(*to) {
            write!(f, " metric {metric}")?;
        }
        match target {
            Target::Unicast { via, dev, src: _, onlink } => {
                via.iter().try_for_each(|&via| write!(f, " via {}{via}", other_family(via)))?;
                write!(f, " dev {dev}{}", if *onlink { " onlink" } else { "" })
            }
            Target::Multipath { hops, src: _ } => hops.iter().try_for_each(|Hop { via, dev, weight }| {
                f.write_str(" nexthop")?;
                via.iter().try_for_each(|&via| write!(f, " via {}{via}", other_family(via)))?;
                write!(f, " dev {dev} weight {weight}")
            }),
            Target::Blackhole | Target::Unreachable | Target::Prohibit => Ok(()),
        }
    }
}

/// Has the kernel's rule for local addresses behind another of its priority, or again as it was. ip(8) makes no rule
/// twice, so the one behind has another protocol; there is one at every moment.
fn local_behind(ip: &str, verb: &str) -> [String; 2] {
    let (new, old) = if verb == "add" { ("static", "kernel") } else { ("kernel", "static") };
    let command = |verb, protocol| format!("{ip} {verb} priority 0 protocol {protocol} lookup local");
    [command("add", new), command("delete", old)]
}

/// The selector of a rule as ip-rule(8) takes it, a space before each part.
struct RuleWords<'r>(&'r Rule);

impl Display for RuleWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let selector = &self.0.selector;
        selector.from.iter().try_for_each(|from| write!(f, " from {from}"))?;
        selector.to.iter().try_for_each(|to| write!(f, " to {to}"))?;
        selector.iif.iter().try_for_each(|iif| write!(f, " iif {iif}"))?;
        selector.uid.iter().try_for_each(|(first, last)| write!(f, " uidrange {first}-{last}"))?;
        selector.fwmark.iter().try_for_each(|fwmark| write!(f, " fwmark {fwmark}"))?;
        f.write_str(if selector.in_vrf { " l3mdev" } else { "" })
    }
}

/// A word that a shell takes as it is.
pub(in crate::convert) fn quoted(text: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '=' | ':' | ',' | '+');
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
