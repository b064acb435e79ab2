//! WireGuard interfaces with either engine: where their sockets are, and what becomes of an engine that dies.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rdomain::model::Kind;
use rdomain::plan::Step;
use rdomain::state::Ledger;

use crate::copy::{self, in_private_copies};
use crate::world::*;
use crate::{engine, two_domains};

#[test]
fn a_missing_tun_node_is_named_with_its_remedy() {
    in_private_copies("tunnels::a_missing_tun_node_is_named_with_its_remedy", || {
        run(&["mount", "-t", "tmpfs", "tmpfs", "/dev/net"]);
        let mut world = World::new();
        world.take(create_domain(1, "rdom1"));
        let error = world.refused(create(end("1/wg0"), Kind::WireGuard(tunnel(1, 1, 7001))));
        assert!(error.contains("cannot create wireguard 1/wg0, userspace engine: no TUN device"), "{error}");
        assert!(error.contains("mknod -m 0666 /dev/net/tun c 10 200"), "{error}");
    });
}

#[test]
fn a_userspace_tunnel_is_made_changed_observed_and_removed() {
    in_private_copies("tunnels::a_userspace_tunnel_is_made_changed_observed_and_removed", || {
        if !engine::available() {
            return copy::skip("wireguard-go, wg or an open /dev/net/tun");
        }
        let mut world = World::new();
        two_domains(&mut world);
        for (at, other) in [("1/wg1", 2), ("2/wg2", 1)] {
            let n = end(at).domain.number();
            world.take(create(end(at), Kind::WireGuard(tunnel(n, n, 7000 + n as u16))));
            let peer = peer(&format!("10.0.0.{other}:{}", 7000 + other), &[&format!("192.168.5.{other}/32")]);
            world.take(Step::SetPeer { at: end(at), key: key(other), peer, new_session: false });
            world.take(Step::SetUp { at: end(at), up: true });
            world.take(add_address(at, &format!("192.168.5.{n}/24")));
        }

        let network = world.observe();
        let wg1 = network.interface(&end("1/wg1")).unwrap();
        let mut expected = tunnel(1, 1, 7001);
        expected.peers.insert(key(2), peer("10.0.0.2:7002", &["192.168.5.2/32"]));
        assert_eq!(wg1.kind, Kind::WireGuard(expected));
        assert_eq!((wg1.mtu, wg1.up), (Some(1420), true));
        let held = ip("rdom1", &["address", "show", "wg1"]);
        let held = held[0]["addr_info"].as_array().unwrap();
        assert_eq!(held.len(), 1, "no link-local address: {held:?}");
        let shown = run(&["wg", "show", "wg1", "listen-port"]);
        assert_eq!(shown.trim(), "7001");

        // Another port, a preshared key and other allowed IPs, live.
        world.take(Step::SetTunnel { at: end("1/wg1"), tunnel: tunnel(1, 1, 7011) });
        let mut changed = peer("10.0.0.2:7002", &["192.168.5.2/32", "fd00:5::2/128"]);
        changed.preshared_key = Some(preshared());
        changed.persistent_keepalive_secs = 25;
        let set = Step::SetPeer { at: end("1/wg1"), key: key(2), peer: changed.clone(), new_session: true };
        world.take(set);
        let network = world.observe();
        let now = network.interface(&end("1/wg1")).unwrap().wireguard().unwrap();
        assert_eq!((now.listen_port, &now.peers[&key(2)]), (Some(7011), &changed));
        let shown = run(&["wg", "show", "wg1", "allowed-ips"]);
        assert!(shown.contains("192.168.5.2/32 fd00:5::2/128"), "{shown}");

        // A port that somebody has is told with who has it.
        let inside = rdomain::backend::linux::namespace::Namespace::open(&domain_name("rdom1")).unwrap();
        let holder = inside.run(|| UdpSocket::bind("0.0.0.0:7099").unwrap()).unwrap();
        let error = world.refused(Step::SetTunnel { at: end("1/wg1"), tunnel: tunnel(1, 1, 7099) });
        assert!(error.contains("set port 7099 and key of tunnel 1/wg1"), "{error}");
        assert!(error.contains(&format!("process {} (", std::process::id())), "{error}");
        drop(holder);

        world.take(Step::RemovePeer { at: end("1/wg1"), key: key(2) });
        let network = world.observe();
        assert!(network.interface(&end("1/wg1")).unwrap().wireguard().unwrap().peers.is_empty());
        world.take(Step::DeleteInterface { at: end("1/wg1") });
        assert_eq!(world.observe().interface(&end("1/wg1")), None);
        assert!(!Path::new("/run/wireguard/wg1.sock").exists());
        world.take(delete_domain(2, "rdom2"));
        assert_eq!(fs::read_dir("/run/wireguard").unwrap().count(), 0);
        world.take(delete_domain(1, "rdom1"));
    });
}

