//! The command line of OpenBSD, with processes for tools that ask the simulator. That shows the runner, not an OpenBSD.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdomain::status::StatusView;

use super::programs::Programs;
use super::simulator::Simulator;

/// A name's endpoint, a preshared key, routes and a link: what a kernel tells and what it does not.
const FILE: &str = "\
domains:
  blue:
    rdomain: 1
    interfaces:
      wg1:
        addresses: [10.8.0.1/24]
        wireguard:
          listen_port: 7111
          peers:
            site: {public_key: \"wm00xLZKnE37LJnenDz+A8AKFVvIhvkp9QG7SgnZsiM=\", endpoint: \"vpn.example:7222\",
                   preshared_key_file: site.psk, allowed_ips: [10.8.0.2/32]}
    routes: [{to: 10.20.0.0/16, via: 10.8.0.2}]
  2: {}
links: [{ends: [blue/pair1, 2/pair2]}]
";

fn command(programs: &Programs, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdom"));
    command.args(words).env("RDOM_OPENBSD_TOOLS", programs.bin()).env("NO_COLOR", "1");
    command.env("RDOM_STATE_DIR", programs.path().join("state"));
    command.env("RDOM_RUNTIME_DIR", programs.path().join("run"));
    command.current_dir(programs.path()).stdin(Stdio::null());
    command
}

