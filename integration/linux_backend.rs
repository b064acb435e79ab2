//! The Linux backend against a real kernel: every step, and what is observed after it.
//!
//! Each test runs in two private copies of the machine, which it makes by starting itself again under unshare(1):
//! as root in a namespace of users of its own (as an ordinary user's copy is), and as the machine's root.
//! iproute2 and wg(8) read the kernel independently; wireguard-go is the userspace engine.

#[path = "linux_backend/addresses.rs"]
mod addresses;
mod capability;
#[path = "linux_backend/copy.rs"]
mod copy;
#[path = "linux_backend/engine.rs"]
mod engine;
#[path = "linux_backend/routing.rs"]
mod routing;
#[path = "linux_backend/tunnels.rs"]
mod tunnels;
#[path = "linux_backend/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::fs;

use rdomain::backend::Backend;
use rdomain::model::{Kind, Target};
use rdomain::plan::Step;
use rdomain::state::{DomainRecord, Ledger};

use copy::in_private_copies;
use world::*;

/// Two domains joined by a link, with addresses of both families up on it.
fn two_domains(world: &mut World) {
    world.take(create_domain(1, "rdom1"));
    world.take(create_domain(2, "rdom2"));
    world.take(create(end("1/veth0"), Kind::Veth { peer: end("2/veth0") }));
    for at in ["1/veth0", "2/veth0"] {
        world.take(Step::SetUp { at: end(at), up: true });
    }
    for (at, address) in [("1/veth0", "10.0.0.1/30"), ("2/veth0", "10.0.0.2/30"), ("1/veth0", "fd00::1/64")] {
        world.take(add_address(at, address));
    }
}

/// The same indexes in every domain, and then the same hardware addresses too.
#[test]
fn the_ends_of_alike_links_are_told_apart() {
    in_private_copies("the_ends_of_alike_links_are_told_apart", || {
        const LAST: u32 = 6;
        let mut world = World::new();
        for number in 1..=LAST {
            world.take(create_domain(number, &format!("rdom{number}")));
        }
        for number in 1..LAST {
            let peer = end(&format!("{}/left", number + 1));
            world.take(create(end(&format!("{number}/right")), Kind::Veth { peer }));
        }
        let check = |world: &mut World, what: &str| {
            let network = world.observe();
            for number in 1..LAST {
                let ends = [end(&format!("{number}/right")), end(&format!("{}/left", number + 1))];
                for (at, peer) in [(&ends[0], &ends[1]), (&ends[1], &ends[0])] {
                    let seen = network.interface(at).map(|interface| &interface.kind);
                    assert_eq!(seen, Some(&Kind::Veth { peer: peer.clone() }), "{at}, {what}");
                }
            }
        };
        let index = |number: u32| {
            ip(&format!("rdom{number}"), &["link", "show", "right"])[0]["ifindex"].as_u64().unwrap()
        };
        assert_eq!(index(3), index(4), "not alike");
        check(&mut world, "the same indexes");
        for number in 1..LAST {
            run(&[
                "ip",
                "-n",
                &format!("rdom{number}"),
                "link",
                "set",
                "right",
                "address",
                "02:00:00:00:00:01",
            ]);
            let next = format!("rdom{}", number + 1);
            run(&["ip", "-n", &next, "link", "set", "left", "address", "02:00:00:00:00:01"]);
        }
        check(&mut world, "the same hardware addresses");
    });
}

