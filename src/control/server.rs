//! The supervisor's side.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::connections;
use super::events::{Listeners, Told, events};
use super::rights::{Rights, check};
use crate::model::{Control, Drift, NetworkName};
use crate::status::{METRICS_TYPE, Occurrence, metrics as openmetrics};

/// How many names of accounts are looked up at once.
const ACCOUNT_THREADS: usize = 4;

/// The longest request body, in bytes.
const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// The longest file, in bytes of JSON: 100,000 peers and more.
const FILE_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// How long a caller waits for an answer before it hears that the supervisor is busy.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// The same of a change, which goes on when nobody waits any more.
const CHANGE_WITHIN: Duration = Duration::from_secs(600);

/// What the supervisor is asked.
#[derive(Debug)]
pub enum Request {
    /// What there is.
    Status(oneshot::Sender<Answer>),
    /// To become what another file says.
    Apply(Box<Wanted>, Terms, oneshot::Sender<Answer>),
    /// To keep what it has become.
    Confirm(oneshot::Sender<Answer>),
    /// To have a link do something to packets.
    Impair(Impair, oneshot::Sender<Answer>),
    /// To take everything down and end.
    Down(Residents, oneshot::Sender<Answer>),
}

/// A file that a network shall become, with everything that it takes to read it.
#[derive(Serialize, Deserialize)]
pub struct Wanted {
    /// The network that is meant.
    pub network: String,
    /// What to call the file in what there is to say of it.
    pub file: String,
    /// Where the paths in it begin.
    pub directory: PathBuf,
    /// What is in it.
    pub text: String,
}

/// What a link shall do to packets until another file is applied.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Impair {
    /// One of its ends, `DOMAIN/IF`.
    pub interface: String,
    /// What, by the keys and in the units of a file; nothing for what the file says.
    pub impairment: Option<BTreeMap<String, String>>,
    /// Whether to those packets alone that leave by this end.
    #[serde(default)]
    pub one_way: bool,
}

/// On what terms it shall.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// To go back by itself unless it is confirmed within this time, as `60s`.
    pub confirm: Option<String>,
    /// What becomes of who lives in domains that it deletes.
    #[serde(default)]
    pub residents: Residents,
    /// What becomes of differences that nobody asked for from then on, whatever the file says.
    #[serde(default)]
    pub drift: Option<Drift>,
}

/// What becomes of processes that live in a domain which is to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Residents {
    /// They stay, and so does the domain.
    #[default]
    Keep,
    /// They are ended.
    Kill,
}

/// On what terms a network shall go down.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ending {
    #[serde(default)]
    residents: Residents,
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.file, self.network)
    }
}

/// What it says: a JSON document, or why not.
pub type Answer = Result<String, String>;

/// A control socket that is being answered on.
#[derive(Debug)]
pub struct Server {
    told: Told,
    rights: Rights,
    finish: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Tells everybody who listens.
    pub fn tell(&self, what: Occurrence) {
        self.told.tell(what);
    }

    /// Lets those ask from now on whom this names.
    pub fn permit(&self, control: Control) {
        self.rights.set(control);
    }

    /// Ends once every answer that was given has been sent.
    pub fn finish(self) {
        let Self { told, finish, thread, .. } = self;
        drop((told, finish));
        if thread.join().is_err() {
            warn!("the control socket's thread panicked");
        }
    }
}

/// Answers requests about a network on a thread of its own; each is put to whoever receives from `queue`. Nobody but root
/// and this process's user may ask for anything yet.
pub fn serve<E>(network: NetworkName, listener: StdListener, queue: mpsc::Sender<E>) -> io::Result<Server>
where
    E: From<Request> + Send + 'static,
{
    let (finish, finished) = oneshot::channel();
    let (told, rights) = (Told::new(), Rights::of(network));
    let (listeners, checked) = (told.listeners(), rights.clone());
    let answer = move || {
        if let Err(error) = answer_all(listener, router(queue, listeners, checked), finished) {
            warn!(%error, "the control socket is closed");
        }
    };
    let thread = thread::Builder::new().name("control".into()).spawn(answer)?;
    Ok(Server { told, rights, finish, thread })
}

fn answer_all(listener: StdListener, router: Router, finished: oneshot::Receiver<()>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(ACCOUNT_THREADS)
        .enable_all()
        .build()?;
    let answered = runtime
        .block_on(async { connections::answer(UnixListener::from_std(listener)?, router, finished).await });
    // Accounts that do not answer are not waited for.
    runtime.shutdown_background();
    answered
}

