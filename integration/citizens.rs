//! Programs that share a namespace with others and have an rtable of their own: what their sockets are born with,
//! what their children inherit, and what of it nobody without rights can shed.
//!
//! State is made with `ip` in a namespace of the test's own, and is judged by what sockets do.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use rdomain::exec::group::{self, Device, Membership};
use rdomain::exec::{self, Lookups, Place};
use rdomain::model::NetworkName;
use rdomain::probe;

mod capability;
use capability::lacks;

/// Set in the process that becomes a citizen: mark and device, `-` for none.
const CITIZEN: &str = "RDOM_TEST_CITIZEN";
/// Set in a copy with a network of its own.
const INSIDE: &str = "RDOM_TEST_INSIDE";
/// What the citizen runs.
const COMMAND: &str = "RDOM_TEST_COMMAND";
/// The rtable of the tests.
const RTABLE: u32 = 3_999_999_910;

/// Two ways out: the main table by `va`, the rtable by `vb`.
const WORLD: &str = "ip link set lo up; \
    ip link add name va type veth peer name va1; ip link add name vb type veth peer name vb1; \
    for i in va va1 vb vb1; do ip link set $i up; done; \
    ip addr add 10.0.0.1/24 dev va; ip addr add 10.1.0.1/24 dev vb; \
    ip route add default via 10.0.0.2; \
    ip route add default via 10.1.0.2 table 3999999910; \
    ip rule add fwmark 3999999910 lookup 3999999910 priority 500";

/// Prints the address that a socket to a far host gets.
const WHENCE: &str = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
    s.connect(('198.51.100.1', 9)); print(s.getsockname()[0])";

/// Nobody in particular, without a right.
const NOBODY: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all --inh-caps -all";

fn network() -> NetworkName {
    NetworkName::new("citizens-test").unwrap()
}

/// Runs the test of this name again in a network namespace of its own; true in there.
fn in_namespace(test: &str) -> bool {
    if let Some(command) = env::var_os(COMMAND) {
        become_citizen(&command);
    }
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    if ["netns", "python3", "setpriv"].into_iter().any(lacks) {
        return false;
    }
    if let Err(lack) = group::permitted() {
        eprintln!("skipped: {lack}");
        assert!(env::var_os("RDOM_REQUIRE").is_none_or(|required| required != "all"), "{lack}");
        return false;
    }
    let output = Command::new("unshare")
        .args(["-nm", "--propagation", "private"])
        .arg(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

fn become_citizen(command: &OsString) -> ! {
    let words = env::var(CITIZEN).unwrap();
    let (mark, device) = words.split_once(' ').unwrap();
    let membership = Membership {
        network: network(),
        rtable: RTABLE.to_string().parse().unwrap(),
        device: device.parse().ok().map(|index| Device { index, interfaces: Vec::new() }),
        mark: mark.parse().ok(),
    };
    let place = Place {
        name: "test".into(),
        namespace: None,
        wireguard: PathBuf::new(),
        membership: Some(membership),
        lookups: Lookups::Host,
    };
    let arguments = ["-c".into(), command.clone()];
    panic!("{}", exec::replace(&place, "sh".as_ref(), &arguments).unwrap_err());
}

fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    text(&output)
}

/// What a citizen says who runs this with the mark or bound to the device.
fn citizen(test: &str, mark: Option<u32>, device: Option<u32>, command: &str) -> Output {
    let word = |number: Option<u32>| number.map_or("-".to_owned(), |number| number.to_string());
    Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "-q"])
        .env(CITIZEN, format!("{} {}", word(mark), word(device)))
        .env(COMMAND, command)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    // The test harness's own first lines come before the program's.
    said.lines().last().unwrap_or_default().to_owned()
}

fn python(program: &str) -> String {
    format!("/usr/bin/python3 -c \"{program}\"")
}

fn index(interface: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(interface).ok()
}

/// The groups of the test's network go with the test.
struct Groups;

impl Drop for Groups {
    fn drop(&mut self) {
        group::remove_all(&network());
    }
}

#[test]
fn a_mark_chooses_the_rtable_and_children_inherit_it() {
    const TEST: &str = "a_mark_chooses_the_rtable_and_children_inherit_it";
    if !in_namespace(TEST) {
        return;
    }
    let _groups = Groups;
    sh(WORLD);
    assert_eq!(sh(&python(WHENCE)), "10.0.0.1", "by the main table");
    let child = format!("sh -c '{NOBODY} {}; true'", python(WHENCE).replace('\'', "'\\''"));
    assert_eq!(text(&citizen(TEST, Some(RTABLE), None, &python(WHENCE))), "10.1.0.1");
    assert_eq!(text(&citizen(TEST, Some(RTABLE), None, &child)), "10.1.0.1", "an unprivileged grandchild");
    assert_eq!(sh(&python(WHENCE)), "10.0.0.1", "others are not touched");
}

