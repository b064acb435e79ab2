//! What a network namespace can have here, tried in one that is thrown away: kinds of links, queueing disciplines,
//! nftables, sysctls. Asking makes the kernel load the module where there is one.

use std::cell::OnceCell;
use std::fs;
use std::os::fd::OwnedFd;
use std::thread;

use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, access};

use super::netlink::{self, ask, ask_by, attribute};
use super::{Finding, Unsupported, ipv6};

/// linux/rtnetlink.h, linux/if_link.h, linux/netlink.h.
const NEWLINK: u16 = 16;
const NEWQDISC: u16 = 36;
const CREATE: u16 = 0x400 | 0x200;
const IFNAME: u16 = 3;
const LINK: u16 = 5;
const LINKINFO: u16 = 18;
const NUM_TX_QUEUES: u16 = 31;
const NUM_RX_QUEUES: u16 = 32;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const TCA_KIND: u16 = 1;
const ROOT: u32 = 0xffff_ffff;
/// The number of the loopback in every namespace (linux/net_namespace.h, `LOOPBACK_IFINDEX`), and that of a link which
/// others stand on.
const LOOPBACK: u32 = 1;
const PARENT: u32 = 100;
/// `NFT_MSG_GETGEN` of `NFNL_SUBSYS_NFTABLES` (linux/netfilter/nf_tables.h).
const NFT_GETGEN: u16 = 10 << 8 | 16;

/// A kind of link: its name, the first attribute of its own that it cannot do without, and who provides it.
struct Kind {
    word: &'static str,
    data: &'static [u8],
    attribute: u16,
    on_parent: bool,
    module: &'static str,
    option: &'static str,
    used: [&'static str; 2],
}

const PLAIN: Kind = Kind {
    word: "veth",
    data: &[],
    attribute: 0,
    on_parent: false,
    module: "veth",
    option: "CONFIG_VETH",
    used: ["`links:` between domains", "no `links:`"],
};

/// `veth` first, for others stand on it.
const KINDS: [Kind; 8] = [
    PLAIN,
    Kind {
        word: "bridge",
        module: "bridge",
        option: "CONFIG_BRIDGE",
        used: ["`bridge:`", "no `bridge:`"],
        ..PLAIN
    },
    Kind {
        word: "vrf",
        data: &1_u32.to_ne_bytes(),
        attribute: 1,
        module: "vrf",
        option: "CONFIG_NET_VRF",
        used: [
            "isolation netns+vrf unless the file says otherwise",
            "isolation netns; no netns+vrf and no vrf",
        ],
        ..PLAIN
    },
    Kind {
        word: "wireguard",
        module: "wireguard",
        option: "CONFIG_WIREGUARD",
        used: ["engine kernel unless the file says otherwise", "engine userspace"],
        ..PLAIN
    },
    Kind {
        word: "dummy",
        module: "dummy",
        option: "CONFIG_DUMMY",
        used: ["`dummy:`", "no `dummy:`"],
        ..PLAIN
    },
    Kind {
        word: "vlan",
        data: &1_u16.to_ne_bytes(),
        attribute: 1,
        on_parent: true,
        module: "8021q",
        option: "CONFIG_VLAN_8021Q",
        used: ["`vlan:`", "no `vlan:`"],
    },
    Kind {
        word: "macvlan",
        data: &4_u32.to_ne_bytes(),
        attribute: 1,
        on_parent: true,
        module: "macvlan",
        option: "CONFIG_MACVLAN",
        used: ["`macvlan:`", "no `macvlan:`"],
    },
    Kind {
        word: "vxlan",
        data: &1_u32.to_ne_bytes(),
        attribute: 1,
        module: "vxlan",
        option: "CONFIG_VXLAN",
        used: ["`vxlan:`", "no `vxlan:`"],
        ..PLAIN
    },
];

/// A queueing discipline: name, module, option, and what it is for.
type Discipline = (&'static str, &'static str, &'static str, [&'static str; 2]);

const DISCIPLINES: [Discipline; 3] = [
    ("netem", "sch_netem", "CONFIG_NET_SCH_NETEM", ["delay and loss of links", "no delay or loss of links"]),
    ("tbf", "sch_tbf", "CONFIG_NET_SCH_TBF", ["rates of links", "no rates of links by tbf"]),
    ("htb", "sch_htb", "CONFIG_NET_SCH_HTB", ["rates of links", "no rates of links by htb"]),
];

