//! What a test needs of the machine, and what becomes of a test that lacks it.
//!
//! A test on the real kernel begins with `if lacks("wireguard") { return; }`. What is missing is said by name and the
//! test passes, unless `RDOM_REQUIRE` asks for it: a list of names as below, or `all`. `scripts/test` sets it, in CI
//! to what every such machine has and in the guest to `all`, so that nothing is skipped there unseen.

use std::env;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

/// Whether this machine lacks a capability: a kind of link (`veth`, `vrf`, `wireguard`, `dummy`, ...), `netem`,
/// `netns`, `userns`, `tun`, or else a program in PATH (`wg`, `tcpdump`, ...).
///
/// # Panics
///
/// If it is lacking and `RDOM_REQUIRE` asks for it.
pub(crate) fn lacks(capability: &str) -> bool {
    if is_here(capability) {
        return false;
    }
    let required = env::var("RDOM_REQUIRE").unwrap_or_default();
    assert!(!asks_for(&required, capability), "{capability} is missing here, and RDOM_REQUIRE asks for it");
    eprintln!("skipped: {capability} is missing here");
    true
}

fn asks_for(required: &str, capability: &str) -> bool {
    required.split_whitespace().any(|word| word == "all" || word == capability)
}

fn is_here(capability: &str) -> bool {
    match capability {
        "tun" => File::options().read(true).write(true).open("/dev/net/tun").is_ok(),
        "netns" => succeeds("unshare", &["--net", "true"]),
        "userns" => succeeds("unshare", &["--user", "--map-root-user", "--net", "--mount", "true"]),
        "netem" => in_private_copy("ip link set lo up && tc qdisc add dev lo root netem delay 1ms"),
        "veth" | "bridge" | "vrf" | "wireguard" | "dummy" | "vxlan" | "macvlan" | "vlan" => {
            has_kind(capability)
        }
        program => in_path(program),
    }
}

/// Tries: the kernel loads a module for a kind when it is asked for the first time.
fn has_kind(kind: &str) -> bool {
    let arguments = match kind {
        "vrf" => " table 1",
        "vxlan" => " id 1 dstport 4789",
        "macvlan" => {
            return in_private_copy(
                "ip link add v type veth peer name w && ip link add link v name m type macvlan",
            );
        }
        "vlan" => {
            return in_private_copy(
                "ip link add v type veth peer name w && ip link add link v name m type vlan id 1",
            );
        }
        _ => "",
    };
    in_private_copy(&format!("ip link add x type {kind}{arguments}"))
}

/// Modules load only for root's own namespaces, so a user namespace comes second.
fn in_private_copy(script: &str) -> bool {
    succeeds("unshare", &["--net", "sh", "-c", script])
        || succeeds("unshare", &["--user", "--map-root-user", "--net", "sh", "-c", script])
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let quiet = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

fn in_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| is_executable(&directory.join(program)))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[test]
fn what_is_required_is_a_list_or_all() {
    assert!(asks_for("wg tun", "tun"));
    assert!(asks_for("all", "vrf"));
    assert!(!asks_for("wg tun", "wireguard"));
    assert!(!asks_for("", "tun"));
}

#[test]
fn a_program_that_nobody_has_is_not_here() {
    assert!(!is_here("no-such-program-anywhere"));
    assert!(is_here("sh"));
}
