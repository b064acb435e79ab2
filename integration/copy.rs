//! Private copies of the machine: a test of this program again, under unshare(1).
//!
//! A copy has network, mounts, processes and /run of its own. What is left of a test at its end goes with process 1.

use std::env;
use std::process::{Command, Stdio};

use crate::capability::lacks;

/// Set in a copy: what its root is root of.
const INSIDE: &str = "RDOM_TEST_INSIDE";
/// The namespaces of the real root's.
const ROOTS: &str = "-nmp";
/// The program under test, in the PATH of a copy as `rdom`.
const RDOM: &str = env!("CARGO_BIN_EXE_rdom");

/// After which a copy is killed, and all that is in it, unless RDOM_TEST_TIMEOUT_SECS says otherwise.
const TIMEOUT_SECS: &str = "300";

/// Makes the copy a machine on which nothing has been done yet: `ip netns` has made its directory a mount, wg(8) has
/// its own. The program is bound into /run/bin, where whoever is not root may reach it too.
const PREPARE: &str = r#"
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir /run/bin /run/state /run/wireguard /run/work
    touch /run/bin/rdom
    mount --bind "$1" /run/bin/rdom
    shift
    ip link set lo up
    ip netns add prepared
    ip netns delete prepared
    cd /run/work
    "$@"
    exit $?
"#;

/// Whose copy it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The real root, who may do everything to it.
    Root,
    /// Somebody in a user namespace of their own: what an ordinary user may have.
    Anybody,
}

/// Runs the body of the test of this name twice, once in a copy of each owner; as somebody else than root only once.
pub(crate) fn in_private_copies(test: &str, body: impl FnOnce()) {
    in_copies_of(&[Owner::Root, Owner::Anybody], test, body);
}

/// Runs it once, in a copy of the real root's; as somebody else than root not at all.
pub(crate) fn in_roots_copy(test: &str, body: impl FnOnce()) {
    in_copies_of(&[Owner::Root], test, body);
}

/// Whose copy this is.
pub(crate) fn owner() -> Owner {
    match env::var(INSIDE).as_deref() {
        Ok(ROOTS) => Owner::Root,
        _ => Owner::Anybody,
    }
}

fn in_copies_of(owners: &[Owner], test: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return body();
    }
    for capability in ["unshare", "userns", "tun", "ip", "wg", "ss", "ping", "nc", "setpriv"] {
        if lacks(capability) {
            return;
        }
    }
    let root = nix::unistd::geteuid().is_root();
    owners
        .iter()
        .filter(|owner| root || **owner == Owner::Anybody)
        .for_each(|owner| in_copy_of(*owner, test));
}

fn in_copy_of(owner: Owner, test: &str) {
    let flags = match owner {
        Owner::Root => ROOTS,
        Owner::Anybody => "-Urnmp",
    };
    let path = env::var("PATH").unwrap_or_default();
    let timeout = env::var("RDOM_TEST_TIMEOUT_SECS").unwrap_or_else(|_| TIMEOUT_SECS.to_owned());
    let output = Command::new("timeout")
        .args(["-s", "KILL", &timeout, "unshare"])
        .args([flags, "--fork", "--kill-child", "--mount-proc", "--propagation", "private"])
        .args(["sh", "-ec", PREPARE, "sh", RDOM])
        .arg(env::current_exe().expect("the path of this program"))
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, flags)
        .env("PATH", format!("/run/bin:{path}:/usr/sbin:/sbin"))
        .env("RDOM_STATE_DIR", "/run/state")
        .env("RDOM_RUNTIME_DIR", "/run/rdom")
        .env("LC_ALL", "C")
        .env_remove("RDOM_NETWORK")
        .env_remove("RDOM_LOG")
        .stdin(Stdio::null())
        .output()
        .expect("unshare(1) of util-linux");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{test} under unshare {flags}:\n{said}\n{complained}");
    assert!(said.contains(" 1 passed"), "no test is called {test}:\n{said}");
}
