//! What a test sees of its copy: commands as a user types them, and what they leave behind.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The manual page's example, with the engine that every kernel can have.
pub(crate) const EXAMPLE: &str =
    concat!(include_str!("../../domains.yaml"), "\ndefaults: {engine: userspace}\n");

/// The same, left as somebody sets it by hand.
pub(crate) fn unwatched() -> String {
    EXAMPLE.replace("{engine: userspace}", "{engine: userspace, drift: off}")
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit status, 128 + n if signal n ended it.
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let status = output.status.code().or(output.status.signal().map(|signal| 128 + signal));
        Self { status: status.expect("an end"), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    pub(crate) fn ends_with(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }

    /// Whether standard output and error together have these words.
    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(self.out.contains(words) || self.err.contains(words), "{words:?} is not in {self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// Runs a line of shell.
pub(crate) fn sh(script: &str) -> Ran {
    Ran::of(Command::new("sh").args(["-c", script]).stdin(Stdio::null()).output().expect("sh"))
}

/// What a line of shell prints; it must succeed.
#[track_caller]
pub(crate) fn ok(script: &str) -> String {
    sh(script).ends_with(0).out
}

/// The JSON that a command prints.
#[track_caller]
pub(crate) fn json(script: &str) -> Value {
    sh(script).ends_with(0).json()
}

/// Whether `rdom demo`, whose file leaves the engine open, gets the kernel's.
pub(crate) fn kernel_has_wireguard() -> bool {
    sh("ip link add probe type wireguard && ip link delete probe").status == 0
}

pub(crate) fn write(path: &str, text: &str) {
    fs::write(path, text).expect(path);
}

/// Writes the manual page's example to domains.yaml and brings it up.
#[track_caller]
pub(crate) fn up() {
    write("domains.yaml", EXAMPLE);
    ok("rdom up -d");
}

/// The process that holds a network up, as the kernel's list of locks has it.
#[track_caller]
pub(crate) fn supervisor() -> i32 {
    let inode = ok("stat -c %i /run/rdom/*/lock");
    let holder = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, file, ..] = words[..] else { return None };
        (file.rsplit(':').next() == Some(inode.trim())).then(|| pid.parse().ok())?
    };
    let locks = fs::read_to_string("/proc/locks").expect("/proc/locks");
    locks.lines().find_map(holder).unwrap_or_else(|| panic!("nobody holds inode {inode}: {locks}"))
}

pub(crate) fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("a process");
}

/// Kills the supervisor as only kill -9 can, and waits until it is gone.
pub(crate) fn kill_supervisor() {
    let pid = supervisor();
    signal(pid, Signal::SIGKILL);
    wait_for("the end of the supervisor", || !is_alive(pid));
}

fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

pub(crate) fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A command that goes on while the test does; its output is in files.
pub(crate) struct Background {
    child: Child,
    name: &'static str,
}

impl Background {
    pub(crate) fn start(name: &'static str, script: &str) -> Self {
        let script = format!("exec {script} >/run/{name}.out 2>/run/{name}.err");
        let child = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).spawn().expect("sh");
        Self { child, name }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// Standard output and error so far.
    pub(crate) fn said(&self) -> String {
        let file = |end| fs::read_to_string(format!("/run/{}.{end}", self.name)).unwrap_or_default();
        file("out") + &file("err")
    }

    pub(crate) fn waits_until(self, words: &str) -> Self {
        wait_for(words, || self.said().contains(words));
        self
    }

    pub(crate) fn end(mut self) -> Ran {
        let output = self.child.wait().expect("its end");
        let ended = Output { status: output, stdout: self.said().into_bytes(), stderr: Vec::new() };
        for end in ["out", "err"] {
            let _ = fs::remove_file(format!("/run/{}.{end}", self.name));
        }
        Ran::of(ended)
    }
}

/// Everything that a network leaves on a machine while it is up: to be the same after as before.
#[derive(Debug, PartialEq)]
pub(crate) struct Traces {
    namespaces: String,
    links: String,
    addresses: String,
    routes: String,
    rules: String,
    mounts: String,
    processes: String,
    groups: String,
    sockets: String,
    files: String,
}