#[test]
fn a_socket_of_a_device_domain_is_bound_to_the_device() {
    const TEST: &str = "a_socket_of_a_device_domain_is_bound_to_the_device";
    if !in_namespace(TEST) {
        return;
    }
    let _groups = Groups;
    sh(WORLD);
    let device = "import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM); \
        print(s.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b'\\\\0').decode() or 'none')";
    assert_eq!(sh(&python(device)), "none");
    assert_eq!(text(&citizen(TEST, None, index("vb"), &python(device))), "vb");
    assert_eq!(
        text(&citizen(TEST, None, index("va"), &python(device))),
        "va",
        "a new program replaces the old one"
    );
}

#[test]
fn nobody_without_rights_sheds_mark_or_device() {
    const TEST: &str = "nobody_without_rights_sheds_mark_or_device";
    if !in_namespace(TEST) {
        return;
    }
    let _groups = Groups;
    sh(WORLD);
    let outside = probe::control_groups().unwrap().join("cgroup.procs");
    let escapes = format!(
        "import socket, struct\n\
         def tried(name, what):\n  \
           s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n  \
           try: what(s); print(name, end=' ')\n  \
           except OSError as e: pass\n\
         tried('mark', lambda s: s.setsockopt(socket.SOL_SOCKET, 36, 0))\n\
         tried('device', lambda s: s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'va'))\n\
         tried('nodevice', lambda s: s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b''))\n\
         tried('unicastif', lambda s: s.setsockopt(socket.IPPROTO_IP, 50, struct.pack('!I', {a})))\n\
         tried('pktinfo', lambda s: s.sendmsg([b'x'], [(0, 8, struct.pack('=III', {a}, 0, 0))], 0, \
           ('10.0.0.9', 9)))\n\
         tried('cgroup', lambda s: open('{outside}', 'w').write('0'))\n\
         print('end')",
        a = index("va").unwrap(),
        outside = outside.display(),
    );
    let file = env::temp_dir().join(format!("rdom-escapes-{}.py", std::process::id()));
    fs::write(&file, escapes).unwrap();
    let run = format!("{NOBODY} /usr/bin/python3 - < {}", file.display());
    let free = sh(&run);
    let held = text(&citizen(TEST, Some(RTABLE), index("vb"), &run));
    assert_eq!(free, "device nodevice unicastif pktinfo end", "what one who is not held may do");
    assert_eq!(held, "end");
    // Within the domain of a further rtable an IPv4 datagram may name its interface (ip(7), IP_PKTINFO).
    assert_eq!(text(&citizen(TEST, Some(RTABLE), None, &run)), "device nodevice unicastif pktinfo end");
    fs::remove_file(&file).unwrap();
}

#[test]
fn groups_go_when_nobody_is_in_them_and_residents_are_named() {
    const TEST: &str = "groups_go_when_nobody_is_in_them_and_residents_are_named";
    if !in_namespace(TEST) {
        return;
    }
    let _groups = Groups;
    let home = fs::metadata("/proc/thread-self/ns/net").unwrap().ino();
    let directory = probe::control_groups().unwrap().join(format!("rdom/{}.{home}", network()));
    let mut resident = Command::new(env::current_exe().unwrap())
        .args([TEST, "--exact", "--nocapture", "-q"])
        .env(CITIZEN, format!("{RTABLE} -"))
        .env(COMMAND, "exec sleep 60")
        .spawn()
        .unwrap();
    let procs = directory.join(RTABLE.to_string()).join("cgroup.procs");
    while !fs::read_to_string(&procs).unwrap_or_default().contains(&resident.id().to_string()) {
        assert!(resident.try_wait().unwrap().is_none(), "it ended");
        std::thread::yield_now();
    }
    let residents = group::remove_all(&network());
    assert_eq!(residents.len(), 1);
    let words = format!("rtable {RTABLE} still has residents: process {}", resident.id());
    assert_eq!(residents[0].to_string(), words);
    resident.kill().unwrap();
    resident.wait().unwrap();
    assert_eq!(group::remove_all(&network()), []);
    assert!(!directory.exists());
}
