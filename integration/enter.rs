//! Users other than root enter a domain that is a VRF alone: by its control group, into which the supervisor puts
//! them. `verbs/enter.rs` has the rest; this needs a kernel with VRF.

#[expect(dead_code, reason = "this runs in root's copy alone")]
mod copy;

mod capability;

#[expect(dead_code, reason = "commands and files are all that is needed of it")]
#[path = "verbs/world.rs"]
mod world;

use capability::lacks;
use copy::in_roots_copy;
use world::{ok, sh, write};

const DAEMON: &str = "setpriv --reuid=daemon --regid=daemon --clear-groups --inh-caps=-all";
const NOBODY: &str = "setpriv --reuid=nobody --regid=65534 --clear-groups --inh-caps=-all";

#[test]
fn who_is_allowed_enters_a_domain_that_is_a_vrf_alone() {
    if ["vrf", "setcap", "setpriv", "python3"].into_iter().any(lacks) {
        return;
    }
    in_roots_copy("who_is_allowed_enters_a_domain_that_is_a_vrf_alone", || {
        let program = env!("CARGO_BIN_EXE_rdom-enter");
        ok(&format!("cp {program} /run/bin/rdom-enter && setcap cap_sys_admin=p /run/bin/rdom-enter"));
        write(
            "vrfs.yaml",
            "{defaults: {isolation: vrf}, domains: {1: {allow: {users: [daemon]}}, 2: {allow: {users: [daemon]}}}}\n",
        );
        ok("rdom up -d vrfs.yaml");
        let device = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
                      print(s.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(bytes(1)).decode())";
        write("device.py", device);
        for domain in ["1", "2"] {
            let inside = format!("{DAEMON} rdom exec {domain} /usr/bin/python3 device.py");
            assert_eq!(ok(&inside), format!("vrf{domain}\n"));
            sh(&format!("{NOBODY} rdom exec {domain} true")).ends_with(1).says("is not allowed in domain");
        }
        assert_eq!(ok("python3 device.py"), "\n", "who has not entered is bound to nothing");
        let back = sh(&format!("{DAEMON} rdom exec 1 rdom exec 2 true")).ends_with(1);
        back.says("only from the default domain");
        ok("rdom down");
    });
}