pub(crate) fn rdom(programs: &Programs, words: &[&str]) -> Output {
    command(programs, words).output().unwrap()
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs it and expects this status; what it printed.
pub(crate) fn ends(programs: &Programs, words: &[&str], status: i32) -> String {
    let output = rdom(programs, words);
    assert_eq!(output.status.code(), Some(status), "{words:?}\n{}{}", out(&output), err(&output));
    format!("{}{}", out(&output), err(&output))
}

pub(crate) fn installed(yaml: &str) -> (Programs, Simulator) {
    let machine = Simulator::new();
    let programs = Programs::of(machine.clone());
    fs::write(programs.path().join("net.yaml"), yaml).unwrap();
    fs::write(programs.path().join("site.psk"), "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=\n").unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(programs.path().join("site.psk"), fs::Permissions::from_mode(0o600)).unwrap();
    (programs, machine)
}

#[test]
fn a_network_comes_up_and_changes_and_goes() {
    let (programs, before) = installed(FILE);
    assert!(ends(&programs, &["apply", "net.yaml"], 2).contains("network net is not up"));
    let planned = ends(&programs, &["plan", "net.yaml"], 3);
    assert!(planned.contains("ifconfig wg1 create description rdom:net wgport 7111"), "{planned}");
    let steps = ends(&programs, &["plan", "--format", "steps", "net.yaml"], 3);
    assert!(steps.starts_with("create domain 1 (blue)\n"), "{steps}");
    assert!(ends(&programs, &["up", "-d", "net.yaml"], 0).contains("network net is up"));
    assert_eq!(ends(&programs, &["plan", "net.yaml"], 0), "", "neither a name nor a preshared key is drift");
    assert!(ends(&programs, &["up", "-d", "net.yaml"], 0).contains("(0 steps)"));

    let status = ends(&programs, &["status"], 0);
    for line in ["network net", "domain 1 blue", "wg1: flags=80c3<", "\twgpeer wm00", "lo2: flags="] {
        assert!(status.contains(line), "{line}: {status}");
    }
    assert!(!status.contains("em0"), "{status}");

    fs::write(programs.path().join("net.yaml"), FILE.replace("10.20.0.0/16", "10.21.0.0/16")).unwrap();
    assert!(ends(&programs, &["apply", "net.yaml"], 0).contains("as the file says: 2 steps"));
    assert!(programs.must("route -T1 -n show").contains("10.21/16"));
    programs.must("ifconfig pair2 destroy");
    assert!(ends(&programs, &["plan", "--format", "steps", "net.yaml"], 3).contains("pair2"));
    ends(&programs, &["up", "-d", "net.yaml"], 0);

    let secret = fs::read_to_string(programs.path().join("state/net/keys/1-wg1")).unwrap();
    let told = ends(&programs, &["-vvv", "down"], 0);
    assert!(told.contains("network net is down"), "{told}");
    assert!(!told.contains(secret.trim()));
    assert!(ends(&programs, &["down"], 0).contains("nothing is up"));
    assert!(!programs.path().join("run/net").exists());
    let after = programs.end();
    assert_eq!(after.interfaces, before.interfaces);
}

/// Neither the tunnel's own key nor a peer's preshared one, whatever is done with them.
#[test]
fn no_key_is_on_a_command_line() {
    let (programs, _) = installed(FILE);
    ends(&programs, &["up", "-d", "net.yaml"], 0);
    let key = fs::read_to_string(programs.path().join("state/net/keys/1-wg1")).unwrap();
    let tunnel = |programs: &Programs| programs.machine().interface("wg1").unwrap().tunnel.clone().unwrap();
    let (first, psk) = (tunnel(&programs), "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=");
    assert!(first.key.is_some() && first.peers[0].preshared.is_some());
    assert_eq!((first.peers.len(), first.peers[0].allowed_ips.len()), (1, 1));

    let other = "IRgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=";
    fs::write(programs.path().join("site.psk"), other).unwrap();
    ends(&programs, &["apply", "net.yaml"], 0);
    assert_ne!(tunnel(&programs).peers[0].preshared, first.peers[0].preshared);
    let told = programs.command_lines();
    assert!(told.contains("ifconfig wg1 create") && told.contains("siocswg wg1\n"), "{told}");
    for secret in [key.trim(), psk, other] {
        assert!(!told.contains(secret), "{told}");
    }
    assert!(!told.contains("wgkey") && !told.contains("wgpsk"), "{told}");

    ends(&programs, &["down"], 0);
    fs::remove_file(programs.bin().join("siocswg")).unwrap();
    let told = ends(&programs, &["up", "-d", "net.yaml"], 1);
    for part in
        ["wg1: SIOCSWG: No such file", "RDOM_OPENBSD_KEYS=argv", "net.yaml:5:", "everything is as it was"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    let argv =
        command(&programs, &["up", "-d", "net.yaml"]).env("RDOM_OPENBSD_KEYS", "argv").output().unwrap();
    assert!(argv.status.success(), "{}", err(&argv));
    assert!(programs.command_lines().contains(&format!("wgkey {}", key.trim())));
    ends(&programs, &["down"], 0);
    programs.end();
}

/// The document of Linux: a script that reads one reads the other.
#[test]
fn status_is_the_same_document_as_on_linux() {
    let (programs, _) = installed(FILE);
    ends(&programs, &["up", "-d", "net.yaml"], 0);
    let json = ends(&programs, &["status", "--json"], 0);
    let view: StatusView = serde_json::from_str(&json).unwrap();
    assert_eq!((view.network.as_str(), view.domains.len()), ("net", 3));
    let blue = &view.domains[1];
    assert_eq!((blue.name.as_str(), blue.isolation.as_deref()), ("blue", Some("rdomain")));
    let of = |name: &str| {
        blue.interfaces.iter().find(|found| found.name == name).unwrap_or_else(|| panic!("{json}"))
    };
    assert_eq!(of("lo").addresses, ["127.0.0.1/8", "::1/128"]);
    assert_eq!((of("pair1").kind.as_str(), of("pair1").state.as_str()), ("veth", "up"));
    let tunnel = of("wg1").tunnel.as_ref().unwrap();
    assert_eq!((tunnel.listen_port, tunnel.underlay, &tunnel.sockets_in[..]), (7111, 0, &[0][..]));
    assert_eq!(tunnel.peers[0].view.endpoint, "198.51.100.7:7222".parse().ok());
    assert!(tunnel.peers[0].view.has_preshared_key);
    programs.must("ifconfig wg1 down");
    let json = ends(&programs, &["status", "--json"], 0);
    let view: StatusView = serde_json::from_str(&json).unwrap();
    let (_, held, tunnel) = view.tunnels().next().unwrap();
    assert_eq!((held.state.as_str(), tunnel.sockets_in.len()), ("down", 0));
    ends(&programs, &["down"], 0);
    programs.end();
}

#[test]
fn a_program_becomes_a_citizen_by_route() {
    let (programs, _) = installed(FILE);
    ends(&programs, &["up", "-d", "net.yaml"], 0);
    let script = "echo rtable $SIMULATED_RTABLE; exit 7";
    for domain in [&["-T1", "--"][..], &["blue"], &["1"], &["-T", "blue"]] {
        let words = [&["exec"], domain, &["sh", "-c", script]].concat();
        assert_eq!(ends(&programs, &words, 7), "rtable 1\n");
    }
    assert!(ends(&programs, &["exec", "9", "true"], 1).contains("route: routing table 9: No such file"));
    assert!(ends(&programs, &["exec", "green", "true"], 1).contains("there is no domain green"));
    ends(&programs, &["exec", "1", "no-such-program"], 127);
    programs.end();
}

/// What ifconfig(8) says with status 0 is an error, at its line, and nothing is left.
#[test]
fn a_warning_is_an_error_and_everything_is_as_before() {
    let (programs, _) = installed(FILE);
    programs.must("route -T2 -n add 10.99.0.0/16 192.0.2.1");
    let before = programs.machine();
    let told = ends(&programs, &["up", "-d", "net.yaml"], 1);
    for part in
        ["SIOCSIFRDOMAIN: Invalid argument", "net.yaml:13:", "`route -T N flush`", "everything is as it was"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    let mut after = programs.end();
    // Tables are never deleted.
    after.rtables.remove(&1);
    assert_eq!(after.normal(), before.normal());
}

#[test]
fn what_openbsd_cannot_do_is_said_before_anything_is_done() {
    let (programs, before) = installed("domains: {300: {}}\n");
    assert!(ends(&programs, &["up", "-d", "net.yaml"], 4).contains("rdomain 300: too large"));
    assert_eq!(programs.end(), before);
}

fn foreground(programs: &Programs) -> Child {
    let mut command = command(programs, &["up", "net.yaml"]);
    let child = command.stdout(Stdio::null()).process_group(0).spawn().unwrap();
    until("it is up", || programs.machine().interface("wg1").is_some_and(|wg1| !wg1.addresses.is_empty()));
    until("the plan is empty", || rdom(programs, &["plan", "net.yaml"]).status.success());
    child
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn in_the_foreground_it_lasts_until_ctrl_c_or_down() {
    let (programs, before) = installed(FILE);
    let mut child = foreground(&programs);
    assert!(ends(&programs, &["up", "-d", "net.yaml"], 2).contains("is kept by process"));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(programs.machine().interfaces, before.interfaces);

    let mut child = foreground(&programs);
    assert!(ends(&programs, &["down"], 0).contains("network net is down"));
    assert!(child.wait().unwrap().success());
    assert_eq!(programs.end().interfaces, before.interfaces);
}

#[test]
fn what_a_killed_process_left_the_next_one_finishes() {
    let (programs, before) = installed(FILE);
    let mut child = foreground(&programs);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(ends(&programs, &["plan", "net.yaml"], 0), "");
    ends(&programs, &["down"], 0);
    assert_eq!(programs.end().interfaces, before.interfaces);
}
