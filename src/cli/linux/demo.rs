//! `rdom demo`: the wg(4) manual page's example in a private copy, with the evidence that it holds.
//!
//! Each piece of evidence is what the command in its heading prints, run as a user would run it; the claims are judged
//! by that same output.

use std::fmt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::Args;

use super::file::{self, Document};
use super::run::private_copy;
use super::say::say;
use super::substitute::Substitution;
use super::trouble::Trouble;
use super::{Ended, unused};
use crate::probe;
use crate::spec;

/// The file of the example.
const FILE: &str = include_str!("../../../domains.yaml");

#[derive(Debug, Args)]
#[command(arg = unused("network"), arg = unused("json"))]
pub(super) struct Words {}

pub(super) fn run(_: &Words) -> Ended {
    let started = Instant::now();
    let document = example()?;
    let show_and_judge =
        |_: &_| show_and_judge(started).unwrap_or_else(|error| Trouble::failed(error).tell());
    let status = private_copy(document, Substitution::default(), Trouble::tell, show_and_judge)?;
    Ok(ExitCode::from(status))
}

fn example() -> Result<Document, Trouble> {
    let source = file::source("domains.yaml".as_ref(), FILE.to_owned());
    let lowered = spec::read(&source).map_err(|errors| Trouble::Diagnostics(Box::new(errors), 2))?;
    Ok(Document { source, lowered })
}

fn show_and_judge(started: Instant) -> std::io::Result<u8> {
    let mut claims = Claims::default();
    for (interface, domain, own, port) in [("wg1", 1, "192.168.5.1", 7111), ("wg2", 2, "192.168.5.2", 7222)] {
        let shown = Shown::of(&format!("ifconfig {interface}"))?;
        claims.add(
            format!("{interface} is in rdomain {domain}"),
            shown.says(&format!("rdomain {domain} mtu 1420")),
        );
        claims.add(format!("{interface} has {own}"), shown.says(&format!("inet {own} netmask 0xffffff00")));
        claims.add(format!("{interface} has port {port}"), shown.says(&format!("wgport {port}")));
    }
    let sockets = Shown::of("netstat -ln")?;
    let protocols = if probe::kernel_has_ipv6() { &["udp", "udp6"][..] } else { &["udp"] };
    for port in [7111, 7222] {
        for protocol in protocols {
            let row = sockets.has_row(&[protocol, &format!("*.{port}")]);
            claims.add(format!("{protocol} port {port} is in the default domain"), row);
        }
    }
    for domain in [1, 2] {
        let inside = Shown::of(&format!("netstat -ln -T{domain}"))?;
        let clean = !inside.says("*.7111") && !inside.says("*.7222");
        claims.add(format!("no tunnel's socket is in domain {domain}"), clean);
    }
    for (domain, interface) in [(1, "wg1"), (2, "wg2")] {
        let table = Shown::of(&format!("route -T{domain} show"))?;
        let held = table.has_row(&["192.168.5/24", interface]);
        claims.add(format!("rtable {domain} has 192.168.5/24 by {interface}"), held);
    }
    for (domain, peer) in [(1, "192.168.5.2"), (2, "192.168.5.1")] {
        let ping = Shown::of(&format!("route -T{domain} exec ping -c 1 {peer}"))?;
        claims.add(format!("domain {domain} reaches {peer}"), ping.succeeded);
    }
    for peer in ["192.168.5.1", "192.168.5.2"] {
        let ping = Shown::of(&format!("route -T0 exec ping -c 1 -w 1 {peer}"))?;
        claims.add(format!("domain 0 does not reach {peer}"), !ping.succeeded);
    }
    for interface in ["wg1", "wg2"] {
        let after = Shown::quietly(&format!("ifconfig {interface}"))?;
        let through = after.says("tx: ") && !after.says("tx: 0,") && !after.says("rx: 0\n");
        claims.add(format!("the pings went through {interface}"), through);
    }
    say(format_args!("{claims} ({:.2} s)", started.elapsed().as_secs_f64()));
    Ok(u8::from(!claims.all_held()))
}

/// What a command of this program printed, and how it ended.
struct Shown {
    text: String,
    succeeded: bool,
}

impl Shown {
    /// Runs it as `rdom WORDS` and prints what it prints under a heading.
    fn of(words: &str) -> std::io::Result<Self> {
        say(format_args!("$ rdom {words}"));
        let shown = Self::quietly(words)?;
        say(format_args!("{}\n", shown.text.trim_end_matches('\n')));
        Ok(shown)
    }

    fn quietly(words: &str) -> std::io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        let output = command.args(words.split(' ')).stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        Ok(Self { text: text.into_owned(), succeeded: output.status.success() })
    }

    fn says(&self, words: &str) -> bool {
        self.text.contains(words)
    }

    /// Whether a line has all these words in columns of their own.
    fn has_row(&self, words: &[&str]) -> bool {
        let row = |line: &str| words.iter().all(|word| line.split_whitespace().any(|column| column == *word));
        self.text.lines().any(row)
    }
}

/// What should hold, and whether it did.
#[derive(Default)]
struct Claims(Vec<(String, bool)>);

impl Claims {
    fn add(&mut self, claim: String, held: bool) {
        self.0.push((claim, held));
    }

    fn all_held(&self) -> bool {
        self.0.iter().all(|(_, held)| *held)
    }
}

impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.all_held() {
            return write!(f, "all {} claims held", self.0.len());
        }
        let broken: Vec<_> =
            self.0.iter().filter(|(_, held)| !held).map(|(claim, _)| claim.as_str()).collect();
        write!(f, "{} of {} claims did not hold: {}", broken.len(), self.0.len(), broken.join("; "))
    }
}
