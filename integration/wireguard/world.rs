//! Two namespaces with an engine in each, and what tests do in them.

use std::fs::{self, File};
use std::net::UdpSocket;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use rdomain::wireguard::{Device, LinkEvents, Parts, UnderlaySockets, open_tun};

const INSIDE: &str = "RDOM_TEST_INSIDE";

/// What runs an interface in the foreground; its name follows.
pub(crate) const OURS: &str = concat!(env!("CARGO_BIN_EXE_rdom"), " wireguard -f");
/// The same with several queues of the interface and sockets of its port.
pub(crate) const OURS_IN_QUEUES: &str =
    concat!("env RDOM_QUEUES=4 ", env!("CARGO_BIN_EXE_rdom"), " wireguard -f");
/// The same without offloads.
pub(crate) const OURS_PLAIN: &str =
    concat!("env RDOM_OFFLOADS=none ", env!("CARGO_BIN_EXE_rdom"), " wireguard -f");
pub(crate) const WIREGUARD_GO: &str = "wireguard-go -f";

/// Two namespaces, an engine in each, configured and up.
pub(crate) struct Topology {
    pub(crate) engine: Background,
    _other: Background,
    pub(crate) preshared_key: String,
    pub(crate) public_keys: [String; 2],
}

impl Topology {
    /// Ours in one and wireguard-go in the other.
    pub(crate) fn new() -> Self {
        Self::between(OURS, WIREGUARD_GO)
    }

    pub(crate) fn between(ours: &str, other: &str) -> Self {
        for namespace in ["a", "b"] {
            run(&format!("test -e /run/netns/{namespace} || ip netns add {namespace}"));
            run(&format!("ip -n {namespace} link set lo up"));
        }
        run("ip -n a link add v0 type veth peer name v0 netns b");
        let engine = Background::start(&format!("nsenter --net=/run/netns/a {ours} wga"));
        let other = Background::start(&format!("nsenter --net=/run/netns/b {other} wgb >/dev/null 2>&1"));
        let public_keys = ["a", "b"].map(key_pair);
        run("wg genpsk > /run/psk");
        let preshared_key = fs::read_to_string("/run/psk").unwrap().trim().to_owned();
        for interface in ["wga", "wgb"] {
            let socket = format!("/var/run/wireguard/{interface}.sock");
            wait_for(&socket, || Path::new(&socket).exists());
        }
        let [a, b] = &public_keys;
        run(&format!(
            "wg set wga private-key /run/a.key listen-port 1111 peer {b} preshared-key /run/psk \
             endpoint 172.16.0.2:2222 allowed-ips 10.9.0.2/32,fd09::2/128"
        ));
        run(&format!(
            "wg set wgb private-key /run/b.key listen-port 2222 peer {a} preshared-key /run/psk \
             endpoint 172.16.0.1:1111 allowed-ips 10.9.0.1/32,fd09::1/128"
        ));
        for (namespace, number) in [("a", 1), ("b", 2)] {
            run(&format!("ip -n {namespace} address add 172.16.0.{number}/24 dev v0"));
            run(&format!("ip -n {namespace} address add 10.9.0.{number}/24 dev wg{namespace}"));
            run(&format!("ip -n {namespace} address add fd09::{number}/64 dev wg{namespace} nodad"));
            run(&format!("ip -n {namespace} link set v0 up"));
            run(&format!("ip -n {namespace} link set wg{namespace} up"));
        }
        Self { engine, _other: other, preshared_key, public_keys }
    }
}

/// A new namespace rdomN with wgN in it, which has so many queues, and whose sockets will be in the underlay.
pub(crate) fn device_in_domain(domain: usize, underlay: &str, queues: usize) -> Device {
    run(&format!("ip netns add rdom{domain} && ip -n rdom{domain} link set lo up"));
    let name = format!("wg{domain}");
    let underlay = File::open(underlay).unwrap().into();
    let namespace = File::open(format!("/run/netns/rdom{domain}")).unwrap();
    // All of the device lives in the domain; only its sockets are elsewhere.
    let spawn = move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        let parts = Parts {
            tun: open_tun(&name, queues).unwrap(),
            link: LinkEvents::open(&name).unwrap(),
            uapi: UnixListener::bind(format!("/var/run/wireguard/{name}.sock")).unwrap(),
            sockets: Box::new(UnderlaySockets::new(Some(underlay))),
            routes: None,
            changes: None,
            name,
        };
        Device::spawn(parts).unwrap()
    };
    std::thread::spawn(spawn).join().unwrap()
}

/// Makes /run/NAME.key and tells its public half.
pub(crate) fn key_pair(name: &str) -> String {
    run(&format!("wg genkey > /run/{name}.key"));
    run(&format!("wg pubkey < /run/{name}.key")).trim().to_owned()
}

