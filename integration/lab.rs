//! The library for tests of other programs: labs in this process, as root and as an ordinary user.

mod capability;

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use capability::lacks;
use rdomain::lab::{Lab, LabError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

rdomain::rootless!();
rdomain::nodes! {
    /// [`PAIR`].
    struct Pair { outside = "0", client, server = "2" }
}
rdomain::nodes! { struct Misspelt { client, sever } }

/// Two domains with one link, and nothing else that a kernel could lack.
const PAIR: &str = "
domains:
  client: {rdomain: 1, interfaces: {eth0: {addresses: [10.0.0.1/24]}}}
  server: {rdomain: 2, interfaces: {eth0: {addresses: [10.0.0.2/24]}}}
links: [{ends: [client/eth0, server/eth0]}]
";
/// The manual page's example.
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/domains.yaml");
const SERVER: &str = "10.0.0.2:80";

/// Set in a process of one test, which nothing else disturbs.
const ALONE: &str = "RDOM_LAB_TEST_ALONE";

fn cannot() -> bool {
    lacks("veth") || lacks("userns")
}

fn pair() -> Lab {
    Lab::from_yaml(PAIR).unwrap().up().unwrap()
}

/// This program again with the tests that these arguments choose, started by `starter` if it has words.
fn again(starter: &[&str], arguments: &[&str]) -> Command {
    // A user who may not look into the directory can be given the file.
    let words = [starter, &["/proc/self/fd/0"], arguments].concat();
    let mut command = Command::new(words[0]);
    let program = File::open(env::current_exe().unwrap()).unwrap();
    command.args(&words[1..]).stdin(program).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[track_caller]
fn passes(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{said}");
    said
}

/// Runs the body of the test of this name in a process of its own.
fn alone(test: &str, body: impl FnOnce()) {
    if env::var_os(ALONE).is_some() {
        return body();
    }
    let said = passes(again(&[], &[test, "--exact", "--nocapture"]).env(ALONE, "1"));
    assert!(said.contains(" 1 passed"), "no test is called {test}: {said}");
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn programs_run_in_domains() {
    if cannot() || lacks("ping") || lacks("ip") {
        return;
    }
    let lab = pair();
    let ping = lab.domain("client").exec(["ping", "-c1", "-W5", "10.0.0.2"]).unwrap();
    assert!(ping.status.success(), "{ping:?}");
    let place =
        "echo $RDOM_NETWORK $RDOM_DOMAIN $RDOM_DOMAIN_NAME; ip -br -4 address show eth0; ls /sys/class/net";
    let seen = String::from_utf8(lab.domain("2").exec(["sh", "-c", place]).unwrap().stdout).unwrap();
    assert!(
        seen.starts_with("lab 2 server\n") && seen.contains("10.0.0.2/24") && seen.ends_with("eth0\nlo\n"),
        "{seen}"
    );
    let outside = lab.domain("0").exec(["ping", "-c1", "-W1", "10.0.0.2"]).unwrap();
    assert!(!outside.status.success(), "{outside:?}");
    assert_eq!(lab.domain("client").exec(["sh", "-c", "exit 7"]).unwrap().status.code(), Some(7));
}

#[test]
fn closures_run_in_domains_and_panic_like_their_own_threads() {
    if cannot() {
        return;
    }
    let lab = pair();
    let directory = env::current_dir().unwrap();
    let (bound, there) =
        lab.domain("server").run(|| (UdpSocket::bind("10.0.0.2:53").map(drop), env::current_dir())).unwrap();
    assert!(bound.is_ok() && there.unwrap() == directory);
    let not_here =
        lab.domain("client").run(|| UdpSocket::bind("10.0.0.2:53").map(drop).map_err(|error| error.kind()));
    assert_eq!(not_here.unwrap(), Err(ErrorKind::AddrNotAvailable));
    assert!(UdpSocket::bind("10.0.0.2:53").is_err(), "this thread is in a domain");
    let thread =
        lab.domain("client").spawn(|| TcpStream::connect(SERVER).map_err(|error| error.kind())).unwrap();
    assert_eq!(thread.join().unwrap().err(), Some(ErrorKind::ConnectionRefused));
    let panic = lab.domain("client").spawn(|| panic!("on purpose")).unwrap().join().unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
    let run = std::panic::AssertUnwindSafe(|| lab.domain("client").run(|| panic!("on purpose")));
    assert!(std::panic::catch_unwind(run).is_err());
}

#[test]
fn sockets_are_used_from_an_async_test() {
    if cannot() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // The lab goes in here, too.
        let lab = pair();
        let listener = lab.domain("server").tcp_listener(SERVER).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let serve = tokio::spawn(async move {
            let (mut caller, from) = listener.accept().await.unwrap();
            caller.write_all(from.ip().to_string().as_bytes()).await.unwrap();
        });
        let stream = lab.domain("client").tcp_stream(SERVER).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut said = String::new();
        tokio::net::TcpStream::from_std(stream).unwrap().read_to_string(&mut said).await.unwrap();
        serve.await.unwrap();
        assert_eq!(said, "10.0.0.1");

        let [one, other] = [("client", "10.0.0.1:5000"), ("server", "10.0.0.2:5000")].map(|(domain, at)| {
            let socket = lab.domain(domain).udp_socket(at).unwrap();
            socket.set_nonblocking(true).unwrap();
            tokio::net::UdpSocket::from_std(socket).unwrap()
        });
        one.send_to(b"datagram", "10.0.0.2:5000").await.unwrap();
        let mut bytes = [0; 16];
        let (length, from) = other.recv_from(&mut bytes).await.unwrap();
        assert_eq!((&bytes[..length], from.to_string().as_str()), (&b"datagram"[..], "10.0.0.1:5000"));
    });
}

#[test]
fn a_link_is_cut_and_mended() {
    if cannot() {
        return;
    }
    let lab = pair();
    let listener = lab.domain("server").tcp_listener(SERVER).unwrap();
    let call = || {
        let connect = || TcpStream::connect_timeout(&SERVER.parse().unwrap(), Duration::from_millis(300));
        lab.domain("client").run(|| connect().map(drop).map_err(|error| error.kind())).unwrap()
    };
    assert_eq!(call(), Ok(()));
    lab.cut("client/eth0").unwrap();
    assert_eq!(call(), Err(ErrorKind::NetworkUnreachable));
    lab.restore("2/eth0").unwrap();
    assert_eq!(call(), Ok(()));
    assert_eq!(format!("{:?}", lab.restore("2/eth0").unwrap_err()), "it is not cut");
    drop(listener);
}

#[test]
fn the_example_comes_up_from_its_file() {
    if cannot() || lacks("tun") {
        return;
    }
    let lab = Lab::from_file(EXAMPLE).unwrap().up().unwrap();
    let listener = lab.domain("2").tcp_listener("192.168.5.2:80").unwrap();
    let server = thread::spawn(move || listener.accept().unwrap().0.write_all(b"through a tunnel"));
    let mut said = String::new();
    lab.domain("1").tcp_stream("192.168.5.2:80").unwrap().read_to_string(&mut said).unwrap();
    server.join().unwrap().unwrap();
    assert_eq!(said, "through a tunnel");
}

#[test]
fn domains_are_fields_and_a_misspelt_one_is_told_before_anything_comes_up() {
    let blueprint = Lab::from_yaml(PAIR).unwrap();
    let error = Misspelt::up(&blueprint).err().expect("it has no such domain");
    assert_eq!(error.to_string(), "there is no domain sever: the file has 0, client, server");
    if cannot() {
        return;
    }
    let pair = Pair::up(&blueprint).unwrap();
    let listener = pair.server.tcp_listener(SERVER).unwrap();
    thread::spawn(move || listener.accept());
    pair.client.tcp_stream(SERVER).unwrap();
    assert!(pair.outside.tcp_stream(SERVER).is_err());
    pair.cut("client/eth0").unwrap();
    assert!(!pair.client.exec(["ping", "-c1", "-W1", "10.0.0.2"]).unwrap().status.success());
}

#[test]
fn labs_of_one_blueprint_do_not_meet() {
    if cannot() {
        return;
    }
    let blueprint = Lab::from_yaml(PAIR).unwrap();
    thread::scope(|scope| {
        for number in 0..8_u8 {
            let blueprint = &blueprint;
            scope.spawn(move || {
                let lab = blueprint.up().unwrap();
                let listener = lab.domain("server").tcp_listener(SERVER).unwrap();
                let mut caller = lab.domain("client").tcp_stream(SERVER).unwrap();
                caller.write_all(&[number]).unwrap();
                let mut heard = [u8::MAX];
                listener.accept().unwrap().0.read_exact(&mut heard).unwrap();
                assert_eq!(heard, [number]);
            });
        }
    });
}

#[test]
fn mistakes_are_told_with_what_to_do_instead() {
    let told = |error: LabError| format!("{error:?}");
    let bad = Lab::from_yaml("domains: {1: {interfaces: {eth0: {adresses: []}}}}").unwrap_err();
    let bad = told(bad);
    assert!(bad.contains("<yaml>:1:") && bad.contains("help:") && bad.contains("addresses"), "{bad}");
    assert!(told(Lab::from_file("no.yaml").unwrap_err()).starts_with("cannot read no.yaml: "));
    let by_name = "domains: {1: {interfaces: {wg0: {wireguard: {peers: {far: {public_key: \
                   \"yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\", endpoint: \"vpn.example.org:1\", \
                   allowed_ips: [10.0.0.2/32]}}}}}}}";
    let by_name = told(Lab::from_yaml(by_name).unwrap_err());
    assert!(
        by_name.starts_with("1/wg0 has a peer") && by_name.ends_with("help: write an address"),
        "{by_name}"
    );
    if cannot() {
        return;
    }
    let gone = "domains: {0: {interfaces: {eth7: {addresses: [10.0.0.1/24]}}}}";
    let gone = told(Lab::from_yaml(gone).unwrap().up().err().unwrap());
    assert!(gone.contains("<yaml>:1:") && gone.contains("eth7"), "{gone}");
    let lab = pair();
    let unknown = told(lab.domain("blue").exec(["true"]).unwrap_err());
    assert!(unknown.contains("blue") && unknown.contains("client, server"), "{unknown}");
    assert!(told(lab.domain("blue").spawn(|| ()).unwrap_err()).contains("client, server"));
    assert!(told(lab.domain("1").exec(["no-such-program"]).unwrap_err()).starts_with("no-such-program: "));
    let end = told(lab.cut("client/eth1").unwrap_err());
    assert!(end.starts_with("there is no client/eth1: the lab has ") && end.contains("1/eth0"), "{end}");
}

/// The namespaces of the network and of mounts that the calling thread is in.
fn namespaces() -> [u64; 2] {
    ["net", "mnt"].map(|kind| fs::metadata(format!("/proc/thread-self/ns/{kind}")).unwrap().ino())
}

/// The namespaces that a thread of any process is in, or that this process holds open.
fn living() -> BTreeSet<u64> {
    let below = |directory: PathBuf| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let tasks = below("/proc".into()).into_iter().flat_map(|process| below(process.join("task")));
    let namespaces = tasks.flat_map(|task| [task.join("ns/net"), task.join("ns/mnt")]);
    let files = namespaces.chain(below("/proc/self/fd".into()));
    files.filter_map(|file| Some(fs::metadata(file).ok()?.ino())).collect()
}

#[test]
fn nothing_is_left_of_a_lab() {
    if cannot() {
        return;
    }
    alone("nothing_is_left_of_a_lab", || {
        let (here, threads) = (namespaces(), fs::read_dir("/proc/self/task").unwrap().count());
        let source = if lacks("tun") { Lab::from_yaml(PAIR) } else { Lab::from_file(EXAMPLE) };
        let lab = source.unwrap().up().unwrap();
        let [home, inside] = ["0", "1"].map(|domain| lab.domain(domain).run(namespaces).unwrap());
        assert!(living().is_superset(&home.into()) && here != home && home[0] != inside[0]);
        // Who outlives its parent, here and in a session of its own.
        let napping = "sleep 1000 & setsid sleep 1000 & echo $!";
        let napping = |domain: &str| {
            let mut words = Command::new("sh");
            words.args(["-c", napping]).stdout(Stdio::null());
            lab.domain(domain).run(move || words.status()).unwrap().unwrap()
        };
        assert!(["0", "1"].into_iter().all(|domain| napping(domain).success()));
        drop(lab);
        assert_eq!(namespaces(), here);
        wait_for("the end of its namespaces", || {
            let living = living();
            home.iter().chain(&inside).all(|namespace| !living.contains(namespace))
        });
        wait_for("the end of its threads", || fs::read_dir("/proc/self/task").unwrap().count() == threads);
        assert!(!Path::new("/run/netns/rdom1").exists() && !Path::new("/run/rdom/lab").exists());
    });
}

/// A service that is ready when it says so, and one whose child outlives it.
const SERVICES: &str = "
domains:
  client: {rdomain: 1, interfaces: {eth0: {addresses: [10.0.0.1/24]}}}
  server:
    rdomain: 2
    interfaces: {eth0: {addresses: [10.0.0.2/24]}}
    services:
      slow: {command: 'sleep 0.3; echo at last; exec sleep 7654', ready: {log: at last}}
      web: {command: [python3, -m, http.server, '80'], ready: {tcp: 80}, depends_on: [slow]}
links: [{ends: [client/eth0, server/eth0]}]
";

#[test]
fn services_are_ready_when_a_lab_is_up_and_gone_with_it() {
    if cannot() || lacks("python3") {
        return;
    }
    alone("services_are_ready_when_a_lab_is_up_and_gone_with_it", || {
        let blueprint = Lab::from_yaml(SERVICES).unwrap();
        for _ in 0..2 {
            let lab = blueprint.up().unwrap();
            let mut web = lab.domain("client").tcp_stream(SERVER).unwrap();
            web.write_all(b"HEAD / HTTP/1.0\r\n\r\n").unwrap();
            let mut said = String::new();
            web.read_to_string(&mut said).unwrap();
            assert!(said.contains("200 OK"), "{said}");
            let places = ["0", "client", "server"].map(|word| lab.domain(word).run(namespaces).unwrap());
            let own: BTreeSet<u64> = places.as_flattened().iter().copied().collect();
            assert!(!living().is_disjoint(&own) && napping());
            drop(lab);
            wait_for("the end of all", || living().is_disjoint(&own) && !napping());
        }
        let never = SERVICES.replace("echo at last;", "exit 3;");
        let error = format!("{:?}", Lab::from_yaml(&never).unwrap().up().err().unwrap());
        assert!(error.contains("slow") && error.contains("status 3"), "{error}");
        wait_for("the end of all", || !napping());
    });
}

/// Whether the service that sleeps is there.
fn napping() -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut commands = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    commands.any(|command| command == b"sleep\x007654\0")
}