fn router<E>(queue: mpsc::Sender<E>, listeners: Listeners, rights: Rights) -> Router
where
    E: From<Request> + Send + 'static,
{
    let files = Router::new()
        .route("/v1/apply", post(apply::<E>))
        .layer(DefaultBodyLimit::max(FILE_LIMIT_BYTES))
        .layer(from_fn(|request, next| connections::take_in(FILE_LIMIT_BYTES, request, next)));
    Router::new()
        .route("/v1/status", get(status::<E>))
        .route("/metrics", get(metrics::<E>))
        .route("/v1/confirm", post(confirm::<E>))
        .route("/v1/impair", post(impair::<E>))
        .route("/v1/down", post(down::<E>))
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(from_fn(|request, next| connections::take_in(BODY_LIMIT_BYTES, request, next)))
        .merge(files)
        .with_state(queue)
        .route("/v1/events", get(events).with_state(listeners))
        .layer(from_fn_with_state(rights, check))
}

async fn status<E: From<Request>>(State(queue): State<mpsc::Sender<E>>) -> Response {
    put(queue, ANSWER_WITHIN, Request::Status).await
}

async fn metrics<E: From<Request>>(State(queue): State<mpsc::Sender<E>>) -> Response {
    let answer = put(queue, ANSWER_WITHIN, Request::Status).await;
    if !answer.status().is_success() {
        return answer;
    }
    match text_of(answer).await {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(reason) => (StatusCode::INTERNAL_SERVER_ERROR, reason).into_response(),
    }
}

/// A status document as metrics.
async fn text_of(answer: Response) -> Result<String, String> {
    let json = to_bytes(answer.into_body(), usize::MAX).await.map_err(|error| error.to_string())?;
    let view = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
    openmetrics(&view).map_err(|error| error.to_string())
}

async fn down<E: From<Request>>(
    State(queue): State<mpsc::Sender<E>>,
    Query(Ending { residents }): Query<Ending>,
) -> Response {
    put(queue, ANSWER_WITHIN, |reply| Request::Down(residents, reply)).await
}

async fn confirm<E: From<Request>>(State(queue): State<mpsc::Sender<E>>) -> Response {
    put(queue, ANSWER_WITHIN, Request::Confirm).await
}

async fn impair<E: From<Request>>(State(queue): State<mpsc::Sender<E>>, wanted: Json<Impair>) -> Response {
    put(queue, ANSWER_WITHIN, |reply| Request::Impair(wanted.0, reply)).await
}

async fn apply<E: From<Request>>(
    State(queue): State<mpsc::Sender<E>>,
    Query(terms): Query<Terms>,
    wanted: Json<Wanted>,
) -> Response {
    put(queue, CHANGE_WITHIN, |reply| Request::Apply(Box::new(wanted.0), terms, reply)).await
}

/// Waits for a place in the queue, which changes by others may have filled, and then for the answer.
async fn put<E: From<Request>>(
    queue: mpsc::Sender<E>,
    within: Duration,
    request: impl FnOnce(oneshot::Sender<Answer>) -> Request,
) -> Response {
    let (sender, receiver) = oneshot::channel();
    let asked = async {
        queue.send(request(sender).into()).await.ok()?;
        receiver.await.ok()
    };
    match tokio::time::timeout(within, asked).await {
        Ok(Some(Ok(json))) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Ok(Some(Err(reason))) => (StatusCode::CONFLICT, reason).into_response(),
        Ok(None) => (StatusCode::SERVICE_UNAVAILABLE, "the network is going down\n").into_response(),
        Err(_) => {
            let busy = format!("busy: no answer within {}s\n", within.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, busy).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_finds_the_queue_full_waits_for_a_place_and_not_for_ever() {
        let (queue, mut asked) = mpsc::channel::<Request>(1);
        let first = tokio::spawn(put(queue.clone(), ANSWER_WITHIN, Request::Status));
        let second = tokio::spawn(put(queue, ANSWER_WITHIN, Request::Confirm));
        tokio::time::sleep(Duration::from_millis(20)).await;
        for _ in 0..2 {
            let (Some(Request::Status(reply)) | Some(Request::Confirm(reply))) = asked.recv().await else {
                panic!("nobody asks")
            };
            drop(reply.send(Ok("{}".to_owned())));
        }
        assert_eq!(
            (first.await.unwrap().status(), second.await.unwrap().status()),
            (StatusCode::OK, StatusCode::OK)
        );

        let (queue, asked) = mpsc::channel::<Request>(1);
        let answer = put(queue, Duration::from_millis(20), Request::Status).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(asked);
    }
}
