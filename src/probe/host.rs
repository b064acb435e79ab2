//! What the machine around a network is like: user, devices, mounts and sysctls of the default domain.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Finding, Ground, Unsupported, administration, control_groups, ipv6, tun_device};

/// Looks at it; changes nothing.
pub fn look_at_host() -> Vec<Finding> {
    vec![
        Finding::of(
            "administration",
            administration().map(|()| "CAP_NET_ADMIN and CAP_SYS_ADMIN".to_owned()),
            ["`rdom up`", "private copies only: `rdom demo`, `run`, `test`"],
        ),
        tun(),
        ipv6_here(),
        Finding::of(
            "cgroup2",
            cgroup2(),
            ["programs in vrf domains and further rtables", "no programs in vrf domains and further rtables"],
        ),
        unprivileged_ping(),
        reverse_path(),
        forwarding(),
    ]
}

/// A sysctl of the calling thread's namespace, by its path below /proc/sys.
pub fn sysctl(path: &str) -> Option<String> {
    let value = fs::read_to_string(Path::new("/proc/sys").join(path)).ok()?;
    Some(value.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
}

fn tun() -> Finding {
    let mode = |metadata: fs::Metadata| format!("/dev/net/tun, mode {:04o}", metadata.mode() & 0o7777);
    let seen = || fs::metadata("/dev/net/tun").map(mode).unwrap_or_default();
    let used = ["engine userspace, where asked for or needed", "no engine userspace"];
    Finding::of("tun", tun_device().map(|()| seen()), used)
}

fn ipv6_here() -> Finding {
    let item = "ipv6";
    if let Err(lack) = ipv6::of_kernel() {
        return Finding::missing(item, lack, "IPv4 only; domains go without ::1");
    }
    if let Err(lack) = Ground::default().ipv6() {
        return Finding::limited(
            item,
            lack,
            "IPv4 only; IPv6, ::1 too, in domains whose `sysctls:` switch it on",
        );
    }
    if let Err(lack) = ipv6::in_default_domain() {
        return Finding::limited(item, lack, "IPv6 in domains with a namespace, not in the default domain");
    }
    Finding::available(item, "sockets can be made", "IPv6 in domains and underlays")
}

fn cgroup2() -> Result<String, Unsupported> {
    let mount = control_groups().ok_or_else(|| Unsupported {
        missing: "cgroup2 is not mounted".into(),
        remedy: "as root: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified"
            .into(),
    })?;
    Ok(format!("mounted at {}", mount.display()))
}

fn unprivileged_ping() -> Finding {
    let name = "net.ipv4.ping_group_range";
    let range = sysctl("net/ipv4/ping_group_range").unwrap_or_default();
    match range.as_str() {
        "1 0" | "" => Finding::limited(
            "unprivileged ping",
            Unsupported {
                missing: format!("{name} is `{range}`: only root may open ICMP sockets"),
                remedy: format!("as root: sysctl -w {name}=\"0 2147483647\""),
            },
            "raw sockets for ping, which need CAP_NET_RAW",
        ),
        range => Finding::available("unprivileged ping", format!("{name} is `{range}`"), "ICMP sockets"),
    }
}

fn reverse_path() -> Finding {
    let strict = ["all", "default"]
        .into_iter()
        .find(|name| sysctl(&format!("net/ipv4/conf/{name}/rp_filter")).is_some_and(|value| value == "1"));
    match strict {
        Some(name) => Finding::limited(
            "rp_filter",
            Unsupported {
                missing: format!("net.ipv4.conf.{name}.rp_filter is 1 (strict) in the default domain"),
                remedy: format!("as root: sysctl -w net.ipv4.conf.{name}.rp_filter=2"),
            },
            "packets that come in where no answer would go out are dropped: mind rtables, rules and multipath",
        ),
        None => Finding::available("rp_filter", "not strict", "several rtables, rules, multipath routes"),
    }
}

fn forwarding() -> Finding {
    match sysctl("net/ipv4/ip_forward").as_deref() {
        Some("1") => Finding::available("ip_forward", "net.ipv4.ip_forward is 1", "the default domain routes"),
        value => Finding::limited(
            "ip_forward",
            Unsupported {
                missing: format!("net.ipv4.ip_forward is {} in the default domain", value.unwrap_or("not there")),
                remedy: "as root: sysctl -w net.ipv4.ip_forward=1, or in the file: sysctls: {net.ipv4.ip_forward: 1}"
                    .into(),
            },
            "the default domain routes for nobody",
        ),
    }
}
