//! The manual page's example under every isolation, and what only a kernel with VRF can prove.
//!
//! ```text
//! domain 1: wg1 192.168.5.1 ---.                            .--- wg2 192.168.5.2 :domain 2
//!                              127.0.0.1:7111 -- 127.0.0.1:7222            (sockets: domain 0)
//! ```
//!
//! ip(8), ss(8) and ping(8) read the kernel independently.

#[expect(dead_code, reason = "this test says what it lacks by `capability`")]
#[path = "linux_backend/copy.rs"]
mod copy;

mod capability;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use capability::lacks;
use copy::in_private_copies;
use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use rdomain::backend::Backend;
use rdomain::backend::linux::netlink::{Netlink, Protocol};
use rdomain::backend::linux::{Linux, Namespace};
use rdomain::model::{
    Action, Capabilities, DomainId, DomainName, Engine, Fwmark, InterfaceName, Isolation, Kind, Network,
    Prefix, Route, RtableId, Rule, Selector, Target,
};
use rdomain::plan::{Step, bind, plan};
use rdomain::spec::{self, Source};
use rdomain::state::{Directories, Missing, Roots, Store};
use rdomain::supervisor::Hosted;
use rdomain::transaction::converge;

const EXAMPLE: &str = include_str!("../domains.yaml");
const EVERY: [Isolation; 3] = [Isolation::NetnsVrf, Isolation::Netns, Isolation::Vrf];
/// How long an emulated processor may take for what a real one does at once.
const PATIENCE: Duration = Duration::from_secs(30);

fn with_vrf(test: &str, body: impl FnOnce()) {
    if ["vrf", "wireguard", "tun", "ip", "ping"].into_iter().any(lacks) {
        return;
    }
    in_private_copies(test, || {
        run("ip link set lo up");
        body();
    });
}

/// A network that is up in this process.
struct Up {
    backend: Linux,
    desired: Network,
}

impl Up {
    fn of(text: &str, isolation: Isolation, engines: [Engine; 2]) -> Self {
        Self::attempt(text, isolation, engines)
            .unwrap_or_else(|error| panic!("{isolation} {engines:?}: {error}"))
    }

    /// Domains have this isolation, and tunnels these engines in turn.
    fn attempt(text: &str, isolation: Isolation, engines: [Engine; 2]) -> Result<Self, String> {
        let source = Source::new(Path::new("/run/test.yaml"), text.to_owned());
        let lowered = spec::read(&source).unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let mut network = lowered.network;
        for (id, domain) in &mut network.domains {
            domain.isolation = if id.is_default() { Isolation::Netns } else { isolation };
        }
        let tunnels = network.domains.values_mut().flat_map(|domain| domain.interfaces.values_mut());
        let tunnels = tunnels.filter_map(|interface| match &mut interface.kind {
            Kind::WireGuard(tunnel) => Some(tunnel),
            _ => None,
        });
        tunnels.zip(engines.into_iter().cycle()).for_each(|(tunnel, engine)| tunnel.engine = engine);
        let roots = Roots { state: "/run/state".into(), runtime: "/run/rdom".into() };
        let directories: Directories = roots.of(&network.name);
        let stored = Store::of(&directories).bindings(&network, &BTreeMap::new(), Missing::Generate).unwrap();
        let desired = bind(
            &network,
            &stored.bindings,
            &Capabilities { kernel_wireguard: true, vrf: true, ..Capabilities::PLAIN },
        );
        let engines = Box::new(Hosted::default());
        let mut backend = Linux::open(network.name.clone(), &directories, stored.keys, engines).unwrap();
        match converge(&mut backend, &desired, &|| false) {
            Ok(_) => Ok(Self { backend, desired }),
            Err(failure) => Err(format!("{failure}: {:?}", failure.cause)),
        }
    }

    fn down(mut self) {
        converge(&mut self.backend, &Network::empty(self.desired.name.clone()), &|| false).unwrap();
        self.backend.tidy().unwrap();
    }
}

