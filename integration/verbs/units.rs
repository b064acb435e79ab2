//! systemd's units: well-formed, spoken to as sd_notify(3) has it, and enough under the settings that they ask for.
//!
//! No systemd runs. `systemd-analyze` reads the units; capabilities and system calls are taken away from `rdom up` as
//! systemd would, by what the unit says.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use seccompiler::{BpfMap, BpfProgram, TargetArch, apply_filter, compile_from_json};
use serde_json::{Value, json};

use crate::capability::lacks;
use crate::copy::{in_private_copies, in_roots_copy};
use crate::world::{
    Background, EXAMPLE, Traces, is_file, json, kill_supervisor, ok, pings, process, sh, signal, wait_for,
    write,
};

const UNITS: [(&str, &str); 2] = [
    ("rdom.service", include_str!("../../systemd/rdom.service")),
    ("rdom@.service", include_str!("../../systemd/rdom@.service")),
];

/// Whatever gives a service a mount namespace of its own (systemd.exec(5)): the host would not see its domains.
const MOUNTING: [&str; 19] = [
    "BindPaths",
    "BindReadOnlyPaths",
    "InaccessiblePaths",
    "LoadCredential",
    "NoExecPaths",
    "PrivateDevices",
    "PrivateMounts",
    "PrivateTmp",
    "ProcSubset",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectProc",
    "ProtectSystem",
    "RootDirectory",
    "TemporaryFileSystem",
];

/// The words that a unit gives a setting.
fn words<'u>(unit: &'u str, setting: &str) -> Vec<&'u str> {
    let values = unit.lines().filter_map(|line| line.strip_prefix(setting)?.strip_prefix('='));
    values.flat_map(str::split_whitespace).collect()
}

#[test]
fn units_are_well_formed_and_make_no_mount_namespace() {
    for (name, unit) in UNITS {
        for setting in MOUNTING {
            assert_eq!(words(unit, setting), [] as [&str; 0], "{name}: {setting}=");
        }
        assert_eq!(words(unit, "KillMode"), ["process"], "{name}: the engine lives on");
    }
    if lacks("systemd-analyze") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    for (name, unit) in UNITS {
        let path = directory.path().join(name.replace('@', "@office"));
        fs::write(&path, unit.replace("/usr/bin/rdom", "/bin/true")).expect("a unit");
        let said =
            Command::new("systemd-analyze").arg("verify").arg(&path).output().expect("systemd-analyze");
        let complaints = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success() && complaints.is_empty(), "{name}: {complaints}");
    }
}

#[test]
fn the_service_manager_hears_that_it_is_up_lives_and_ends() {
    in_private_copies("units::the_service_manager_hears_that_it_is_up_lives_and_ends", || {
        write("domains.yaml", EXAMPLE);
        let manager = UnixDatagram::bind("/run/notify").expect("a socket");
        manager.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let hear = || {
            let mut text = [0; 4096];
            let length = manager.recv(&mut text).expect("a word");
            String::from_utf8_lossy(&text[..length]).into_owned()
        };
        let up = Background::start("up", "env NOTIFY_SOCKET=/run/notify WATCHDOG_USEC=200000 rdom up");
        assert_eq!(hear(), "READY=1\nSTATUS=2 domains and 2 tunnels are up\n");
        pings("rdom1", "192.168.5.2");
        for _ in 0..5 {
            assert_eq!(hear(), "WATCHDOG=1\n");
        }
        signal(up.pid(), Signal::SIGTERM);
        while hear() != "STOPPING=1\nSTATUS=taking everything down\n" {}
        up.end().ends_with(0);
    });
}