#[test]
fn a_killed_test_takes_its_programs_along() {
    const TEST: &str = "a_killed_test_takes_its_programs_along";
    if cannot() {
        return;
    }
    if env::var_os(ALONE).is_some() {
        pair().domain("client").exec(["sh", "-c", "echo $$ >&2; exec sleep 1000 >&2"]).unwrap();
        return;
    }
    let mut held = again(&[], &[TEST, "--exact", "--nocapture"]).env(ALONE, "1").spawn().unwrap();
    let threads = || fs::read_dir(format!("/proc/{}/task", held.id())).unwrap();
    let children = || {
        let lists = threads().flatten().map(|task| fs::read_to_string(task.path().join("children")));
        let pids: Vec<String> = lists
            .flatten()
            .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        pids
    };
    let is_asleep = |pid: &String| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "sleep")
    };
    wait_for("its program", || children().iter().any(is_asleep));
    let program = children().into_iter().find(is_asleep).unwrap();
    held.kill().unwrap();
    held.wait().unwrap();
    wait_for("the end of its program", || !is_asleep(&program));
}

#[test]
fn an_ordinary_user_has_labs_too() {
    if cannot() || lacks("setpriv") || !nix::unistd::geteuid().is_root() || env::var_os(ALONE).is_some() {
        return;
    }
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"];
    let said = passes(
        again(&nobody, &["--nocapture", "--skip", "an_ordinary_user_has_labs_too"])
            .env_remove("RDOM_REQUIRE"),
    );
    assert!(said.contains("test result: ok") && !said.contains(" 0 passed"), "{said}");
    assert!(["veth", "userns"].iter().all(|what| !said.contains(&format!("skipped: {what}"))), "{said}");
}
