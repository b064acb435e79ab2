//! Further rtables, policy rules, routes with several ways, and links that stand on or over other domains.

use std::collections::BTreeSet;

use rdomain::model::{Fwmark, Hop, Interface, Kind, Network, Route, Selector, Target, Vxlan};
use rdomain::plan::{Step, plan};

use crate::capability::lacks;
use crate::copy::in_private_copies;
use crate::two_domains;
use crate::world::*;

#[test]
fn rules_of_every_selector_and_further_rtables_are_read_back_and_removed() {
    in_private_copies(
        "routing::rules_of_every_selector_and_further_rtables_are_read_back_and_removed",
        || {
            let mut world = World::new();
            two_domains(&mut world);
            let before = (ip("rdom1", &["rule"]), ip("rdom1", &["-6", "rule"]));
            let any = Selector::default;
            let prefix = |text: &str| Some(text.parse().unwrap());
            let rules = BTreeSet::from([
                rule(100, any(), 10),
                rule(101, Selector { from: prefix("10.0.0.0/8"), ..any() }, 10),
                rule(102, Selector { from: prefix("0.0.0.0/0"), ..any() }, 10),
                rule(103, Selector { to: prefix("fd00:1::/32"), ..any() }, 1000),
                rule(104, Selector { iif: Some(name("veth0")), ..any() }, 10),
                rule(105, Selector { uid: Some((0, 0)), ..any() }, 10),
                rule(106, Selector { fwmark: Some(Fwmark { value: 7, mask: u32::MAX }), ..any() }, 10),
                rule(107, Selector { fwmark: Some(Fwmark { value: 0x10, mask: 0xf0 }), ..any() }, 1),
            ]);
            let routes = [
                (10, route("10.7.0.0/16", 0, via("10.0.0.2", "veth0"))),
                (10, route("fd07::/32", 1024, Target::Blackhole)),
                (1000, route("fd08::/32", 5, via("fd00::2", "veth0"))),
            ];
            for (rtable, route) in &routes {
                world.take(Step::AddRoute {
                    domain: id(1),
                    rtable: rtable_id(*rtable),
                    route: route.clone(),
                });
            }
            for rule in &rules {
                world.take(Step::AddRule { domain: id(1), rule: rule.clone() });
            }
            let seen = world.observe().domains[&id(1)].clone();
            assert_eq!(seen.rules, rules);
            assert_eq!(seen.rtables.keys().map(|id| id.number()).collect::<Vec<_>>(), [10, 1000]);
            assert!(
                seen.routes.is_empty()
                    && routes.iter().all(|(id, route)| seen.rtables[&rtable_id(*id)].contains(route))
            );

            // A third party sees both families, the selectors, and whose they are.
            let v4 = ip("rdom1", &["rule", "list"]);
            let of = |priority: u64| {
                v4.as_array().unwrap().iter().find(|rule| rule["priority"] == priority).cloned()
            };
            assert_eq!(of(100).unwrap()["table"], "10");
            assert_eq!(of(101).unwrap()["src"], "10.0.0.0");
            assert_eq!(of(104).unwrap()["iif"], "veth0");
            assert_eq!(
                (&of(105).unwrap()["uid_start"], &of(105).unwrap()["uid_end"]),
                (&0.into(), &0.into())
            );
            assert_eq!(of(106).unwrap()["fwmark"], "0x7");
            assert_eq!(of(107).unwrap()["table"], "main", "the domain's own rtable");
            assert!(of(103).is_none(), "of the other family");
            assert!(
                run(&["ip", "-n", "rdom1", "-6", "rule", "list"])
                    .contains("103:\tfrom all to fd00:1::/32 lookup 1000")
            );
            let looked_up = ip("rdom1", &["route", "get", "10.7.1.1", "mark", "7"]);
            assert_eq!(looked_up[0]["gateway"], "10.0.0.2", "{looked_up}");

            // Half of a rule is a difference, and is completed.
            run(&["ip", "-n", "rdom1", "-6", "rule", "del", "priority", "100"]);
            assert!(!world.observe().domains[&id(1)].rules.contains(&rule(100, any(), 10)));
            world.take(Step::AddRule { domain: id(1), rule: rule(100, any(), 10) });
            assert_eq!(world.observe().domains[&id(1)].rules, rules);

            run(&["ip", "-n", "rdom1", "rule", "add", "priority", "99", "from", "all", "lookup", "10"]);
            assert_eq!(world.observe().domains[&id(1)].rules, rules, "somebody else's is not ours");
            run(&["ip", "-n", "rdom1", "rule", "del", "priority", "99"]);
            for rule in rules {
                world.take(Step::RemoveRule { domain: id(1), rule });
            }
            for (rtable, route) in routes {
                world.take(Step::RemoveRoute { domain: id(1), rtable: rtable_id(rtable), route });
            }
            let seen = world.observe().domains[&id(1)].clone();
            assert!(seen.rules.is_empty() && seen.rtables.is_empty(), "{seen:?}");
            assert_eq!((ip("rdom1", &["rule"]), ip("rdom1", &["-6", "rule"])), before);
        },
    );
}

