//! A domain of a lab, as a test uses it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::process::CommandExt;
use std::panic::resume_unwind;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use super::home::on_a_thread;
use super::{Ground, LabError};
use crate::exec;
use crate::model::DomainId;
use crate::probe::Unsupported;
use crate::state::Roots;
use crate::supervisor::Entrances;

/// A domain of a lab, by its number or name.
///
/// The sockets that it makes are those of the standard library. They stay in the domain and are used from anywhere:
/// by another thread, or by the runtime of an async test.
///
/// ```no_run
/// # async fn test(lab: rdomain::lab::Lab) -> std::io::Result<()> {
/// let listener = lab.domain("server").tcp_listener("10.0.0.2:80")?;
/// listener.set_nonblocking(true)?;
/// let listener = tokio::net::TcpListener::from_std(listener)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Domain {
    ground: Arc<Ground>,
    word: String,
}

impl Domain {
    pub(super) fn new(ground: &Arc<Ground>, word: &str) -> Self {
        Self { ground: Arc::clone(ground), word: word.to_owned() }
    }

    /// Runs a program there as `rdom exec` does, with nothing to read, until it ends. It is killed if this process is.
    pub fn exec<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Result<Output, LabError> {
        let words: Vec<OsString> = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        let (program, arguments) = words.split_first().ok_or(LabError::NoProgram)?;
        let output = self.visit(|citizen| {
            let mut command = Command::new(program);
            command.args(arguments).envs(self.ground.variables(citizen)).stdin(Stdio::null());
            // SAFETY: prctl(2) may be called between fork and exec.
            unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
            command.output()
        })?;
        output.map_err(|source| LabError::Program { program: program.into(), source })
    }

    /// Runs a closure there, on a thread of its own, and returns what it returns; if it panics, so does this. What it
    /// opens stays in the domain.
    ///
    /// /proc/net, as /proc/self, is that of the process: the thread's own is /proc/thread-self/net.
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        self.visit(|_| inside())
    }

    /// Starts a thread there. A thread that outlives the lab has an empty namespace left.
    pub fn spawn<T: Send + 'static>(
        &self,
        inside: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, LabError> {
        let (tell, told) = sync_channel(1);
        let (ground, word) = (Arc::clone(&self.ground), self.word.clone());
        let visit = move || match ground.enter(&word) {
            Ok(_) => {
                drop((ground, tell));
                inside()
            }
            Err(error) => {
                let _waits_for_it = tell.send(error);
                // Nobody joins it.
                resume_unwind(Box::new("not entered"))
            }
        };
        let thread = thread::Builder::new().name(self.word.clone()).spawn(visit).map_err(LabError::Thread)?;
        match told.recv() {
            Ok(error) => Err(error),
            Err(_entered) => Ok(thread),
        }
    }

    /// A socket that listens there.
    pub fn tcp_listener(&self, at: impl ToSocketAddrs + Send) -> io::Result<TcpListener> {
        self.open(|| TcpListener::bind(at))
    }

    /// A connection from there. For one with a deadline: `run(|| TcpStream::connect_timeout(..))`.
    pub fn tcp_stream(&self, to: impl ToSocketAddrs + Send) -> io::Result<TcpStream> {
        self.open(|| TcpStream::connect(to))
    }

    /// A socket that is bound there.
    pub fn udp_socket(&self, at: impl ToSocketAddrs + Send) -> io::Result<UdpSocket> {
        self.open(|| UdpSocket::bind(at))
    }

    fn open<S: Send>(&self, open: impl FnOnce() -> io::Result<S> + Send) -> io::Result<S> {
        self.run(open).map_err(io::Error::other)?
    }

    fn visit<T: Send>(&self, inside: impl FnOnce(&Citizen) -> T + Send) -> Result<T, LabError> {
        on_a_thread(&self.word, || self.ground.enter(&self.word).map(|citizen| inside(&citizen)))
    }
}

/// What a thread has become.
#[derive(Debug)]
struct Citizen {
    domain: DomainId,
    name: String,
}

impl Ground {
    /// Makes the calling thread, which nobody else needs, a citizen of the domain that this word means.
    fn enter(&self, word: &str) -> Result<Citizen, LabError> {
        self.home.enter()?;
        let entrances = Entrances { network: &self.name, directories: &self.directories };
        let find = || {
            let survey = entrances.survey(word)?;
            let (domain, which) = entrances.rtable(&survey, word)?;
            Ok((domain, entrances.place(survey, domain, which)?))
        };
        let (domain, place) = find().map_err(LabError::Domain)?;
        match &place.membership {
            None => exec::enter(&place)?,
            Some(_) => return Err(not_for_threads(word).into()),
        }
        Ok(Citizen { domain, name: place.name })
    }

    /// What a program in there is told of where it is, and where other programs of this library find the network.
    fn variables(&self, citizen: &Citizen) -> Vec<(&'static str, OsString)> {
        let Roots { state, runtime } = Roots::private();
        let place = exec::variables(&self.name, citizen.domain, &citizen.name);
        let place = place.into_iter().map(|(variable, value)| (variable, value.into()));
        place.chain([("RDOM_STATE_DIR", state.into()), ("RDOM_RUNTIME_DIR", runtime.into())]).collect()
    }
}

fn not_for_threads(word: &str) -> Unsupported {
    Unsupported {
        missing: format!(
            "{word} shares its namespace with others, which takes a control group and so a process to enter"
        ),
        remedy: "give the domain isolation netns, and go by its own rtable".into(),
    }
}
