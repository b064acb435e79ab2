//! `scripts/openbsd-verify` on stand-ins for the tools that ask the simulator. That shows two things: its own logic is
//! sound, and the simulator has every property that it asks for. What an OpenBSD does it does not show.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::simulator::Simulator;

/// Hands its words to the test and takes what it answers.
const STAND_IN: &str = r#"#!/bin/sh
d=$(dirname "$0")/..
{ printf '%s\n' "${0##*/}"; [ $# = 0 ] || printf '%s\n' "$@"; } >"$d/request"
cat "$d/stdout"
cat "$d/stderr" >&2
exit "$(cat "$d/status")"
"#;

fn put(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs the script against this machine; what the machine is afterwards.
fn verify(machine: Simulator, words: &[&str]) -> (Output, Simulator, String) {
    let directory = tempfile::tempdir().unwrap();
    let bin = directory.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for tool in ["ifconfig", "route", "netstat"] {
        put(&bin.join(tool), STAND_IN);
    }
    put(&bin.join("uname"), "#!/bin/sh\necho OpenBSD-simulator\n");
    put(&bin.join("id"), "#!/bin/sh\necho 0\n");
    for pipe in ["request", "stdout", "stderr", "status"] {
        mkfifo(&directory.path().join(pipe), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    }
    let server = thread::spawn({
        let directory = directory.path().to_owned();
        move || serve(machine, &directory)
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/openbsd-verify");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    let output = command.arg(script).args(words).env("PATH", path).current_dir(&directory).output().unwrap();
    fs::write(directory.path().join("request"), "end\n").unwrap();
    let report = fs::read_to_string(directory.path().join("openbsd-verify.txt")).unwrap_or_default();
    let observed = directory.path().join("captured");
    let captured =
        if observed.exists() { fs::read_to_string(observed.join("route-T1")).unwrap() } else { report };
    (output, server.join().unwrap(), captured)
}

fn serve(mut machine: Simulator, directory: &Path) -> Simulator {
    loop {
        let request = fs::read_to_string(directory.join("request")).unwrap();
        let words: Vec<String> = request.lines().map(str::to_owned).collect();
        if words == ["end"] {
            return machine;
        }
        let output = machine.run(&words);
        for (pipe, text) in
            [("stdout", output.stdout), ("stderr", output.stderr), ("status", output.status.to_string())]
        {
            let mut file = fs::OpenOptions::new().write(true).open(directory.join(pipe)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
    }
}

#[test]
fn every_property_holds_of_the_simulator_and_nothing_is_left() {
    let before = Simulator::new();
    let (output, after, report) = verify(before.clone(), &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}{}\n{report}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(" hold, 0 do not: openbsd-verify.txt"), "{said}");
    assert!(report.lines().filter(|line| line.starts_with("PASS ")).count() > 80, "{report}");
    assert_eq!(after.interfaces.len(), before.interfaces.len());
    assert!(after.rtables.values().all(|table| table.rdomain == 0 && table.routes.is_empty()));
}

#[test]
fn what_does_not_hold_is_told() {
    let mut machine = Simulator::new();
    // An rtable that is there already is no rtable that is missing.
    machine.must("route -T206 -n add 10.0.0.0/8 192.0.2.1");
    let (output, _, report) = verify(machine, &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("FAIL 6: route -T206 -n show: status 0"), "{said}");
    assert!(report.contains("FAIL 6: route -T206 -n show (status 0)\n    | Routing tables"), "{report}");
}

#[test]
fn what_is_somebody_elses_is_not_touched() {
    let mut machine = Simulator::new();
    machine.must("ifconfig wg201 create wgport 1");
    let before = machine.clone();
    let (output, after, _) = verify(machine, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("wg201 is there already"));
    assert_eq!(after, before);
}

#[test]
fn a_capture_has_what_a_plan_begins_with() {
    let mut machine = Simulator::new();
    machine.must("ifconfig vether1 rdomain 1 10.0.0.1/24");
    let (output, _, captured) = verify(machine, &["capture", "captured"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(captured.contains("10.0.0/24"), "{captured}");
}
