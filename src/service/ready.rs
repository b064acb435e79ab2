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

/// The sockets, by their inodes, that listen on a port of TCP in the network namespace of a process.
pub(super) fn listening(pid: i32, port: u16) -> Vec<u64> {
    sockets(pid, ["tcp", "tcp6"], port, LISTEN)
}

/// Those that are bound to a port of UDP there.
pub(super) fn bound(pid: i32, port: u16) -> Vec<u64> {
    sockets(pid, ["udp", "udp6"], port, UNCONNECTED)
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
fn sockets(pid: i32, tables: [&'static str; 2], port: u16, state: &'static str) -> Vec<u64> {
    let look = move || {
        let process = Process::open(pid).ok()?;
        setns(process.handle(), CloneFlags::CLONE_NEWNET).ok()?;
        let tables = tables.map(|table| fs::read_to_string(format!("/proc/thread-self/net/{table}")));
        let sockets =
            |table: &String| table.lines().filter_map(|line| socket(line, port, state)).collect::<Vec<_>>();
        Some(tables.iter().flatten().flat_map(sockets).collect::<Vec<_>>())
    };
    let looked = thread::Builder::new().name("look".into()).spawn(look).map(thread::JoinHandle::join);
    looked.ok().and_then(Result::ok).flatten().unwrap_or_default()
}

/// See proc(5), /proc/net/tcp: a number, the local address and port, the remote ones, the state, and as tenth the inode.
fn socket(line: &str, port: u16, state: &str) -> Option<u64> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_meant = words.get(1)?.ends_with(&format!(":{port:04X}")) && *words.get(3)? == state;
    if is_meant { words.get(9)?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_is_a_socket() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000  0 4711 1 x 100";
        assert_eq!(socket(line, 8080, LISTEN), Some(4711));
        assert_eq!((socket(line, 8080, UNCONNECTED), socket(line, 80, LISTEN)), (None, None));
        assert_eq!(socket("  sl  local_address rem_address   st tx_queue rx_queue", 80, LISTEN), None);
    }
}
