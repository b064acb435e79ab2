//! Unknown territory fails well: what is missing, or in the way without an error, is named by `rdom doctor` and `up`.
//!
//! Each test has a network, mounts and /run of its own, in which it takes something away.

use std::process::Command;

mod capability;
use capability::lacks;

const LINK: &str = "links: [{ends: [0/x, 1/y]}]\n";

/// Runs a script as root in a private copy with the file at $file; what it prints to both outputs.
fn inside(file: &str, script: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("net.yaml");
    std::fs::write(&path, file).unwrap();
    let prologue = "mount -t tmpfs tmpfs /run; ip link set lo up; export RDOM_STATE_DIR=/run/state\n";
    let output = Command::new("unshare")
        .args(["-nm", "--propagation", "private", "sh", "-c"])
        .arg(format!("exec 2>&1\n{prologue}{script}"))
        .env("rdom", env!("CARGO_BIN_EXE_rdom"))
        .env("file", &path)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn cannot(needed: &[&str]) -> bool {
    !nix::unistd::geteuid().is_root() || needed.iter().any(|capability| lacks(capability))
}

#[test]
fn a_firewall_that_drops_a_tunnels_port_is_named() {
    if cannot(&["netns", "nft", "tun"]) {
        return;
    }
    let said = inside(
        include_str!("../domains.yaml"),
        "nft add table inet filter
         nft 'add chain inet filter input { type filter hook input priority 0; policy drop; }'
         nft add rule inet filter input iif lo accept
         nft add rule inet filter input udp dport 7111 accept
         $rdom up -d $file; echo up $?; $rdom doctor; echo doctor $?; $rdom down
         nft 'add rule inet filter input udp dport { 7000-7300, 22 } accept'
         $rdom doctor $file",
    );
    let (before, after) = said.split_once("is down\n").expect("an end");
    assert!(before.contains("warning: the firewall chain `inet filter input` of domain 0"), "{said}");
    assert!(before.contains("UDP port 7222 of 2/wg2 [closed-firewall]"), "{said}");
    assert!(before.contains("help: nft add rule inet filter input udp dport 7222 accept"), "{said}");
    assert!(!before.contains("UDP port 7111 of"), "{said}");
    assert!(before.contains("1/wg1: UDP port 7111: sockets in domain 0; underlay domain 0"), "{said}");
    assert!(before.contains("up 0") && before.contains("doctor 0"), "{said}");
    assert!(!after.contains("closed-firewall"), "{said}");
}

#[test]
fn a_firewall_that_keeps_a_tunnel_in_or_a_gateway_from_forwarding_is_named() {
    if cannot(&["netns", "nft", "tun", "veth", "ping"]) {
        return;
    }
    let gateway = "domains:
  0:
    interfaces: {x1: {addresses: [10.1.0.1/24]}, x2: {addresses: [10.2.0.1/24]}}
    sysctls: {net.ipv4.ip_forward: 1}
  1: {interfaces: {y: {addresses: [10.1.0.2/24]}}, routes: [{to: default, via: 10.1.0.1}]}
  2: {interfaces: {y: {addresses: [10.2.0.2/24]}}, routes: [{to: default, via: 10.2.0.1}]}
links: [{ends: [0/x1, 1/y]}, {ends: [0/x2, 2/y]}]
";
    let closed = |hook: &str| {
        format!(
            "nft add table inet filter
             nft 'add chain inet filter {hook} {{ type filter hook {hook} priority 0; policy drop; }}'
             $rdom up -d $file 2>told; cat told"
        )
    };
    // What it says helps: it is typed, and the packets go through.
    let told_helps = "sed -n 's/.*help: //p' told | sh; $rdom doctor | grep -c closed-firewall
         $rdom exec 1 ping -c 1 -w 30 $far | grep -o '[0-9]* received'; $rdom down; rm told";
    let said = inside(gateway, &format!("cd /run; far=10.2.0.2\n{}\n{told_helps}", closed("forward")));
    assert!(said.contains("domain 0 is a gateway of other domains, but its firewall chain"), "{said}");
    assert!(said.contains("iifname '{ \"x1\", \"x2\" }' accept"), "{said}");
    assert!(said.contains("\n0\n1 received"), "{said}");
    let example = include_str!("../domains.yaml");
    let said = inside(example, &format!("cd /run; far=192.168.5.2\n{}\n{told_helps}", closed("output")));
    for port in ["7111", "7222"] {
        let help = format!("help: nft add rule inet filter output udp sport {port} accept");
        assert!(said.contains(&help), "{said}");
    }
    assert!(said.contains("\n0\n1 received"), "{said}");
}

#[test]
fn want_of_namespaces_is_named_at_its_domain_and_leaves_nothing() {
    if cannot(&["netns", "userns"]) {
        return;
    }
    let file = "domains:\n  1: {}\n  2: {}\n";
    // This much is counted for each user namespace; the default domain's namespace is one of them.
    let with = |limit: u8, verbs: &str| {
        let script = format!(
            "mount -t tmpfs tmpfs /run; echo {limit} > /proc/sys/user/max_net_namespaces
             for verb in {verbs}; do $rdom $verb $file; echo status $?
             echo left $(find /run/netns /run/rdom -mindepth 1 2>/dev/null).; done"
        );
        inside(file, &format!("unshare -Urnm sh -c '{script}'"))
    };
    let lack = "a network namespace cannot be made: No space left on device";
    let help = "help: as root: sysctl -w user.max_net_namespaces=10000";
    for (limit, verbs, at) in [(1, "doctor plan up", "net.yaml:2:3"), (2, "up", "net.yaml:3:3")] {
        let (said, count) = (with(limit, verbs), verbs.split(' ').count());
        assert_eq!(said.matches("status 4").count(), count, "{said}");
        assert!(said.matches(lack).count() >= count && said.matches(help).count() >= count, "{said}");
        assert!(said.contains(at), "{said}");
        assert_eq!(said.matches("left .").count(), count, "{said}");
    }
}

#[test]
fn switched_off_ipv6_is_named() {
    if cannot(&["netns", "veth"]) {
        return;
    }
    let file = format!(
        "domains:\n  0: {{interfaces: {{x: {{addresses: ['fd00::1/64']}}}}}}\n  1: {{interfaces: {{y: {{}}}}}}\n{LINK}"
    );
    let verbs =
        ["doctor", "plan", "up -d"].map(|verb| format!("$rdom {verb} $file; echo status $?\n")).concat();
    let off = format!("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6\n{verbs}ls /run/netns");
    let said = inside(&file, &off);
    let lack = "address fd00::1/64 of 0/x: net.ipv6.conf.default.disable_ipv6 is 1 in the default domain";
    assert_eq!(said.matches(lack).count(), 3, "{said}");
    assert!(
        said.contains("missing for address fd00::1/64 of 0/x") && said.contains("net.yaml:2:36"),
        "{said}"
    );
    assert!(said.contains("help: as root: sysctl -w net.ipv6.conf.all.disable_ipv6=0"), "{said}");
    assert_eq!(said.matches("status 4").count(), 3, "{said}");
    assert!(!said.contains("rdom1"), "{said}");
    assert!(inside(&file, "$rdom doctor $file; echo status $?").contains("status 0"));
}

#[test]
fn a_domain_that_switches_ipv6_off_goes_without_it() {
    if cannot(&["netns", "veth"]) {
        return;
    }
    let file = format!(
        "domains:\n  0: {{interfaces: {{x: {{addresses: [10.0.0.1/24]}}}}}}\n  \
         1: {{interfaces: {{y: {{addresses: [10.0.0.2/24]}}}}, sysctls: {{net.ipv6.conf.all.disable_ipv6: 1}}}}\n{LINK}"
    );
    let said = inside(&file, "$rdom up -d $file && $rdom plan $file; echo plan $?; $rdom down");
    assert!(said.contains("nothing to do\nplan 0"), "{said}");
}

#[test]
fn a_gateway_that_does_not_forward_to_what_is_behind_it_is_named() {
    if cannot(&["netns", "veth"]) {
        return;
    }
    let file = |behind: &str, sysctls: &str| {
        format!(
            "domains:\n  1:\n    interfaces: {{y: {{addresses: [10.0.0.1/24]}}}}\n    \
             routes: [{{to: default, via: 10.0.0.2}}]\n  2: {{interfaces: {{z: {{addresses: [10.0.0.2/24]}}, w: {{addresses: [{behind}]}}}}{sysctls}}}\n  \
             3: {{interfaces: {{v: {{}}}}}}\n\
             links: [{{ends: [1/y, 2/z]}}, {{ends: [2/w, 3/v]}}]\n"
        )
    };
    let up = "$rdom up -d $file; $rdom down";
    let said = inside(&file("", ""), up);
    assert!(!said.contains("no-forwarding") && said.contains("is up"), "{said}");
    let said = inside(&file("10.1.0.1/24", ""), up);
    assert!(said.contains("domain 2 is a gateway of other domains, but net.ipv4.ip_forward is 0"), "{said}");
    assert!(said.contains("sysctls: {net.ipv4.ip_forward: 1}"), "{said}");
    let said = inside(&file("10.1.0.1/24", ", sysctls: {net.ipv4.ip_forward: 1}"), up);
    assert!(!said.contains("no-forwarding") && said.contains("is up"), "{said}");
}

#[test]
fn a_strict_reverse_path_filter_is_named_where_there_are_several_ways() {
    if cannot(&["netns", "veth"]) {
        return;
    }
    let file = |rtables: &str| {
        format!(
            "domains:\n  0: {{interfaces: {{x: {{addresses: [10.0.0.1/24]}}}}{rtables}}}\n  \
             1: {{interfaces: {{y: {{}}}}}}\n{LINK}"
        )
    };
    let strict = "echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter; $rdom doctor $file";
    let said = inside(&file(", rtables: {10: {routes: [{to: default, via: 10.0.0.2}]}}"), strict);
    assert!(said.contains("domain 0 has several ways out, but net.ipv4.conf.all.rp_filter is 1"), "{said}");
    assert!(!inside(&file(""), strict).contains("[strict-rp-filter]"));
}

#[test]
fn read_only_sysctls_leave_domains_without_a_vrf_and_that_is_said() {
    if cannot(&["netns", "veth", "vrf", "ping"]) {
        return;
    }
    let said = inside(
        &format!(
            "domains:\n  0: {{interfaces: {{x: {{addresses: [10.0.0.1/24]}}}}}}\n  \
             1: {{interfaces: {{y: {{addresses: [10.0.0.2/24]}}}}}}\n{LINK}"
        ),
        "$rdom doctor $file | grep 'domain 1'
         mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys
         $rdom doctor $file; echo doctor $?; $rdom plan $file; $rdom up -d $file; echo up $?
         ping -c 1 -w 30 10.0.0.2; $rdom plan $file; $rdom down",
    );
    let (before, after) = said.split_once('\n').expect("a line");
    assert!(before.contains("isolation netns+vrf"), "{said}");
    assert!(after.contains("isolation netns; netns+vrf needs net sysctls that can be written"), "{said}");
    assert!(
        after.contains("doctor 0") && after.contains("up 0") && after.contains("nothing to do"),
        "{said}"
    );
    let told = "domains get isolation netns, not netns+vrf: /proc/sys/net/ipv4/ip_forward cannot be written";
    assert!(
        after.contains(&format!("note: {told}")) && after.contains(&format!("warning: {told}")),
        "{said}"
    );
    assert!(after.contains(" 0% packet loss"), "{said}");
}

#[test]
fn read_only_sysctls_are_missing_for_a_file_that_sets_some() {
    if cannot(&["netns"]) {
        return;
    }
    let file = "domains: {1: {sysctls: {net.ipv4.ip_forward: 1}}}\n";
    let said = inside(
        file,
        "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys
         $rdom doctor $file; echo doctor $?; $rdom up -d $file; echo up $?; ls /run/netns",
    );
    assert!(said.contains("missing for domain 1: /proc/sys/net/ipv4/ip_forward cannot be written"), "{said}");
    assert!(said.contains("doctor 4") && said.contains("up 4"), "{said}");
    assert!(!said.contains("rdom1"), "{said}");
}

#[test]
fn a_kind_that_the_kernel_lacks_is_status_4_with_its_option() {
    if cannot(&["netns"]) {
        return;
    }
    let said = inside(
        "domains: {1: {interfaces: {d: {dummy: {}, addresses: [10.0.0.1/24]}}}}\n",
        "$rdom doctor $file; echo doctor $?; $rdom up -d $file; echo up $?; $rdom down",
    );
    match lacks("dummy") {
        true => {
            assert!(said.contains("missing for 1/d: this kernel has no links of kind dummy"), "{said}");
            assert!(said.contains("doctor 4") && said.contains("up 4"), "{said}");
        }
        false => assert!(said.contains("doctor 0") && said.contains("up 0"), "{said}"),
    }
}

#[test]
fn json_has_a_finding_for_each_ability() {
    if cannot(&["netns"]) {
        return;
    }
    let said = inside("domains: {1: {}}\n", "$rdom --json doctor $file");
    let view: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let items: Vec<_> = view["findings"].as_array().unwrap().iter().map(|one| &one["item"]).collect();
    for item in
        ["tun", "ipv6", "vrf", "nftables", "user namespaces", "bpf on cgroups", "net sysctls", "netem"]
    {
        assert!(items.contains(&&serde_json::Value::from(item)), "{item} in {items:?}");
    }
    assert_eq!(view["file"]["missing"], serde_json::json!([]));
}

#[test]
fn nobody_in_particular_learns_what_a_private_copy_can_do() {
    if cannot(&["userns", "setpriv"]) {
        return;
    }
    // The binary and the file must be within reach of that user.
    let said = inside(
        "domains: {1: {}}\n",
        "cp $rdom /run/rdom-copy; cp $file /run/net.yaml; chmod 0755 /run/rdom-copy; chmod 0644 /run/net.yaml
         mkdir /run/home; chown 65534 /run/home; export HOME=/run/home XDG_RUNTIME_DIR=/run/home
         unset RDOM_STATE_DIR
         setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all --inh-caps -all \\
             /run/rdom-copy doctor /run/net.yaml; echo doctor $?",
    );
    assert!(said.contains("this process lacks CAP_NET_ADMIN"), "{said}");
    assert!(said.contains("user namespaces     available  one was made"), "{said}");
    assert!(said.contains("the kernel does not take a BPF program from this process"), "{said}");
    assert!(said.contains("nothing that it needs is missing") && said.contains("doctor 0"), "{said}");
}
