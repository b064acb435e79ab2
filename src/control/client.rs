//! The command line's side.

use std::io;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::{Impair, Residents, Terms, Wanted};
use crate::state::Directories;
use crate::status::AppliedView;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("cannot reach the supervisor at {}", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("the supervisor hung up")]
    HungUp(#[from] hyper::Error),
    /// It says no, in its own words.
    #[error("{0}")]
    Refused(String),
}

/// Asks the supervisor of one network.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// For the supervisor of the network with these directories, alive or not.
    pub fn of(directories: &Directories) -> Self {
        Self { socket: super::socket(directories) }
    }

    /// The status document.
    pub fn status(&self) -> Result<String, ClientError> {
        ask(&self.socket, Method::GET, "/v1/status", Bytes::new())
    }

    /// Calls back once it is listened to, and then whenever something has happened; returns when the supervisor ends.
    pub fn listen(&self, stirred: impl FnMut()) -> Result<(), ClientError> {
        listen(&self.socket, stirred)
    }

    /// Takes everything down; returns when that is done.
    pub fn down(&self, residents: Residents) -> Result<(), ClientError> {
        let path = format!("/v1/down?residents={}", word(residents));
        ask(&self.socket, Method::POST, &path, Bytes::new()).map(|_| ())
    }

    /// Keeps what was applied on the condition that it is confirmed.
    pub fn confirm(&self) -> Result<(), ClientError> {
        ask(&self.socket, Method::POST, "/v1/confirm", Bytes::new()).map(|_| ())
    }

    /// Has a link do this to packets; returns the ends that do.
    pub fn impair(&self, wanted: &Impair) -> Result<Vec<String>, ClientError> {
        let refused = |error: serde_json::Error| ClientError::Refused(error.to_string());
        let body = serde_json::to_vec(wanted).map_err(refused)?;
        let answer = ask(&self.socket, Method::POST, "/v1/impair", body.into())?;
        serde_json::from_str(&answer).map_err(refused)
    }

    /// Makes the network what this says; returns when that is done, or nothing has changed.
    pub fn apply(&self, wanted: &Wanted, terms: &Terms) -> Result<AppliedView, ClientError> {
        let refused = |error: serde_json::Error| ClientError::Refused(error.to_string());
        let body = serde_json::to_vec(wanted).map_err(refused)?;
        let confirm = terms.confirm.as_ref().map(|within| format!("&confirm={within}"));
        let drift = terms.drift.map(|drift| format!("&drift={}", drift.word()));
        let [confirm, drift] = [confirm, drift].map(Option::unwrap_or_default);
        let path = format!("/v1/apply?residents={}{confirm}{drift}", word(terms.residents));
        let answer = ask(&self.socket, Method::POST, &path, body.into())?;
        serde_json::from_str(&answer).map_err(refused)
    }
}

fn word(residents: Residents) -> &'static str {
    match residents {
        Residents::Keep => "keep",
        Residents::Kill => "kill",
    }
}

fn ask(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<String, ClientError> {
    runtime(socket)?.block_on(async {
        let (talk, answer) = send(socket, method, path, body).await?;
        let said = said(answer).await;
        talk.abort();
        said
    })
}

fn listen(socket: &Path, mut stirred: impl FnMut()) -> Result<(), ClientError> {
    runtime(socket)?.block_on(async {
        let (_talk, mut answer) = send(socket, Method::GET, "/v1/events", Bytes::new()).await?;
        if answer.status() != StatusCode::OK {
            return said(answer).await.map(drop);
        }
        stirred();
        while let Some(frame) = answer.frame().await {
            frame?;
            stirred();
        }
        Ok(())
    })
}

fn runtime(socket: &Path) -> Result<Runtime, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|source| ClientError::Unreachable { path: socket.to_owned(), source })
}

/// The head of an answer, and the task that goes on with the conversation.
async fn send(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<(JoinHandle<hyper::Result<()>>, Response<Incoming>), ClientError> {
    let unreachable = |source| ClientError::Unreachable { path: socket.to_owned(), source };
    let stream = UnixStream::connect(socket).await.map_err(unreachable)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let talk = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "rdom")
        .header("content-type", "application/json")
        .body(Full::new(body));
    let request = request.map_err(|_| ClientError::Refused("bad request".into()))?;
    Ok((talk, sender.send_request(request).await?))
}

async fn said(answer: Response<Incoming>) -> Result<String, ClientError> {
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    if status == StatusCode::OK { Ok(text) } else { Err(ClientError::Refused(text)) }
}
