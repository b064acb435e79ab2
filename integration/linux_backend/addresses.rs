//! Addresses: those of `lo`, and whose an address is on a kernel that does not keep it in mind.

use rdomain::model::Kind;
use rdomain::plan::Step;
use rdomain::state::{DomainRecord, Ledger};

use crate::copy::in_private_copies;
use crate::two_domains;
use crate::world::*;

#[test]
fn lo_has_what_the_file_says() {
    in_private_copies("addresses::lo_has_what_the_file_says", || {
        let mut world = World::new();
        world.take(create_domain(1, "rdom1"));
        let lo = end("1/lo");
        let observed = |world: &mut World| world.observe().interface(&lo).cloned().unwrap();
        let born = observed(&mut world);
        assert!(!born.up && born.addresses.is_empty() && born.kind == Kind::Loopback, "{born:?}");

        // What the kernel adds when it goes up is not kept.
        world.take(Step::SetUp { at: lo.clone(), up: true });
        assert!(observed(&mut world).up && observed(&mut world).addresses.is_empty());
        for address in ["127.0.0.1/8", "::1/128"] {
            world.take(add_address("1/lo", address));
        }
        assert_eq!(observed(&mut world).addresses, addresses(&["127.0.0.1/8", "::1/128"]));

        // Up and bare, as a routing domain of OpenBSD's has it.
        for address in ["127.0.0.1/8", "::1/128"] {
            world.take(remove_address("1/lo", address));
        }
        let bare = observed(&mut world);
        assert!(bare.up && bare.addresses.is_empty(), "{bare:?}");
        let held = ip("rdom1", &["address", "show", "lo"]);
        assert_eq!(held[0]["addr_info"].as_array().unwrap().len(), 0, "{held}");

        // Addresses that are there before it goes up, and none of the kernel's beside them.
        world.take(Step::SetUp { at: lo.clone(), up: false });
        world.take(add_address("1/lo", "127.0.0.1/8"));
        world.take(add_address("1/lo", "192.0.2.1/32"));
        world.take(Step::SetUp { at: lo.clone(), up: true });
        let more = observed(&mut world).addresses;
        assert_eq!(more, addresses(&["127.0.0.1/8", "192.0.2.1/32"]));
    });
}

#[test]
fn addresses_of_one_network_outlive_each_other() {
    in_private_copies("addresses::addresses_of_one_network_outlive_each_other", || {
        let mut world = World::new();
        two_domains(&mut world);
        world.take(add_address("1/veth0", "10.9.0.1/24"));
        world.take(add_address("1/veth0", "10.9.0.2/24"));
        world.take(add_address("1/veth0", "10.9.0.3/24"));
        world.take(remove_address("1/veth0", "10.9.0.1/24"));
        let expected = addresses(&["10.0.0.1/30", "10.9.0.2/24", "10.9.0.3/24", "fd00::1/64"]);
        assert_eq!(world.observe().interface(&end("1/veth0")).unwrap().addresses, expected);

        // Duplicate detection is told apart, and an address that somebody else added is not ours.
        let mut detected = address("fd00::9/64");
        detected.duplicate_detection = true;
        world.take(Step::AddAddress { at: end("1/veth0"), address: detected });
        run(&["ip", "-n", "rdom1", "address", "add", "10.77.0.1/24", "dev", "veth0"]);
        let mut expected = expected;
        expected.insert(detected);
        assert_eq!(world.observe().interface(&end("1/veth0")).unwrap().addresses, expected);
        let error = world.refused(add_address("1/veth0", "10.77.0.1/24"));
        assert!(error.contains("this network did not add it"), "{error}");
        world.take(Step::RemoveAddress { at: end("1/veth0"), address: detected });
    });
}

#[test]
fn an_address_of_somebody_elses_outlives_ours_of_the_same_network() {
    in_private_copies("addresses::an_address_of_somebody_elses_outlives_ours_of_the_same_network", || {
        let mut world = World::new();
        run(&["ip", "link", "add", "nic", "type", "bridge"]);
        world.take(add_address("0/nic", "10.9.0.1/24"));
        run(&["sysctl", "-qw", "net.ipv4.conf.nic.promote_secondaries=0"]);
        for word in ["10.9.0.2/24", "10.9.0.3/24"] {
            run(&["ip", "address", "add", word, "broadcast", "10.9.0.255", "dev", "nic", "label", "nic:a"]);
        }
        world.take(remove_address("0/nic", "10.9.0.1/24"));
        let held = run(&["ip", "-o", "address", "show", "nic"]);
        assert!(!held.contains("10.9.0.1/"), "{held}");
        for word in ["10.9.0.2/24 brd 10.9.0.255 scope global nic:a", "10.9.0.3/24 brd 10.9.0.255"] {
            assert!(held.contains(word), "{held}");
        }
    });
}

#[test]
fn an_address_that_the_kernel_cannot_mark_is_known_by_the_ledger() {
    in_private_copies("addresses::an_address_that_the_kernel_cannot_mark_is_known_by_the_ledger", || {
        let mut world = World::new();
        two_domains(&mut world);
        let ledger = Ledger::of(&world.directories);
        let noted = || ledger.domain(id(1)).unwrap().unwrap().addresses;
        assert_eq!(noted().is_empty(), kernel_marks_addresses(), "{:?}", noted());

        // What a kernel before 5.18 leaves of an address of ours.
        run(&["ip", "-n", "rdom1", "address", "add", "10.88.0.1/24", "dev", "veth0"]);
        let ours = |world: &mut World| {
            world.observe().interface(&end("1/veth0")).unwrap().addresses.contains(&address("10.88.0.1/24"))
        };
        assert!(!ours(&mut world));
        let index = ip("rdom1", &["link", "show", "veth0"])[0]["ifindex"].as_u64().unwrap() as u32;
        let note = |record: &mut DomainRecord| {
            record.addresses.entry(index).or_default().insert("10.88.0.1/24".to_owned());
        };
        ledger.change(id(1), note).unwrap();
        assert!(ours(&mut world));
        world.take(remove_address("1/veth0", "10.88.0.1/24"));
        assert!(!noted().values().any(|held| held.contains("10.88.0.1/24")), "{:?}", noted());
        assert!(!run(&["ip", "-n", "rdom1", "address"]).contains("10.88.0.1"));
    });
}