#[test]
fn a_drop_in_puts_a_service_into_a_domain() {
    in_private_copies("units::a_drop_in_puts_a_service_into_a_domain", || {
        let blue = "{rdomain: 1, dns: {servers: [10.0.1.53], hosts: {db: 10.0.0.5}}}";
        write("campus.yaml", &format!("domains: {{blue: {blue}, 7: {{}}, 8: {{dns: host}}}}\n"));
        let drop_in = ok("rdom unit blue campus.yaml");
        for line in [
            "Wants=rdom@campus.service",
            "After=rdom@campus.service",
            "NetworkNamespacePath=/run/netns/blue",
            "BindReadOnlyPaths=/run/rdom/campus/lookups/1/resolv.conf:/etc/resolv.conf",
            "BindReadOnlyPaths=/run/rdom/campus/lookups/1/hosts:/etc/hosts",
            "BindReadOnlyPaths=-/etc/netns/blue/nsswitch.conf:/etc/nsswitch.conf",
            "InaccessiblePaths=-/run/nscd -/run/dbus -/run/avahi-daemon",
            "TemporaryFileSystem=/run/systemd/resolve:ro",
        ] {
            assert!(drop_in.lines().any(|said| said == line), "{line} in {drop_in}");
        }
        let unsaid = ok("rdom unit 7 campus.yaml");
        assert!(!unsaid.contains(":/etc/resolv.conf"), "{unsaid}");
        assert!(unsaid.contains("-/run/systemd/resolve/stub-resolv.conf\n"), "{unsaid}");
        let host = ok("rdom unit 8 campus.yaml");
        assert!(host.contains("-/etc/netns/rdom8/resolv.conf:/etc/resolv.conf"), "{host}");
        assert!(!host.contains("TemporaryFileSystem") && !host.contains("InaccessiblePaths"), "{host}");
        // What the lines name is there once the network is up, or the service would not start.
        ok("rdom up -d campus.yaml");
        for word in drop_in.lines().filter_map(|line| line.strip_prefix("BindReadOnlyPaths=/")) {
            let (source, place) = word.split_once(':').expect("a place");
            assert!(is_file(&format!("/{source}")) && is_file(place), "{word}");
        }
        ok("rdom down");
        let seen = json("rdom unit --json 7 campus.yaml");
        assert_eq!((&seen["network"], &seen["namespace"]), (&json!("campus"), &json!("rdom7")));
        sh("rdom unit red campus.yaml").ends_with(2).says("no domain red").says("it has blue, rdom7, rdom8");
        if lacks("systemd-analyze") {
            return;
        }
        write("rdom@campus.service", &UNITS[1].1.replace("/usr/bin/rdom", "/bin/true"));
        for text in [&drop_in, &unsaid, &host] {
            write("web.service", &format!("{text}ExecStart=/bin/true\n"));
            assert_eq!(ok("systemd-analyze verify ./web.service 2>&1"), "");
        }
    });
}

#[test]
fn the_settings_of_the_unit_are_enough_and_the_host_sees_a_domain_that_comes_later() {
    let test = "units::the_settings_of_the_unit_are_enough_and_the_host_sees_a_domain_that_comes_later";
    if lacks("systemd-analyze") || TargetArch::try_from(std::env::consts::ARCH).is_err() {
        return;
    }
    in_roots_copy(test, || {
        let before = Traces::now();
        write("domains.yaml", EXAMPLE);
        let confined = Confined::by(UNITS[0].1);
        confined.starts("rdom up -d");
        pings("rdom1", "192.168.5.2");
        kill_supervisor();
        write(
            "domains.yaml",
            &EXAMPLE.replace(
                "domains:\n",
                "domains:\n  later: {rdomain: 3, sysctls: {net.ipv4.ip_forward: 1}}\n",
            ),
        );
        confined.starts("rdom up -d");
        assert_eq!(ok("ip netns list | cut -d' ' -f1 | sort"), "later\nrdom1\nrdom2\n");
        assert_eq!(ok("ip netns exec later cat /proc/sys/net/ipv4/ip_forward"), "1\n");
        let killed = process("rdom-engine").expect("an engine");
        signal(killed, Signal::SIGKILL);
        wait_for("the tunnel", || sh("ip netns exec rdom2 ping -c 1 -W 1 192.168.5.1").status == 0);
        assert_ne!(process("rdom-engine"), Some(killed));
        ok("rdom down");
        before.is_all_there_is();
    });
}

/// What systemd would leave a process of this unit.
struct Confined {
    capabilities: Vec<String>,
    filter: BpfProgram,
}

impl Confined {
    fn by(unit: &str) -> Self {
        let capabilities = words(unit, "CapabilityBoundingSet").into_iter().map(str::to_owned).collect();
        Self { capabilities, filter: filter(unit) }
    }