#[test]
fn a_dead_engine_makes_room_for_a_new_one() {
    in_private_copies("tunnels::a_dead_engine_makes_room_for_a_new_one", || {
        if !engine::available() {
            return copy::skip("wireguard-go, wg or an open /dev/net/tun");
        }
        let mut world = World::new();
        world.take(create_domain(1, "rdom1"));
        world.take(create(end("1/wg0"), Kind::WireGuard(tunnel(1, 1, 7001))));
        assert!(world.observe().interface(&end("1/wg0")).is_some());
        // Somebody keeps the device though nobody answers for it.
        world.engines.stop_answering(&end("1/wg0"));
        let deaf = world.observe();
        let deaf = deaf.interface(&end("1/wg0")).expect("the device").wireguard().expect("a tunnel");
        assert_eq!(deaf.listen_port, None);
        assert_eq!(ip("rdom1", &["link", "show", "wg0"]).as_array().unwrap().len(), 1);
        world.take(Step::SetTunnel { at: end("1/wg0"), tunnel: tunnel(1, 1, 7002) });
        let network = world.observe();
        assert_eq!(network.interface(&end("1/wg0")).unwrap().wireguard().unwrap().listen_port, Some(7002));

        // The same name in another domain is shown to wg(8) by a longer one.
        world.take(create_domain(2, "red"));
        world.take(create(end("2/wg0"), Kind::WireGuard(tunnel(2, 2, 7003))));
        assert!(UnixStream::connect("/run/wireguard/wg0.sock").is_ok());
        assert_eq!(run(&["wg", "show", "red.wg0", "listen-port"]).trim(), "7003");
        world.take(delete_domain(2, "red"));
        world.take(delete_domain(1, "rdom1"));
        assert_eq!(fs::read_dir("/run/wireguard").unwrap().count(), 0);
    });
}

#[test]
fn a_kernel_tunnel_keeps_its_sockets_in_its_underlay() {
    in_private_copies("tunnels::a_kernel_tunnel_keeps_its_sockets_in_its_underlay", || {
        let mut world = World::new();
        world.take(create_domain(1, "rdom1"));
        let mut wanted = tunnel(1, 0, 7001);
        wanted.engine = rdomain::model::Engine::Kernel;
        let step = create(end("1/wg0"), Kind::WireGuard(wanted.clone()));
        if !kernel_has_wireguard() {
            let error = world.refused(step);
            assert!(error.contains("create wireguard 1/wg0, sockets in domain 0"), "{error}");
            assert!(error.contains("CONFIG_WIREGUARD"), "{error}");
            assert!(Ledger::of(&world.directories).domain(id(1)).unwrap().unwrap().tunnels.is_empty());
            return copy::skip("kernel WireGuard");
        }
        world.take(step);
        world.take(Step::SetUp { at: end("1/wg0"), up: true });
        let set = peer("127.0.0.1:7002", &["192.168.5.2/32", "fd00:5::/64"]);
        world.take(Step::SetPeer { at: end("1/wg0"), key: key(2), peer: set.clone(), new_session: false });
        wanted.peers.insert(key(2), set);
        assert_eq!(world.observe().interface(&end("1/wg0")).unwrap().kind, Kind::WireGuard(wanted.clone()));
        assert!(run(&["ss", "-lnu"]).contains(":7001"));
        assert!(!run(&["ip", "netns", "exec", "rdom1", "ss", "-lnu"]).contains(":7001"));
        let mut changed = wanted.peers[&key(2)].clone();
        changed.preshared_key = Some(preshared());
        let step = Step::SetPeer { at: end("1/wg0"), key: key(2), peer: changed.clone(), new_session: true };
        world.take(step);
        let network = world.observe();
        assert_eq!(network.interface(&end("1/wg0")).unwrap().wireguard().unwrap().peers[&key(2)], changed);
        world.take(Step::RemovePeer { at: end("1/wg0"), key: key(2) });
        world.take(delete_domain(1, "rdom1"));
        assert!(!run(&["ss", "-lnu"]).contains(":7001"), "closed at once");
    });
}

#[test]
fn the_manual_pages_example_runs_on_the_kernels_engine() {
    in_private_copies("tunnels::the_manual_pages_example_runs_on_the_kernels_engine", || {
        if !kernel_has_wireguard() {
            return copy::skip("kernel WireGuard");
        }
        run(&["ip", "link", "set", "lo", "up"]);
        let mut world = World::new();
        for (n, other) in [(1, 2), (2, 1)] {
            let at = format!("{n}/wg{n}");
            let mut wanted = tunnel(n, 0, 7000 + n as u16);
            wanted.engine = rdomain::model::Engine::Kernel;
            world.take(create_domain(n, &format!("rdom{n}")));
            world.take(create(end(&at), Kind::WireGuard(wanted)));
            let peer = peer(&format!("127.0.0.1:{}", 7000 + other), &[&format!("192.168.5.{other}/32")]);
            world.take(Step::SetPeer { at: end(&at), key: key(other), peer, new_session: false });
            world.take(Step::SetUp { at: end(&at), up: true });
            world.take(add_address(&at, &format!("192.168.5.{n}/24")));
        }
        for (from, to) in [("rdom1", "192.168.5.2"), ("rdom2", "192.168.5.1")] {
            run(&["ip", "netns", "exec", from, "ping", "-c1", "-w10", to]);
        }
        let sockets = run(&["ss", "-lnu"]);
        assert!(sockets.contains(":7001") && sockets.contains(":7002"), "{sockets}");
    });
}