#[test]
fn two_domains_and_a_link_are_made_observed_and_removed() {
    in_private_copies("two_domains_and_a_link_are_made_observed_and_removed", || {
        let mut world = World::new();
        let before = world.observe();
        assert!(before.domains.len() == 1, "{before:?}");
        two_domains(&mut world);

        let network = world.observe();
        let near = network.interface(&end("1/veth0")).unwrap();
        assert_eq!(near.kind, Kind::Veth { peer: end("2/veth0") });
        assert_eq!(network.interface(&end("2/veth0")).unwrap().kind, Kind::Veth { peer: end("1/veth0") });
        assert_eq!(near.addresses, addresses(&["10.0.0.1/30", "fd00::1/64"]));
        assert!(near.up && near.mtu == Some(1500));
        assert_eq!(network.domains[&id(1)].name.as_str(), "rdom1");

        // A third party sees the same, single-queue and marked; and the first packet is not lost.
        let links = ip("rdom1", &["-d", "link", "show", "veth0"]);
        assert_eq!(links[0]["ifalias"], "rdom:test");
        assert_eq!(links[0]["group"], "default");
        assert_eq!((&links[0]["num_tx_queues"], &links[0]["num_rx_queues"]), (&1.into(), &1.into()));
        assert_eq!(links[0]["operstate"], "UP");
        let held = ip("rdom1", &["address", "show", "veth0"]);
        let held = held[0]["addr_info"].as_array().unwrap();
        assert!(held.iter().any(|info| info["local"] == "10.0.0.1" && info["prefixlen"] == 30), "{held:?}");
        assert!(held.iter().all(|info| info["local"] != "fd00::1" || info["tentative"].is_null()));
        run(&["ip", "netns", "exec", "rdom1", "ping", "-c1", "-W1", "10.0.0.2"]);

        for step in [delete_domain(1, "rdom1"), delete_domain(2, "rdom2")] {
            world.take(step);
        }
        assert_eq!(world.observe(), before);
        assert_eq!(fs::read_dir("/run/netns").unwrap().count(), 0);
    });
}

#[test]
fn a_link_reaches_into_the_default_domain_and_goes_with_its_other_end() {
    in_private_copies("a_link_reaches_into_the_default_domain_and_goes_with_its_other_end", || {
        let mut world = World::new();
        world.take(create_domain(1, "blue"));
        world.take(create(end("0/up0"), Kind::Veth { peer: end("1/down0") }));
        let network = world.observe();
        assert_eq!(network.interface(&end("0/up0")).unwrap().kind, Kind::Veth { peer: end("1/down0") });
        world.take(delete_domain(1, "blue"));
        assert_eq!(world.observe().interface(&end("0/up0")), None, "at once, not some time later");

        world.take(create_domain(1, "blue"));
        world.take(create(end("0/up0"), Kind::Veth { peer: end("1/down0") }));
        world.take(Step::DeleteInterface { at: end("1/down0") });
        assert_eq!(world.observe().interface(&end("0/up0")), None);
        // Two ends in one domain, and names swapped between links.
        world.take(create(end("1/a"), Kind::Veth { peer: end("1/b") }));
        assert_eq!(world.observe().interface(&end("1/b")).unwrap().kind, Kind::Veth { peer: end("1/a") });
        world.take(delete_domain(1, "blue"));
    });
}

#[test]
fn a_link_whose_other_domain_goes_is_gone_when_next_looked_at() {
    in_private_copies("a_link_whose_other_domain_goes_is_gone_when_next_looked_at", || {
        let mut world = World::new();
        two_domains(&mut world);
        world.take(delete_domain(2, "rdom2"));
        assert_eq!(world.observe().interface(&end("1/veth0")), None);
        // And it is not in the way of one that is made at once.
        world.take(create_domain(2, "rdom2"));
        world.take(create(end("2/veth0"), Kind::Veth { peer: end("1/veth0") }));
        world.take(delete_domain(2, "rdom2"));
        world.take(create_domain(2, "rdom2"));
        world.take(create(end("2/veth0"), Kind::Veth { peer: end("1/veth0") }));
        assert_eq!(
            world.observe().interface(&end("1/veth0")).unwrap().kind,
            Kind::Veth { peer: end("2/veth0") }
        );
    });
}

