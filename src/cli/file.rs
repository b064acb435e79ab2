//! Finding and reading the file that a verb is about.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Common;
use super::say::complain;
use super::trouble::{Trouble, paint};
use crate::model::NetworkName;
use crate::spec::{self, Source};
use crate::state::is_everybodys;

pub(super) use crate::spec::Document;

/// Where a file is looked for when none is named.
const PLACES: [&str; 2] = ["domains.yaml", "/etc/rdom/domains.yaml"];

/// The named file, `-` for standard input, else the first of the usual places; warnings are printed.
pub(super) fn read(named: Option<&Path>) -> Result<Document, Trouble> {
    open(named).and_then(understood)
}

/// The same of a file that has been opened.
pub(super) fn understood(source: Source) -> Result<Document, Trouble> {
    let lowered = spec::read(&source).map_err(|errors| Trouble::Diagnostics(Box::new(errors), 2))?;
    if !lowered.warnings.is_empty() {
        complain(lowered.warnings.render(paint()));
    }
    Ok(Document { source, lowered })
}

/// These options, with the network of the named file where none is said.
pub(super) fn meant(common: &Common, named: Option<&Path>) -> Result<Common, Trouble> {
    let network = match (&common.network, named) {
        (None, Some(path)) => Some(open(Some(path))?.name()),
        (said, _) => said.clone(),
    };
    Ok(Common { network, ..*common })
}

/// The text of a file that this machine is to be changed by, unread. One that everybody can write to is refused: they
/// could change the machine.
pub(super) fn open_own(named: Option<&Path>) -> Result<Source, Trouble> {
    let source = open(named)?;
    if !is_everybodys(Path::new(&source.file)) {
        return Ok(source);
    }
    let message = format!("everybody can write to {}, and could change this machine by it", source.file);
    Err(Trouble::Usage { message, help: Some(format!("chmod o-w {}", source.file)) })
}

/// The text of the file, unread.
pub(super) fn open(named: Option<&Path>) -> Result<Source, Trouble> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => usual_place()?,
    };
    if path == Path::new("-") {
        let mut text = String::new();
        io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| Trouble::failed(format!("standard input: {error}")))?;
        return Ok(source(Path::new("<stdin>"), text));
    }
    let text = fs::read_to_string(&path)
        .map_err(|error| Trouble::usage(format!("cannot read {}: {error}", path.display())))?;
    Ok(source(&path, text))
}

/// A text as the file at this path; the network is called like the file, if it can be.
pub(super) fn source(path: &Path, text: String) -> Source {
    let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
    let network =
        NetworkName::new(stem).unwrap_or_else(|_| NetworkName::new("domains").expect("a plain word"));
    let directory = path.parent().unwrap_or(Path::new("")).to_owned();
    Source {
        file: path.display().to_string(),
        text,
        network,
        directory,
        reader: Some(|path| fs::read_to_string(path)),
    }
}

/// The first of the usual places that is there.
pub(super) fn usual_place() -> Result<PathBuf, Trouble> {
    let found = PLACES.iter().map(PathBuf::from).find(|path| path.exists());
    found.ok_or_else(|| Trouble::Usage {
        message: format!("no file named, and neither {} nor {} is there", PLACES[0], PLACES[1]),
        help: Some(format!("name one: {} FILE; `rdom demo` shows what it is about", typed())),
    })
}

/// The command line, without the directory of the program.
fn typed() -> String {
    let words: Vec<_> = env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    format!("rdom {}", words.join(" "))
}
