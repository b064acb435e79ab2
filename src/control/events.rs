//! Those who listen to what happens: each hears it from when they came, and nobody is waited for.
//!
//! The last events are kept in one ring. Who falls further behind than that hears how many they have missed, and goes on
//! with the oldest that is left; who does not read at all is hung up on as everybody else (`connections`).

use std::convert::Infallible;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use tokio::sync::broadcast::{self, Sender, WeakSender};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError::Lagged;
use tracing::warn;

use crate::status::{EventView, Occurrence};

/// How many may listen at once: a part of those who may be connected.
const LISTENERS: usize = 16;
/// How many events somebody may be behind; a power of two.
const BACKLOG: usize = 64;

/// Where events are told; what everybody hears ends when it is dropped.
#[derive(Debug)]
pub(super) struct Told(Sender<Bytes>);

impl Told {
    pub(super) fn new() -> Self {
        Self(broadcast::channel(BACKLOG).0)
    }

    /// Tells everybody who listens.
    pub(super) fn tell(&self, what: Occurrence) {
        // An error says that nobody does.
        let _nobody = self.0.send(line(what));
    }

    pub(super) fn listeners(&self) -> Listeners {
        Listeners(self.0.downgrade())
    }
}

/// Where one comes to listen.
#[derive(Clone, Debug)]
pub(super) struct Listeners(WeakSender<Bytes>);

pub(super) async fn events(State(Listeners(told)): State<Listeners>) -> Response {
    let refused = |why| (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    let Some(told) = told.upgrade() else { return refused("the network is going down\n") };
    if told.receiver_count() >= LISTENERS {
        return refused("too many listen already\n");
    }
    let heard = BroadcastStream::new(told.subscribe());
    let lines = heard.map(|heard| heard.unwrap_or_else(|Lagged(count)| line(Occurrence::Missed { count })));
    let body = Body::from_stream(lines.map(Ok::<_, Infallible>));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

/// An event of this moment, as it is written.
fn line(what: Occurrence) -> Bytes {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unix_millis = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
    match serde_json::to_string(&EventView { unix_millis, what }) {
        Ok(line) => Bytes::from(line + "\n"),
        Err(error) => {
            warn!(%error, "an event is not told");
            Bytes::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn words(answer: &mut Response) -> Option<String> {
        let data = answer.body_mut().frame().await?.unwrap().into_data().unwrap();
        Some(String::from_utf8(data.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn who_falls_behind_hears_how_much_they_missed_and_nobody_else_does() {
        let told = Told::new();
        let [mut awake, mut asleep] =
            [events(State(told.listeners())).await, events(State(told.listeners())).await];
        for number in 0..BACKLOG + 7 {
            told.tell(Occurrence::Refused { why: format!("<{number}>") });
            assert!(words(&mut awake).await.unwrap().contains(&format!("<{number}>")));
        }
        let first = words(&mut asleep).await.unwrap();
        assert!(first.contains(r#""event":"missed","count":7"#) && first.ends_with("}\n"), "{first}");
        assert!(words(&mut asleep).await.unwrap().contains("<7>"));
        drop(told);
        for _ in 8..BACKLOG + 7 {
            assert!(words(&mut asleep).await.is_some(), "what was told before the end is heard");
        }
        assert_eq!((words(&mut asleep).await, words(&mut awake).await), (None, None));
    }

    #[tokio::test]
    async fn places_are_bounded_and_become_free_again() {
        let told = Told::new();
        let mut all = Vec::new();
        for _ in 0..LISTENERS {
            all.push(events(State(told.listeners())).await);
        }
        assert!(all.iter().all(|answer| answer.status() == StatusCode::OK));
        assert_eq!(events(State(told.listeners())).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(all);
        assert_eq!(events(State(told.listeners())).await.status(), StatusCode::OK);
    }
}
