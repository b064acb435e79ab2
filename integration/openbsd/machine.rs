//! A simulated machine as the backend's console; it can be told to refuse one command.

use std::cell::RefCell;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rdomain::backend::BackendError;
use rdomain::backend::openbsd::{Console, Given, OpenBsd, Output};
use rdomain::model::NetworkName;
use rdomain::state::{KeyRing, Secret};

use super::simulator::Simulator;

/// A machine that a test and a backend share.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) simulator: Rc<RefCell<Simulator>>,
    /// The commands that changed something, in order.
    pub(crate) log: Rc<RefCell<Vec<Vec<String>>>>,
    /// What was kept of the network.
    pub(crate) given: Rc<RefCell<Given>>,
    fails_at: Rc<RefCell<Option<usize>>>,
}

impl Machine {
    pub(crate) fn of(simulator: Simulator) -> Self {
        Self {
            simulator: Rc::new(RefCell::new(simulator)),
            log: Rc::default(),
            given: Rc::default(),
            fails_at: Rc::default(),
        }
    }

    /// The same state on a machine of its own.
    pub(crate) fn copied(&self) -> Self {
        let copy = Self::of(self.simulator.borrow().clone());
        *copy.given.borrow_mut() = self.given.borrow().clone();
        copy
    }

    /// The command that changes something after this many is refused, once.
    pub(crate) fn failing_at(self, command: usize) -> Self {
        *self.fails_at.borrow_mut() = Some(command);
        self
    }

    /// The backend of a network on it.
    pub(crate) fn backend(&self, network: &NetworkName) -> OpenBsd<Machine> {
        OpenBsd::new(network.clone(), self.clone(), keys(), self.given.borrow().clone())
    }
}

impl Console for Machine {
    fn run(&mut self, words: &[String]) -> Result<Output, BackendError> {
        let looks = words.len() < 3 && words[0] != "route" || words.last().is_some_and(|word| word == "show");
        if !looks {
            if *self.fails_at.borrow() == Some(self.log.borrow().len()) {
                *self.fails_at.borrow_mut() = None;
                return Ok(Output { status: 1, stderr: "told to fail\n".to_owned(), ..Output::default() });
            }
            self.log.borrow_mut().push(words.to_vec());
        }
        let secrets = secret_texts();
        assert!(!words.iter().any(|word| secrets.contains(word)), "everybody sees a key in {words:?}");
        Ok(self.simulator.borrow_mut().run(words))
    }

    fn set_tunnel(&mut self, tunnel: &str, bytes: &[u8]) -> Result<(), BackendError> {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let output = self.run(&["siocswg".to_owned(), tunnel.to_owned(), hex])?;
        if output.status == 0 { Ok(()) } else { Err(BackendError::new(output.stderr)) }
    }

    fn keep(&mut self, given: &Given) -> Result<(), BackendError> {
        *self.given.borrow_mut() = given.clone();
        Ok(())
    }
}

/// The private key of this number, of which tests know the public one.
pub(crate) fn private_key(number: u8) -> Secret {
    Secret::private([number.wrapping_add(1); 32])
}

/// The preshared key of this number; no public key of a test's is the same.
pub(crate) fn preshared_key(number: u8) -> Secret {
    Secret::new([number | 128; 32])
}

/// What ifconfig(8) would be given of them.
fn secret_texts() -> Vec<String> {
    let all = (0..16).flat_map(|number| [private_key(number), preshared_key(number)]);
    all.map(|secret| STANDARD.encode(secret.bytes())).collect()
}

fn keys() -> KeyRing {
    let mut keys = KeyRing::default();
    for number in 0..16 {
        keys.add_private(private_key(number));
        keys.add_preshared(preshared_key(number));
    }
    keys
}