/// The control groups of this copy's networks, and of private copies that are made in it. Others may have theirs.
const GROUPS: &str = "home=$(stat -Lc %i /proc/self/ns/net) pids=$(stat -Lc %i /proc/self/ns/pid)
    for mount in $(findmnt -rnt cgroup2 -o TARGET); do
        ls -d $mount/rdom/*.$home $mount/rdom.copy.$pids.* 2>/dev/null
    done; true";

/// Sockets, whatever waits in their queues: two numbers behind the state.
const SOCKETS: &str = r"{ ss -H -a -n -u; ss -H -a -n -t; ss -H -a -n -x src '/run/*'; } |
    sed -E 's/^((u_[a-z]+ +)?[A-Z0-9-]+) +[0-9]+ +[0-9]+ +/\1 /'";

impl Traces {
    /// Holds what there is now against this; a process that has said its last word may take a moment to go.
    pub(crate) fn is_all_there_is(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Self::now() != *self && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let now = Self::now();
        let (now, before) = (now.lines(), self.lines());
        let missing: Vec<_> = before.iter().filter(|line| !now.contains(line)).collect();
        let left: Vec<_> = now.iter().filter(|line| !before.contains(line)).collect();
        assert!(missing.is_empty() && left.is_empty(), "left: {left:#?}\nmissing: {missing:#?}");
    }

    fn lines(&self) -> Vec<&str> {
        let Self { namespaces, links, addresses, routes, rules, mounts, processes, groups, sockets, files } =
            self;
        let all = [namespaces, links, addresses, routes, rules, mounts, processes, groups, sockets, files];
        all.into_iter().flat_map(|text| text.lines()).collect()
    }

    pub(crate) fn now() -> Self {
        Self {
            namespaces: ok("ls -i /run/netns"),
            links: ok("ip -br link"),
            addresses: ok("ip -br address"),
            routes: ok("ip route show table all; ip -6 route show table all"),
            rules: ok("ip rule; ip -6 rule"),
            mounts: ok("cut -d' ' -f3- /proc/self/mountinfo"),
            processes: processes(),
            groups: ok(GROUPS),
            sockets: ok(SOCKETS),
            files: ok("find /run -path /run/state -prune -o -path /run/work -prune -o -print | sort"),
        }
    }
}

/// The processes of the copy, less those that look and the dead that nobody has buried yet.
fn processes() -> String {
    let own = std::process::id();
    let mut found: Vec<_> = fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| is_alive(*pid) && u32::try_from(*pid) != Ok(own))
        .filter_map(|pid| Some(format!("{pid} {}", fs::read_to_string(format!("/proc/{pid}/comm")).ok()?)))
        .collect();
    found.sort();
    found.concat()
}

/// Whether a process of this name lives.
pub(crate) fn is_running(comm: &str) -> bool {
    process(comm).is_some()
}

/// The process of this name.
pub(crate) fn process(comm: &str) -> Option<i32> {
    let processes = processes();
    let mut found = processes.lines().filter_map(|line| line.split_once(' '));
    found.find(|(_, name)| *name == comm).and_then(|(pid, _)| pid.parse().ok())
}

/// The local ports of the UDP sockets of a namespace, `default` or a name, sorted, IPv4 first.
#[track_caller]
pub(crate) fn udp_ports(namespace: &str) -> Vec<u16> {
    let prefix = match namespace {
        "default" => String::new(),
        name => format!("ip netns exec {name} "),
    };
    let ports = |family: &str| {
        let text = ok(&format!("{prefix}ss -H -l -u -n {family}"));
        let port = |line: &str| line.split_whitespace().nth(3)?.rsplit_once(':')?.1.parse().ok();
        let mut ports: Vec<u16> = text.lines().filter_map(port).collect();
        ports.sort_unstable();
        ports
    };
    [ports("-4"), ports("-6")].concat()
}

/// The addresses of an interface with their lengths, link-local ones left out, as ip(8) has them.
#[track_caller]
pub(crate) fn addresses(namespace: &str, interface: &str) -> Vec<String> {
    let seen = json(&format!("ip -n {namespace} -j address show dev {interface}"));
    let each = seen[0]["addr_info"].as_array().expect("addr_info");
    let each = each.iter().filter(|address| address["scope"] != "link");
    each.map(|address| format!("{}/{}", address["local"].as_str().expect("local"), address["prefixlen"]))
        .collect()
}

#[track_caller]
pub(crate) fn pings(namespace: &str, address: &str) {
    ok(&format!("ip netns exec {namespace} ping -c 1 -W 5 {address}"));
}

#[track_caller]
pub(crate) fn is_file(path: &str) -> bool {
    Path::new(path).exists()
}
