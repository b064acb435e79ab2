//! A machine in the eyes of others: every namespace by ip(8), ss(8), wg(8) and /proc/sys, and the files of a network.
//!
//! What may be another one after a rollback is left out: numbers of links, random addresses, and identities of namespaces
//! in the ledger.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// What is settled within moments of a change: duplicate address detection, the state of carriers.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);

/// JSON of ip(8) that is not the same for the same object.
const PASSING: [&str; 11] = [
    "ifindex",
    "link_index",
    "link_netnsid",
    "address",
    "broadcast",
    "permaddr",
    "valid_life_time",
    "preferred_life_time",
    "handle",
    "bridge_id",
    "root_id",
];

const LINES: &str = r#"
    ip netns list | cut -d' ' -f1 | sort
    find /run/rdom /run/state /run/wireguard /run/netns ! -type d -printf '%p %y %m\n' 2>/dev/null | sort
    for ledger in /run/rdom/*/domains/*; do
        [ ! -e "$ledger" ] || tr -d '\n ' <"$ledger" | sed -E 's/"identity":\[[^]]*\]//; s/"addresses":\{[^}]*\}//; s/$/\n/'
    done
    for namespace in 1 $(ip netns list | cut -d' ' -f1 | sort); do
        case $namespace in 1) inside=;; *) inside="nsenter --net=/run/netns/$namespace";; esac
        echo "namespace $namespace"
        $inside ss -Huln | awk '{print $4}' | sort
        $inside tc -j qdisc | grep -o '"kind":"[a-z]*"' | sort
        $inside sh -c 'cd /proc/sys/net; grep -rs . ipv4/ip_forward ipv4/conf/all ipv4/conf/default ipv6/conf/all' | sort
        $inside wg show all dump | awk -F'\t' 'NF == 9 {print $1, $2, $3, $4, $5, $9; next} {print}' | sort
    done
"#;

/// Everything that is seen.
#[derive(Debug, PartialEq)]
pub(crate) struct Sight {
    lines: Vec<String>,
}

impl Sight {
    pub(crate) fn now() -> Self {
        let mut lines: Vec<_> = said(LINES).lines().map(str::to_owned).collect();
        let names = said("ip netns list | cut -d' ' -f1 | sort");
        for namespace in std::iter::once("").chain(names.lines()) {
            let inside = if namespace.is_empty() { String::new() } else { format!("-n {namespace}") };
            for what in [
                "-d link",
                "address",
                "-4 route show table all",
                "-6 route show table all",
                "-4 rule",
                "-6 rule",
            ] {
                let text = said(&format!("ip {inside} -j {what}"));
                let seen: Vec<Value> = serde_json::from_str(&text).unwrap_or_default();
                let mut seen: Vec<_> =
                    seen.into_iter().filter_map(lasting).map(|each| each.to_string()).collect();
                seen.sort();
                lines.extend(seen.into_iter().map(|each| format!("{namespace} {what} {each}")));
            }
        }
        Self { lines }
    }

    /// Holds what there is against this.
    #[track_caller]
    pub(crate) fn is_all_there_is(&self, after: &str) {
        let deadline = Instant::now() + SETTLED_WITHIN;
        let mut now = Self::now();
        while now != *self && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
            now = Self::now();
        }
        let left: Vec<_> = now.lines.iter().filter(|line| !self.lines.contains(line)).collect();
        let missing: Vec<_> = self.lines.iter().filter(|line| !now.lines.contains(line)).collect();
        assert!(now == *self, "{after}: left: {left:#?}\nmissing: {missing:#?}");
    }
}

/// Without what passes; nothing of an object that is of a link-local address.
fn lasting(value: Value) -> Option<Value> {
    match value {
        Value::String(text) if text.starts_with("fe80::") && text != "fe80::/64" => None,
        Value::Array(each) => Some(each.into_iter().filter_map(lasting).collect()),
        Value::Object(members) => {
            let passes = |name: &str| PASSING.contains(&name) || name.ends_with("_timer");
            let kept = members.into_iter().filter(|(name, _)| !passes(name));
            let kept = kept.map(|(name, value)| Some((name, lasting(value)?)));
            kept.collect::<Option<_>>().map(Value::Object)
        }
        other => Some(other),
    }
}

#[track_caller]
fn said(script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).output().expect("sh");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
