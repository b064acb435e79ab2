//! The supervisor's side of what is said to a keeper, and the threads of the keeper that listen.

use std::fs::{self, DirBuilder};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::message::{Answer, PROTOCOL, Request};
use super::process::Heard;
use crate::model::{Service, ServiceName};
use crate::status::{ServiceState, ServiceView};

/// How long a keeper may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The same where services have to end first: each has ten seconds, and some end after others.
pub const END_WITHIN: Duration = Duration::from_secs(50);

/// How often it is looked how services get on.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// After so many restarts a service is no longer awaited.
const HOPELESS: u32 = 3;

/// A living keeper. To drop it is to leave it and its services alone.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<UnixStream>,
    /// It was greeted, and has yet to answer: one that was started here takes a few milliseconds to.
    owes_greeting: bool,
}

impl Connection {
    /// A keeper that this command will be, with the rights of whoever starts it, whose child it is. What it is asked until
    /// then it answers when it has begun.
    pub fn ahead_of(socket: &Path, command: &mut Command) -> io::Result<Self> {
        if let Some(directory) = socket.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let _left_behind = fs::remove_file(socket);
        let listener = UnixListener::bind(socket)?;
        fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
        command.stdin(OwnedFd::from(listener)).stdout(Stdio::null());
        let mut keeper = Self::to_end(socket)?;
        write_line(keeper.stream.get_mut(), &Request::Hello)?;
        keeper.owes_greeting = true;
        Ok(keeper)
    }

    /// Takes over a keeper that lives. `Unsupported` says that it is of another protocol and keeps services; if it
    /// keeps none, it ends. Every other error says that there is none.
    pub fn adopt(socket: &Path) -> io::Result<Self> {
        let mut keeper = Self::to_end(socket)?;
        if keeper.answer(&Request::Hello, ANSWER_WITHIN)? == greeting() {
            return Ok(keeper);
        }
        let names = keeper.names()?;
        if names.is_empty() {
            keeper.end()?;
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let why = format!(
            "they are kept by another version of rdom, and are left as they are: {}",
            names.join(", ")
        );
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }

    /// Whether it was started here and has been asked nothing yet, so that it keeps no service.
    pub fn is_new(&self) -> bool {
        self.owes_greeting
    }

    /// A keeper of any protocol, to have it end.
    pub fn to_end(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_write_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { stream: BufReader::new(stream), owes_greeting: false })
    }

    /// Returns when the keeper has ended.
    pub fn wait(socket: &Path) -> io::Result<()> {
        let nothing = UnixStream::connect(socket)?.read(&mut [0]);
        nothing.map(drop)
    }

    /// The services that it has, whatever it says of them.
    fn names(&mut self) -> io::Result<Vec<String>> {
        let said: Value = serde_json::from_str(&self.answer(&Request::Status, ANSWER_WITHIN)?)?;
        let services = said["Services"].as_array().cloned().unwrap_or_default();
        Ok(services.iter().filter_map(|service| Some(service["name"].as_str()?.to_owned())).collect())
    }

    /// Has it keep these services and no others; who is as it was goes on.
    pub fn keep(&mut self, services: &[Service]) -> io::Result<Vec<ServiceView>> {
        self.ask(&Request::Keep(services.to_vec()), ANSWER_WITHIN)
    }

    /// What each service does.
    pub fn services(&mut self) -> io::Result<Vec<ServiceView>> {
        self.ask(&Request::Status, ANSWER_WITHIN)
    }

    /// Waits until nothing comes of waiting any more, or until it is over; what each does then.
    pub fn settled(&mut self, is_over: impl Fn() -> bool) -> io::Result<Vec<ServiceView>> {
        self.wait_while(is_under_way, is_over)
    }

    /// Waits until those have ended that are to end; an error names those that do not within this time.
    pub fn stopped(&mut self, within: Duration) -> io::Result<()> {
        let deadline = Instant::now() + within;
        let is_stopping = |view: &ServiceView| view.state == ServiceState::Stopping;
        let views = self.wait_while(is_stopping, || Instant::now() > deadline)?;
        let left: Vec<_> = views.into_iter().filter(is_stopping).map(|view| view.name).collect();
        match left.is_empty() {
            true => Ok(()),
            false => Err(io::Error::other(format!("they do not end: {}", left.join(", ")))),
        }
    }

