//! What an operator sees of a real kernel: each test builds a small topology with ip(8) in namespaces of its own
//! (a child user namespace, so that root and ordinary users see the same) and looks at it.

use std::env;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rdomain::backend::linux::netlink::{Netlink, Protocol};
use rdomain::backend::linux::view::{self, Scope, Which};
use rdomain::exec::ping::{Ping, Summary, ping};
use rdomain::model::{DomainId, DomainName};
use rdomain::status::{Detail, InterfaceView, not_in_table, render_interfaces, render_rdomains};

/// Set in the copy of this program that runs inside.
const INSIDE: &str = "RDOM_TEST_INSIDE";

/// Runs the test of this name again in new user, network and mount namespaces, with /run empty.
fn inside(name: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        run("mount -t tmpfs tmpfs /run");
        return body();
    }
    let program = env::current_exe().expect("the path of this program");
    let output = Command::new("unshare")
        .args(["-Urnm", "--"])
        .arg(program)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare(1)");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains(" 1 passed"), "{name}:\n{said}\n{complained}");
}

/// Runs commands, one a line; each must succeed.
fn run(commands: &str) {
    for line in commands.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<_> = line.split_whitespace().collect();
        let output = Command::new(words[0]).args(&words[1..]).output().expect(words[0]);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

fn domain(number: u32) -> DomainId {
    DomainId::new(number).expect("a number")
}

fn route_socket() -> Netlink {
    Netlink::here(Protocol::Route).expect("a netlink socket")
}

fn routes(number: u32) -> String {
    view::route_table(domain(number), &Scope::default(), Which::Own, &mut route_socket())
        .expect("routes")
        .to_string()
}

fn interfaces(number: u32) -> Vec<InterfaceView> {
    let name = DomainName::of_number(domain(number));
    view::interfaces(domain(number), &name, &Scope::default(), &mut route_socket(), |_| None)
        .expect("interfaces")
}

fn ifconfig(number: u32, name: &str) -> String {
    let found: Vec<_> = interfaces(number).into_iter().filter(|view| view.name == name).collect();
    render_interfaces(&found, Detail::Whole)
}

/// A veth pair with fixed names and link addresses, and a TUN as a tunnel's engine has it.
const TOPOLOGY: &str = "
    sysctl -qw net.ipv6.conf.default.addr_gen_mode=1
    ip link set lo up
    ip address del 127.0.0.1/8 dev lo
    ip address del ::1/128 dev lo
    ip link add a0 address 02:00:00:00:00:0a index 10 type veth peer name b0 address 02:00:00:00:00:0b index 11
    ip link set a0 up
    ip link set b0 up
    ip address add 192.0.2.1/24 dev a0
    ip -6 address add fd00::1/64 dev a0 nodad
";

#[test]
fn routes_print_in_openbsds_order_and_words() {
    inside("routes_print_in_openbsds_order_and_words", || {
        run(TOPOLOGY);
        run("
            ip route add default via 192.0.2.254 mtu lock 1400
            ip route add 10.0.0.0/8 via 192.0.2.7 metric 20
            ip route add 10.0.0.0/10 via 192.0.2.7 protocol ospf
            ip route add 10.8.0.0/16 nexthop via 192.0.2.8 nexthop via 192.0.2.9
            ip route add 172.16.0.0/12 dev a0
            ip route add unreachable 10.66.0.0/16
            ip route add blackhole 10.67.0.1/32
            ip -6 route add 2001:db8:20::/48 via fd00::2
            ip -6 route add unreachable 2001:db8:66::/48
            ip route add 203.0.113.0/24 via 192.0.2.5 table 77
            ip neighbour add 192.0.2.254 dev a0 lladdr 02:00:00:00:00:fe nud permanent
        ");
        assert_eq!(
            routes(1),
            "\
Routing tables

Internet:
Destination        Gateway            Flags   Refs      Use   Mtu  Prio Iface
default            192.0.2.254        UGS        0        0  1400 L   8 a0   
10/8               192.0.2.7          UGS        0        0     -    20 a0   
10.0/10            192.0.2.7          UG         0        0     -    32 a0   
10.8/16            192.0.2.8          UGSP       0        0     -     8 a0   
10.8/16            192.0.2.9          UGSP       0        0     -     8 a0   
10.66/16           127.0.0.1          UGRS       0        0     -     8 lo   
10.67.0.1          127.0.0.1          UGHBS      0        0     -     8 lo   
172.16/12          192.0.2.1          US         0        0     -     8 a0   
192.0.2/24         192.0.2.1          UCn        0        0     -     4 a0   
192.0.2.1          02:00:00:00:00:0a  UHLl       0        0     -     1 a0   
192.0.2.254        02:00:00:00:00:fe  UHLch      0        0     -     3 a0   
192.0.2.255        192.0.2.1          UHb        0        0     -     1 a0   

Internet6:
Destination                                 Gateway                                 Flags   Refs      Use   Mtu  Prio Iface
2001:db8:20::/48                            fd00::2                                 UGS        0        0     -     8 a0   
2001:db8:66::/48                            ::1                                     UGRS       0        0     -     8 lo   
fd00::/64                                   fd00::1                                 UCn        0        0     -     4 a0   
fd00::1                                     02:00:00:00:00:0a                       UHLl       0        0     -     1 a0   
ff00::/8                                    fd00::1                                 Um         0        0     -     4 a0   
ff00::/8                                    link#11                                 Um         0        0     -     4 b0   
"
        );
    });
}

#[test]
fn a_tunnels_local_route_depends_on_the_loopback() {
    if !has_tun() {
        return;
    }
    inside("a_tunnels_local_route_depends_on_the_loopback", || {
        run(TOPOLOGY);
        let _engine = engine("wg1");
        run("
            ip address add 192.168.5.1/24 dev wg1
            ip link set wg1 up
        ");
        let expected = "\
192.168.5/24       192.168.5.1        UCn        0        0     -     4 wg1  
192.168.5.1        wg1                UHLl       0        0     -     1 wg1  
192.168.5.255      192.168.5.1        UHb        0        0     -     1 wg1  
";
        assert!(routes(1).contains(expected), "{}", routes(1));
        run("ip address add 127.0.0.1/8 dev lo");
        let expected = "\
127/8              127.0.0.1          Ul         0        0     -     1 lo   
127.0.0.1          127.0.0.1          UHl        0        0     -     1 lo   
127.255.255.255    127.0.0.1          UHb        0        0     -     1 lo   
";
        assert!(routes(1).contains(expected), "{}", routes(1));
        assert!(routes(1).contains("wg1                UHl        0"), "{}", routes(1));
    });
}

#[test]
fn a_lookup_tells_the_route_that_the_kernel_takes() {
    inside("a_lookup_tells_the_route_that_the_kernel_takes", || {
        run(TOPOLOGY);
        run("
            ip route add default via 192.0.2.254
            ip route add unreachable 10.66.0.0/16
            ip route add blackhole 10.67.0.0/16
            ip -6 route add unreachable 2001:db8:66::/48
            ip -6 route add 2001:db8:20::/48 via fd00::2
        ");
        assert_eq!(
            lookup("203.0.113.7"),
            "   route to: 203.0.113.7
destination: default
       mask: default
    gateway: 192.0.2.254
  interface: a0
 if address: 192.0.2.1
   priority: 8 (static)
      flags: <UP,GATEWAY,DONE,STATIC>
     use       mtu    expire
       0         0         0 
"
        );
        let cases = [
            (
                "192.0.2.9",
                "destination: 192.0.2.0\n       mask: 255.255.255.0\n  interface: a0\n if address: 192.0.2.1\n   priority: 4 (connected)\n      flags: <UP,DONE,CLONING,CONNECTED>\n",
            ),
            (
                "192.0.2.1",
                "destination: 192.0.2.1\n  interface: a0\n if address: 192.0.2.1\n   priority: 1 ()\n      flags: <UP,HOST,DONE,LLINFO,LOCAL>\n",
            ),
            (
                "10.66.1.1",
                "destination: 10.66.0.0\n       mask: 255.255.0.0\n    gateway: 127.0.0.1\n  interface: lo\n   priority: 8 (static)\n      flags: <UP,GATEWAY,REJECT,DONE,STATIC>\n",
            ),
            ("10.67.1.1", "      flags: <UP,GATEWAY,DONE,STATIC,BLACKHOLE>\n"),
            (
                "fd00::9",
                "destination: fd00::\n       mask: ffff:ffff:ffff:ffff::\n  interface: a0\n if address: fd00::1\n",
            ),
            (
                "2001:db8:20::1",
                "    gateway: fd00::2\n  interface: a0\n if address: fd00::1\n   priority: 8 (static)\n",
            ),
            ("2001:db8:66::1", "      flags: <UP,GATEWAY,REJECT,DONE,STATIC>\n"),
        ];
        for (address, expected) in cases {
            assert!(lookup(address).contains(expected), "{}", lookup(address));
        }
        assert_eq!(lookup("2001:db8:1::1"), "get host 2001:db8:1::1: not in table\n");
    });
}

fn lookup(address: &str) -> String {
    let address: IpAddr = address.parse().expect(address);
    let found = view::route_get(domain(1), &Scope::default(), Which::Own, &mut route_socket(), address)
        .expect("a lookup");
    found.map_or_else(|| not_in_table(address), |found| found.to_string())
}

#[test]
fn interfaces_print_as_ifconfig_does() {
    inside("interfaces_print_as_ifconfig_does", || {
        run(TOPOLOGY);
        run("
            ip link set a0 alias rdom:test
            ip link set b0 alias uplink
            ip link set b0 mtu 9000
            ip -6 address add fe80::b/64 dev b0 nodad
            ip address add 10.0.0.1 peer 10.0.0.2/32 dev b0
            ip link add br0 index 12 address 02:00:00:00:00:0c type bridge
        ");
        assert_eq!(
            ifconfig(0, "a0"),
            "\
a0: flags=8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\tlladdr 02:00:00:00:00:0a
\tindex 10 priority 0 llprio 3
\tgroups: pair
\tmedia: Ethernet autoselect
\tstatus: active
\tinet 192.0.2.1 netmask 0xffffff00 broadcast 192.0.2.255
\tinet6 fd00::1 prefixlen 64
"
        );
        assert_eq!(
            ifconfig(3, "b0"),
            "\
b0: flags=8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> rdomain 3 mtu 9000
\tlladdr 02:00:00:00:00:0b
\tdescription: uplink
\tindex 11 priority 0 llprio 3
\tgroups: pair
\tmedia: Ethernet autoselect
\tstatus: active
\tinet 10.0.0.1 --> 10.0.0.2 netmask 0xffffffff
\tinet6 fe80::b%b0 prefixlen 64 scopeid 0xb
"
        );
        let bridge = "br0: flags=8802<BROADCAST,SIMPLEX,MULTICAST> mtu 1500\n\tlladdr 02:00:00:00:00:0c\n\tindex 12 llprio 3\n\tgroups: bridge\n";
        assert_eq!(ifconfig(0, "br0"), bridge);
        let lo = "lo: flags=49<UP,LOOPBACK,RUNNING> rdomain 1 mtu 65536\n\tindex 1 priority 0 llprio 3\n\tgroups: lo\n";
        assert_eq!(ifconfig(1, "lo"), lo);
    });
}

#[test]
fn a_tunnel_prints_what_its_engine_says() {
    if !has_tun() {
        return;
    }
    inside("a_tunnel_prints_what_its_engine_says", || {
        run(TOPOLOGY);
        let _engine = engine("wg1");
        let (private, peer) = ("/run/private", "wm00xLZKnE37LJnenDz+A8AKFVvIhvkp9QG7SgnZsiM=");
        std::fs::write(private, output("wg genkey")).expect("a file for the key");
        let commands = format!(
            "wg set wg1 listen-port 7111 private-key {private}
             wg set wg1 peer {peer} endpoint 127.0.0.1:7222 allowed-ips 192.168.5.2/32 persistent-keepalive 25
             ip address add 192.168.5.1/24 dev wg1
             ip link set wg1 up"
        );
        run(&commands);
        let tunnel =
            view::tunnel_of_uapi(Path::new("/var/run/wireguard/wg1.sock")).expect("the engine's state");
        let name = DomainName::of_number(domain(1));
        let all = view::interfaces(domain(1), &name, &Scope::default(), &mut route_socket(), |link| {
            (link.name == "wg1").then(|| tunnel.clone())
        });
        let found = all.expect("interfaces").into_iter().find(|view| view.name == "wg1").expect("wg1");
        let (index, public) = (found.index, output("wg show wg1 public-key"));
        let tx = found.tunnel.as_ref().expect("a tunnel").peers[0].tx_bytes;
        assert_eq!(
            found.to_string(),
            format!(
                "\
wg1: flags=80c3<UP,BROADCAST,RUNNING,NOARP,MULTICAST> rdomain 1 mtu 1420
\tindex {index} priority 0 llprio 3
\twgport 7111
\twgpubkey {public}
\twgpeer {peer}
\t\twgpka 25 (sec)
\t\twgendpoint 127.0.0.1 7222
\t\ttx: {tx}, rx: 0
\t\twgaip 192.168.5.2/32
\tgroups: wg
\tinet 192.168.5.1 netmask 0xffffff00 broadcast 192.168.5.255
"
            )
        );
    });
}

/// What a command prints, without the end of the line.
fn output(command: &str) -> String {
    let words: Vec<_> = command.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().expect(command);
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Whether a tunnel can be had; where it must be (under CI), its absence is a failure.
fn has_tun() -> bool {
    let open = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    let Err(error) = open else { return true };
    assert!(env::var_os("CI").is_none(), "/dev/net/tun: {error}");
    eprintln!("skipped: /dev/net/tun: {error}");
    false
}

/// wireguard-go with a tunnel of this name; ended when dropped.
struct Engine(Child);

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn engine(name: &str) -> Engine {
    let child =
        Command::new("wireguard-go").args(["-f", name]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let engine = Engine(child.expect("wireguard-go"));
    let socket = format!("/var/run/wireguard/{name}.sock");
    let deadline = Instant::now() + Duration::from_secs(30);
    while view::tunnel_of_uapi(Path::new(&socket)).is_err() {
        assert!(Instant::now() < deadline, "no tunnel after 30 s");
        thread::sleep(Duration::from_millis(5));
    }
    engine
}

#[test]
fn sockets_print_as_netstat_does() {
    inside("sockets_print_as_netstat_does", || {
        run("ip link set lo up");
        let _udp = UdpSocket::bind("0.0.0.0:7111").expect("udp");
        let _udp6 = UdpSocket::bind("[::1]:7111").expect("udp6");
        let tcp = TcpListener::bind("127.0.0.1:25").expect("tcp");
        let connected = UdpSocket::bind("127.0.0.1:9").expect("a connected socket");
        connected.connect("127.0.0.1:7111").expect("connect");
        let _pending = std::net::TcpStream::connect(tcp.local_addr().expect("an address")).expect("connect");
        let mut diag = Netlink::here(Protocol::SockDiag).expect("a netlink socket");
        let table = view::socket_table(domain(0), &Scope::default(), &mut diag, &mut route_socket())
            .expect("sockets");
        assert_eq!(
            table.to_string(),
            "\
Active Internet connections (only servers)
Proto   Recv-Q Send-Q  Local Address          Foreign Address        TCP-State
tcp          1      0  127.0.0.1.25           *.*                    LISTEN
Active Internet connections (only servers)
Proto   Recv-Q Send-Q  Local Address          Foreign Address       
udp          0      0  *.7111                 *.*                   
Active Internet connections (only servers)
Proto   Recv-Q Send-Q  Local Address          Foreign Address       
udp6         0      0  ::1.7111               *.*                   
"
        );
    });
}

#[test]
fn rdomains_print_as_netstat_does() {
    inside("rdomains_print_as_netstat_does", || {
        run(TOPOLOGY);
        run("ip route add 203.0.113.0/24 via 192.0.2.5 table 77");
        let name = DomainName::of_number(domain(1));
        let seen = view::rdomain(domain(1), &name, &Scope::default(), &mut route_socket()).expect("a domain");
        let expected = "Rdomain 1\n  Interfaces: lo a0 b0\n  Routing tables: 1 77\n\n";
        assert_eq!(render_rdomains(&[seen]), expected);
    });
}

/// Asks until an answer came or `count` requests are gone; what was printed, times taken out.
fn asked(address: &str, count: u64) -> (Summary, String) {
    let wait = Duration::from_millis(300);
    let options =
        Ping { count: Some(count), wait, interval: wait / 10, ..Ping::new(address.parse().expect(address)) };
    let mut printed = Vec::new();
    let summary = ping(&options, &mut printed).expect("a socket for ping");
    let text = String::from_utf8(printed).expect("text");
    let timeless = text.lines().map(|line| match (line.split_once(" time="), line.split_once(" = ")) {
        (Some((row, _)), _) => format!("{row} time=T\n"),
        (None, Some((head, _))) => format!("{head} = T\n"),
        (None, None) => format!("{line}\n"),
    });
    (summary, timeless.collect())
}

/// The groups that may have unprivileged sockets for ping.
const GROUPS: &str = "/proc/sys/net/ipv4/ping_group_range";

#[test]
fn ping_prints_as_openbsd_does() {
    inside("ping_prints_as_openbsd_does", || {
        run("ip link set lo up");
        // First by a raw socket, for in a new namespace no group may have the other one; then by that.
        for prepare in [|| {}, || std::fs::write(GROUPS, "0 0").expect(GROUPS)] {
            prepare();
            let (summary, text) = asked("127.0.0.1", 2);
            assert_eq!((summary.transmitted, summary.received, summary.duplicates), (2, 2, 0), "{text}");
            assert_eq!(
                text,
                "\
PING 127.0.0.1 (127.0.0.1): 56 data bytes
64 bytes from 127.0.0.1: icmp_seq=0 ttl=64 time=T
64 bytes from 127.0.0.1: icmp_seq=1 ttl=64 time=T

--- 127.0.0.1 ping statistics ---
2 packets transmitted, 2 packets received, 0.0% packet loss
round-trip min/avg/max/std-dev = T
"
            );
            let (_, text) = asked("::1", 1);
            assert!(text.contains("64 bytes from ::1: icmp_seq=0 hlim=64 time=T\n"), "{text}");
        }
    });
}

/// The kernel settles a new link's carrier and neighbours behind one's back.
fn wait_for_answer(address: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while asked(address, 1).0.received == 0 {
        assert!(Instant::now() < deadline, "no answer from {address} in 30 s");
    }
}

#[test]
fn ping_reaches_the_other_end_of_a_cable_and_says_when_it_does_not() {
    inside("ping_reaches_the_other_end_of_a_cable_and_says_when_it_does_not", || {
        run("
            ip netns add far
            ip link set lo up
            ip link add a0 type veth peer name b0 netns far
            ip address add 192.0.2.1/24 dev a0
            ip -6 address add fd00::1/64 dev a0 nodad
            ip link set a0 up
            ip -n far address add 192.0.2.2/24 dev b0
            ip -n far -6 address add fd00::2/64 dev b0 nodad
            ip -n far link set b0 up
            ip netns exec far sysctl -qw net.ipv4.ip_default_ttl=200
        ");
        for address in ["192.0.2.2", "fd00::2"] {
            wait_for_answer(address);
            let (summary, text) = asked(address, 10);
            assert_eq!(summary.received, 10, "{text}");
            let times = summary.round_trips.expect("times");
            assert!(times.min <= times.max && times.max < Duration::from_secs(1), "{times:?}");
        }
        let (_, text) = asked("192.0.2.2", 1);
        assert!(text.contains("64 bytes from 192.0.2.2: icmp_seq=0 ttl=200 time=T\n"), "{text}");

        let began = Instant::now();
        let (silent, text) = asked("192.0.2.77", 1);
        assert_eq!(silent.received, 0);
        assert!(text.ends_with("1 packets transmitted, 0 packets received, 100.0% packet loss\n"), "{text}");
        assert!(began.elapsed() >= Duration::from_millis(300), "it waited for {:?}", began.elapsed());

        let began = Instant::now();
        let (_, text) = asked("203.0.113.1", 1);
        let expected = "PING 203.0.113.1 (203.0.113.1): 56 data bytes
ping: sendmsg: No route to host
ping: wrote 203.0.113.1 64 chars, ret=-1

--- 203.0.113.1 ping statistics ---
1 packets transmitted, 0 packets received, 100.0% packet loss
";
        assert_eq!(text, expected);
        assert!(began.elapsed() < Duration::from_millis(300), "a refused request is not waited for");
    });
}
