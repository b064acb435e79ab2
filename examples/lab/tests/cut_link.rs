//! Sender and receiver in domains of their own, and what becomes of messages when the link between them is cut.

use std::cell::Cell;
use std::error::Error;
use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use courier::{Sender, receive};
use rdomain::lab::{Domain, Lab, LabError};

// No root is needed.
rdomain::rootless!();
rdomain::nodes! { struct Courier { sender, receiver } }

const RECEIVER: &str = "10.0.0.2:7000";

type Tested = Result<(), Box<dyn Error>>;

fn up() -> Result<Courier, LabError> {
    Courier::up(&Lab::from_file("domains.yaml")?)
}

/// What arrives in a domain.
fn arrivals(domain: &Domain) -> Result<Receiver<String>, Box<dyn Error>> {
    let listener = domain.tcp_listener(RECEIVER)?;
    let (deliver, delivered) = channel();
    thread::spawn(move || receive(&listener, &deliver));
    Ok(delivered)
}

#[test]
fn a_message_waits_until_the_link_is_there_again() -> Tested {
    let lab = up()?;
    let arrived = arrivals(&lab.receiver)?;
    let mut sender = Sender::new(|| lab.sender.tcp_stream(RECEIVER));
    sender.send("one")?;
    assert_eq!(arrived.recv()?, "one");

    lab.cut("sender/eth0")?;
    assert!(sender.send("two").is_err() && sender.send("three").is_err());
    assert_eq!((sender.waiting(), arrived.try_recv().ok()), (2, None));

    lab.restore("sender/eth0")?;
    sender.send_waiting()?;
    assert_eq!([arrived.recv()?, arrived.recv()?], ["two", "three"]);
    Ok(())
}

#[test]
fn a_message_arrives_once_even_if_its_answer_is_lost() -> Tested {
    let lab = up()?;
    let arrived = arrivals(&lab.receiver)?;
    // The link is cut when the first connection stands: the message itself is what gets stuck.
    let cut = Cell::new(true);
    let mut sender = Sender::new(|| {
        let stream = lab.sender.tcp_stream(RECEIVER)?;
        if cut.take() {
            lab.cut("receiver/eth0").map_err(io::Error::other)?;
        }
        Ok(stream)
    });
    assert!(sender.send("once").is_err());
    lab.restore("receiver/eth0")?;
    sender.send_waiting()?;
    assert_eq!(arrived.recv()?, "once");
    assert!(arrived.recv_timeout(Duration::from_secs(1)).is_err());
    Ok(())
}

#[test]
fn nobody_else_gets_to_the_receiver() -> Tested {
    let lab = up()?;
    let _arrived = arrivals(&lab.receiver)?;
    assert!(lab.domain("0").tcp_stream(RECEIVER).is_err());
    Ok(())
}
