//! Private copies of the machine: this test program again, under unshare(1).

use std::env;
use std::process::Command;

/// Set in a copy.
const INSIDE: &str = "RDOM_TEST_INSIDE";
/// Set where nothing may be skipped.
const REQUIRE_ALL: &str = "RDOM_REQUIRE_ALL";

/// `root` or `anybody`: only one of the two copies of a test.
const COPIES: &str = "RDOM_TEST_COPIES";

/// Runs the body of the test of this name once as the root of a user namespace and once as the real root, each time
/// with network, mounts and /run of its own. As somebody else than root only the first. RDOM_TEST_COPIES chooses one.
pub(crate) fn in_private_copies(test: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return body();
    }
    let mut copies = vec![("anybody", "-Urnm")];
    copies.extend(is_root().then_some(("root", "-nm")));
    let chosen = env::var(COPIES).ok();
    copies.retain(|(whose, _)| chosen.as_deref().is_none_or(|chosen| chosen == *whose));
    for (_, flags) in copies {
        let own_run = "mount -t tmpfs tmpfs /run && exec \"$@\"";
        let output = Command::new("unshare")
            .args([flags, "--propagation", "private", "sh", "-ec", own_run, "sh"])
            .arg(env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(INSIDE, "1")
            .output()
            .expect("unshare(1) of util-linux");
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "under unshare {flags}:\n{said}\n{complained}");
        assert!(said.contains("1 passed"), "nothing ran under unshare {flags}:\n{said}");
        complained.lines().filter(|line| line.starts_with("skipped")).for_each(|line| eprintln!("{line}"));
    }
}

/// Says that this machine lacks something, which is a failure where everything is required.
pub(crate) fn skip(missing: &str) {
    assert!(env::var_os(REQUIRE_ALL).is_none(), "{missing} is missing, and {REQUIRE_ALL} is set");
    eprintln!("skipped: {missing} is missing");
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
