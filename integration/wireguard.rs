//! The userspace engine against the stock tools: `wg` configures it, Debian's `wireguard-go` is the other end.
//!
//! ```text
//! namespace a: wga (rdom wireguard)  172.16.0.1 --- veth --- 172.16.0.2  wgb (wireguard-go) :namespace b
//!              10.9.0.1, fd09::1                                         10.9.0.2, fd09::2
//! ```
//!
//! Each test runs itself again in namespaces of its own (user, network, mount, PID), so that nothing of it is seen
//! outside and nothing is left behind.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rdomain::wireguard::Device;

#[path = "wireguard/flows.rs"]
mod flows;
#[path = "wireguard/queues.rs"]
mod queues;
#[path = "wireguard/roaming.rs"]
mod roaming;
#[path = "wireguard/soak.rs"]
mod soak;
#[path = "wireguard/traffic.rs"]
mod traffic;
#[path = "wireguard/world.rs"]
mod world;

use self::world::{
    Topology, device_in_domain, dump, in_private_copy, key_pair, listening, output, ping, public_key_of, run,
    squat, udp_ports, wait_for,
};

#[test]
fn talks_to_wireguard_go_and_to_wg() {
    in_private_copy("talks_to_wireguard_go_and_to_wg", || {
        let topology = Topology::new();
        assert!(ping("a", "10.9.0.2") && ping("b", "10.9.0.1"), "IPv4 both ways");
        assert!(ping("a", "fd09::2") && ping("b", "fd09::1"), "IPv6 both ways");
        run("nsenter --net=/run/netns/a ping -c 3 -i 0.1 -M do -s 1392 10.9.0.2");
        run("nsenter --net=/run/netns/b ping -c 3 -i 0.1 -M do -s 1392 10.9.0.1");

        let [ours, theirs] = [dump("wga"), dump("wgb")];
        assert_eq!(ours.endpoint, "172.16.0.2:2222");
        assert_eq!(ours.allowed_ips, "10.9.0.2/32,fd09::2/128");
        assert_eq!(ours.preshared_key, topology.preshared_key);
        assert!(ours.handshake > 0);
        assert_eq!((ours.rx, ours.tx), (theirs.tx, theirs.rx), "both ends count the same bytes");
        let shown = run("wg show wga");
        assert!(shown.contains(&format!("public key: {}", topology.public_keys[0])), "{shown}");
        let conf = run("wg showconf wga");
        assert!(conf.contains("ListenPort = 1111") && conf.contains("PrivateKey = "), "{conf}");
        assert!(conf.contains("Endpoint = 172.16.0.2:2222"), "{conf}");
    });
}

#[test]
fn settings_change_without_a_new_session() {
    in_private_copy("settings_change_without_a_new_session", || {
        let topology = Topology::new();
        assert!(ping("a", "10.9.0.2"));
        let before = dump("wga").handshake;
        std::thread::sleep(Duration::from_millis(1100));
        let other = topology.public_keys[1].as_str();
        run(&format!("wg set wga fwmark 0x2a peer {other} persistent-keepalive 25"));
        fs::write("/run/conf", run("wg showconf wga").replace("fd09::2/128", "fd09::2/128, 10.77.0.0/16"))
            .unwrap();
        run("wg syncconf wga /run/conf");
        assert!(ping("a", "10.9.0.2"));
        let after = dump("wga");
        assert_eq!(after.handshake, before);
        assert_eq!(after.allowed_ips, "10.9.0.2/32,10.77.0.0/16,fd09::2/128");
        assert_eq!(run("wg show wga persistent-keepalive").trim(), format!("{other}\t25"));
        assert_eq!(run("wg show wga fwmark").trim(), "0x2a");

        run(&format!("wg set wga peer {other} remove"));
        assert_eq!(run("wg show wga peers").trim(), "");
        assert!(!ping("a", "10.9.0.2"));
        run("wg setconf wga /run/conf");
        assert!(ping("a", "10.9.0.2"), "a peer that was removed comes back");
    });
}

#[test]
fn a_peer_that_moves_is_followed() {
    in_private_copy("a_peer_that_moves_is_followed", || {
        let _topology = Topology::new();
        assert!(ping("a", "10.9.0.2"));
        run("wg set wgb listen-port 2333");
        assert!(ping("b", "10.9.0.1"));
        assert_eq!(dump("wga").endpoint, "172.16.0.2:2333");
        assert!(ping("a", "10.9.0.2"));
        run("wg set wga listen-port 1222");
        assert!(ping("a", "10.9.0.2"));
        assert_eq!(dump("wgb").endpoint, "172.16.0.1:1222");
        assert_eq!(udp_ports("a"), [1222, 1222], "one socket for each family, and the old ones are closed");
    });
}