/// Tries everything. Needs the right to make network namespaces; without it that is the only finding.
pub fn try_namespace() -> Vec<Finding> {
    in_new_namespace(|| {
        let used = ["a namespace for each domain", "no isolation but vrf"];
        let mut findings = vec![Finding::available("network namespaces", "one was made", used[0])];
        let route = netlink::open(NETLINK_ROUTE)?;
        findings.extend(KINDS.iter().map(|kind| try_kind(&route, kind)));
        findings.extend(DISCIPLINES.iter().map(|discipline| try_discipline(&route, discipline)));
        findings.extend([try_nftables(), try_sysctls()]);
        Ok(findings)
    })
    .and_then(|tried| tried.map_err(refused_namespace))
    .unwrap_or_else(|lack| vec![Finding::missing("network namespaces", lack, "nothing can be brought up")])
}

/// Where trials are made: in the calling thread's namespace if that tells, else in one of their own, which is made for the
/// first of them. To make one takes longer than most trials, and so does what the kernel does when it goes.
#[derive(Debug, Default)]
pub struct Ground {
    here: OnceCell<Result<Socket, Errno>>,
    plot: OnceCell<Result<Plot, Unsupported>>,
}

#[derive(Debug)]
struct Plot {
    namespace: OwnedFd,
    /// Speaks rtnetlink(7) in there.
    route: Socket,
}

impl Plot {
    /// To be called by a thread that ends with it.
    fn new() -> Result<Self, Errno> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Ok(Self {
            namespace: open("/proc/thread-self/ns/net", OFlag::O_CLOEXEC, Mode::empty())?,
            route: netlink::open(NETLINK_ROUTE)?,
        })
    }
}

impl Ground {
    fn plot(&self) -> Result<&Plot, Unsupported> {
        self.plot.get_or_init(|| on_a_thread(Plot::new)).as_ref().map_err(Unsupported::clone)
    }

    /// Runs this in a namespace for trials, on a thread of its own.
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T, Unsupported> {
        let namespace = &self.plot()?.namespace;
        on_a_thread(|| setns(namespace, CloneFlags::CLONE_NEWNET).map(|()| inside()))
    }

    /// Whether network namespaces can be made here.
    pub(super) fn is_there(&self) -> Result<(), Unsupported> {
        self.plot().map(drop)
    }

    /// Whether sysctls of new namespaces can be written: as here, or, where this one is not the caller's, by a trial.
    pub(super) fn writable_sysctls(&self) -> Result<(), Unsupported> {
        writable_sysctls().or_else(|_| self.run(writable_sysctls)?)
    }

    /// Whether interfaces of new namespaces have IPv6, if the kernel does.
    pub(super) fn ipv6(&self) -> Result<(), Unsupported> {
        ipv6::by_boot_parameter().unwrap_or_else(|| self.run(ipv6::in_new_namespace).unwrap_or(Ok(())))
    }

    /// Whether links of this kind (`vrf`, `dummy`, ...; as ip-link(8) calls it) can be made here. None is made, for that
    /// takes long: a kernel that knows the kind complains of a link without queues (net/core/rtnetlink.c,
    /// `rtnl_create_link`).
    pub fn kind_of_link(&self, word: &str) -> Result<(), Unsupported> {
        let Some(kind) = KINDS.iter().find(|kind| kind.word == word) else { return Ok(()) };
        let here = self.here.get_or_init(|| netlink::open(NETLINK_ROUTE)).as_ref();
        let known = match here.map_err(|errno| *errno).and_then(|route| know(route, kind)) {
            // This namespace is somebody else's.
            Err(Errno::EPERM) => know(&self.plot()?.route, kind),
            told => told,
        };
        known.map_err(|errno| without(kind, errno))
    }

    /// Whether links can have this queueing discipline (`netem`, `tbf`; as tc(8) calls it) here.
    pub(super) fn queueing_discipline(&self, word: &str) -> Result<(), Unsupported> {
        let Some(discipline) = DISCIPLINES.iter().find(|(known, ..)| *known == word) else { return Ok(()) };
        ask_for(&self.plot()?.route, discipline)
    }
}

/// Makes a network namespace, which is the calling thread's from then on.
pub fn enter_new_namespace() -> Result<(), Unsupported> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(refused_namespace)
}

