//! Who may ask for what: looked at for each request, by the kernel's word for who has connected.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Extension, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use nix::unistd::{Gid, Group, getegid};
use tracing::warn;

use super::caller::Caller;
use crate::model::{Control, NetworkName, Right};

/// What the file says of it by now.
#[derive(Clone, Debug)]
pub(super) struct Rights(Arc<RwLock<Control>>, NetworkName);

/// Who has connected.
#[derive(Clone, Debug)]
pub(super) enum Visitor {
    /// Root, or the user that this process is of.
    Owner,
    /// Somebody whom the file must permit what they want.
    Other(Arc<Caller>),
}

impl Rights {
    pub(super) fn of(network: NetworkName) -> Self {
        Self(Arc::default(), network)
    }

    /// From the next request on.
    pub(super) fn set(&self, control: Control) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = control;
    }

    fn permit(&self, right: Right, caller: &Caller) -> bool {
        let control = self.0.read().unwrap_or_else(PoisonError::into_inner);
        control.permits(right, &caller.user, &caller.groups)
    }

    /// Why not, and what to write for it to be otherwise.
    fn refusal(&self, right: Right, caller: &Caller) -> String {
        let who = caller.user.name.clone().unwrap_or_else(|| caller.user.number.to_string());
        let network = &self.1;
        match right {
            Right::Look => format!(
                "operation not permitted: {who} may not look at network {network}\n\
                 help: in its file: control: {{group: NAME}}, of a group that {who} is in\n"
            ),
            Right::Change => format!(
                "operation not permitted: {who} may not change network {network}\n\
                 help: in its file: control: {{group: NAME, change: {{users: [{who}]}}}}\n"
            ),
        }
    }
}

/// Lets a request pass if whoever asks may; what changes nothing is asked for by GET (RFC 9110, 9.2.1).
pub(super) async fn check(
    State(rights): State<Rights>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
    next: Next,
) -> Response {
    let right = if request.method() == Method::GET { Right::Look } else { Right::Change };
    match visitor {
        Visitor::Other(caller) if !rights.permit(right, &caller) => {
            warn!(uid = caller.user.number, method = %request.method(), "refused on the control socket");
            (StatusCode::FORBIDDEN, rights.refusal(right, &caller)).into_response()
        }
        Visitor::Other(_) | Visitor::Owner => next.run(request).await,
    }
}

/// Gives a socket to the group that the file names, or to its owner alone.
pub(super) fn give(socket: &Path, control: &Control) -> io::Result<()> {
    let to = |gid: Gid, mode| {
        chown(socket, None, Some(gid.as_raw()))?;
        std::fs::set_permissions(socket, Permissions::from_mode(mode))
    };
    to(getegid(), 0o600)?;
    match &control.group {
        Some(word) => to(group(word)?, 0o660),
        None => Ok(()),
    }
}

fn group(word: &str) -> io::Result<Gid> {
    if let Ok(number) = word.parse() {
        return Ok(Gid::from_raw(number));
    }
    let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("this system has no group `{word}`"));
    Group::from_name(word)?.map(|group| group.gid).ok_or_else(unknown)
}