    fn wait_while(
        &mut self,
        is_so: impl Fn(&ServiceView) -> bool,
        is_over: impl Fn() -> bool,
    ) -> io::Result<Vec<ServiceView>> {
        loop {
            let views = self.services()?;
            if !views.iter().any(&is_so) || is_over() {
                return Ok(views);
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Kills a service, which stays so until it is started.
    pub fn kill(&mut self, name: &ServiceName) -> io::Result<Vec<ServiceView>> {
        self.ask(&Request::Kill(name.clone()), ANSWER_WITHIN)
    }

    /// Starts a service that is not running.
    pub fn start_service(&mut self, name: &ServiceName) -> io::Result<Vec<ServiceView>> {
        self.ask(&Request::Start(name.clone()), ANSWER_WITHIN)
    }

    /// Ends all services, those last that others depend on, and the keeper.
    pub fn end(mut self) -> io::Result<()> {
        self.ask(&Request::End, END_WITHIN).map(drop)
    }

    fn ask(&mut self, request: &Request, within: Duration) -> io::Result<Vec<ServiceView>> {
        match serde_json::from_str(&self.answer(request, within)?)? {
            Answer::Services(services) => Ok(services),
            Answer::Refused(why) => Err(io::Error::other(why)),
            Answer::Hello(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn answer(&mut self, request: &Request, within: Duration) -> io::Result<String> {
        self.stream.get_ref().set_read_timeout(Some(within))?;
        if std::mem::take(&mut self.owes_greeting) && self.line()? != greeting() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        write_line(self.stream.get_mut(), request)?;
        self.line()
    }

    /// `TimedOut` says that the line is still to come, so that no other question can be asked here.
    fn line(&mut self) -> io::Result<String> {
        let silent = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                io::Error::new(io::ErrorKind::TimedOut, "the keeper of the services does not answer")
            }
            _ => error,
        };
        let mut line = String::new();
        if self.stream.read_line(&mut line).map_err(silent)? == 0 {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the keeper of the services has gone"));
        }
        Ok(line)
    }
}

/// What a keeper of this protocol answers to `Hello`.
fn greeting() -> String {
    format!("{{\"Hello\":{PROTOCOL}}}\n")
}

fn is_under_way(view: &ServiceView) -> bool {
    match view.state {
        ServiceState::Starting | ServiceState::Stopping => true,
        ServiceState::Restarting => view.restarts < HOPELESS,
        ServiceState::Waiting | ServiceState::Ready | ServiceState::Late => false,
        ServiceState::Done | ServiceState::Failed | ServiceState::Killed => false,
    }
}

/// What a keeper is told, and where the answer goes: once it is taken, a second one waits until the first is written.
pub(super) struct Told {
    pub(super) request: Request,
    pub(super) reply: SyncSender<Answer>,
}

/// Hears callers, each on a thread of its own.
pub(super) fn hear(listener: &UnixListener, tell: &SyncSender<Heard>) {
    for caller in listener.incoming().flatten() {
        let told = tell.clone();
        let listen = move || {
            let _gone = converse(&caller, &told);
            drop(told.send(Heard::Left));
        };
        // Before it is heard that they have left.
        if tell.send(Heard::Came).is_err() {
            return;
        }
        if thread::Builder::new().name("caller".into()).spawn(listen).is_err() {
            drop(tell.send(Heard::Left));
        }
    }
}

fn converse(caller: &UnixStream, tell: &SyncSender<Heard>) -> io::Result<()> {
    for line in BufReader::new(caller).lines() {
        let (reply, given) = mpsc::sync_channel(0);
        let answer = match serde_json::from_str(&line?) {
            Ok(request) => {
                let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
                tell.send(Heard::Told(Told { request, reply })).map_err(gone)?;
                given.recv().map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?
            }
            Err(error) => Answer::Refused(error.to_string()),
        };
        write_line(&mut &*caller, &answer)?;
        drop(given);
    }
    Ok(())
}

fn write_line(to: &mut impl Write, what: &impl serde::Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A keeper from before there were protocols, with these services; what it was asked for, in the end.
    fn old_keeper(socket: &Path, services: &'static str) -> thread::JoinHandle<Vec<String>> {
        let listener = UnixListener::bind(socket).unwrap();
        thread::spawn(move || {
            let caller = listener.accept().unwrap().0;
            let mut asked = Vec::new();
            for line in BufReader::new(&caller).lines().map_while(Result::ok) {
                let answer = match line.as_str() {
                    "\"Status\"" | "\"End\"" => format!("{{\"Services\":[{services}]}}\n"),
                    _ => "{\"Refused\":\"unknown variant\"}\n".to_owned(),
                };
                asked.push(line);
                (&caller).write_all(answer.as_bytes()).unwrap();
            }
            asked
        })
    }

    #[test]
    fn services_that_do_not_end_are_not_waited_for_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("keeper");
        let web = r#"{"name":"web","domain":1,"state":"stopping","restarts":0}"#;
        let keeper = old_keeper(&socket, web);
        let left = Connection::to_end(&socket).unwrap().stopped(Duration::from_millis(50)).unwrap_err();
        assert_eq!(left.to_string(), "they do not end: web");
        keeper.join().unwrap();
    }

    #[test]
    fn a_keeper_of_another_protocol_is_ended_if_it_is_idle_and_else_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let idle = directory.path().join("idle");
        let keeper = old_keeper(&idle, "");
        assert_eq!(Connection::adopt(&idle).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(keeper.join().unwrap(), ["\"Hello\"", "\"Status\"", "\"End\""]);

        let busy = directory.path().join("busy");
        let keeper = old_keeper(&busy, r#"{"name":"web","new":{}},{"name":"db"}"#);
        let refused = Connection::adopt(&busy).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
        assert!(refused.to_string().ends_with("left as they are: web, db"), "{refused}");
        assert_eq!(keeper.join().unwrap(), ["\"Hello\"", "\"Status\""]);
    }
}