#[test]
fn the_outside_may_be_ipv6() {
    in_private_copy("the_outside_may_be_ipv6", || {
        let topology = Topology::new();
        let other = &topology.public_keys[1];
        run("ip -n a address add fd16::1/64 dev v0 nodad");
        run("ip -n b address add fd16::2/64 dev v0 nodad");
        run(&format!("wg set wga peer {other} endpoint [fd16::2]:2222"));
        assert!(ping("a", "10.9.0.2"));
        assert_eq!(dump("wgb").endpoint, "[fd16::1]:1111");
    });
}

#[test]
fn a_port_that_is_taken_is_refused_and_the_old_one_stays() {
    in_private_copy("a_port_that_is_taken_is_refused_and_the_old_one_stays", || {
        let _topology = Topology::new();
        let _squatter = squat("a", 1999);
        let output = output("wg set wga listen-port 1999");
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("Address already in use"), "{output:?}");
        assert_eq!(run("wg show wga listen-port").trim(), "1111");
        assert!(ping("a", "10.9.0.2"));
        run("wg set wga listen-port 0");
        let port: u16 = run("wg show wga listen-port").trim().parse().unwrap();
        assert!(port != 0 && port != 1111);
        assert!(ping("a", "10.9.0.2"));
    });
}

#[test]
fn an_interface_that_is_down_has_no_sockets_and_comes_back() {
    in_private_copy("an_interface_that_is_down_has_no_sockets_and_comes_back", || {
        let _topology = Topology::new();
        assert!(ping("a", "10.9.0.2"));
        run("ip -n a link set wga down");
        wait_for("closed sockets", || udp_ports("a").is_empty());
        run("ip -n a link set wga up");
        wait_for("open sockets", || udp_ports("a") == [1111, 1111]);
        assert!(ping("a", "10.9.0.2"));
    });
}

#[test]
fn a_port_that_was_taken_meanwhile_can_be_changed() {
    in_private_copy("a_port_that_was_taken_meanwhile_can_be_changed", || {
        let _topology = Topology::new();
        run("ip -n a link set wga down");
        wait_for("closed sockets", || udp_ports("a").is_empty());
        let _squatter = squat("a", 1111);
        run("ip -n a link set wga up");
        assert!(!ping("a", "10.9.0.2"));
        run("wg set wga listen-port 1333");
        assert!(ping("a", "10.9.0.2"));
    });
}

#[test]
fn the_interface_moves_and_the_sockets_stay() {
    in_private_copy("the_interface_moves_and_the_sockets_stay", || {
        let _topology = Topology::new();
        run("ip netns add c");
        run("ip -n a link set wga netns c name wgc");
        run("ip -n c address add 10.9.0.1/24 dev wgc");
        run("ip -n c link set wgc up");
        wait_for("sockets", || udp_ports("a") == [1111, 1111]);
        assert!(udp_ports("c").is_empty());
        assert!(ping("c", "10.9.0.2"));
        run("ip -n c link set wgc mtu 1300");
        run("nsenter --net=/run/netns/c ping -c 1 -W 5 -M do -s 1272 10.9.0.2");
        run("ip -n c link set wgc down");
        wait_for("closed sockets", || udp_ports("a").is_empty());
    });
}

#[test]
fn it_ends_with_the_interface_and_takes_its_socket_with_it() {
    in_private_copy("it_ends_with_the_interface_and_takes_its_socket_with_it", || {
        let mut topology = Topology::new();
        assert!(ping("a", "10.9.0.2"));
        run("ip -n a link delete wga");
        let status = topology.engine.0.wait().unwrap();
        assert!(status.success());
        assert!(!Path::new("/var/run/wireguard/wga.sock").exists());
        assert!(Path::new("/var/run/wireguard/wgb.sock").exists());
        assert!(udp_ports("a").is_empty());
    });
}

#[test]
fn sigterm_ends_it_and_the_interface() {
    in_private_copy("sigterm_ends_it_and_the_interface", || {
        let mut topology = Topology::new();
        run(&format!("kill -TERM {}", topology.engine.0.id()));
        assert!(topology.engine.0.wait().unwrap().success());
        assert!(!output("ip -n a link show wga").status.success());
        assert!(!Path::new("/var/run/wireguard/wga.sock").exists());
    });
}

