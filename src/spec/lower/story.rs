//! Steps that go on with another file's network: from `apply: FILE` on, names are those of that file.

use std::path::Path;

use crate::diagnostic::{Diagnostic, Place};
use crate::model::NetworkName;
use crate::spec::report::{Placed, Report};
use crate::spec::test::{Act, Action, Turn};
use crate::spec::words::{self, File, Step};
use crate::spec::{Document, Source, read};

/// The steps of a file, or those of them that are left.
#[derive(Clone, Copy)]
pub(in crate::spec) struct Story<'a> {
    steps: &'a [Step],
    /// The file that tells them.
    source: &'a Source,
}

impl<'a> Story<'a> {
    /// All of a file's.
    pub(in crate::spec) fn of(file: &'a File, source: &'a Source) -> Self {
        Self { steps: &file.steps, source }
    }

    /// Those of the network that there is.
    pub(super) fn until_next_file(self) -> impl Iterator<Item = &'a Step> {
        self.steps.iter().take_while(|step| applied(step).is_none())
    }

    /// The others. A file with faults of its own is told of at the step that applies it, and they are left alone then.
    pub(super) fn with_next_file(self, network: &NetworkName, report: &mut Report) -> Vec<Turn> {
        let next = self.steps.iter().enumerate().find_map(|(at, step)| Some((at, applied(step)?)));
        let Some((at, (file, place))) = next else { return Vec::new() };
        let Some(source) = self.next_source(file, network, report) else { return Vec::new() };
        let lowered = match read(&source) {
            Ok(lowered) => lowered,
            Err(faults) => {
                let bad = Diagnostic::error(file.place, format!("`{}` cannot be applied", file.value));
                report.push(bad.help(format!("mend it first\n{faults}")));
                return Vec::new();
            }
        };
        let rest = Story { steps: &self.steps[at + 1..], ..self };
        let later = rest.of_network(&source, report);
        let action = Action::Apply(Box::new(Document { source, lowered }));
        let act = Act { text: format!("apply {}", file.value), action, place };
        [Turn::Act(act)].into_iter().chain(later).collect()
    }

    /// What the steps mean in a file that has no faults.
    fn of_network(self, source: &Source, report: &mut Report) -> Vec<Turn> {
        let mut both = Report::default();
        let Some(file) = source.words(&mut both) else { return Vec::new() };
        let lowered = super::lower(&File { tests: Vec::new(), ..file }, self, source, &mut both);
        both.into_list().into_iter().filter(Diagnostic::is_error).for_each(|error| report.push(error));
        lowered.steps
    }

    fn next_source(
        self,
        file: &Placed<String>,
        network: &NetworkName,
        report: &mut Report,
    ) -> Option<Source> {
        let path = self.source.directory.join(&file.value);
        match (self.source.reader?)(&path) {
            Ok(text) => Some(Source { network: network.clone(), ..Source::new(Path::new(&path), text) }),
            Err(error) => {
                let unread =
                    Diagnostic::error(file.place, format!("cannot read `{}`: {error}", path.display()));
                report.push(unread.help("write its path from the directory of this file"));
                None
            }
        }
    }
}

/// The file that a step applies, and the place of the step.
fn applied(step: &Step) -> Option<(&Placed<String>, Place)> {
    match step {
        Step::Act(words::Act { action: words::Action::Apply(file), place }) => Some((file, *place)),
        Step::Act(_) | Step::Test(_) => None,
    }
}