#[test]
fn the_example_holds_under_each_isolation_with_each_engine() {
    with_vrf("the_example_holds_under_each_isolation_with_each_engine", || {
        use Engine::{Kernel, Userspace};
        let before = landscape();
        for isolation in EVERY {
            for engines in
                [[Kernel, Kernel], [Kernel, Userspace], [Userspace, Kernel], [Userspace, Userspace]]
            {
                let mut up = Up::of(EXAMPLE, isolation, engines);
                ping(isolation, 1, "192.168.5.2");
                ping(isolation, 2, "192.168.5.1");
                ping(isolation, 1, "192.168.5.1");
                assert!(
                    !output("ping -c 1 -W 1 192.168.5.2").status.success(),
                    "{isolation}: domain 0 reaches it"
                );
                let sockets = run("ss -lnuH");
                assert!(sockets.contains(":7111 ") && sockets.contains(":7222 "), "{sockets}");
                let seen = up.backend.observe().unwrap();
                assert_eq!(plan(&up.desired, &seen), [], "{isolation} {engines:?}");
                assert_eq!(seen.domains[&DomainId::new(1).unwrap()].isolation, isolation);
                up.down();
                assert_eq!(landscape(), before, "{isolation} {engines:?}: left behind");
            }
        }
    });
}

#[test]
fn a_plain_program_simply_works_beside_a_vrf() {
    with_vrf("a_plain_program_simply_works_beside_a_vrf", || {
        let up = Up::of(EXAMPLE, Isolation::NetnsVrf, [Engine::Kernel, Engine::Kernel]);
        let device = run("ip -n rdom1 -d -j link show vrf1");
        assert!(device.contains("\"table\":1") && device.contains("\"UP\""), "{device}");
        assert!(run("ip -n rdom1 -j link show wg1").contains("\"master\":\"vrf1\""));
        assert!(!run("ip -n rdom1 -j link show lo").contains("master"), "lo stays outside");
        for address in ["127.0.0.1", "::1", "192.168.5.1", "192.168.5.2"] {
            run(&format!("ip netns exec rdom1 ping -c 1 -w {} {address}", PATIENCE.as_secs()));
        }

        // Unbound servers hear what comes in by the VRF, and answer.
        let server = inside(2, || TcpListener::bind("0.0.0.0:7000").unwrap());
        let echo = thread::spawn(move || server.accept().unwrap().0.write_all(b"tcp").unwrap());
        let mut client = inside(1, || TcpStream::connect("192.168.5.2:7000").unwrap());
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        assert_eq!(said, "tcp");
        echo.join().unwrap();
        let server = inside(2, || UdpSocket::bind("0.0.0.0:7000").unwrap());
        let client = inside(1, || UdpSocket::bind("0.0.0.0:0").unwrap());
        [&server, &client].into_iter().for_each(|socket| socket.set_read_timeout(Some(PATIENCE)).unwrap());
        client.send_to(b"udp", "192.168.5.2:7000").unwrap();
        let mut buffer = [0; 8];
        let (_, from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(b"back", from).unwrap();
        assert_eq!(client.recv(&mut buffer).unwrap(), 4);
        // One in the same domain, by its own address and by the loopback's.
        for address in ["192.168.5.1", "127.0.0.1"] {
            let server = inside(1, || TcpListener::bind("0.0.0.0:7001").unwrap());
            inside(1, || TcpStream::connect((address, 7001)).unwrap());
            drop(server);
        }

        // And one that is bound to an address alone.
        let server = inside(1, || TcpListener::bind("192.168.5.1:7002").unwrap());
        inside(1, || TcpStream::connect("192.168.5.1:7002").unwrap());
        inside(2, || TcpStream::connect("192.168.5.1:7002").unwrap());
        drop(server);
        run("ip netns exec rdom1 ping -c 1 -w 30 -I 192.168.5.1 192.168.5.2");

        // A missing route does not fall through to main.
        run("ip -n rdom1 route add 10.99.0.0/16 dev lo table main");
        let refused = inside(1, || TcpStream::connect("10.99.0.1:1").unwrap_err());
        let unreachable = [io::ErrorKind::NetworkUnreachable, io::ErrorKind::HostUnreachable];
        assert!(unreachable.contains(&refused.kind()), "{refused}");
        assert!(!output("ip netns exec rdom1 ping -c 1 -W 1 10.99.0.1").status.success());
        assert!(!output("ip netns exec rdom1 ping -c 1 -W 1 -I vrf1 10.99.0.1").status.success());
        up.down();
    });
}

const VERY_SMALL: &str = "
domains:
  1: {interfaces: {a: {addresses: [10.0.0.1/24, \"fd00::1/64\"]}}}
  2: {interfaces: {b: {addresses: [10.0.0.2/24, \"fd00::2/64\"]}}}
links:
  - {ends: [1/a, 2/b]}
";

#[test]
fn addresses_of_both_families_outlive_joining_and_leaving_a_vrf() {
    with_vrf("addresses_of_both_families_outlive_joining_and_leaving_a_vrf", || {
        for isolation in [Isolation::NetnsVrf, Isolation::Vrf] {
            let mut up = Up::of(VERY_SMALL, isolation, [Engine::Kernel; 2]);
            ping(isolation, 1, "10.0.0.2");
            ping(isolation, 2, "fd00::1");
            // Taken out by hand, and put back by what the plan finds.
            run(&format!("ip {} link set dev a nomaster", flags(isolation)));
            assert_ne!(plan(&up.desired, &up.backend.observe().unwrap()), []);
            converge(&mut up.backend, &up.desired, &|| false).unwrap();
            ping(isolation, 2, "10.0.0.1");
            ping(isolation, 1, "fd00::2");
            up.down();
        }
    });
}

#[test]
fn guests_of_the_default_namespace_keep_apart_and_leave_nothing() {
    with_vrf("guests_of_the_default_namespace_keep_apart_and_leave_nothing", || {
        let before = landscape();
        let twins = "
domains:
  1:
    interfaces: {a: {addresses: [10.0.0.1/24]}, a2: {addresses: [10.1.0.1/24]}}
    routes: [{to: 10.9.0.0/16, via: 10.0.0.2}]
  2: {interfaces: {b: {addresses: [10.0.0.2/24]}}}
  3: {interfaces: {c: {addresses: [10.0.0.1/24]}}}
  4: {interfaces: {d: {addresses: [10.0.0.2/24]}, a3: {addresses: [10.1.0.2/24]}}}
links:
  - {ends: [1/a, 2/b]}
  - {ends: [3/c, 4/d]}
  - {ends: [1/a2, 4/a3]}
";
        let mut up = Up::of(twins, Isolation::Vrf, [Engine::Kernel; 2]);
        assert!(run("ip -j link show dev a").contains("\"ifalias\":\"rdom:test/1\""));
        assert_eq!(run("ip netns"), "");
        // The same addresses twice, each pair by itself.
        run("ip link set dev b down");
        assert!(!output("ping -c 1 -W 1 -I vrf1 10.0.0.2").status.success(), "the other pair's");
        ping(Isolation::Vrf, 3, "10.0.0.2");
        run("ip link set dev b up");
        // The kernel still takes the neighbour for unreachable, and ping(8) ends at the first such word.
        run("ip neigh flush dev a");
        ping(Isolation::Vrf, 1, "10.0.0.2");
        assert!(run("ip route show vrf vrf1").contains("10.9.0.0/16 via 10.0.0.2"));
        assert!(!output("ping -c 1 -W 1 10.0.0.2").status.success(), "domain 0 reaches a guest");
        assert!(!output("ping -c 1 -W 1 -I vrf1 10.77.0.1").status.success());
        // Its own addresses and its own loopback.
        ping(Isolation::Vrf, 1, "10.0.0.1");
        ping(Isolation::Vrf, 1, "127.0.0.1");

        // Rules and further rtables of a guest go with it. It is their mark that keeps them to the guest.
        let (one, twenty) = (DomainId::new(1).unwrap(), RtableId::new(20).unwrap());
        let to: Prefix = "10.88.0.0/16".parse().unwrap();
        let target = Target::Unicast {
            via: Some("10.0.0.2".parse().unwrap()),
            dev: InterfaceName::new("a").unwrap(),
            src: None,
            onlink: false,
        };
        let route = Route { to, metric: 0, target };
        let fwmark = Some(Fwmark { value: 20, mask: u32::MAX });
        let selector = Selector { to: Some(to), fwmark, ..Selector::default() };
        let rule = Rule { priority: 500, selector, action: Action::Lookup(twenty) };
        up.backend.apply(&Step::AddRoute { domain: one, rtable: twenty, route: route.clone() }).unwrap();
        up.backend.apply(&Step::AddRule { domain: one, rule: rule.clone() }).unwrap();
        let seen = up.backend.observe().unwrap();
        let of_priority =
            |priority: u32| seen.domains[&one].rules.iter().filter(move |rule| rule.priority == priority);
        assert_eq!(of_priority(500).collect::<Vec<_>>(), [&rule]);
        assert_eq!(seen.domains[&one].rtables, BTreeMap::from([(twenty, BTreeSet::from([route]))]));
        assert!(
            seen.domains[&DomainId::DEFAULT].rules.is_empty()
                && seen.domains[&DomainId::DEFAULT].rtables.is_empty()
        );
        assert!(run("ip route get 10.88.0.1 mark 20 vrf vrf1").contains("via 10.0.0.2"));
        assert!(!output("ip route get 10.88.0.1 vrf vrf1").status.success(), "without the mark");
        let unmarked = Rule { selector: Selector { to: Some(to), ..Selector::default() }, ..rule.clone() };
        let error = up.backend.apply(&Step::AddRule { domain: one, rule: unmarked }).unwrap_err();
        assert!(error.to_string().contains("about every domain in the same namespace"), "{error}");
        up.down();
        assert_eq!(landscape(), before);

        let clash = twins.replace("{c:", "{a:").replace("[3/c,", "[3/a,");
        let error = Up::attempt(&clash, Isolation::Vrf, [Engine::Kernel; 2]).err().unwrap();
        assert!(error.contains("it is of another domain in the same namespace"), "{error}");
        run("ip link add other type vrf table 3");
        let error = Up::attempt(twins, Isolation::Vrf, [Engine::Kernel; 2]).err().unwrap();
        assert!(error.contains("table 3 is that of other already"), "{error}");
        run("ip link del other");
        assert_eq!(landscape(), before, "rolled back");
    });
}

/// The default domain holds an address that domain 1 has too, and one that it routes to.
const OF_ALL: &str = "
domains:
  0: {interfaces: {z0: {addresses: [10.0.0.1/24, \"fd00::1/64\", 10.0.0.3/24]}}}
  1: {interfaces: {a: {addresses: [10.0.0.1/24, \"fd00::1/64\"]}}}
  2: {interfaces: {b: {addresses: [10.0.0.2/24, \"fd00::2/64\"]}}}
  3: {interfaces: {z3: {addresses: [10.0.0.2/24, \"fd00::2/64\"]}}}
links:
  - {ends: [1/a, 2/b]}
  - {ends: [0/z0, 3/z3]}
";

/// The rules of priority 0, in the order in which they are asked.
fn first_rules(family: &str) -> Vec<String> {
    let rules = run(&format!("ip {family} rule"));
    let first = rules.lines().filter_map(|rule| rule.strip_prefix("0:\tfrom all "));
    first
        .map(|rule| if rule.contains("goto 1") { "guests".to_owned() } else { rule.trim().to_owned() })
        .collect()
}

#[test]
fn guests_pass_over_the_default_domains_addresses_and_its_rule_is_given_back() {
    with_vrf("guests_pass_over_the_default_domains_addresses_and_its_rule_is_given_back", || {
        let before = landscape();
        run(
            "ip monitor rule >/run/rules 2>&1 & echo $! >/run/monitor; while [ ! -e /run/rules ]; do :; done; sleep 0.5",
        );
        let up = Up::of(OF_ALL, Isolation::Vrf, [Engine::Kernel; 2]);
        for address in ["10.0.0.1", "10.0.0.2", "127.0.0.1", "fd00::2", "::1"] {
            ping(Isolation::Vrf, 1, address);
        }
        assert!(
            !output("ping -c 1 -W 1 -I vrf2 10.0.0.3").status.success(),
            "an address of the default domain's"
        );
        // What the default domain has it keeps: its own addresses, its neighbour, and the places of rules.
        for address in ["10.0.0.1", "10.0.0.3", "10.0.0.2", "fd00::2"] {
            run(&format!("ping -c 1 -w 30 {address}"));
        }
        run("ip rule add from 10.0.0.3 blackhole");
        run("ping -c 1 -w 30 -I 10.0.0.3 10.0.0.1");
        assert_eq!(first_rules("-4"), ["guests", "lookup local"]);
        assert_eq!(first_rules("-6"), ["guests", "lookup local"]);
        up.down();
        run("ip rule del from 10.0.0.3 blackhole");
        assert_eq!(landscape(), before);
        // There was one at every moment: it was made again before it was removed.
        run("sleep 0.5; kill $(cat /run/monitor)");
        let told = run("grep -c . /run/rules; grep 'lookup local' /run/rules");
        let moves: Vec<_> = told.lines().skip(1).map(|line| line.starts_with("Deleted")).collect();
        assert_eq!(moves, [false, true, false, true], "{told}");
    });
}

#[test]
fn a_rule_for_local_addresses_that_a_crash_left_twice_or_in_front_is_put_in_order() {
    with_vrf("a_rule_for_local_addresses_that_a_crash_left_twice_or_in_front_is_put_in_order", || {
        let before = landscape();
        let mut up = Up::of(VERY_SMALL, Isolation::Vrf, [Engine::Kernel; 2]);
        // Killed before the one in front was removed.
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            ask(Message::NewRule(first_rule(family, 255, RuleAction::ToTable)));
        }
        assert_eq!(first_rules("-4"), ["guests", "lookup local", "lookup local"]);
        up.down();
        assert_eq!(landscape(), before);
        // Killed before there was a second one behind: seen as not done, and done.
        up = Up::of(VERY_SMALL, Isolation::Vrf, [Engine::Kernel; 2]);
        run("ip rule del pref 0 l3mdev; ip rule");
        let mut guests = first_rule(AddressFamily::Inet, 0, RuleAction::Goto);
        guests.attributes.extend([RuleAttribute::Goto(1), RuleAttribute::L3MDev(true)]);
        guests.attributes.extend([RuleAttribute::FwMark(1), RuleAttribute::FwMask(0)]);
        guests.attributes.push(RuleAttribute::Protocol(RouteProtocol::Other(114)));
        ask(Message::NewRule(guests));
        assert_eq!(first_rules("-4"), ["lookup local", "guests"]);
        assert_ne!(plan(&up.desired, &up.backend.observe().unwrap()), []);
        converge(&mut up.backend, &up.desired, &|| false).unwrap();
        assert_eq!(first_rules("-4"), ["guests", "lookup local"]);
        up.down();
        assert_eq!(landscape(), before);
    });
}

fn first_rule(family: AddressFamily, table: u8, action: RuleAction) -> RuleMessage {
    let mut message = RuleMessage::default();
    (message.header.family, message.header.table, message.header.action) = (family, table, action);
    message.attributes.push(RuleAttribute::Priority(0));
    if action == RuleAction::ToTable {
        message.attributes.push(RuleAttribute::Protocol(RouteProtocol::Kernel));
    }
    message
}

/// As ip(8) never asks: also for a rule that is there.
fn ask(message: Message) {
    Netlink::here(Protocol::Route).unwrap().request(message, NLM_F_CREATE).unwrap();
}

const OVER_A_CARRIER: &str = "
domains:
  1: {interfaces: {wg1: {addresses: [192.168.5.1/24], wireguard: {listen_port: 7111, underlay: 11, peers: {2/wg2: {endpoint: 192.0.2.2}}}}}}
  2: {interfaces: {wg2: {addresses: [192.168.5.2/24], wireguard: {listen_port: 7222, underlay: 12, peers: {1/wg1: {endpoint: 192.0.2.1}}}}}}
  11: {interfaces: {t1: {addresses: [192.0.2.1/24]}}}
  12: {interfaces: {t2: {addresses: [192.0.2.2/24]}}}
links:
  - {ends: [11/t1, 12/t2]}
";

#[test]
fn an_underlay_may_be_a_vrf_for_our_engine_and_the_kernels_says_why_not() {
    with_vrf("an_underlay_may_be_a_vrf_for_our_engine_and_the_kernels_says_why_not", || {
        for isolation in EVERY {
            let up = Up::of(OVER_A_CARRIER, isolation, [Engine::Userspace; 2]);
            ping(isolation, 1, "192.168.5.2");
            up.down();
        }
        let up = Up::of(OVER_A_CARRIER, Isolation::Vrf, [Engine::Userspace; 2]);
        let sockets = run("ss -lnuH");
        assert!(sockets.contains("%vrf11:7111") && sockets.contains("%vrf12:7222"), "{sockets}");
        up.down();
        let up = Up::of(OVER_A_CARRIER, Isolation::NetnsVrf, [Engine::Kernel; 2]);
        ping(Isolation::NetnsVrf, 1, "192.168.5.2");
        up.down();
        let error = Up::attempt(OVER_A_CARRIER, Isolation::Vrf, [Engine::Kernel; 2]).err().unwrap();
        assert!(error.contains("cannot bind its sockets to a VRF device"), "{error}");
        assert!(error.contains("engine: userspace"), "{error}");
    });
}

/// Everything that a network could leave behind.
fn landscape() -> [String; 6] {
    let names = "ip -o link | sed 's/^[0-9]*: \\([^:]*\\):.*/\\1/'";
    let seen = [names, "ip netns", "ip route show table all proto 114", "ss -lnuH"].map(run);
    let [links, namespaces, routes, sockets] = seen;
    // The kernel's own rule for VRF devices comes with the first one and stays.
    let rules = |family: &str| run(&format!("ip {family} rule | grep -v '^1000:.*l3mdev'"));
    [links, namespaces, routes, sockets, rules("-4"), rules("-6")]
}

fn flags(isolation: Isolation) -> &'static str {
    if isolation.has_namespace() { "-n rdom1" } else { "" }
}

/// From a domain, as a program that knows nothing of VRF where there is a namespace.
fn ping(isolation: Isolation, domain: u32, address: &str) {
    let place = match isolation.has_namespace() {
        true => format!("ip netns exec rdom{domain} ping"),
        false => format!("ping -I vrf{domain}"),
    };
    run(&format!("{place} -c 1 -w {} {address}", PATIENCE.as_secs()));
}

/// Does this in the namespace of a domain, bound to nothing.
fn inside<T: Send>(domain: u32, task: impl FnOnce() -> T + Send) -> T {
    let name = DomainName::new(format!("rdom{domain}")).unwrap();
    Namespace::open(&name).unwrap().run(task).unwrap()
}

/// A command's output; panics with its errors if it fails.
fn run(command: &str) -> String {
    let output = output(command);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {}{complained}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

fn output(command: &str) -> Output {
    Command::new("sh").args(["-c", command]).output().unwrap()
}
