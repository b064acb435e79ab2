//! Programs kept running in domains: started in the order in which they need each other, seen to be ready, started
//! again, ended.
//!
//! A process of its own has them (`process`), one a network, which the supervisor tells what is wanted; what to do
//! about that and about what happens is decided without IO (`keep`). Supervisor and keeper find each other by a socket
//! in the network's runtime directory: services outlive a supervisor that is killed, and the next one takes them over
//! as they are. They do not outlive their keeper (prctl(2), PR_SET_PDEATHSIG). Another keeper is started by the killed
//! one's guard (`guard`), and whom they have started is ended before, so that none runs twice.

mod connection;
mod guard;
mod keep;
mod message;
mod orphans;
mod own;
mod process;
mod ready;

pub use connection::{Connection, END_WITHIN};
pub use orphans::end_orphans;
pub use process::{Enter, PROCESS, run};

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::model::{Service, ServiceName};
use crate::status::ServiceView;

/// How much of a log is looked at for its last lines, in bytes.
const TAIL: u64 = 16 << 10;

/// Where a network's keeper listens, below its runtime directory.
pub fn socket(runtime: &Path) -> PathBuf {
    runtime.join("services/keeper.sock")
}

/// Where a service's output goes, below the same.
pub fn log(runtime: &Path, name: &ServiceName) -> PathBuf {
    runtime.join(format!("services/{name}.log"))
}

/// The last lines that a service has written.
pub fn last_words(runtime: &Path, service: &ServiceView, lines: usize) -> Vec<String> {
    let read = || {
        let mut log = File::open(log(runtime, &ServiceName::new(&service.name).map_err(io::Error::other)?))?;
        let length = log.metadata()?.len();
        log.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut said = Vec::new();
        log.read_to_end(&mut said).map(|_| said)
    };
    let said = read().unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let mut last: Vec<_> = said.lines().rev().take(lines).map(str::to_owned).collect();
    last.reverse();
    last
}

/// What becomes of services from one list to another, in words.
pub fn changes(from: &[Service], to: &[Service]) -> Vec<String> {
    let in_list = |list: &[Service], name: &ServiceName| list.iter().any(|service| service.name == *name);
    let stopped = from.iter().filter(|service| !in_list(to, &service.name));
    let stopped = stopped.map(|service| format!("stop service {}", service.name));
    let others = to.iter().filter(|service| !from.contains(service));
    let others = others.map(|service| match in_list(from, &service.name) {
        true => format!("restart service {}", service.name),
        false => format!("start service {}", service.name),
    });
    stopped.chain(others).collect()
}