#[test]
fn routes_of_each_kind_are_read_back_and_removed() {
    in_private_copies("routes_of_each_kind_are_read_back_and_removed", || {
        let mut world = World::new();
        two_domains(&mut world);
        run(&["ip", "-n", "rdom1", "route", "add", "10.99.0.0/16", "via", "10.0.0.2"]);
        let routes = BTreeSet::from([
            route("0.0.0.0/0", 0, via("10.0.0.2", "veth0")),
            route("10.1.0.0/16", 50, via("10.0.0.2", "veth0")),
            route("10.1.0.0/16", 60, device("veth0", Some("10.0.0.1"))),
            route("10.2.0.0/16", 0, onlink("172.16.0.1", "veth0")),
            route("10.3.0.0/16", 0, Target::Blackhole),
            route("10.4.0.0/16", 0, Target::Unreachable),
            route("10.5.0.0/16", 7, Target::Prohibit),
            route("10.6.0.0/16", 0, via("fd00::2", "veth0")),
            route("::/0", 1024, via("fd00::2", "veth0")),
            route("fd01::/48", 5, device("veth0", Some("fd00::1"))),
            route("fd02::/48", 1024, Target::Blackhole),
            route("fd03::/48", 1024, Target::Unreachable),
            route("fd04::/48", 9, Target::Prohibit),
        ]);
        for route in &routes {
            world.take(Step::AddRoute { domain: id(1), rtable: id(1).into(), route: route.clone() });
        }
        assert_eq!(world.observe().domains[&id(1)].routes, routes);
        let listed = ip("rdom1", &["route", "show", "proto", "114"]);
        assert_eq!(listed.as_array().unwrap().len(), 8, "{listed}");

        let error = world.refused(Step::AddRoute {
            domain: id(1),
            rtable: id(1).into(),
            route: route("10.99.0.0/16", 0, Target::Blackhole),
        });
        assert!(error.contains("add route blackhole 10.99.0.0/16 to domain 1"), "{error}");
        assert!(error.contains("not added by rdom"), "{error}");
        let error = world.refused(Step::AddRoute {
            domain: id(1),
            rtable: id(1).into(),
            route: route("10.98.0.0/16", 0, via("203.0.113.1", "veth0")),
        });
        assert!(error.contains("Nexthop has invalid gateway"), "the kernel's own words: {error}");

        for route in &routes {
            world.take(Step::RemoveRoute { domain: id(1), rtable: id(1).into(), route: route.clone() });
        }
        assert!(world.observe().domains[&id(1)].routes.is_empty());
        assert_eq!(ip("rdom1", &["route", "show", "10.99.0.0/16"]).as_array().unwrap().len(), 1, "kept");
    });
}

#[test]
fn bridges_take_ports_and_mtus() {
    in_private_copies("bridges_take_ports_and_mtus", || {
        let mut world = World::new();
        two_domains(&mut world);
        world.take(create(end("2/br0"), Kind::Bridge));
        world.take(Step::SetController { at: end("2/veth0"), controller: Some(name("br0")) });
        world.take(Step::SetMtu { at: end("2/veth0"), mtu: 1400 });
        world.take(Step::SetUp { at: end("2/br0"), up: true });
        let network = world.observe();
        let port = network.interface(&end("2/veth0")).unwrap();
        assert_eq!((port.controller.clone(), port.mtu), (Some(name("br0")), Some(1400)));
        assert_eq!(network.interface(&end("2/br0")).unwrap().kind, Kind::Bridge);
        assert_eq!(ip("rdom2", &["link", "show", "veth0"])[0]["master"], "br0");

        world.take(Step::SetController { at: end("2/veth0"), controller: None });
        assert_eq!(world.observe().interface(&end("2/veth0")).unwrap().controller, None);
        run(&["ip", "-n", "rdom2", "link", "add", "strange", "type", "bridge"]);
        run(&["ip", "-n", "rdom2", "link", "set", "veth0", "master", "strange"]);
        let error = world.refused(Step::SetController { at: end("2/veth0"), controller: Some(name("br0")) });
        assert!(error.contains("it is a port of strange"), "{error}");
        world.take(Step::DeleteInterface { at: end("2/br0") });
        assert_eq!(world.observe().interface(&end("2/br0")), None);
        assert_eq!(world.observe().interface(&end("2/strange")), None, "not ours");
    });
}

