//! `rdom up` and `rdom down`: everything or nothing, however it ends.

use nix::sys::signal::Signal;

use crate::copy::in_private_copies;
use crate::world::{
    Background, EXAMPLE, Traces, addresses, is_file, is_running, kill_supervisor, ok, pings, sh, signal,
    supervisor, udp_ports, up, wait_for, write,
};

/// Sixty domains, with a tunnel between each two.
fn large() -> String {
    let peer = |number: u32| if number % 2 == 1 { number + 1 } else { number - 1 };
    let domain = |number: u32| {
        let peer = peer(number);
        format!(
            "  {number}: {{interfaces: {{wg0: {{addresses: [10.0.{number}.1/24], wireguard: {{peers: {{{peer}/wg0: {{}}}}}}}}}}}}\n"
        )
    };
    (1..=60)
        .map(domain)
        .fold("defaults: {engine: userspace}\ndomains:\n".to_owned(), |text, domain| text + &domain)
}

#[test]
fn up_is_up_and_down_is_down() {
    in_private_copies("life::up_is_up_and_down_is_down", || {
        let before = Traces::now();
        up();
        assert_eq!(ok("ip netns list | cut -d' ' -f1 | sort"), "rdom1\nrdom2\n");
        assert_eq!(udp_ports("default"), [7111, 7222, 7111, 7222]);
        assert_eq!(udp_ports("rdom1"), [] as [u16; 0]);
        assert_eq!(udp_ports("rdom2"), [] as [u16; 0]);
        assert_eq!(addresses("rdom1", "wg1"), ["192.168.5.1/24"]);
        assert_eq!(addresses("rdom2", "wg2"), ["192.168.5.2/24"]);
        assert_eq!(addresses("rdom1", "lo"), ["127.0.0.1/8", "::1/128"]);
        let dump = ok("wg show all dump | sort -s -k 1,1");
        let fields: Vec<Vec<_>> = dump.lines().map(|line| line.split('\t').collect()).collect();
        let [one, its_peer, two, _] = &fields[..] else { panic!("{dump}") };
        assert_eq!((one[0], one[3], two[0], two[3]), ("wg1", "7111", "wg2", "7222"));
        assert_eq!(its_peer[1], two[2], "the peer of wg1 is wg2");
        assert_eq!((its_peer[3], its_peer[4]), ("127.0.0.1:7222", "192.168.5.2/32"));
        pings("rdom1", "192.168.5.2");
        pings("rdom2", "192.168.5.1");
        sh("ping -c 1 -W 1 192.168.5.1").ends_with(2);

        ok("rdom down");
        before.is_all_there_is();
        sh("rdom down").ends_with(0).says("nothing is up");
        sh("rdom down -n domains").ends_with(0).says("network domains is not up");
    });
}

#[test]
fn down_returns_when_its_supervisor_has_ended() {
    in_private_copies("life::down_returns_when_its_supervisor_has_ended", || {
        for _ in 0..10 {
            up();
            let pid = supervisor();
            // Whoever is dead and not buried yet has ended.
            ok(&format!("rdom down && ! grep -vqs ') Z ' /proc/{pid}/stat"));
        }
    });
}

#[test]
fn what_has_no_services_leaves_none_behind() {
    in_private_copies("life::what_has_no_services_leaves_none_behind", || {
        write("domains.yaml", EXAMPLE);
        for _ in 0..5 {
            let begun = "rdom up >said 2>&1 & until grep -q Ctrl-C said; do sleep 0.01; done";
            ok(&format!(": >said; {begun}; rdom down && wait"));
            assert!(!ok("cat said").contains("WARN"), "{}", ok("cat said"));
        }
    });
}

#[test]
fn down_waits_for_what_comes_up() {
    in_private_copies("life::down_waits_for_what_comes_up", || {
        write("domains.yaml", EXAMPLE);
        for _ in 0..5 {
            let begun = "rdom up >said 2>&1 & until grep -q 'create domain' said; do :; done";
            ok(&format!(": >said; {begun}; rdom down && wait"));
        }
    });
}

#[test]
fn a_second_up_is_refused_and_harms_nothing() {
    in_private_copies("life::a_second_up_is_refused_and_harms_nothing", || {
        up();
        let reason = format!("network domains is up already: process {}", supervisor());
        sh("rdom up").ends_with(1).says(&reason);
        sh("rdom up -d").ends_with(1).says(&reason).says("help: rdom apply FILE");
        pings("rdom1", "192.168.5.2");
        ok("rdom down");
    });
}

