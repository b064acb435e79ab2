//! Requests to a living supervisor and its answers: HTTP over a Unix socket, so that `curl --unix-socket` will do.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | 200 and a status document |
//! | `POST /v1/apply`, a JSON body with `network`, `file`, `directory` and `text` | 200 and the steps that were taken; 409 and why nothing has changed |
//! | `POST /v1/apply?confirm=60s` | the same; it goes back by itself unless it is confirmed in time |
//! | `POST /v1/impair`, a JSON body with `interface` and `impairment`, as `{"loss": "5%"}` or null | 200 and the ends of the link that do this from now on; 409 and why nothing has changed |
//! | `POST /v1/confirm` | 200: it stays; 409 if nothing waits for it |
//! | `POST /v1/apply?residents=kill` | the same; processes that live in domains which it deletes are ended |
//! | `GET /v1/events` | 200 and, as it happens, a line of JSON for each event, until the supervisor ends |
//! | `GET /metrics` | 200 and the same in the text format of OpenMetrics |
//! | `POST /v1/down` | 200 once everything is taken down, 409 and the reason if it could not be, as that processes live there |
//! | `POST /v1/down?residents=kill` | the same; those processes are ended |
//!
//! The socket is 0600 in a directory that is 0700, and every caller's credentials are asked of the kernel
//! (SO_PEERCRED, unix(7)): root and the supervisor's own user may ask, nobody else. Async lives here and nowhere
//! else; requests reach the supervisor through a bounded queue and are answered by it in turn.

mod client;
mod connections;
pub mod enter;
mod events;
mod server;

pub use client::{Client, ClientError};
pub use server::{Answer, Impair, Request, Residents, Server, Terms, Wanted, serve};

use std::path::PathBuf;

use crate::state::Directories;

/// Where a network's supervisor listens.
pub fn socket(directories: &Directories) -> PathBuf {
    directories.runtime.join("control.sock")
}