    /// Starts a command, which must succeed. Its capabilities are bounded by setpriv(1), which lives with the filter.
    fn starts(&self, command: &str) {
        let kept: Vec<_> = self.capabilities.iter().map(|name| format!("+{}", short(name))).collect();
        let bounds = format!("--bounding-set=-all,{}", kept.join(","));
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--no-new-privs", &bounds]).args(command.split(' ')).stdin(Stdio::null());
        let filter = self.filter.clone();
        // SAFETY: seccomp(2) and prctl(2) alone, allowed between fork and exec.
        unsafe {
            setpriv.pre_exec(move || apply_filter(&filter).map_err(|_| Errno::EINVAL.into()));
        }
        let ended = setpriv.output().expect("setpriv");
        assert!(ended.status.success(), "{command}: {}", String::from_utf8_lossy(&ended.stderr));
    }
}

fn short(capability: &str) -> String {
    capability.strip_prefix("CAP_").expect("a capability").to_lowercase()
}

/// `SystemCallFilter=`, `RestrictAddressFamilies=`, `RestrictNamespaces=` and `MemoryDenyWriteExecute=` as one program;
/// execve(2) may start the program itself.
fn filter(unit: &str) -> BpfProgram {
    let mut names = vec!["execve".to_owned()];
    words(unit, "SystemCallFilter").into_iter().for_each(|word| add_calls(word, &mut names));
    names.retain(|name| compiles(json!([{"syscall": name}])).is_some());
    let rules: Vec<Value> = names.iter().flat_map(|name| rules(name, unit)).collect();
    compiles(Value::Array(rules)).expect("a filter").remove("unit").expect("a program")
}

fn add_calls(word: &str, names: &mut Vec<String>) {
    if !word.starts_with('@') {
        return names.push(word.to_owned());
    }
    let group = ok(&format!("systemd-analyze syscall-filter {word}"));
    let members =
        group.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    members.for_each(|member| add_calls(member, names));
}

fn rules(name: &str, unit: &str) -> Vec<Value> {
    let when = |argument: u8, operation: Value, value: i32| json!({"syscall": name, "args": [{"index": argument, "type": "dword", "op": operation, "val": value}]});
    let others =
        words(unit, "RestrictNamespaces").iter().fold(ALL_NAMESPACES, |left, word| left & !namespace(word));
    let (write, execute) = (libc::PROT_WRITE, libc::PROT_EXEC);
    match name {
        "socket" => words(unit, "RestrictAddressFamilies")
            .iter()
            .map(|word| when(0, json!("eq"), family(word)))
            .collect(),
        "unshare" | "clone" => vec![when(0, json!({"masked_eq": others}), 0)],
        "setns" => words(unit, "RestrictNamespaces")
            .iter()
            .map(|word| when(1, json!("eq"), namespace(word)))
            .collect(),
        "mmap" => [0, write, execute].map(|one| when(2, json!({"masked_eq": write | execute}), one)).into(),
        "mprotect" => vec![when(2, json!({"masked_eq": execute}), 0)],
        _ => vec![json!({"syscall": name})],
    }
}

const ALL_NAMESPACES: i32 = libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWUTS;

fn namespace(word: &str) -> i32 {
    match word {
        "net" => libc::CLONE_NEWNET,
        "mnt" => libc::CLONE_NEWNS,
        _ => panic!("namespaces of type {word}"),
    }
}

fn family(word: &str) -> i32 {
    match word {
        "AF_UNIX" => libc::AF_UNIX,
        "AF_NETLINK" => libc::AF_NETLINK,
        "AF_INET" => libc::AF_INET,
        "AF_INET6" => libc::AF_INET6,
        _ => panic!("family {word}"),
    }
}

fn compiles(rules: Value) -> Option<BpfMap> {
    let refused = json!({"errno": Errno::EPERM as i32});
    let filter = json!({"unit": {"mismatch_action": refused, "match_action": "allow", "filter": rules}});
    let arch = TargetArch::try_from(std::env::consts::ARCH).ok()?;
    compile_from_json(filter.to_string().as_bytes(), arch).ok()
}