#[test]
fn foreign_objects_are_named_and_kept() {
    in_private_copies("foreign_objects_are_named_and_kept", || {
        let mut world = World::new();
        run(&["ip", "netns", "add", "theirs"]);
        run(&["ip", "link", "add", "br9", "type", "bridge"]);
        let error = world.refused(create_domain(1, "theirs"));
        assert!(error.contains("a namespace called `theirs` exists already"), "{error}");
        assert!(error.contains("ip netns del theirs"), "{error}");
        let error = world.refused(create(end("0/br9"), Kind::Bridge));
        assert!(error.contains("cannot create 0/br9: an interface of this name exists already"), "{error}");
        let error = world.refused(Step::DeleteInterface { at: end("0/br9") });
        assert!(error.contains("it was not made by this network"), "{error}");
        let error = world.refused(Step::RequireInterface { at: end("0/eth9") });
        assert!(error.contains("interface 0/eth9 does not exist"), "{error}");
        world.take(Step::RequireInterface { at: end("0/br9") });

        // What exists in the default domain is known, with our addresses alone.
        run(&["ip", "address", "add", "198.51.100.9/24", "dev", "br9"]);
        world.take(add_address("0/br9", "198.51.100.1/24"));
        let network = world.observe();
        let br9 = network.interface(&end("0/br9")).unwrap();
        assert_eq!((&br9.kind, &br9.addresses), (&Kind::Existing, &addresses(&["198.51.100.1/24"])));
        assert_eq!(network.interface(&end("0/lo")).unwrap().kind, Kind::Existing);
        world.take(remove_address("0/br9", "198.51.100.1/24"));
        run(&["ip", "link", "show", "br9"]);
        run(&["ip", "netns", "exec", "theirs", "true"]);

        // Another network's marks are as foreign as no marks.
        let mut other = World::called("other");
        other.take(create_domain(7, "seven"));
        other.take(create(end("7/br0"), Kind::Bridge));
        assert_eq!(world.observe().domains.len(), 1);
        assert_eq!(other.observe().domains.len(), 2);
    });
}

#[test]
fn domains_are_made_together_up_to_one_that_cannot_be() {
    in_private_copies("domains_are_made_together_up_to_one_that_cannot_be", || {
        let mut world = World::new();
        run(&["ip", "netns", "add", "theirs"]);
        let steps = [(1, "one"), (2, "two"), (3, "theirs"), (4, "four")];
        let steps = steps.map(|(number, name)| create_domain(number, name));

        assert_eq!(world.backend.apply_some(&steps).unwrap(), 2);
        let error = world.backend.apply_some(&steps[2..]).unwrap_err();
        assert!(error.to_string().contains("a namespace called `theirs` exists already"), "{error}");
        let numbers: Vec<_> = world.observe().domains.keys().map(|id| id.number()).collect();
        assert_eq!(numbers, [0, 1, 2]);
    });
}

