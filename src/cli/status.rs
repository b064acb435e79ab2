//! `rdom status`: from the supervisor if it lives, else straight from the kernel.

use clap::Args;

use super::live::Live;
use super::say::complain;
use super::trouble::Trouble;
use super::{Common, Ended, Which, print};
use crate::backend::linux::Linux;
use crate::control::Client;
use crate::state::KeyRing;
use crate::status::StatusView;
use crate::supervisor::{self, NoEngines};

#[derive(Debug, Args)]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
}

pub(super) fn run(_: &Words, common: &Common) -> Ended {
    let live = Live::find(common)?;
    let view = match live.ask(Client::status)? {
        Some(json) => serde_json::from_str(&json).map_err(Trouble::failed)?,
        None => {
            complain(format_args!(
                "warning: network {name} has no supervisor any more, so userspace tunnels are gone\n\
                 help: `rdom up` makes it whole again, `rdom down -n {name}` removes what is left",
                name = live.name
            ));
            from_kernel(&live)?
        }
    };
    print(&view, common)
}

fn from_kernel(live: &Live) -> Result<StatusView, Trouble> {
    let engines = Box::new(NoEngines);
    let opened = Linux::open(live.name.clone(), &live.directories, KeyRing::default(), engines);
    let view = opened.and_then(|mut backend| supervisor::status(&mut backend, &live.directories, None));
    view.map_err(Trouble::failed)
}
