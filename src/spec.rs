//! Turns the user's words into a model, or into everything that is wrong with them.
//!
//! Pure: no IO but what a [`Source`] brings with it. The only place that knows YAML. It goes in three steps: text to a tree in which everything has its
//! place (`node`), tree to words with each value checked on its own (`words`), words to a model with everything
//! looked up that refers to something else (`lower`). No step stops at its first error; only a text that is not
//! YAML at all has a single one. Fields that need state or a kernel stay open: see [`crate::model`].

mod fields;
mod lower;
mod node;
mod origins;
mod report;
mod test;
pub(crate) mod values;
mod words;
mod write;
mod yaml;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Diagnostics, Place, Severity};
use crate::model::{Control, Drift, Network, NetworkName, SecretName, Service, ServiceName};

pub use origins::Origins;
pub use test::{
    Act, Action, Assertion, Connection, Fit, Growth, HttpAnswer, Passage, Presence, Protocol, Reach, Test,
    Turn, Url, Way,
};
pub use values::duration;
pub use words::impairment;
pub use write::write;

use lower::Story;
use report::Report;
use words::File;

/// A file, read but not understood.
#[derive(Clone, Debug)]
pub struct Source {
    /// What to call it in diagnostics: the path as the user wrote it.
    pub file: String,
    /// What is in it.
    pub text: String,
    /// What its network is called where the file does not say: the stem of the file's name.
    pub network: NetworkName,
    /// Where the paths in it begin: the directory of the file.
    pub directory: PathBuf,
    /// What reads the files that its steps apply. Without it such a step and all behind it are left out.
    pub reader: Option<Reader>,
}

/// Reads a file.
pub type Reader = fn(&Path) -> io::Result<String>;

impl Source {
    /// The source of a file at this path; what cannot stand in the name of a network becomes `-`.
    pub fn new(path: &Path, text: String) -> Self {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let fitting: String = stem.chars().take(64).map(|c| if fits(c) { c } else { '-' }).collect();
        Self {
            file: path.display().to_string(),
            text,
            network: NetworkName::new(fitting.trim_start_matches(['-', '.'])).unwrap_or_else(|_| fallback()),
            directory: path.parent().unwrap_or(Path::new("")).to_owned(),
            reader: None,
        }
    }

    /// What its network is called, by a look at nothing else.
    pub fn name(&self) -> NetworkName {
        let said = node::outermost(&self.text, "name").and_then(|name| NetworkName::new(name).ok());
        said.unwrap_or_else(|| self.network.clone())
    }

    fn words(&self, report: &mut Report) -> Option<File> {
        let node = match node::parse(&self.text, report) {
            Some(node) if !matches!(node.value, node::Value::Null) => node,
            Some(_) | None => {
                if report.errors() == 0 {
                    let empty = Diagnostic::error_of_file("nothing in the file");
                    report.push(empty.help("begin with `domains: {1: {}}`, or see `rdom demo`"));
                }
                return None;
            }
        };
        Some(File::read(&node, report))
    }
}

fn fallback() -> NetworkName {
    NetworkName::new("network").expect("a plain word is a name")
}

/// A file, understood.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// What it describes; not bound to state and capabilities yet.
    pub network: Network,
    /// What becomes of differences that nobody asked for.
    pub drift: Drift,
    /// Who besides root may ask the supervisor for something.
    pub control: Control,
    /// Where it describes what.
    pub origins: Origins,
    /// The files of the secrets that it names.
    pub secrets: BTreeMap<SecretName, PathBuf>,
    /// The users and groups that it names, and where.
    pub accounts: BTreeMap<Named, Place>,
    /// The programs that run in its domains, and where it has them.
    pub services: BTreeMap<ServiceName, (Service, Place)>,
    /// What it asserts, in its order.
    pub tests: Vec<Test>,
    /// What is done to it after those, and asserted then.
    pub steps: Vec<Turn>,
    /// What it hardly means.
    pub warnings: Diagnostics,
    /// What follows from it that is not plain to see.
    pub notes: Diagnostics,
}

impl Lowered {
    /// Every test, those after steps as well, in the order of the file.
    pub fn all_tests(&self) -> impl Iterator<Item = &Test> {
        let later = self.steps.iter().filter_map(|turn| match turn {
            Turn::Test(test) => Some(test),
            Turn::Act(_) => None,
        });
        self.tests.iter().chain(later)
    }
}

/// A user or group that a file names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// A user, by name or number.
    User(String),
    /// A group, by name or number.
    Group(String),
}

/// A file that was read without errors, with its text.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its text and where it is.
    pub source: Source,
    /// What it says.
    pub lowered: Lowered,
}

/// Reads a file; an error is everything that is wrong with it, warnings included.
pub fn read(source: &Source) -> Result<Lowered, Diagnostics> {
    let mut report = Report::default();
    let lowered = lowered(source, &mut report);
    let errors = report.errors();
    let (notes, list) = report.into_list().into_iter().partition(|d| d.severity == Severity::Note);
    let [notes, warnings] = [notes, list].map(|list| Diagnostics::new(&source.file, &source.text, list));
    match lowered {
        Some(lowered) if errors == 0 => Ok(Lowered { warnings, notes, ..lowered }),
        Some(_) | None => Err(warnings),
    }
}

fn lowered(source: &Source, report: &mut Report) -> Option<Lowered> {
    let file = source.words(report)?;
    Some(lower::lower(&file, Story::of(&file, source), source, report))
}

#[cfg(test)]
mod tests;