/// Runs this on a thread of its own in a network namespace that goes with it.
pub fn in_new_namespace<T: Send>(inside: impl FnOnce() -> T + Send) -> Result<T, Unsupported> {
    on_a_thread(|| unshare(CloneFlags::CLONE_NEWNET).map(|()| inside()))
}

fn on_a_thread<T: Send>(enter: impl FnOnce() -> Result<T, Errno> + Send) -> Result<T, Unsupported> {
    let ended = thread::scope(|scope| scope.spawn(enter).join());
    ended.unwrap_or(Err(Errno::ENOMEM)).map_err(refused_namespace)
}

fn refused_namespace(errno: Errno) -> Unsupported {
    let remedy = match errno {
        Errno::ENOSPC => "as root: sysctl -w user.max_net_namespaces=10000",
        Errno::EPERM => "run it as root, or in a private copy: rdom run FILE -- COMMAND",
        _ => "a kernel with CONFIG_NET_NS",
    };
    Unsupported {
        missing: format!("a network namespace cannot be made: {}", errno.desc()),
        remedy: remedy.into(),
    }
}

fn try_kind(route: &Socket, kind: &Kind) -> Finding {
    let tried = make(route, kind).map(|()| "one was made".to_owned()).map_err(|errno| without(kind, errno));
    let used = match kind.word {
        "vrf" if writable_sysctls().is_err() => {
            ["isolation netns; netns+vrf needs net sysctls that can be written", kind.used[1]]
        }
        _ => kind.used,
    };
    Finding::of(kind.word, tried, used)
}

/// Makes one in the socket's namespace; a veth is what others may stand on. With more queues than one the kernel waits for
/// RCU, twice for a pair.
fn make(route: &Socket, kind: &Kind) -> Result<(), Errno> {
    create(route, kind, 1)
}