#[test]
fn interfaces_are_made_while_domains_are_and_none_if_one_cannot_be() {
    in_private_copies("interfaces_are_made_while_domains_are_and_none_if_one_cannot_be", || {
        let mut world = World::new();
        run(&["ip", "netns", "add", "theirs"]);
        let link = |near, far| create(end(near), Kind::Veth { peer: end(far) });
        let refused = [
            create_domain(1, "one"),
            create_domain(2, "two"),
            create_domain(3, "theirs"),
            create(end("1/br0"), Kind::Bridge),
            link("1/near", "2/far"),
            link("2/near", "3/far"),
        ];
        assert_eq!(world.backend.apply_some(&refused).unwrap(), 2);
        let seen = world.observe();
        assert!(
            seen.interfaces().all(|(_, found)| found.kind == Kind::Loopback || found.kind == Kind::Existing)
        );

        let steps = [
            create_domain(3, "three"),
            link("1/near", "2/far"),
            link("2/near", "3/far"),
            link("2/near", "3/again"),
            link("1/left", "3/right"),
        ];
        assert_eq!(world.backend.apply_some(&steps).unwrap(), 3);
        let error = world.backend.apply_some(&steps[3..]).unwrap_err();
        assert!(error.to_string().contains("cannot create 2/near: it exists already"), "{error}");
        let seen = world.observe();
        assert_eq!(seen.interface(&end("2/near")).unwrap().kind, Kind::Veth { peer: end("3/far") });
        assert_eq!(seen.interface(&end("3/right")), None);
    });
}

#[test]
fn names_that_a_crash_left_are_given_again_however_many_they_are() {
    in_private_copies("names_that_a_crash_left_are_given_again_however_many_they_are", || {
        let mut world = World::new();
        let steps = [create_domain(1, "one"), create_domain(2, "two")];
        assert_eq!(world.backend.apply_some(&steps).unwrap(), 2);
        for name in ["one", "two"] {
            run(&["umount", "--lazy", &format!("/run/netns/{name}")]);
        }
        assert_eq!(world.observe().domains.len(), 1);
        assert_eq!(world.backend.apply_some(&steps).unwrap(), 2);
        assert_eq!(world.observe().domains.len(), 3);
    });
}

#[test]
fn sysctls_are_set_and_given_back() {
    in_private_copies("sysctls_are_set_and_given_back", || {
        let mut world = World::new();
        world.take(create_domain(1, "rdom1"));
        let forward = sysctl_name("net.ipv4.ip_forward");
        let ports = sysctl_name("net.ipv4.ip_local_port_range");
        let set = |name: &_, value: &str| Step::SetSysctl {
            domain: id(1),
            name: Clone::clone(name),
            value: value.to_owned(),
        };
        let before = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        world.take(set(&forward, "1"));
        world.take(set(&forward, "0"));
        world.take(set(&forward, "1"));
        world.take(set(&ports, "20000 30000"));
        let sysctls = world.observe().domains[&id(1)].sysctls.clone();
        assert_eq!(sysctls.get(&forward).map(String::as_str), Some("1"));
        assert_eq!(sysctls.get(&ports).map(String::as_str), Some("20000 30000"));
        let read = ["ip", "netns", "exec", "rdom1", "cat", "/proc/sys/net/ipv4/ip_forward"];
        assert_eq!(run(&read).trim(), "1");
        assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), before, "ours is untouched");

        world.take(Step::ResetSysctl { domain: id(1), name: forward });
        world.take(Step::ResetSysctl { domain: id(1), name: ports });
        assert!(world.observe().domains[&id(1)].sysctls.is_empty());
        assert_eq!(run(&read).trim(), "0");
        let error = world.refused(set(&sysctl_name("net.ipv4.no_such_thing"), "1"));
        assert!(error.contains("no such sysctl"), "{error}");
        run(&["mount", "--bind", "/proc/sys", "/proc/sys"]);
        run(&["mount", "-o", "remount,bind,ro", "/proc/sys"]);
        let error = world.refused(set(&sysctl_name("net.ipv4.ip_forward"), "1"));
        assert!(error.contains("/proc/sys is mounted read-only"), "{error}");
    });
}