/// The first peer's line of `wg show IF dump`.
pub(crate) struct Dump {
    pub(crate) preshared_key: String,
    pub(crate) endpoint: String,
    pub(crate) allowed_ips: String,
    pub(crate) handshake: u64,
    pub(crate) rx: u64,
    pub(crate) tx: u64,
}

pub(crate) fn dump(interface: &str) -> Dump {
    let text = run(&format!("wg show {interface} dump"));
    let fields: Vec<_> = text.lines().nth(1).unwrap().split('\t').collect();
    let [_, preshared_key, endpoint, allowed_ips, handshake, rx, tx, _] = fields.as_slice() else {
        panic!("{text}")
    };
    Dump {
        preshared_key: (*preshared_key).to_owned(),
        endpoint: (*endpoint).to_owned(),
        allowed_ips: (*allowed_ips).to_owned(),
        handshake: handshake.parse().unwrap(),
        rx: rx.parse().unwrap(),
        tx: tx.parse().unwrap(),
    }
}

/// Some 32 bytes as `wg` writes a key.
pub(crate) fn public_key_of(number: u32) -> String {
    use base64::Engine as _;
    let mut bytes = [1; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Takes a UDP port of a namespace.
pub(crate) fn squat(namespace: &str, port: u16) -> UdpSocket {
    let namespace = File::open(format!("/run/netns/{namespace}")).unwrap();
    let bind = move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        UdpSocket::bind(("0.0.0.0", port)).unwrap()
    };
    std::thread::spawn(bind).join().unwrap()
}

/// Whether three packets in a row come back, within a few seconds.
pub(crate) fn ping(namespace: &str, address: &str) -> bool {
    let command = format!("nsenter --net=/run/netns/{namespace} ping -c 3 -i 0.05 -w 3 {address}");
    output(&command).status.success()
}

/// The ports of all UDP sockets of a namespace, IPv4's and then IPv6's, each once.
pub(crate) fn udp_ports(namespace: &str) -> Vec<u16> {
    listening(&format!("nsenter --net=/run/netns/{namespace} cat"))
}

/// The same, read with another `cat`.
pub(crate) fn listening(cat: &str) -> Vec<u16> {
    let of_family = |table: &str| {
        let mut ports = local_ports(&run(&format!("{cat} /proc/thread-self/net/{table}")));
        ports.sort_unstable();
        ports.dedup();
        ports
    };
    [of_family("udp"), of_family("udp6")].concat()
}

/// How many UDP sockets of this port a namespace has, both families.
pub(crate) fn udp_sockets(namespace: &str, port: u16) -> usize {
    let cat = format!("nsenter --net=/run/netns/{namespace} cat");
    let text = run(&format!("{cat} /proc/thread-self/net/udp /proc/thread-self/net/udp6"));
    local_ports(&text).iter().filter(|of| **of == port).count()
}

fn local_ports(text: &str) -> Vec<u16> {
    let local = text.lines().filter_map(|line| line.split_whitespace().nth(1)?.rsplit_once(':'));
    local.filter_map(|(_, port)| u16::from_str_radix(port, 16).ok()).collect()
}

pub(crate) fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A command's output; panics with its errors if it fails.
pub(crate) fn run(command: &str) -> String {
    let output = output(command);
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn output(command: &str) -> Output {
    Command::new("sh").args(["-c", &format!("umask 077; {command}")]).output().unwrap()
}

/// A process that is killed when the test is over.
pub(crate) struct Background(pub(crate) std::process::Child);

impl Background {
    pub(crate) fn start(command: &str) -> Self {
        let command = format!("exec {command}");
        Self(Command::new("sh").args(["-c", &command]).stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs this very test again in namespaces of its own, or does what it is there for.
pub(crate) fn in_private_copy(test: &str, task: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        run("mount -t tmpfs tmpfs /run && mkdir -p /run/netns /run/wireguard");
        return task();
    }
    if let Some(missing) = missing_tool() {
        assert!(std::env::var_os("RDOM_REQUIRE_ALL").is_none(), "{missing} is not installed");
        eprintln!("skipped: {missing} is not installed");
        return;
    }
    let copy = Command::new("unshare")
        .args(["-Urnmp", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let [out, err] = [copy.stdout, copy.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    eprintln!("{out}{err}");
    assert!(copy.status.success() && out.contains("1 passed"), "{test} failed in its private copy");
}

fn missing_tool() -> Option<&'static str> {
    let tools = ["unshare", "nsenter", "ip", "ping", "wg", "wireguard-go"];
    tools.into_iter().find(|tool| !output(&format!("command -v {tool}")).status.success())
}