#[test]
fn two_networks_are_told_apart_by_name() {
    in_private_copies("life::two_networks_are_told_apart_by_name", || {
        let before = Traces::now();
        up();
        write("other.yaml", "domains: {5: {lo: {addresses: [10.5.5.5/32]}}}\n");
        ok("rdom up -d other.yaml");
        sh("rdom status").ends_with(2).says("several networks are up: domains, other").says("-n NETWORK");
        sh("rdom down").ends_with(2).says("several networks are up");
        sh("rdom status -n other").ends_with(0).says("10.5.5.5/32");
        assert_eq!(
            ok("rdom --network other exec 5 ip -br -4 address show dev lo | tr -s ' ' | cut -d' ' -f3"),
            "10.5.5.5/32\n"
        );
        sh("rdom down -n none").ends_with(0).says("network none is not up");
        ok("rdom down -n other");
        pings("rdom1", "192.168.5.2");
        // By its file, which may have a name for it, and be wrong by now.
        write("campus.yaml", "name: domains\ndomains: {1: {nonsense: 1}}\n");
        sh("rdom down other.yaml").ends_with(0).says("network other is not up");
        sh("rdom down domains").ends_with(2).says("cannot read domains");
        sh("rdom down campus.yaml").ends_with(0).says("network domains is down");
        ok("rdom up -d; RDOM_NETWORK=domains rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn two_networks_share_the_default_domain() {
    in_private_copies("life::two_networks_share_the_default_domain", || {
        let before = Traces::now();
        let there = || ok("ip -br -4 address show dev lo; ip route show type blackhole");
        for (name, number) in [("one", 1), ("two", 2)] {
            let file = format!(
                "domains: {{0: {{lo: {{addresses: [10.9.9.{number}/32]}}, \
                 routes: [{{to: 192.0.2.{number}/32, type: blackhole}}]}}, {number}: {{}}}}\n"
            );
            write(&format!("{name}.yaml"), &file);
            ok(&format!("rdom up -d {name}.yaml"));
        }
        for name in ["one", "two"] {
            sh(&format!("rdom plan {name}.yaml")).ends_with(0).says("nothing to do");
        }
        for mark in ["10.9.9.1/32", "10.9.9.2/32", "192.0.2.1", "192.0.2.2"] {
            assert!(there().contains(mark), "{mark} is not in {}", there());
        }
        write("three.yaml", "domains: {0: {lo: {addresses: [10.9.9.1/32]}}, 3: {}}\n");
        sh("rdom up -d three.yaml").ends_with(1).says("10.9.9.1/32 already, and this network did not add it");
        ok("rdom down -n one");
        assert!(!there().contains("10.9.9.1/32") && there().contains("10.9.9.2/32"), "{}", there());
        ok("rdom down -n two");
        before.is_all_there_is();
    });
}

#[test]
fn in_the_foreground_it_ends_with_a_signal() {
    in_private_copies("life::in_the_foreground_it_ends_with_a_signal", || {
        write("domains.yaml", EXAMPLE);
        let before = Traces::now();
        for ending in [Signal::SIGINT, Signal::SIGTERM] {
            let up = Background::start("up", "rdom up").waits_until("is up: Ctrl-C takes it down");
            pings("rdom1", "192.168.5.2");
            signal(up.pid(), ending);
            up.end().ends_with(0);
            before.is_all_there_is();
        }
    });
}

#[test]
fn down_ends_one_in_the_foreground() {
    in_private_copies("life::down_ends_one_in_the_foreground", || {
        write("domains.yaml", EXAMPLE);
        let before = Traces::now();
        let up = Background::start("up", "rdom up").waits_until("is up: Ctrl-C takes it down");
        ok("rdom down");
        up.end().ends_with(0);
        before.is_all_there_is();
    });
}

#[test]
fn nobody_needs_to_listen_to_it() {
    in_private_copies("life::nobody_needs_to_listen_to_it", || {
        write("domains.yaml", EXAMPLE);
        let before = Traces::now();
        // The reader leaves after the first line of the log; all else is still to be said.
        let up = Background::start(
            "up",
            "sh -c 'exec 3>&1; { rdom up 2>&1; echo ended with $? >&3; } | head -n 1 >/dev/null'",
        );
        wait_for("a control socket", || is_file("/run/rdom/domains/control.sock"));
        let pid = supervisor();
        ok("rdom exec 1 ping -c 1 -W 5 192.168.5.2");
        signal(pid, Signal::SIGINT);
        up.end().says("ended with 0");
        before.is_all_there_is();
    });
}

#[test]
fn interrupted_on_its_way_up_it_takes_everything_back() {
    in_private_copies("life::interrupted_on_its_way_up_it_takes_everything_back", || {
        write("large.yaml", &large());
        let before = Traces::now();
        let up = Background::start("up", "rdom up large.yaml").waits_until("create domain 30 ");
        signal(up.pid(), Signal::SIGINT);
        let ran = up.end().ends_with(130).says("interrupted").says("everything is as it was before");
        assert!(!ran.out.contains("set 60/wg0 up"), "it was not on its way any more: {ran:#?}");
        before.is_all_there_is();
    });
}

#[test]
fn what_is_left_by_kill_9_is_removed_by_down() {
    in_private_copies("life::what_is_left_by_kill_9_is_removed_by_down", || {
        let before = Traces::now();
        up();
        kill_supervisor();
        sh("rdom down").ends_with(0).says("no supervisor was alive");
        before.is_all_there_is();
    });
}

#[test]
fn killed_on_its_way_up_it_is_removed_by_down() {
    in_private_copies("life::killed_on_its_way_up_it_is_removed_by_down", || {
        write("large.yaml", &large());
        let before = Traces::now();
        let up = Background::start("up", "rdom up large.yaml").waits_until("create domain 20 ");
        signal(up.pid(), Signal::SIGKILL);
        up.end().ends_with(137);
        ok("rdom down");
        before.is_all_there_is();
        assert!(!is_running("rdom"));
    });
}
