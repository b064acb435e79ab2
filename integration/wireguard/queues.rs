//! Several queues of one interface and sockets of one port: to everybody else they are one of each.

use std::fs;

use super::world::{
    Background, OURS, OURS_IN_QUEUES, Topology, dump, in_private_copy, output, ping, run, squat, udp_sockets,
    wait_for,
};

#[test]
fn several_sockets_have_one_port_and_go_together() {
    in_private_copy("queues::several_sockets_have_one_port_and_go_together", || {
        let mut topology = Topology::between(OURS_IN_QUEUES, OURS_IN_QUEUES);
        assert!(ping("a", "10.9.0.2") && ping("b", "fd09::1"));
        let second = output(&format!("nsenter --net=/run/netns/a {OURS_IN_QUEUES} wga"));
        assert!(String::from_utf8_lossy(&second.stderr).contains("in use"), "{second:?}");
        assert_eq!(udp_sockets("a", 1111), 8, "four of each family");
        run("ip -n a link set wga down");
        wait_for("closed sockets", || udp_sockets("a", 1111) == 0);
        run("ip -n a link set wga up");
        wait_for("open sockets", || udp_sockets("a", 1111) == 8);
        assert!(ping("a", "10.9.0.2"));
        run("wg set wga listen-port 0");
        let port: u16 = run("wg show wga listen-port").trim().parse().unwrap();
        assert_eq!((udp_sockets("a", 1111), udp_sockets("a", port)), (0, 8));
        assert!(ping("a", "10.9.0.2"));
        run("wg set wgb listen-port 2333");
        assert!(ping("b", "10.9.0.1"), "whoever moved is followed");
        assert_eq!(dump("wga").endpoint, "172.16.0.2:2333");
        run("ip -n a link delete wga");
        assert!(topology.engine.0.wait().unwrap().success());
        assert_eq!(udp_sockets("a", port), 0);
    });
}

#[test]
fn a_port_of_several_sockets_is_taken() {
    in_private_copy("queues::a_port_of_several_sockets_is_taken", || {
        let _topology = Topology::between(OURS_IN_QUEUES, OURS);
        let _other =
            run(&format!("ip netns exec a {} </dev/null >/dev/null", OURS_IN_QUEUES.replace(" -f", " wgo")));
        let _squatter = squat("a", 1999);
        for (interface, port) in [("wga", 1999), ("wgo", 1111)] {
            run(&format!("ip -n a link set {interface} up"));
            let refused = output(&format!("wg set {interface} listen-port {port}"));
            assert!(
                String::from_utf8_lossy(&refused.stderr).contains("Address already in use"),
                "{refused:?}"
            );
        }
        assert_eq!(udp_sockets("a", 1111), 8, "the old ones stay");
        assert!(ping("a", "10.9.0.2"));
    });
}

#[test]
fn the_end_of_an_interface_is_told_once() {
    in_private_copy("queues::the_end_of_an_interface_is_told_once", || {
        run("ip netns add a");
        let mut engine = Background::start(&format!(
            "nsenter --net=/run/netns/a env RDOM_LOG=info {OURS_IN_QUEUES} wga 2>/run/log"
        ));
        wait_for("the interface", || output("ip -n a link show wga").status.success());
        run("wg show wga");
        run("ip -n a link delete wga");
        assert!(engine.0.wait().unwrap().success());
        let log = fs::read_to_string("/run/log").unwrap();
        assert_eq!(log.matches("interface was deleted").count(), 1, "{log}");
    });
}

#[test]
fn a_device_of_one_queue_is_used_as_it_is() {
    in_private_copy("queues::a_device_of_one_queue_is_used_as_it_is", || {
        sockets_for_a_device_made_before("", 2);
    });
}

#[test]
fn a_device_of_several_queues_is_used_with_all_of_them() {
    in_private_copy("queues::a_device_of_several_queues_is_used_with_all_of_them", || {
        sockets_for_a_device_made_before("multi_queue", 8);
    });
}

fn sockets_for_a_device_made_before(kind: &str, sockets: usize) {
    run(&format!("ip netns add a; ip -n a tuntap add wga mode tun {kind}"));
    let _topology = Topology::between(OURS_IN_QUEUES, OURS);
    assert!(ping("a", "10.9.0.2"));
    assert_eq!(udp_sockets("a", 1111), sockets);
}
