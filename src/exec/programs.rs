//! Which programs are here, and what Debian calls the package of one that is not.

use std::env;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::probe::Unsupported;

/// Where programs of root's are, which are not in everybody's PATH.
const ROOTS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Programs that networks are built and tried with, and their packages.
const PACKAGES: [(&str, &str); 41] = [
    ("arping", "iputils-arping"),
    ("babeld", "babeld"),
    ("bgpd", "frr"),
    ("bird", "bird2"),
    ("birdc", "bird2"),
    ("bridge", "iproute2"),
    ("caddy", "caddy"),
    ("chronyd", "chrony"),
    ("conntrack", "conntrack"),
    ("curl", "curl"),
    ("dig", "dnsutils"),
    ("dnsmasq", "dnsmasq-base"),
    ("ethtool", "ethtool"),
    ("fping", "fping"),
    ("haproxy", "haproxy"),
    ("hping3", "hping3"),
    ("ip", "iproute2"),
    ("iperf3", "iperf3"),
    ("iptables", "iptables"),
    ("keepalived", "keepalived"),
    ("kresd", "knot-resolver"),
    ("mtr", "mtr-tiny"),
    ("named", "bind9"),
    ("nc", "netcat-openbsd"),
    ("ncat", "ncat"),
    ("nft", "nftables"),
    ("nginx", "nginx"),
    ("ospfd", "frr"),
    ("ping", "iputils-ping"),
    ("python3", "python3"),
    ("socat", "socat"),
    ("ss", "iproute2"),
    ("sshd", "openssh-server"),
    ("strongswan", "strongswan"),
    ("tc", "iproute2"),
    ("tcpdump", "tcpdump"),
    ("traceroute", "traceroute"),
    ("tshark", "tshark"),
    ("unbound", "unbound"),
    ("wg", "wireguard-tools"),
    ("zebra", "frr"),
];

/// The programs that a command starts with and ends as: the first word, and of a line for sh(1) what `exec` makes of it.
pub fn named(command: &[String]) -> impl Iterator<Item = &str> {
    let script = match command {
        [shell, option, script] if shell == "sh" && option == "-c" => script.as_str(),
        _ => "",
    };
    let becomes = lines(script).filter_map(|line| line.strip_prefix("exec ")?.split_whitespace().next());
    let plain =
        |word: &&str| word.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.+/".contains(letter));
    command.first().map(String::as_str).into_iter().chain(becomes.filter(plain))
}

/// The lines of a script that are not a text within it, behind `<<`.
fn lines(script: &str) -> impl Iterator<Item = &str> {
    let mut text_ends = None;
    script.lines().map(str::trim).filter(move |line| match text_ends {
        Some(end) => {
            text_ends = text_ends.filter(|_| *line != end);
            false
        }
        None => {
            let word = line.split_once("<<").and_then(|(_, rest)| rest.split_whitespace().next());
            text_ends = word.map(|word| word.trim_matches(['-', '\'', '"']));
            true
        }
    })
}

/// An error if this program is not in PATH, or in `path` instead. Who is named with a directory is not looked for: it
/// may come about in time; and `ping` is built in.
pub fn is_here(program: &str, path: Option<&str>) -> Result<(), Unsupported> {
    let path = path.map(Into::into).or_else(|| env::var_os("PATH")).unwrap_or_default();
    if program == "ping" || program.contains('/') || found(program, env::split_paths(&path)).is_some() {
        return Ok(());
    }
    let missing = format!("program {program} is not here: it is in no directory of PATH");
    let package = PACKAGES.iter().find(|(name, _)| *name == program).map(|(_, package)| *package);
    let remedy = match (found(program, ROOTS.map(PathBuf::from).into_iter()), package) {
        (Some(found), _) => format!("write {}, or put its directory into PATH", found.display()),
        (None, Some(package)) => format!("on Debian: apt-get install {package}"),
        (None, None) => format!("install it; on Debian this says what has it: apt-file search bin/{program}"),
    };
    Err(Unsupported { missing, remedy })
}

fn found(program: &str, directories: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    let runs = |path: &Path| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    directories.map(|directory| directory.join(program)).find(|path| runs(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        assert_eq!(is_here("sh", None), Ok(()));
        let lack = is_here("bird", Some("/nonexistent")).unwrap_err();
        assert!(lack.missing.starts_with("program bird is not here"), "{lack}");
        let here = ROOTS.iter().any(|root| Path::new(root).join("bird").exists());
        assert!(here || lack.remedy.ends_with("apt-get install bird2"), "{}", lack.remedy);
        assert!(is_here("bgpd-of-nobody", None).is_err() && is_here("/run/later", None).is_ok());
    }

    #[test]
    fn a_line_for_the_shell_names_what_it_becomes() {
        let named_by = |line: &str| {
            let command = ["sh", "-c", line].map(str::to_owned);
            named(&command).skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(named_by("cd /srv\n  exec bird -f <<CONF\nexec no\nCONF"), ["bird"]);
        assert_eq!(named_by("cat >x <<-'END'\n\texec no\n\tEND\nexec bgpd -f x"), ["bgpd"]);
        assert_eq!(named_by("exec >log 2>&1\nexec \"$1\"\nexec {tell}>x\necho exec nginx"), [] as [&str; 0]);
        assert_eq!(named(&["nginx".to_owned(), "-g".to_owned()]).collect::<Vec<_>>(), ["nginx"]);
    }

    #[test]
    fn packages_are_in_order() {
        assert!(PACKAGES.is_sorted_by_key(|(program, _)| program));
    }
}
