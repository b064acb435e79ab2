//! Whether a service is ready, as far as that can be seen from outside.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::engine::Process;

/// A listener in /proc/net/tcp, and an unconnected socket in /proc/net/udp (include/net/tcp_states.h).
const LISTEN: &str = "0A";
const UNCONNECTED: &str = "07";

/// The most of a log that is looked through, in bytes.
const LOG_LIMIT: u64 = 1 << 20;

/// Whether somebody listens on a port of TCP in the network namespace of a process.
pub(super) fn listens(pid: i32, port: u16) -> bool {
    has_socket(pid, ["tcp", "tcp6"], port, LISTEN)
}

/// Whether somebody has a port of UDP there.
pub(super) fn is_bound(pid: i32, port: u16) -> bool {
    has_socket(pid, ["udp", "udp6"], port, UNCONNECTED)
}

/// Whether a log has these words behind the first bytes.
pub(super) fn has_said(log: &Path, from: u64, words: &str) -> bool {
    let said = || {
        let mut file = File::open(log)?;
        file.seek(SeekFrom::Start(from))?;
        let mut said = Vec::new();
        file.take(LOG_LIMIT).read_to_end(&mut said).map(|_| said)
    };
    said().is_ok_and(|said| String::from_utf8_lossy(&said).contains(words))
}

/// A thread looks, which goes there: a process of its own would cost more than it sees.
fn has_socket(pid: i32, tables: [&'static str; 2], port: u16, state: &'static str) -> bool {
    let look = move || {
        let process = Process::open(pid).ok()?;
        setns(process.handle(), CloneFlags::CLONE_NEWNET).ok()?;
        let tables = tables.map(|table| fs::read_to_string(format!("/proc/thread-self/net/{table}")));
        Some(tables.iter().flatten().any(|table| has_line(table, port, state)))
    };
    let looked = thread::Builder::new().name("look".into()).spawn(look).map(thread::JoinHandle::join);
    matches!(looked, Ok(Ok(Some(true))))
}

/// See proc(5), /proc/net/tcp: a number, the local address and port, the remote ones, the state.
fn has_line(table: &str, port: u16, state: &str) -> bool {
    let port = format!(":{port:04X}");
    table.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&port)) && words.nth(1) == Some(state)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_is_a_socket() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
                     0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000\n";
        assert!(has_line(table, 8080, LISTEN));
        assert!(!has_line(table, 8080, UNCONNECTED) && !has_line(table, 80, LISTEN));
    }
}
