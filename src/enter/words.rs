//! The command line, read by hand: a program with privileges has as little in it as can be.

use std::ffi::OsString;

use crate::model::NetworkName;

pub(super) const HELP: &str = "\
Enter a routing domain without being root: become COMMAND in it, where the file's `allow` says so

Usage: rdom-enter [-n NETWORK] [-T] DOMAIN [--] COMMAND...

  -n NETWORK   the network; without it the only one that lets anybody in
  -T DOMAIN    the domain, by number or name, or a further rtable, by number

`rdom exec` calls it where it needs to. It has the file capability cap_sys_admin: setcap cap_sys_admin=p rdom-enter
Exit status: that of COMMAND; 127 or 126 if it was not found or cannot be run, 4 without the capability, 1 for all else
";

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) network: Option<NetworkName>,
    pub(super) domain: String,
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
}

impl Words {
    /// Nothing if help is asked for.
    pub(super) fn read(arguments: impl Iterator<Item = OsString>) -> Result<Option<Self>, String> {
        let mut rest = arguments.peekable();
        let (mut network, mut domain) = (None, None);
        while let Some(option) = rest.next_if(|word| domain.is_none() && is_option(word)) {
            match option.to_str() {
                Some("-h" | "--help") => return Ok(None),
                Some("-n" | "--network") => {
                    let name = text(rest.next().ok_or("-n without a network")?)?;
                    network = Some(NetworkName::new(name).map_err(|error| error.to_string())?);
                }
                Some("-T") => domain = Some(text(rest.next().ok_or("-T without a domain")?)?),
                Some(joined) if joined.starts_with("-T") => domain = Some(joined[2..].to_owned()),
                _ => return Err(format!("unknown option {}", option.display())),
            }
        }
        let domain = match domain {
            Some(domain) => domain,
            None => text(rest.next().ok_or("no domain")?)?,
        };
        let _ = rest.next_if(|word| word == "--");
        let program = rest.next().ok_or("no command")?;
        Ok(Some(Self { network, domain, program, arguments: rest.collect() }))
    }
}

fn is_option(word: &OsString) -> bool {
    word.as_encoded_bytes().starts_with(b"-")
}

fn text(word: OsString) -> Result<String, String> {
    word.into_string().map_err(|word| format!("{} is no name", word.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<Words>, String> {
        Words::read(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn every_way_to_say_it_means_the_same() {
        let expected = Words {
            network: None,
            domain: "1".into(),
            program: "ls".into(),
            arguments: vec!["-n".into(), "--".into()],
        };
        for line in ["1 ls -n --", "1 -- ls -n --", "-T 1 ls -n --", "-T1 -- ls -n --"] {
            assert_eq!(read(line).unwrap().as_ref(), Some(&expected), "{line}");
        }
        let named = read("-n campus blue true").unwrap().unwrap();
        assert_eq!(named.network, NetworkName::new("campus").ok());
        assert_eq!(read("--help"), Ok(None));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (line, words) in [
            ("", "no domain"),
            ("1", "no command"),
            ("1 --", "no command"),
            ("-n", "-n without a network"),
            ("-n ../x 1 true", "`../x` has '/' in it"),
            ("-x 1 true", "unknown option -x"),
        ] {
            assert_eq!(read(line), Err(words.to_owned()), "{line}");
        }
    }
}