#[test]
fn what_a_crash_leaves_is_known() {
    in_private_copies("what_a_crash_leaves_is_known", || {
        let mut world = World::new();
        world.take(create_domain(1, "rdom1"));
        let ledger = Ledger::of(&world.directories);

        // Cut short between the namespace and its identity.
        let pending = DomainRecord { namespace: "rdom2".into(), ..Default::default() };
        ledger.record(id(2), &pending).unwrap();
        run(&["ip", "netns", "add", "rdom2"]);
        let mut again = World::new();
        assert_eq!(again.observe().domains.len(), 3, "taken for ours, for nobody has used it");
        again.take(create(end("2/br0"), Kind::Bridge));
        assert!(ledger.domain(id(2)).unwrap().unwrap().identity.is_some());
        again.take(delete_domain(2, "rdom2"));

        // A name that is another namespace's by now.
        run(&["ip", "netns", "del", "rdom1"]);
        assert_eq!(again.observe().domains.len(), 1, "gone");
        run(&["ip", "netns", "add", "rdom1"]);
        assert_eq!(again.observe().domains.len(), 1, "not ours");
        assert!(again.refused(create_domain(1, "rdom1")).contains("exists already"));
        run(&["ip", "netns", "del", "rdom1"]);
        again.take(create_domain(1, "rdom1"));

        // A file without a namespace on it, as after a reboot where /run is on disk.
        run(&["umount", "-l", "/run/netns/rdom1"]);
        assert_eq!(again.observe().domains.len(), 1);
        again.take(create_domain(1, "rdom1"));

        // A link without its alias.
        let group = format!("{}", half_made_group());
        run(&["ip", "-n", "rdom1", "link", "add", "br0", "group", &group, "type", "bridge"]);
        assert_eq!(again.observe().interface(&end("1/br0")).unwrap().kind, Kind::Bridge);
        again.take(Step::SetUp { at: end("1/br0"), up: true });
        let link = ip("rdom1", &["link", "show", "br0"]);
        assert_eq!((&link[0]["ifalias"], &link[0]["group"]), (&"rdom:test".into(), &"default".into()));
        again.take(delete_domain(1, "rdom1"));
    });
}

#[test]
fn nothing_that_speaks_of_what_is_gone_is_left() {
    in_private_copies("nothing_that_speaks_of_what_is_gone_is_left", || {
        if !engine::available() {
            return copy::skip("wireguard-go, wg or an open /dev/net/tun");
        }
        let mut world = World::new();
        world.take(create_domain(1, "rdom1"));
        world.take(create(end("1/wg0"), Kind::WireGuard(tunnel(1, 1, 7001))));
        world.take(create(end("0/wg1"), Kind::WireGuard(tunnel(2, 0, 7002))));
        world.tidy();
        assert!(world.observe().interface(&end("0/wg1")).is_some(), "what is there is kept");
        assert_eq!(run(&["wg", "show", "wg0", "listen-port"]).trim(), "7001");
        // As if the process that held the engines had been killed, and the machine's namespaces cleaned by hand.
        let directories = world.directories.clone();
        drop(world);
        run(&["ip", "netns", "del", "rdom1"]);
        let mut again = World::new();
        assert_eq!(again.observe().domains.len(), 1);
        again.tidy();
        // The device outlives its engine, and what speaks of it stays until it is deleted.
        assert!(again.observe().interface(&end("0/wg1")).is_some());
        again.take(Step::DeleteInterface { at: end("0/wg1") });
        again.tidy();
        assert!(Ledger::of(&directories).domains().unwrap().is_empty());
        assert_eq!(fs::read_dir("/run/wireguard").unwrap().count(), 0);
    });
}

#[test]
fn the_default_domain_is_not_mistaken() {
    in_private_copies("the_default_domain_is_not_mistaken", || {
        let mut world = World::new();
        world.take(create_domain(1, "rdom1"));
        let namespace = rdomain::backend::linux::namespace::Namespace::open(&domain_name("rdom1")).unwrap();
        let error = namespace.run(|| World::open("test").err().map(|error| render(&error))).unwrap();
        assert!(error.unwrap().contains("not the default domain"));
    });
}
