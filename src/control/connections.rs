//! Connections to the control socket: who may have one, how many there are, how large a request may be and how long
//! anybody may take over it.
//!
//! One request a connection. Whoever says nothing, drips, sends too much or never reads is answered or hung up on and
//! forgotten, and occupies one of a bounded number of places until then; the supervisor's own thread is never waited
//! on here, nor is this one by it. What is answered by an error is that of RFC 9110.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::unistd::geteuid;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tracing::{debug, warn};

/// How many may be connected at once; who comes then is told to come later.
const CONNECTIONS: usize = 64;
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
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut conversations = JoinSet::new();
    let mut finished = finished;
    loop {
        tokio::select! {
            _ = &mut finished => break,
            Some(_) = conversations.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if let Some((stream, place)) = admitted(stream, &places) {
                        conversations.spawn(converse(stream, router.clone(), place));
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
    let _ = tokio::time::timeout(PATIENCE, last).await;
    Ok(())
}

/// A caller who may ask and for whom there is a place; others are hung up on.
fn admitted(stream: UnixStream, places: &Arc<Semaphore>) -> Option<(UnixStream, OwnedSemaphorePermit)> {
    match stream.peer_cred() {
        Ok(caller) if caller.uid() == 0 || caller.uid() == geteuid().as_raw() => {}
        Ok(caller) => {
            warn!(uid = caller.uid(), "refused on the control socket");
            return None;
        }
        Err(error) => {
            debug!(%error, "no credentials on the control socket");
            return None;
        }
    }
    match places.clone().try_acquire_owned() {
        Ok(place) => Some((stream, place)),
        Err(_) => {
            // Fits into the buffer of a new socket; whoever has gone does not miss it.
            let _ = stream.try_write(FULL);
            None
        }
    }
}

async fn converse(stream: UnixStream, router: Router, place: OwnedSemaphorePermit) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(READ_WITHIN));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).keep_alive(false);
    http.max_buf_size(HEAD_LIMIT_BYTES).max_headers(HEADERS);
    let served = http.serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router));
    if let Err(error) = served.await {
        debug!(%error, "a caller of the control socket gave up, or was given up on");
    }
    drop(place);
}

/// Takes the whole body in before anybody is asked, so that nobody waits for one that drips.
pub(super) async fn take_in(limit_bytes: usize, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let body = match tokio::time::timeout(BODY_WITHIN, to_bytes(body, limit_bytes)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return (StatusCode::PAYLOAD_TOO_LARGE, "too large\n").into_response(),
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "too slow\n").into_response(),
    };
    next.run(Request::from_parts(head, Body::from(body))).await
}
