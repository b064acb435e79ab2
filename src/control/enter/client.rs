//! In front of the door.

use std::fs;
use std::io::{self, IoSliceMut, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, getsockopt, recvmsg, sockopt};
use thiserror::Error;

use super::{Admission, LONGEST_LINE, Line, Refusal, Ticket, socket};
use crate::model::{DomainId, DomainName, NetworkName};
use crate::state::lookups;

/// Where root's networks are. What the environment says counts for nothing: this is asked with privileges.
const NETWORKS: &str = "/run/rdom";

/// How long an answer may take: longer than the supervisor's side gives itself.
const PATIENCE: Duration = Duration::from_secs(75);

/// Why somebody did not get in.
#[derive(Debug, Error)]
pub enum EnterError {
    /// There is no door.
    #[error("network {0} is not up, or none of its domains has `allow`")]
    NoDoor(NetworkName),
    /// Nobody is behind the door.
    #[error("network {0} has no supervisor any more, and without one only root enters its domains")]
    NobodyIsIn(NetworkName),
    /// Somebody else than root is behind the door.
    #[error("{} is not root's, but user {uid}'s", path.display())]
    NotRoots {
        /// The socket.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// The conversation broke off.
    #[error("cannot ask at {}: {source}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not permitted.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// The door of one of root's networks.
#[derive(Debug)]
pub struct Door {
    network: NetworkName,
    path: PathBuf,
}

/// The doors that there are, by the names of their networks.
pub fn doors() -> Vec<NetworkName> {
    let entries = fs::read_dir(NETWORKS).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| NetworkName::new(entry.file_name().into_string().ok()?).ok());
    let mut names: Vec<_> = names.filter(|name| Door::of(name).path.exists()).collect();
    names.sort();
    names
}

impl Door {
    /// That of this network, whether there is one or not.
    pub fn of(network: &NetworkName) -> Self {
        let path = socket(&Path::new(NETWORKS).join(network.as_str()));
        Self { network: network.clone(), path }
    }

    /// Where the files of a domain behind it about names are.
    pub fn lookups(&self, domain: DomainId) -> PathBuf {
        lookups(self.path.parent().unwrap_or(Path::new(NETWORKS)), domain)
    }

    /// Asks to enter the domain that a word means. Where it has a control group, the caller is in it afterwards.
    pub fn ask(&self, word: &str) -> Result<Admission, EnterError> {
        let broken = |source| self.broken(source);
        let mut stream = self.connect()?;
        let owner = getsockopt(&stream, sockopt::PeerCredentials).map_err(|errno| broken(errno.into()))?;
        if owner.uid() != 0 {
            return Err(EnterError::NotRoots { path: self.path.clone(), uid: owner.uid() });
        }
        stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
        // Who is turned away at once may find the other end closed, and the answer waiting.
        let written = stream.write_all(format!("{word}\n").as_bytes());
        let (text, namespace) = receive(&stream).map_err(|error| broken(written.err().unwrap_or(error)))?;
        match serde_json::from_slice(&text).map_err(|error| broken(error.into()))? {
            Line::Refused(refusal) => Err(refusal.into()),
            Line::Admitted(ticket) => {
                let malformed = || broken(io::Error::new(io::ErrorKind::InvalidData, "malformed answer"));
                admitted(ticket, namespace).ok_or_else(malformed)
            }
        }
    }

    fn connect(&self) -> Result<UnixStream, EnterError> {
        UnixStream::connect(&self.path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
                EnterError::NoDoor(self.network.clone())
            }
            _ => self.broken(source),
        })
    }

    /// A supervisor that dies takes those who wait with it.
    fn broken(&self, source: io::Error) -> EnterError {
        use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, UnexpectedEof};
        match source.kind() {
            ConnectionRefused | ConnectionReset | BrokenPipe | UnexpectedEof => {
                EnterError::NobodyIsIn(self.network.clone())
            }
            _ => EnterError::Broken { path: self.path.clone(), source },
        }
    }
}

/// One answer and the descriptor that comes with it, which closes on exec.
fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut text = vec![0; LONGEST_LINE];
    let mut space = cmsg_space!(i32);
    let mut parts = [IoSliceMut::new(&mut text)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let mut namespace = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // The kernel has just given it to this process.
            namespace = raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).next_back();
        }
    }
    let length = message.bytes;
    if length == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the supervisor hung up"));
    }
    text.truncate(length);
    Ok((text, namespace))
}

fn admitted(ticket: Ticket, namespace: Option<OwnedFd>) -> Option<Admission> {
    let (domain, name) = (DomainId::new(ticket.domain).ok()?, DomainName::new(ticket.name).ok()?);
    Some(Admission { domain, name, namespace })
}
