//! What is said on a control socket: whatever it is, the caller is answered or hung up on, the supervisor is asked for
//! nothing that was not said, and the next caller is answered.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use nix::sys::signal::{SigHandler, Signal, signal};
use rdomain::control::{Request, Server, serve};
use tokio::sync::mpsc;

/// A server that takes longer has forgotten its caller.
const PATIENCE: Duration = Duration::from_secs(10);
/// How every answer begins.
const ANSWER: &[u8] = b"HTTP/1.";
const PROPER: &[u8] = b"GET /v1/status HTTP/1.1\r\nhost: rdom\r\n\r\n";

/// What listens, and the paths of those requests that have reached the supervisor since they were last taken.
struct Supervised {
    address: SocketAddr,
    asked: &'static Mutex<Vec<&'static str>>,
    _server: Server,
}

/// Says it, as one who waits for the beginning of an answer and goes: that of `/v1/events` has no end.
pub fn hold(input: &[u8]) {
    static SUPERVISED: LazyLock<Supervised> = LazyLock::new(Supervised::start);
    let stream = SUPERVISED.told(input);
    let _gone = stream.shutdown(Shutdown::Write);
    let mut beginning = Vec::new();
    if let Err(error) = stream.take(ANSWER.len() as u64).read_to_end(&mut beginning) {
        // It hung up before everything was read.
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
    }
    assert!(ANSWER.starts_with(&beginning), "{}", beginning.escape_ascii());
    for path in SUPERVISED.asked.lock().expect("no panic").drain(..) {
        let is_said = input.windows(path.len()).any(|said| said == path.as_bytes());
        assert!(is_said, "nobody said {path}");
    }
    let mut answer = Vec::new();
    SUPERVISED.told(PROPER).read_to_end(&mut answer).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", answer.escape_ascii());
    SUPERVISED.asked.lock().expect("no panic").clear();
}

impl Supervised {
    /// Serves on an abstract address (unix(7)), which leaves no file.
    fn start() -> Self {
        static ASKED: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
        // A fuzzer's `main` is not Rust's, which has this signal ignored: who hangs up would end the process.
        // SAFETY: there is no handler.
        unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }.expect("a signal");
        let address =
            SocketAddr::from_abstract_name(format!("rdomain-fuzz-{}", process::id())).expect("a name");
        let listener = UnixListener::bind_addr(&address).expect("a socket");
        let (queue, mut requests) = mpsc::channel(8);
        let server = serve("fuzz".parse().expect("a name"), listener, queue).expect("a thread");
        std::thread::spawn(move || {
            while let Some(request) = requests.blocking_recv() {
                ASKED.lock().expect("no panic").push(path(&request));
                answer(request);
            }
        });
        Self { address, asked: &ASKED, _server: server }
    }

    /// A connection on which this was said.
    fn told(&self, words: &[u8]) -> UnixStream {
        let mut stream = UnixStream::connect_addr(&self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        stream.set_write_timeout(Some(PATIENCE)).expect("an option");
        // Hung up on before everything was said.
        let _refused = stream.write_all(words);
        stream
    }
}

fn path(request: &Request) -> &'static str {
    match request {
        // Metrics are made of it, too.
        Request::Status(_) => "/",
        Request::Apply(..) => "/v1/apply",
        Request::Confirm(_) => "/v1/confirm",
        Request::Impair(..) => "/v1/impair",
        Request::Down(..) => "/v1/down",
    }
}

/// As a supervisor would that knows nothing.
fn answer(request: Request) {
    let (Request::Status(reply)
    | Request::Apply(_, _, reply)
    | Request::Confirm(reply)
    | Request::Impair(_, reply)
    | Request::Down(_, reply)) = request;
    let _gone = reply.send(Ok("{}".into()));
}
