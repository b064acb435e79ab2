//! Behind the door: one line from each who knocks, and one answer.
//!
//! Everybody may knock, so everything is bounded: how many at once, of one user, how long a line, how long it takes.
//! The supervisor is asked one question at a time, and only when the caller has been heard and identified.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener as StdListener;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::{LocalSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::super::caller::{Caller, Credentials};
use super::{Admission, LONGEST_LINE, Line, Refusal, Ticket};

/// Who may be inside at once; whoever comes then is turned away.
const CALLERS: usize = 128;
/// How many of them may be of one user.
const CALLERS_OF_ONE_USER: usize = 16;
/// How many names of accounts are looked up at once.
const ACCOUNT_THREADS: usize = 4;
/// How long a caller may take to say where they want to go.
const HEARING: Duration = Duration::from_secs(2);
/// How long the place of somebody who was turned away stays taken.
const REFUSED: Duration = Duration::from_millis(250);
/// How long the accounts, and the supervisor, may take.
const ANSWERING: Duration = Duration::from_secs(30);
/// How long the listener rests when it cannot accept: it is out of descriptors.
const REST: Duration = Duration::from_millis(100);

/// Somebody wants to enter a domain.
#[derive(Debug)]
pub struct Ask {
    /// Who.
    pub caller: Caller,
    /// Which one: the number or name of a domain, or the number of a further rtable.
    pub word: String,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Admission, Refusal>>,
}

/// An open door; closed when dropped.
#[derive(Debug)]
pub struct Opened {
    _finish: oneshot::Sender<()>,
}

/// Callers who are being heard, by user.
type Inside = Rc<RefCell<BTreeMap<u32, usize>>>;

/// Answers on a thread of its own; each question is put to whoever receives from `queue`.
pub fn open<E>(listener: StdListener, queue: mpsc::Sender<E>) -> io::Result<Opened>
where
    E: From<Ask> + Send + 'static,
{
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(ACCOUNT_THREADS)
        .enable_all()
        .build()?;
    let (finish, finished) = oneshot::channel();
    let answer = move || {
        let local = LocalSet::new();
        let answering = async {
            tokio::select! {
                ended = answer(listener, queue) => ended,
                _ = finished => Ok(()),
            }
        };
        if let Err(error) = local.block_on(&runtime, answering) {
            warn!(%error, "the door is closed");
        }
        drop(local);
        // Accounts that do not answer are not waited for.
        runtime.shutdown_background();
    };
    thread::Builder::new().name("door".into()).spawn(answer)?;
    Ok(Opened { _finish: finish })
}

async fn answer<E: From<Ask> + 'static>(listener: StdListener, queue: mpsc::Sender<E>) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let (inside, queue) = (Inside::default(), Rc::new(Mutex::new(queue)));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "nobody comes in");
                sleep(REST).await;
                continue;
            }
        };
        let Ok(credentials) = Credentials::of(&stream) else { continue };
        let Some(visit) = Visit::of(credentials.uid, &inside) else {
            let _ = say(&stream, Err(Refusal::new("too many callers: try again")));
            continue;
        };
        let queue = Rc::clone(&queue);
        tokio::task::spawn_local(async move {
            let answer = attend(&stream, credentials, &queue).await;
            let refused = answer.is_err();
            if let Err(error) = say(&stream, answer) {
                debug!(%error, "a caller did not hear the answer");
            }
            drop(stream);
            if refused {
                sleep(REFUSED).await;
            }
            drop(visit);
        });
    }
}

/// A caller who has been let in to be heard.
struct Visit {
    uid: u32,
    inside: Inside,
}

impl Visit {
    fn of(uid: u32, inside: &Inside) -> Option<Self> {
        let mut callers = inside.borrow_mut();
        if callers.values().sum::<usize>() >= CALLERS {
            return None;
        }
        let of_user = callers.entry(uid).or_default();
        if *of_user >= CALLERS_OF_ONE_USER {
            return None;
        }
        *of_user += 1;
        Some(Self { uid, inside: Rc::clone(inside) })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut callers = self.inside.borrow_mut();
        callers.entry(self.uid).and_modify(|number| *number -= 1);
        callers.retain(|_, number| *number > 0);
    }
}

