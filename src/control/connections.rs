//! Connections to the control socket: who may have one, how many there are, how large a request may be and how long
//! anybody may take over it.
//!
//! One request a connection. Whoever says nothing, drips, sends too much or never reads is answered or hung up on and
//! forgotten, and occupies one of a bounded number of places until then; the supervisor's own thread is never waited
//! on here, nor is this one by it. What is answered by an error is that of RFC 9110.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::unistd::geteuid;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tracing::{debug, warn};

use super::caller::Credentials;
use super::rights::Visitor;

/// How many may be connected at once; who comes then is told to come later.
const CONNECTIONS: usize = 64;
/// How many of them may be of others than root and the supervisor's own user.
const OTHERS: usize = 32;
/// The longest line and headers of a request, in bytes, and their number.
const HEAD_LIMIT_BYTES: usize = 16 * 1024;
const HEADERS: usize = 64;
/// How long a caller may take over the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long a caller may take over its body.
const BODY_WITHIN: Duration = Duration::from_secs(20);
/// How long a caller may not read while there is something to be read.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// How long a caller may take to fetch the last answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long to rest when no connection can be taken, for want of descriptors say.
const REST: Duration = Duration::from_millis(50);

/// Told to those for whom there is no place.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 5\r\nconnection: close\r\n\r\nbusy\n";

/// Answers until `finished`, and then those who are being answered.
pub(super) async fn answer(
    listener: UnixListener,
    router: Router,
    finished: oneshot::Receiver<()>,
) -> io::Result<()> {
    let places =
        Places { all: Arc::new(Semaphore::new(CONNECTIONS)), others: Arc::new(Semaphore::new(OTHERS)) };
    let mut conversations = JoinSet::new();
    let mut finished = finished;
    loop {
        tokio::select! {
            _ = &mut finished => break,
            Some(_) = conversations.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if let Some(admitted) = admit(stream, &places) {
                        conversations.spawn(converse(admitted, router.clone()));
                    }
                }
                Err(error) => {
                    warn!(%error, "no connection to the control socket");
                    tokio::time::sleep(REST).await;
                }
            },
        }
    }
    let last = async { while conversations.join_next().await.is_some() {} };
    let _ = timeout(PATIENCE, last).await;
    Ok(())
}

/// Where those who are connected are counted.
struct Places {
    all: Arc<Semaphore>,
    others: Arc<Semaphore>,
}

/// Somebody for whom there is a place, which is free again when this is dropped.
struct Admitted {
    stream: UnixStream,
    credentials: Credentials,
    _places: [Option<OwnedSemaphorePermit>; 2],
}

impl Admitted {
    fn is_owner(&self) -> bool {
        let uid = self.credentials.uid;
        uid == 0 || uid == geteuid().as_raw()
    }
}

/// Others are hung up on.
fn admit(stream: UnixStream, places: &Places) -> Option<Admitted> {
    let credentials = match Credentials::of(&stream) {
        Ok(credentials) => credentials,
        Err(error) => {
            debug!(%error, "no credentials on the control socket");
            return None;
        }
    };
    let mut admitted = Admitted { stream, credentials, _places: [None, None] };
    let place = |of: &Arc<Semaphore>| of.clone().try_acquire_owned();
    let taken = match (admitted.is_owner(), place(&places.all)) {
        (true, Ok(one)) => Ok([Some(one), None]),
        (false, Ok(one)) => place(&places.others).map(|other| [Some(one), Some(other)]),
        (_, Err(full)) => Err(full),
    };
    match taken {
        Ok(places) => {
            admitted._places = places;
            Some(admitted)
        }
        Err(_) => {
            // Fits into the buffer of a new socket; whoever has gone does not miss it.
            let _ = admitted.stream.try_write(FULL);
            None
        }
    }
}

async fn converse(admitted: Admitted, router: Router) {
    let is_owner = admitted.is_owner();
    let Admitted { stream, credentials, _places } = admitted;
    let visitor = match is_owner {
        true => Visitor::Owner,
        false => match timeout(HEAD_WITHIN, spawn_blocking(move || credentials.identify())).await {
            Ok(Ok(caller)) => Visitor::Other(Arc::new(caller)),
            Ok(Err(_)) | Err(_) => return,
        },
    };
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(READ_WITHIN));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).keep_alive(false);
    http.max_buf_size(HEAD_LIMIT_BYTES).max_headers(HEADERS);
    let service = TowerToHyperService::new(router.layer(Extension(visitor)));
    if let Err(error) = http.serve_connection(TokioIo::new(Box::pin(stream)), service).await {
        debug!(%error, "a caller of the control socket gave up, or was given up on");
    }
}

/// Takes the whole body in before anybody is asked, so that nobody waits for one that drips.
pub(super) async fn take_in(limit_bytes: usize, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let body = match timeout(BODY_WITHIN, to_bytes(body, limit_bytes)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return (StatusCode::PAYLOAD_TOO_LARGE, "too large\n").into_response(),
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "too slow\n").into_response(),
    };
    next.run(Request::from_parts(head, Body::from(body))).await
}