#[test]
fn routes_with_several_ways_are_read_back_and_removed() {
    in_private_copies("routing::routes_with_several_ways_are_read_back_and_removed", || {
        let mut world = World::new();
        two_domains(&mut world);
        let several = |hops: &[(Option<&str>, u16)], src: Option<&str>| Target::Multipath {
            hops: hops
                .iter()
                .map(|(via, weight)| Hop {
                    via: via.map(|via| via.parse().unwrap()),
                    dev: name("veth0"),
                    weight: *weight,
                })
                .collect(),
            src: src.map(|src| src.parse().unwrap()),
        };
        world.take(add_address("1/veth0", "10.0.1.1/24"));
        let routes = BTreeSet::from([
            route(
                "10.7.0.0/16",
                0,
                several(&[(Some("10.0.0.2"), 1), (Some("10.0.1.2"), 256)], Some("10.0.0.1")),
            ),
            route(
                "10.8.0.0/16",
                7,
                several(&[(Some("10.0.1.9"), 3), (Some("fd00::2"), 1), (Some("10.0.1.3"), 1)], None),
            ),
            route(
                "fd07::/32",
                1024,
                several(&[(Some("fd00::9"), 1), (Some("fd00::2"), 2), (Some("fd00::5"), 1)], None),
            ),
        ]);
        for route in &routes {
            world.take(Step::AddRoute { domain: id(1), rtable: id(1).into(), route: route.clone() });
        }
        assert_eq!(world.observe().domains[&id(1)].routes, routes);
        let listed = ip("rdom1", &["route", "show", "10.7.0.0/16"]);
        assert_eq!(listed[0]["nexthops"][1]["weight"], 256, "{listed}");
        let listed = ip("rdom1", &["route", "show", "10.8.0.0/16"]);
        assert_eq!(listed[0]["nexthops"][1]["via"]["host"], "fd00::2", "{listed}");
        for route in routes {
            world.take(Step::RemoveRoute { domain: id(1), rtable: id(1).into(), route });
        }
        assert!(world.observe().domains[&id(1)].routes.is_empty());
    });
}

#[test]
fn networks_that_share_a_namespace_keep_their_routes_and_rules_apart() {
    in_private_copies("routing::networks_that_share_a_namespace_keep_their_routes_and_rules_apart", || {
        let (mut one, mut other) = (World::new(), World::called("other"));
        run(&["ip", "link", "set", "lo", "up"]);
        let (ours, theirs) =
            (route("10.7.0.0/16", 0, Target::Blackhole), route("10.8.0.0/16", 0, Target::Blackhole));
        let of = |route: &Route, rtable: u32| Step::AddRoute {
            domain: id(0),
            rtable: rtable_id(rtable),
            route: route.clone(),
        };
        one.take(of(&ours, 0));
        one.take(of(&ours, 10));
        other.take(of(&theirs, 0));
        one.take(Step::AddRule { domain: id(0), rule: rule(100, Selector::default(), 10) });
        other.take(Step::AddRule { domain: id(0), rule: rule(101, Selector::default(), 10) });
        let (mine, its) = (one.observe().domains[&id(0)].clone(), other.observe().domains[&id(0)].clone());
        assert_eq!((mine.routes, its.routes), (BTreeSet::from([ours.clone()]), BTreeSet::from([theirs])));
        assert_eq!((mine.rtables.len(), its.rtables.len()), (1, 0));
        assert_eq!((mine.rules.len(), its.rules.len()), (1, 1));
        let error = other.refused(of(&ours, 0));
        assert!(error.contains("exists already"), "{error}");
        one.take(Step::RemoveRoute { domain: id(0), rtable: id(0).into(), route: ours });
        assert!(one.observe().domains[&id(0)].routes.is_empty());
    });
}