async fn attend<E: From<Ask>>(
    stream: &UnixStream,
    credentials: Credentials,
    queue: &Mutex<mpsc::Sender<E>>,
) -> Result<Admission, Refusal> {
    let slow = |_| Refusal::new("the domain was not named in time");
    let word = timeout(HEARING, line(stream)).await.map_err(slow)??;
    let busy = || Refusal::new("the supervisor is busy: try again");
    let identified = timeout(ANSWERING, spawn_blocking(move || credentials.identify())).await;
    let Ok(Ok(caller)) = identified else { return Err(busy()) };
    let asked = async {
        // Held until the answer is there: strangers take one place in the supervisor's queue and no more.
        let queue = queue.lock().await;
        let (reply, answer) = oneshot::channel();
        let ending = || Refusal::new("the network is going down");
        // Changes by others may have filled it.
        queue.send(Ask { caller, word, reply }.into()).await.map_err(|_| ending())?;
        answer.await.map_err(|_| ending())
    };
    timeout(ANSWERING, asked).await.map_err(|_| busy())??
}

/// One line, without its end.
async fn line(stream: &UnixStream) -> Result<String, Refusal> {
    let malformed = || Refusal::new("malformed: one line with the name of a domain is expected");
    let mut text = Vec::new();
    while !text.ends_with(b"\n") {
        let mut piece = [0; 256];
        stream.readable().await.map_err(|_| malformed())?;
        match stream.try_read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(length) if length > 0 && text.len() + length <= LONGEST_LINE => {
                text.extend_from_slice(&piece[..length]);
            }
            Ok(_) | Err(_) => return Err(malformed()),
        }
    }
    let text = String::from_utf8(text).map_err(|_| malformed())?;
    let word = text.trim_end_matches('\n');
    let fits = !word.is_empty() && !word.contains(|c: char| c.is_control());
    fits.then(|| word.to_owned()).ok_or_else(malformed)
}

/// Says it at once or not at all: an answer has room in a socket that nothing was written to.
fn say(stream: &UnixStream, answer: Result<Admission, Refusal>) -> io::Result<()> {
    let (line, namespace) = match answer {
        Ok(Admission { domain, name, namespace }) => {
            (Line::Admitted(Ticket { domain: domain.number(), name: name.to_string() }), namespace)
        }
        Err(refusal) => (Line::Refused(refusal), None),
    };
    let text = serde_json::to_vec(&line)?;
    let raw: Vec<_> = namespace.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let rights: &[_] = if raw.is_empty() { &[] } else { &rights };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(&text)], rights, flags, None)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::model::DomainId;

    #[tokio::test]
    async fn who_finds_the_queue_full_waits_for_a_place() {
        let (mut caller, door) = std::os::unix::net::UnixStream::pair().unwrap();
        door.set_nonblocking(true).unwrap();
        let door = UnixStream::from_std(door).unwrap();
        caller.write_all(b"blue\n").unwrap();
        let credentials = || Credentials::of(&door).unwrap();
        let (queue, mut asked) = mpsc::channel::<Ask>(1);
        let (reply, _answer) = oneshot::channel();
        let other = Ask { caller: credentials().identify(), word: "red".into(), reply };
        queue.try_send(other).unwrap();
        let queue = Mutex::new(queue);
        let supervisor = async {
            tokio::task::yield_now().await;
            assert_eq!(asked.recv().await.unwrap().word, "red");
            let Ask { word, reply, .. } = asked.recv().await.unwrap();
            let name = crate::model::DomainName::new(word).unwrap();
            let admission = Admission { domain: DomainId::DEFAULT, name, namespace: None };
            reply.send(Ok(admission)).unwrap();
        };
        let (admitted, ()) = tokio::join!(attend(&door, credentials(), &queue), supervisor);
        assert_eq!(admitted.unwrap().name.as_str(), "blue");
    }
}
