//! Sockets that wait for somebody, and whose they are.

use std::fs;
use std::path::Path;

use super::Ground;
use crate::model::DomainId;
use crate::spec::{Presence, Protocol};
use crate::status;
use crate::suite::inside::Inside;

/// What the kernel keeps of a program's name (linux/sched.h, `TASK_COMM_LEN` without its last byte).
const COMM_BYTES: usize = 15;

/// A socket that shall be there, or shall not.
pub(super) struct Bound<'a> {
    pub(super) protocol: Protocol,
    pub(super) port: u16,
    pub(super) owner: Option<&'a str>,
}

pub(super) fn looked_for(
    domain: DomainId,
    inside: &Inside<'_>,
    ground: &Ground,
    wanted: &Bound<'_>,
    expect: Presence,
) -> Option<String> {
    let Bound { protocol, port, owner } = *wanted;
    let transport = match protocol {
        Protocol::Udp => status::Protocol::Udp,
        Protocol::Tcp => status::Protocol::Tcp,
    };
    let sockets = match ground.survey.socket_table(domain) {
        Ok(table) => table.sockets,
        Err(error) => return Some(error.to_string()),
    };
    let bound = sockets.iter().any(|socket| (socket.protocol, socket.local.port()) == (transport, port));
    let owners = || owners(inside, protocol, port);
    let what = format!("bound to {protocol}/{port}");
    match (expect, owner) {
        (Presence::Present, _) if !bound => Some(format!("nothing is {what}")),
        (Presence::Present, Some(owner)) if !owners().iter().any(|comm| is_called(comm, owner)) => {
            Some(format!("{} is {what}", who(&owners())))
        }
        (Presence::Absent, None) if bound => Some(format!("{} is {what}", who(&owners()))),
        (Presence::Absent, Some(owner)) if bound && owners().iter().any(|comm| is_called(comm, owner)) => {
            Some(format!("{owner} is {what}"))
        }
        (Presence::Present | Presence::Absent, Some(_) | None) => None,
    }
}

/// Whether a process has this name, of which the kernel keeps the beginning (proc_pid_comm(5)).
fn is_called(comm: &str, name: &str) -> bool {
    comm == name || (comm.len() == COMM_BYTES && name.starts_with(comm))
}

fn who(owners: &[String]) -> String {
    match owners {
        [] => "something that is no process".to_owned(),
        owners => owners.join(" and "),
    }
}

/// The programs that have a socket of this port open in the domain.
fn owners(inside: &Inside<'_>, protocol: Protocol, port: u16) -> Vec<String> {
    let tables = [protocol.to_string(), format!("{protocol}6")];
    let inodes: Vec<u64> = tables
        .iter()
        .flat_map(|table| rows(inside, table))
        .filter(|row| row.port == port)
        .map(|row| row.inode)
        .collect();
    let mut owners: Vec<String> = processes()
        .into_iter()
        .filter(|process| holds(process, &inodes))
        .filter_map(|process| fs::read_to_string(Path::new(&process).join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect();
    owners.sort();
    owners.dedup();
    owners
}

/// The column of the inode in most of those tables, from 0.
const INODE_AT: usize = 9;

/// A socket as a table of /proc/net has it (proc_net(5)).
struct Row {
    port: u16,
    inode: u64,
}

/// The sockets of a domain's namespace in one of its tables: `udp`, `tcp6`, `raw`, ...
fn rows(inside: &Inside<'_>, table: &str) -> Vec<Row> {
    lines(inside, table).iter().filter_map(|line| row(line)).collect()
}

/// The inodes of the sockets in one of these tables.
pub(super) fn inodes(inside: &Inside<'_>, table: &str) -> Vec<u64> {
    let at = if table == "packet" { 8 } else { INODE_AT };
    let inode = |line: &String| line.split_whitespace().nth(at)?.parse().ok();
    lines(inside, table).iter().filter_map(inode).collect()
}

fn lines(inside: &Inside<'_>, table: &str) -> Vec<String> {
    let read = || fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
    let text = inside.namespace.run(read).unwrap_or_default();
    text.lines().skip(1).map(str::to_owned).collect()
}

fn row(line: &str) -> Option<Row> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let port = words.get(1)?.rsplit(':').next()?;
    Some(Row { port: u16::from_str_radix(port, 16).ok()?, inode: words.get(INODE_AT)?.parse().ok()? })
}

/// The directories of all processes that are seen from here.
pub(super) fn processes() -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .map(|pid| format!("/proc/{pid}"))
        .collect()
}

/// Whether a process has one of these sockets open.
pub(super) fn holds(process: &str, inodes: &[u64]) -> bool {
    let open = fs::read_dir(Path::new(process).join("fd")).into_iter().flatten().flatten();
    let targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    let sockets = targets.filter_map(|target| {
        let target = target.to_string_lossy().into_owned();
        target.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
    });
    let mut sockets = sockets;
    sockets.any(|inode| inodes.contains(&inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_port_and_an_inode() {
        let line =
            " 1017: 0100007F:1BC7 00000000:0000 07 00000000:00000000 00:00000000 00000000  0  0 4711 2 0 0";
        let row = row(line).unwrap();
        assert_eq!((row.port, row.inode), (7111, 4711));
    }
}
