//! `rdom apply [FILE]`: a network that is up becomes what the file says, through its supervisor, whole or not at all.

use std::path::{self, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::down::Eviction;
use super::file;
use super::lending::Consent;
use super::live::{self, Live};
use super::say::{complain, count, say};
use super::trouble::Trouble;
use super::{Common, Ended, Which, print_json};
use crate::control::{ClientError, Terms, Wanted};
use crate::model::NetworkName;
use crate::spec::{self, Source};
use crate::state::Roots;

#[derive(Debug, Args)]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    /// Go back by itself after this time, as `60s`, unless `rdom confirm` is typed before
    #[arg(long, value_name = "TIME", value_parser = spec::duration)]
    confirm: Option<Duration>,
    #[command(flatten)]
    eviction: Eviction,
    #[command(flatten)]
    consent: Consent,
    /// The file; without it ./domains.yaml or /etc/rdom/domains.yaml
    file: Option<PathBuf>,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let mut source = file::open_own(words.file.as_deref())?;
    let live = Live::named(common.network.clone().unwrap_or_else(|| source.name()));
    let is_read = is_for_us(&source.text);
    if is_read {
        let document = file::understood(source)?;
        let consent = if words.confirm.is_some() { Consent::given() } else { words.consent };
        consent.ask(&document.lowered.network, &live.directories)?;
        source = document.source;
    }
    // What is wrong with a file is told before all else.
    let judged = |source| if is_read { Ok(()) } else { file::understood(source).map(drop) };
    let wanted = wanted(&source, &live.name)?;
    let confirm = words.confirm.map(|within| format!("{}ms", within.as_millis()));
    let terms = Terms { confirm, residents: words.eviction.residents(), drift: None };
    let answer = live.ask(|client| match client.apply(&wanted, &terms) {
        Err(ClientError::Refused(why)) => Ok(Err(why)),
        answer => answer.map(Ok),
    })?;
    match answer {
        None => judged(source).and_then(|()| Err(not_up(&live, common, &Roots::of_environment()))),
        Some(Err(why)) => {
            judged(source)?;
            complain(why);
            Err(Trouble::Said(1))
        }
        Some(Ok(applied)) => {
            applied.file_warnings.iter().filter(|_| !is_read).for_each(complain);
            if common.json {
                return print_json(&applied);
            }
            applied.warnings.iter().for_each(|warning| complain(format_args!("warning: {warning}")));
            applied.plan.steps.iter().for_each(|step| say(&step.text));
            applied.services.iter().for_each(say);
            match applied.plan.steps.len() + applied.services.len() {
                0 => say(format_args!("network {} is as the file says: nothing to do", live.name)),
                steps => {
                    say(format_args!("network {} is as the file says: {}", live.name, count(steps, "step")))
                }
            }
            if let Some(secs) = applied.goes_back_in_secs {
                let name = &live.name;
                say(format_args!(
                    "not confirmed: it goes back in {secs}s, unless you type: rdom confirm -n {name}"
                ));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Whether there may be something in a file for this side to judge: an interface of the host's that it has lent, which
/// may be the one that this session comes by, or further files, which are this user's to read. A key can be spelled
/// otherwise only with a backslash (YAML 1.2.2, 5.7). All else is the supervisor's, which reads the file in any case.
fn is_for_us(text: &str) -> bool {
    ["physical", "steps", "\\"].iter().any(|word| text.contains(word))
}

fn wanted(source: &Source, network: &NetworkName) -> Result<Wanted, Trouble> {
    let directory = path::absolute(path::Path::new(".").join(&source.directory)).map_err(Trouble::failed)?;
    let (network, file, text) = (network.as_str().to_owned(), source.file.clone(), source.text.clone());
    Ok(Wanted { network, file, directory, text })
}

/// What to do instead: there is no supervisor that could change it.
fn not_up(live: &Live, common: &Common, roots: &Roots) -> Trouble {
    if live::roots_networks_are_hidden() {
        return live::not_up(common);
    }
    let name = &live.name;
    let others: Vec<_> = roots.networks().into_iter().filter(|other| other != name).collect();
    let (message, help) = match (live.directories.runtime.exists(), others.as_slice()) {
        (true, _) => (
            format!("network {name} has no supervisor: it was killed"),
            "rdom up -d FILE takes over what it left, and makes it what the file says".to_owned(),
        ),
        (false, [other]) => (
            format!("network {name} is not up; a network that is up keeps its name"),
            format!("to make network {other} what the file says: rdom apply -n {other} FILE"),
        ),
        (false, _) => (format!("network {name} is not up"), "rdom up -d FILE".to_owned()),
    };
    Trouble::Usage { message, help: Some(help) }
}