/// Whether the kernel knows such links, and permits them in the socket's namespace.
fn know(route: &Socket, kind: &Kind) -> Result<(), Errno> {
    match create(route, kind, 0) {
        Err(errno @ (Errno::EOPNOTSUPP | Errno::EPERM)) => Err(errno),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn create(route: &Socket, kind: &Kind, queues: u32) -> Result<(), Errno> {
    let name = format!("try-{}\0", kind.word);
    let mut info = attribute(INFO_KIND, kind.word.as_bytes());
    if kind.attribute != 0 {
        info.extend(attribute(INFO_DATA, &attribute(kind.attribute, kind.data)));
    }
    // Where none is made, nothing with this number is to be in the way either.
    let index = if kind.word == PLAIN.word { PARENT * queues } else { 0 };
    let mut body = [[0; 4], index.to_ne_bytes(), [0; 4], [0; 4]].concat();
    body.extend(attribute(IFNAME, name.as_bytes()));
    if kind.on_parent {
        body.extend(attribute(LINK, &PARENT.to_ne_bytes()));
    }
    body.extend(attribute(LINKINFO, &info));
    body.extend([NUM_TX_QUEUES, NUM_RX_QUEUES].map(|which| attribute(which, &queues.to_ne_bytes())).concat());
    ask_by(route, NEWLINK, CREATE, &body).map(drop)
}

fn without(kind: &Kind, errno: Errno) -> Unsupported {
    let missing = match errno {
        Errno::EOPNOTSUPP => format!("this kernel has no links of kind {}", kind.word),
        _ => format!("no link of kind {} can be made: {}", kind.word, errno.desc()),
    };
    Unsupported { missing, remedy: provider(kind.module, kind.option) }
}

/// A module if this kernel has modules at all, else the kernel's own option.
fn provider(module: &str, option: &str) -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    match fs::exists(format!("/lib/modules/{}", release.trim())) {
        Ok(true) => format!("as root: modprobe {module}"),
        Ok(false) | Err(_) => format!("a kernel with {option}, as those of distributions are"),
    }
}

fn try_discipline(route: &Socket, discipline: &Discipline) -> Finding {
    let tried = ask_for(route, discipline).map(|()| "the kernel knows it".to_owned());
    Finding::of(discipline.0, tried, discipline.3)
}

/// Asks in the socket's namespace; a discipline that is there complains of missing options.
fn ask_for(route: &Socket, (word, module, option, _): &Discipline) -> Result<(), Unsupported> {
    let mut body = vec![0; 4];
    body.extend(LOOPBACK.to_ne_bytes());
    body.extend(0_u32.to_ne_bytes());
    body.extend(ROOT.to_ne_bytes());
    body.extend([0; 4]);
    body.extend(attribute(TCA_KIND, format!("{word}\0").as_bytes()));
    match ask_by(route, NEWQDISC, CREATE, &body) {
        Err(errno @ (Errno::ENOENT | Errno::EOPNOTSUPP | Errno::EPERM)) => Err(Unsupported {
            missing: format!("this kernel has no queueing discipline {word} ({})", errno.desc()),
            remedy: provider(module, option),
        }),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn try_nftables() -> Finding {
    let tried = ask(netlink_sys::protocols::NETLINK_NETFILTER, NFT_GETGEN, 0, &[0; 4]);
    let tried = tried.map(|_| "it answers".to_owned()).map_err(|errno| Unsupported {
        missing: format!("this kernel has no nftables ({})", errno.desc()),
        remedy: provider("nf_tables", "CONFIG_NF_TABLES"),
    });
    Finding::of("nftables", tried, ["a firewall of their own for domains with a namespace", "no firewall"])
}

fn try_sysctls() -> Finding {
    let tried = writable_sysctls().map(|()| "net.ipv4.ip_forward can be written".to_owned());
    Finding::of("net sysctls", tried, ["`sysctls:` of domains", "no `sysctls:` and no netns+vrf"])
}

/// Whether sysctls of the calling thread's namespace, which are its own files below /proc/sys/net, can be written.
pub fn writable_sysctls() -> Result<(), Unsupported> {
    let file = "/proc/sys/net/ipv4/ip_forward";
    access(file, AccessFlags::W_OK).map_err(|errno| Unsupported {
        missing: format!("{file} cannot be written: {}", errno.desc()),
        remedy: match errno {
            Errno::EROFS => "mount -o remount,rw /proc/sys; for a container: podman run --security-opt \
                             unmask=/proc/sys, docker run --security-opt systempaths=unconfined"
                .into(),
            _ => "run it as root, or in a private copy: rdom run FILE -- COMMAND".into(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_on_one_ground_do_not_disturb_each_other_or_this_thread() {
        let namespace = || fs::read_link("/proc/thread-self/ns/net").unwrap();
        let (before, ground) = (namespace(), Ground::default());
        if let Err(lack) = ground.run(|| ()) {
            // Who may not make namespaces is told so, and no more.
            assert!(lack.missing.starts_with("a network namespace cannot be made"), "{}", lack.missing);
            return;
        }
        for _twice in 0..2 {
            assert_eq!(ground.kind_of_link("bridge"), Ok(()), "every kernel has bridges");
        }
        let veth = ground.kind_of_link("veth");
        assert_eq!(ground.kind_of_link("macvlan").and(ground.kind_of_link("veth")), veth);
        let same = ground.run(namespace);
        assert_eq!((ground.run(namespace), namespace()), (same.clone(), before));
        assert_ne!(same, Ok(namespace()));
    }

    #[test]
    fn what_is_told_without_a_namespace_holds_in_one() {
        let ground = Ground::default();
        let tried = || Ok((ground.run(ipv6::in_new_namespace)?, ground.run(writable_sysctls)?));
        if let Ok::<_, Unsupported>((ipv6, sysctls)) = tried() {
            assert_eq!(ipv6::by_boot_parameter().unwrap_or_else(|| ipv6.clone()), ipv6);
            assert_eq!(ground.writable_sysctls(), sysctls);
        }
    }

    #[test]
    fn a_kind_of_link_is_there_if_one_can_be_made() {
        let ground = Ground::default();
        for kind in &KINDS {
            let made = in_new_namespace(|| {
                let route = netlink::open(NETLINK_ROUTE)?;
                if kind.on_parent {
                    make(&route, &PLAIN)?;
                }
                make(&route, kind)
            });
            // Who may not make namespaces has none of them.
            let made = made.is_ok_and(|made| made.is_ok());
            assert_eq!(ground.kind_of_link(kind.word).is_ok(), made, "{}", kind.word);
        }
    }

    #[test]
    fn what_cannot_be_is_named_with_what_would_provide_it() {
        let vrf = KINDS.iter().find(|kind| kind.word == "vrf").unwrap();
        let lack = without(vrf, Errno::EOPNOTSUPP);
        assert_eq!(lack.missing, "this kernel has no links of kind vrf");
        assert!(lack.remedy.contains("vrf") || lack.remedy.contains("CONFIG_NET_VRF"), "{}", lack.remedy);
    }
}
