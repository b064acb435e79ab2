//! `rdom wireguard IFNAME` is used as `wireguard-go IFNAME` is: one script with the same assertions for both, and
//! wg-quick(8) with either.

use std::process::{Command, Stdio};

use crate::capability::lacks;
use crate::copy::{in_private_copies, in_roots_copy};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/verbs/netns.sh");

#[track_caller]
fn sh(script: &str) -> String {
    let output = Command::new("bash").args(["-euc", script]).stdin(Stdio::null()).output().expect("bash");
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{script}\n{out}\n{err}");
    out
}

#[test]
fn the_script_holds_for_wireguard_go() {
    if lacks("wireguard-go") {
        return;
    }
    in_roots_copy("standalone::the_script_holds_for_wireguard_go", || {
        sh(&format!("WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD=1 {SCRIPT} wireguard-go"));
    });
}

#[test]
fn the_script_holds_for_rdom() {
    in_private_copies("standalone::the_script_holds_for_rdom", || {
        sh(&format!("{SCRIPT} 'rdom wireguard'"));
    });
}

#[test]
fn descriptors_are_taken_from_the_environment() {
    in_private_copies("standalone::descriptors_are_taken_from_the_environment", || {
        let python = r#"
import fcntl, os, socket, struct, subprocess
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH22x", b"given", 0x1001))
uapi = socket.socket(socket.AF_UNIX)
uapi.bind("/run/given.sock")
uapi.listen()
os.set_inheritable(tun, True)
uapi.set_inheritable(True)
environment = dict(os.environ, WG_TUN_FD=str(tun), WG_UAPI_FD=str(uapi.fileno()), WG_PROCESS_FOREGROUND="1")
engine = subprocess.Popen(["rdom", "wireguard", "ignored"], env=environment, pass_fds=[tun, uapi.fileno()])
client = socket.socket(socket.AF_UNIX)
client.connect("/run/given.sock")
client.sendall(b"set=1\nlisten_port=7777\n\n")
assert client.recv(100) == b"errno=0\n\n"
client.sendall(b"get=1\n\n")
assert b"listen_port=7777\n" in client.recv(1000)
engine.terminate()
assert engine.wait() == 0
"#;
        if lacks("python3") {
            return;
        }
        sh(&format!("/usr/bin/env python3 - <<'E'\n{python}\nE"));
        sh(
            "! WG_TUN_FD=99 rdom wireguard wg0 2>/run/said; grep -q 'WG_TUN_FD is no open descriptor: 99' /run/said",
        );
    });
}

#[test]
fn wg_quick_brings_an_interface_up_and_down_with_it() {
    if lacks("wg-quick") {
        return;
    }
    in_private_copies("standalone::wg_quick_brings_an_interface_up_and_down_with_it", || {
        sh("ln -s rdom /run/bin/rdom-wireguard
            umask 077
            printf '[Interface]\nPrivateKey = %s\nAddress = 10.77.0.1/24\nListenPort = 7777\n' $(wg genkey) >/run/quick.conf
            export WG_QUICK_USERSPACE_IMPLEMENTATION=rdom-wireguard
            wg-quick up /run/quick.conf
            wg show quick listen-port | grep -qx 7777
            ip -br address show dev quick | grep -q 10.77.0.1/24
            wg-quick down /run/quick.conf
            for try in $(seq 100); do test -e /var/run/wireguard/quick.sock || exit 0; sleep 0.1; done
            exit 1");
    });
}
