//! Makes of an errno what an operator needs: the object, the kernel's words, and what to do instead.

use std::error::Error;
use std::io;

use nix::errno::Errno;

use super::namespace::NamespaceError;
use super::netlink::NetlinkError;
use crate::backend::{BackendError, Nature};
use crate::probe::Unsupported;
use crate::state::LedgerError;

/// An error that may stem from the kernel.
pub(super) trait Cause: Error + Send + Sync + Sized + 'static {
    /// The kernel's error number.
    fn number(&self) -> Option<Errno>;

    /// What is not to be had here, if that is known.
    fn lack(&self) -> Option<&Unsupported> {
        None
    }
}

impl Cause for NetlinkError {
    fn number(&self) -> Option<Errno> {
        self.errno()
    }
}

impl Cause for NamespaceError {
    fn number(&self) -> Option<Errno> {
        self.errno()
    }

    fn lack(&self) -> Option<&Unsupported> {
        let NamespaceError::Unsupported(lack) = self else { return None };
        Some(lack)
    }
}

impl Cause for io::Error {
    fn number(&self) -> Option<Errno> {
        self.raw_os_error().map(Errno::from_raw)
    }
}

impl Cause for LedgerError {
    fn number(&self) -> Option<Errno> {
        self.source.raw_os_error().map(Errno::from_raw)
    }
}

/// Says what was being done when something failed.
pub(super) trait Doing<T> {
    /// The error of having tried this, with the advice that always holds for its number.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, BackendError>;

    /// The same, with advice of one's own for some numbers.
    fn doing_or(
        self,
        what: impl FnOnce() -> String,
        advice: impl FnOnce(Errno) -> Option<String>,
    ) -> Result<T, BackendError>;
}

impl<T, E: Cause> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, BackendError> {
        self.doing_or(what, |_| None)
    }

    fn doing_or(
        self,
        what: impl FnOnce() -> String,
        advice: impl FnOnce(Errno) -> Option<String>,
    ) -> Result<T, BackendError> {
        self.map_err(|error| {
            let (help, nature) = match error.lack() {
                Some(lack) => (Some(lack.remedy.clone()), Nature::Unsupported),
                None => (
                    error.number().and_then(|errno| advice(errno).or_else(|| permission(errno))),
                    nature(error.number()),
                ),
            };
            let refused = BackendError::new(format!("cannot {}", what())).caused_by(error);
            BackendError { help, nature, ..refused }
        })
    }
}

/// A kind, a family or an option that the kernel was built without is refused with these numbers.
fn nature(errno: Option<Errno>) -> Nature {
    match errno {
        Some(Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT) => Nature::Unsupported,
        Some(_) | None => Nature::Refused,
    }
}

/// The advice for want of a right.
fn permission(errno: Errno) -> Option<String> {
    match errno {
        Errno::EPERM | Errno::EACCES => Some(
            "this needs cap_net_admin and cap_sys_admin: run it as root, or in a private copy that needs \
             neither: rdom run FILE -- COMMAND"
                .to_owned(),
        ),
        _ => None,
    }
}

/// The advice for a kind of link that the kernel does not know.
pub(super) fn unknown_kind(errno: Errno, module: &str, option: &str) -> Option<String> {
    match errno {
        Errno::EOPNOTSUPP => {
            Some(format!("the kernel lacks it: modprobe {module}, or build it with {option}"))
        }
        _ => None,
    }
}

/// The advice for an IPv6 address or route where the kernel runs without IPv6.
pub(super) fn no_ipv6(errno: Errno) -> Option<String> {
    match errno {
        Errno::EACCES => Some(
            "IPv6 is disabled there; enable it with `sysctls: {net.ipv6.conf.all.disable_ipv6: 0}`"
                .to_owned(),
        ),
        Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT => {
            Some("this kernel runs without IPv6 (ipv6.disable=1, or without CONFIG_IPV6)".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_a_right_offers_a_private_copy() {
        let refused: Result<(), NetlinkError> =
            Err(NetlinkError::Refused { errno: Errno::EPERM, text: None });
        let error = refused.doing(|| "create bridge 1/br0".to_owned()).unwrap_err();
        assert_eq!(error.to_string(), "cannot create bridge 1/br0");
        assert_eq!(error.source.unwrap().to_string(), "Operation not permitted");
        assert!(error.help.unwrap().contains("rdom run"));
    }

    #[test]
    fn what_the_kernel_lacks_is_unsupported() {
        let refused = |errno| Err::<(), _>(NetlinkError::Refused { errno, text: None });
        let nature = |errno| refused(errno).doing(|| "create dummy 1/d0".to_owned()).unwrap_err().nature;
        assert_eq!(nature(Errno::EOPNOTSUPP), Nature::Unsupported);
        assert_eq!(nature(Errno::EEXIST), Nature::Refused);
    }

    #[test]
    fn advice_of_ones_own_comes_first() {
        let refused: Result<(), io::Error> = Err(Errno::EACCES.into());
        let error = refused.doing_or(|| "add address".to_owned(), no_ipv6).unwrap_err();
        assert!(error.help.unwrap().contains("IPv6 is disabled"));
    }
}
