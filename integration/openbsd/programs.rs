//! The tools as programs of a directory, each of which asks the simulator: a script hands its words over by a pipe and
//! takes what comes back. So what runs tools as processes runs on Linux; no OpenBSD is part of it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::O_NONBLOCK;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::simulator::Simulator;

/// Hands its words to the test and takes what it answers. A command of `route exec` that is no tool is run by itself,
/// with the rtable in its environment, if the simulator has that.
const STAND_IN: &str = r#"#!/bin/sh
d=$(dirname "$0")/..
ask() {
	exec 9>"$d/lock"
	flock 9
	{ printf '%s\n' "$@"; echo end-of-words; } >"$d/request"
	cat "$d/stdout"
	cat "$d/stderr" >&2
	status=$(cat "$d/status")
	exec 9>&-
	return "$status"
}
name=${0##*/}
printf '%s\n' "$name $*" >>"$d/argv"
case "$name $1 $2" in
"route -T"*" exec")
	case "$3" in
	ifconfig | route | netstat) ;;
	*)
		ask route "$1" show >/dev/null || exit 1
		SIMULATED_RTABLE=${1#-T}
		export SIMULATED_RTABLE
		shift 2
		exec "$@"
		;;
	esac
	;;
esac
"#;

/// Of ifconfig, route and netstat.
const TOOL: &str = r#"
ask "$name" "$@"
"#;

/// In the place of the request that gives a tunnel its keys: those come by standard input.
const REQUEST: &str = r#"
ask siocswg "$1" "$(od -An -v -tx1 | tr -d ' \n')"
"#;

/// How long a reader or a writer of a pipe is waited for.
const DEADLINE: Duration = Duration::from_secs(20);

/// A directory with the tools in it, and the machine that they work on.
pub(crate) struct Programs {
    directory: tempfile::TempDir,
    machine: Arc<Mutex<Simulator>>,
    server: JoinHandle<()>,
}

impl Programs {
    pub(crate) fn of(machine: Simulator) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bin = directory.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for tool in ["ifconfig", "route", "netstat"] {
            put(&bin.join(tool), &format!("{STAND_IN}{TOOL}"));
        }
        put(&bin.join("siocswg"), &format!("{STAND_IN}{REQUEST}"));
        for pipe in ["request", "stdout", "stderr", "status"] {
            mkfifo(&directory.path().join(pipe), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        }
        let machine = Arc::new(Mutex::new(machine));
        // Both ends are open here: no reading ends because a writer has gone.
        let requests =
            OpenOptions::new().read(true).write(true).open(directory.path().join("request")).unwrap();
        let server = thread::spawn({
            let (machine, place) = (machine.clone(), directory.path().to_owned());
            move || serve(&machine, requests, &place)
        });
        Self { directory, machine, server }
    }

    /// Where the tools are.
    pub(crate) fn bin(&self) -> PathBuf {
        self.directory.path().join("bin")
    }

    /// A place for files of the test.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Every command line so far: what ps(1) could have shown.
    pub(crate) fn command_lines(&self) -> String {
        fs::read_to_string(self.directory.path().join("argv")).unwrap()
    }

    /// The machine as it is now.
    pub(crate) fn machine(&self) -> Simulator {
        self.machine.lock().unwrap().clone()
    }

    /// Does something to the machine that no tool of the test's does.
    pub(crate) fn must(&self, line: &str) -> String {
        self.machine.lock().unwrap().must(line)
    }

    /// Ends the tools; what the machine is then.
    pub(crate) fn end(self) -> Simulator {
        let mut request = OpenOptions::new().write(true).open(self.directory.path().join("request")).unwrap();
        request.write_all(b"end\nend-of-words\n").unwrap();
        self.server.join().unwrap();
        self.machine.lock().unwrap().clone()
    }
}

/// A program of this text.
pub(crate) fn put(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn serve(machine: &Mutex<Simulator>, mut requests: File, directory: &Path) {
    loop {
        let words = asked(&mut requests);
        if words == ["end"] {
            return;
        }
        let output = machine.lock().unwrap().run(&words);
        answer(&directory.join("stdout"), &output.stdout);
        answer(&directory.join("stderr"), &output.stderr);
        answer(&directory.join("status"), &output.status.to_string());
    }
}

/// The next words; a test that has forgotten about its tools asks for its end.
fn asked(requests: &mut File) -> Vec<String> {
    let mut text = String::new();
    while !text.ends_with("end-of-words\n") {
        let mut waits = [PollFd::new(requests.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(3 * DEADLINE).unwrap();
        if poll(&mut waits, timeout).unwrap() == 0 {
            return vec!["end".to_owned()];
        }
        let mut some = [0; 4096];
        let length = requests.read(&mut some).unwrap();
        text += std::str::from_utf8(&some[..length]).unwrap();
    }
    let mut words: Vec<String> = text.lines().map(str::to_owned).collect();
    words.pop();
    words
}

/// Waits for the reader, who may have been killed.
fn answer(pipe: &Path, text: &str) {
    let deadline = Instant::now() + DEADLINE;
    let mut file = loop {
        match OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(pipe) {
            Ok(file) => break file,
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
            Err(_) => return,
        }
    };
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    let _ = file.write_all(text.as_bytes());
}