#[test]
fn what_stands_on_another_has_packets_as_large() {
    in_private_copies("routing::what_stands_on_another_has_packets_as_large", || {
        let mut world = World::new();
        two_domains(&mut world);
        let mut desired = world.observe();
        // Its name comes before that of what it stands on.
        let above = Interface::new(Kind::Macvlan { parent: end("1/veth0") });
        let inside = &mut desired.domains.get_mut(&id(1)).unwrap().interfaces;
        inside.insert(end("1/above").interface, above);
        inside.values_mut().filter(|held| held.kind != Kind::Loopback).for_each(|held| held.mtu = Some(9000));
        for step in plan(&desired, &world.observe()) {
            world.take(step);
        }
        assert_eq!(plan(&desired, &world.observe()), []);
    });
}

#[test]
fn a_bridge_keeps_the_mtu_that_it_was_given() {
    in_private_copies("routing::a_bridge_keeps_the_mtu_that_it_was_given", || {
        let mut world = World::new();
        two_domains(&mut world);
        let (switch, port) = (end("1/br0"), end("1/veth0"));
        world.take(create(switch.clone(), Kind::Bridge));
        world.take(Step::SetMtu { at: switch.clone(), mtu: 1500 });
        world.take(Step::SetMtu { at: port.clone(), mtu: 1400 });
        world.take(Step::SetController { at: port, controller: Some(switch.interface.clone()) });
        assert_eq!(world.observe().interface(&switch).unwrap().mtu, Some(1500));
    });
}

#[test]
fn links_on_and_over_other_domains_are_made_in_place_and_read_back() {
    in_private_copies("routing::links_on_and_over_other_domains_are_made_in_place_and_read_back", || {
        let mut world = World::new();
        two_domains(&mut world);
        run(&["ip", "link", "add", "nic", "type", "bridge"]);
        // The name is taken where it is asked for.
        run(&["ip", "link", "add", "over", "type", "bridge"]);
        let vxlan = |id: u32, underlay: u32, remote: &str| {
            let (local, remote) = (None, Some(remote.parse().unwrap()));
            Kind::Vxlan(Vxlan { id, underlay: crate::world::id(underlay), local, remote, port: 4789 })
        };
        let mut kinds = vec![
            ("1/over", Kind::Macvlan { parent: end("0/nic") }),
            ("2/near", Kind::Macvlan { parent: end("2/veth0") }),
            ("0/vx0", vxlan(1, 0, "192.0.2.1")),
            ("2/vx1", vxlan(2, 1, "10.0.0.2")),
            ("2/over", vxlan(3, 0, "2001:db8::1")),
        ];
        if !lacks("vlan") {
            kinds.push(("1/nic.7", Kind::Vlan { parent: end("0/nic"), id: 7 }));
            kinds.push(("1/v.8", Kind::Vlan { parent: end("1/veth0"), id: 8 }));
        }
        if !lacks("dummy") {
            kinds.push(("1/d0", Kind::Dummy));
        }
        for (at, kind) in &kinds {
            world.take(create(end(at), kind.clone()));
            world.take(Step::SetUp { at: end(at), up: true });
        }
        let network = world.observe();
        for (at, kind) in &kinds {
            let seen = network.interface(&end(at)).unwrap_or_else(|| panic!("{at} is missing"));
            assert_eq!(&seen.kind, kind, "{at}");
            assert!(seen.up, "{at}, though what it stands on is down");
        }
        assert_eq!(network.interface(&end("0/over")).unwrap().kind, Kind::Existing);
        let macvlan = ip("rdom1", &["-d", "link", "show", "over"]);
        assert_eq!(macvlan[0]["linkinfo"]["info_data"]["mode"], "bridge", "{macvlan}");
        let sockets = |namespace: &str| run(&["ip", "netns", "exec", namespace, "ss", "-lnuH"]);
        assert!(sockets("rdom1").contains(":4789"), "{}", sockets("rdom1"));
        assert!(!sockets("rdom2").contains(":4789"), "{}", sockets("rdom2"));

        // What stands on a link goes with it.
        world.take(Step::DeleteInterface { at: end("2/veth0") });
        let network = world.observe();
        assert_eq!((network.interface(&end("2/near")), network.interface(&end("1/v.8"))), (None, None));
        for step in plan(&Network::empty(network.name.clone()), &network) {
            world.take(step);
        }
        // At once, so that another network can have the same.
        run(&[
            "ip",
            "link",
            "add",
            "vx0",
            "type",
            "vxlan",
            "id",
            "3",
            "dstport",
            "4789",
            "remote",
            "2001:db8::1",
        ]);
    });
}
