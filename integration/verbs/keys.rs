//! Private keys: made once, kept for their owner alone, and told to nobody.

use std::fs;

use crate::copy::in_private_copies;
use crate::world::{Background, EXAMPLE, ok, pings, sh, signal, up, write};

/// The private keys that were made for the example.
fn made() -> [String; 2] {
    ["1-wg1", "2-wg2"].map(|name| {
        fs::read_to_string(format!("/run/state/domains/keys/{name}")).expect(name).trim().to_owned()
    })
}

#[test]
fn they_are_made_once_and_kept_for_their_owner() {
    in_private_copies("keys::they_are_made_once_and_kept_for_their_owner", || {
        up();
        let keys = made();
        let modes =
            ok("stat -c '%a %U' /run/state/domains /run/state/domains/keys /run/state/domains/keys/*");
        assert_eq!(modes, "700 root\n700 root\n600 root\n600 root\n");
        for (interface, key) in ["wg1", "wg2"].iter().zip(&keys) {
            assert_eq!(ok(&format!("wg show {interface} private-key")).trim(), key);
            assert_eq!(
                ok(&format!("echo {key} | wg pubkey")),
                ok(&format!("wg show {interface} public-key"))
            );
        }
        ok("rdom down");
        ok("rdom up -d");
        assert_eq!(made(), keys);
        assert_eq!(ok("wg show wg1 private-key").trim(), keys[0]);
        ok("rdom down");
    });
}

#[test]
fn generated_ports_are_kept_too() {
    in_private_copies("keys::generated_ports_are_kept_too", || {
        write("domains.yaml", &EXAMPLE.replace("listen_port: 7111", "listen_port: auto"));
        ok("rdom up -d");
        let port = ok("wg show wg1 listen-port");
        assert_ne!(port, "7111\n");
        pings("rdom2", "192.168.5.1");
        ok("rdom down; rdom up -d");
        assert_eq!(ok("wg show wg1 listen-port"), port);
        ok("rdom down");
    });
}

#[test]
fn they_are_told_to_nobody() {
    in_private_copies("keys::they_are_told_to_nobody", || {
        write("domains.yaml", EXAMPLE);
        let up = Background::start("up", "rdom -vvv up").waits_until("is up: Ctrl-C takes it down");
        pings("rdom1", "192.168.5.2");
        let views = [
            "plan",
            "plan --json",
            "status",
            "status --json",
            "ifconfig --json",
            "ifconfig wg1",
            "-vvv status",
        ];
        let mut seen: String =
            views.iter().map(|view| sh(&format!("rdom {view}"))).map(|ran| ran.out + &ran.err).collect();
        seen += &ok("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' ' '");
        seen += &ok("cat /run/rdom/domains/domains/*.json");
        signal(up.pid(), nix::sys::signal::Signal::SIGTERM);
        let log = up.end().ends_with(0).out;
        assert!(
            log.contains("DEBUG") || log.contains("TRACE"),
            "the log is not as talkative as it can be: {log}"
        );
        seen += &log;
        for key in made() {
            let hex: String =
                ok(&format!("echo {key} | base64 -d | od -An -v -tx1")).split_whitespace().collect();
            assert!(
                hex.len() == 64 && !seen.contains(&key) && !seen.contains(&hex),
                "a private key was told"
            );
        }
    });
}

#[test]
fn one_in_a_file_that_others_can_read_is_used_and_told_of() {
    in_private_copies("keys::one_in_a_file_that_others_can_read_is_used_and_told_of", || {
        ok("umask 077; wg genkey >own.key");
        write(
            "domains.yaml",
            &EXAMPLE.replace("listen_port: 7111", "listen_port: 7111\n          private_key_file: own.key"),
        );
        assert_eq!(sh("rdom up -d; rdom down").ends_with(0).err, "", "nothing is wrong with it yet");
        ok("chmod 644 own.key");
        sh("rdom up -d").ends_with(0).says("own.key").says("0644").says("chmod 600");
        assert_eq!(ok("wg show wg1 public-key"), ok("wg pubkey <own.key"));
        pings("rdom1", "192.168.5.2");
        ok("rdom down");
        assert!(!ok("ls /run/state/domains/keys").contains("1-wg1"));
        ok("echo nonsense >own.key");
        let refused = sh("rdom up -d").ends_with(1).says("own.key").says("not a key");
        assert!(!refused.err.contains("nonsense"), "{refused:#?}");
        ok("rm own.key");
        sh("rdom up -d").ends_with(1).says("cannot read").says("own.key: No such file or directory");
        assert_eq!(ok("ip netns list"), "");
    });
}

#[test]
fn a_peer_with_ones_own_is_told_of() {
    in_private_copies("keys::a_peer_with_ones_own_is_told_of", || {
        ok("umask 077; wg genkey >own.key");
        let tunnel = format!(
            "{{private_key_file: own.key, peers: {{other: {{public_key: {}}}}}}}",
            ok("wg pubkey <own.key").trim()
        );
        write("domains.yaml", &format!("domains: {{1: {{interfaces: {{wg1: {{wireguard: {tunnel}}}}}}}}}\n"));
        let refused = sh("rdom up -d").ends_with(1);
        refused.says("cannot use own.key: a peer of 1/wg1 has the public key of 1/wg1 itself");
    });
}