/// wg(4)'s example: the same subnet twice, both sockets in the default domain and nowhere else.
#[test]
fn the_sockets_are_in_the_underlay_and_nowhere_else() {
    in_private_copy("the_sockets_are_in_the_underlay_and_nowhere_else", || {
        run("ip link set lo up");
        let keys = [key_pair("1"), key_pair("2")];
        let devices: Vec<_> =
            (1..=2).map(|domain| device_in_domain(domain, "/proc/self/ns/net", 1)).collect();
        for (domain, other) in [(1, 2), (2, 1)] {
            run(&format!(
                "wg set wg{domain} private-key /run/{domain}.key listen-port 7{domain}{domain}{domain} \
                 peer {} endpoint 127.0.0.1:7{other}{other}{other} allowed-ips 192.168.5.{other}/32",
                keys[other - 1]
            ));
            run(&format!("ip -n rdom{domain} address add 192.168.5.{domain}/24 dev wg{domain}"));
            run(&format!("ip -n rdom{domain} link set wg{domain} up"));
        }
        assert!(ping("rdom1", "192.168.5.2") && ping("rdom2", "192.168.5.1"));
        assert_eq!(listening("cat"), [7111, 7222, 7111, 7222]);
        assert!(udp_ports("rdom1").is_empty() && udp_ports("rdom2").is_empty());
        assert!(devices.iter().all(Device::is_running));

        let mut devices = devices.into_iter();
        devices.next().unwrap().stop();
        assert!(!output("ip -n rdom1 link show wg1").status.success());
        run("ip -n rdom2 link delete wg2");
        let second = devices.next().unwrap();
        wait_for("the second device", || !second.is_running());
        wait_for("closed sockets", || listening("cat").is_empty());
    });
}

#[test]
fn slow_and_broken_clients_hold_up_nobody() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    in_private_copy("slow_and_broken_clients_hold_up_nobody", || {
        let _topology = Topology::new();
        let connect = || UnixStream::connect("/var/run/wireguard/wga.sock").unwrap();
        let mut slow: Vec<_> = (0..10).map(|_| connect()).collect();
        slow.iter_mut().for_each(|client| client.write_all(b"set=1\nlisten_po").unwrap());
        drop(slow.split_off(5));
        assert!(ping("a", "10.9.0.2"));
        assert_eq!(run("wg show wga listen-port").trim(), "1111");

        let mut client = connect();
        let mut ask = |request: &str| {
            client.write_all(request.as_bytes()).unwrap();
            let mut answer = vec![0; 4096];
            let length = client.read(&mut answer).unwrap();
            String::from_utf8(answer[..length].to_vec()).unwrap()
        };
        assert_eq!(ask("set=1\ncolour=red\n\n"), "errno=-22\n\n");
        assert_eq!(ask("set=1\ncolour\n\n"), "errno=-71\n\n");
        assert_eq!(ask("put=1\n\n"), "errno=-22\n\n");
        assert!(ask("get=1\n\n").ends_with("\nerrno=0\n\n"), "one client may ask again and again");
    });
}

#[test]
fn thousands_of_peers_are_set_and_shown() {
    in_private_copy("thousands_of_peers_are_set_and_shown", || {
        let _topology = Topology::new();
        let key = fs::read_to_string("/run/a.key").unwrap();
        let mut conf = format!("[Interface]\nPrivateKey = {key}\n");
        for peer in 0..10_000u32 {
            let [_, _, high, low] = peer.to_be_bytes();
            let allowed: Vec<_> = (0..13).map(|n| format!("10.{}.{high}.{low}/32", 100 + n)).collect();
            let key = public_key_of(peer);
            conf += &format!("[Peer]\nPublicKey = {key}\nAllowedIPs = {}\n", allowed.join(","));
        }
        fs::write("/run/conf", conf).unwrap();
        let start = Instant::now();
        run("wg setconf wga /run/conf");
        let set = start.elapsed();
        assert_eq!(run("wg show wga peers").lines().count(), 10_000);
        let start = Instant::now();
        assert_eq!(run("wg show wga allowed-ips").split_whitespace().count(), 140_000);
        eprintln!("10,000 peers with 130,000 allowed IPs: set in {set:?}, shown in {:?}", start.elapsed());
    });
}
