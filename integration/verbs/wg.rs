//! `rdom wg` beside the real wg(8), which is asked in each domain.

use crate::copy::in_private_copies;
use crate::world::{json, ok, sh, unwatched, up, write};

/// As `wg show` has it, without what only rdom knows: the domain and the names of peers.
fn without_names(text: &str) -> String {
    let bare = |line: &str| match line.split_once(": ") {
        Some(("interface", name)) => format!("interface: {}", name.rsplit('/').next().expect("a name")),
        Some(("peer", key)) => format!("peer: {}", key.split(' ').next().expect("a key")),
        Some(_) | None => line.to_owned(),
    };
    text.lines().map(bare).filter(|line| !line.contains("latest handshake")).collect::<Vec<_>>().join("\n")
}

#[test]
fn show_says_what_wg_says_with_names() {
    in_private_copies("wg::show_says_what_wg_says_with_names", || {
        write("domains.yaml", &unwatched());
        ok("rdom up -d");
        ok("rdom exec 1 ping -c 1 -W 5 192.168.5.2");
        ok("rdom wg set 1/wg1 peer $(rdom exec 2 wg show wg2 public-key) persistent-keepalive 25");
        for (domain, interface) in [("1", "wg1"), ("2", "wg2")] {
            let theirs = ok(&format!("rdom exec {domain} wg show {interface}"));
            let ours = ok(&format!("rdom wg show {domain}/{interface}"));
            assert_eq!(without_names(&ours), without_names(&theirs));
        }
        let all = ok("rdom wg");
        assert!(all.contains("interface: 1/wg1") && all.contains("interface: 2/wg2"), "{all}");
        assert!(all.contains("(wg2)") && all.contains("(wg1)"), "{all}");
        assert!(all.contains("latest handshake: "), "{all}");
        assert_eq!(without_names(&ok("rdom wg show all")), without_names(&all));
        assert_eq!(json("rdom wg show --json")[1], json("rdom wg show 2/wg2 --json")[0]);
        assert_eq!(ok("rdom wg show interfaces"), "1/wg1\n2/wg2\n");
        ok("rdom down");
    });
}

#[test]
fn dump_has_the_columns_of_wg() {
    in_private_copies("wg::dump_has_the_columns_of_wg", || {
        up();
        let of = |domain, interface| ok(&format!("rdom exec {domain} wg show {interface} dump"));
        let lines = |prefix: &str, text: &str| -> String {
            text.lines().map(|line| format!("{prefix}\t{line}\n")).collect()
        };
        let (one, two) = (of("1", "wg1"), of("2", "wg2"));
        assert_eq!(ok("rdom wg show 1/wg1 dump"), one);
        assert_eq!(ok("rdom wg show all dump"), lines("wg1", &one) + &lines("wg2", &two));
        let expected = lines("1\twg1", &one) + &lines("2\twg2", &two);
        assert_eq!(ok("rdom wg --domains show all dump"), expected);
        ok("rdom down");
    });
}

#[test]
fn configurations_go_in_and_out_by_the_real_wg() {
    in_private_copies("wg::configurations_go_in_and_out_by_the_real_wg", || {
        up();
        ok("rdom wg showconf 1/wg1 >/run/work/wg1.conf");
        ok("rdom wg syncconf 1/wg1 /run/work/wg1.conf");
        assert!(ok("rdom wg showconf 1/wg1").contains("ListenPort = 7111"));
        sh("rdom wg show 9/wg1").ends_with(1).says("9/wg1: no such tunnel (there are 1/wg1, 2/wg2)");
        sh("rdom wg show wg1").ends_with(2).says("help: DOMAIN/IF, as `1/wg1`");
        sh("rdom wg set").ends_with(2).says("wg set of what?");
        sh("rdom wg genkey").ends_with(2).says("help: keys are the same in all of them: wg genkey");
        ok("rdom down");
    });
}

#[test]
fn status_tells_the_offloads_that_engines_do_without() {
    in_private_copies("wg::status_tells_the_offloads_that_engines_do_without", || {
        write("domains.yaml", &unwatched());
        let off = || -> Vec<_> {
            let view = json("rdom status --json");
            let tunnels = [1, 2].map(|domain| view["domains"][domain]["interfaces"].clone());
            let interfaces = tunnels.iter().flat_map(|of| of.as_array().unwrap());
            let tunnels = interfaces.filter_map(|interface| interface["tunnel"].get("offloads_off").cloned());
            tunnels.collect()
        };
        ok("rdom up -d");
        assert_eq!(off(), [serde_json::json!([]), serde_json::json!([])]);
        assert!(!ok("rdom status").contains("without"));
        ok("rdom down");
        ok("RDOM_OFFLOADS=none rdom up -d");
        let all = serde_json::json!(["tun-tcp", "tun-udp", "udp-send", "udp-receive"]);
        assert_eq!(off(), [all.clone(), all]);
        assert_eq!(
            ok("rdom status").matches("  without tun-tcp, tun-udp, udp-send, udp-receive\n").count(),
            2
        );
        ok("rdom exec 1 ping -c 1 -W 5 192.168.5.2");
        ok("rdom down");
    });
}
