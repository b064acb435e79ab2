//! Messages that arrive once and in order, whatever becomes of the link meanwhile.
//!
//! A message is a line: its number and its text. The receiver answers with the number when it has it. What was not
//! answered is sent again, and what comes again is answered and not delivered.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::Sender as Queue;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The side that has messages.
pub struct Sender<C> {
    connect: C,
    waiting: VecDeque<String>,
    sent: u64,
}

impl<C: Fn() -> io::Result<TcpStream>> Sender<C> {
    /// A sender that has nothing to send yet; `connect` is how it gets to the receiver.
    pub fn new(connect: C) -> Self {
        Self { connect, waiting: VecDeque::new(), sent: 0 }
    }

    /// Sends a message, after those that wait; if it fails they all wait.
    pub fn send(&mut self, text: &str) -> io::Result<()> {
        self.waiting.push_back(text.to_owned());
        self.send_waiting()
    }

    /// Sends what waits.
    pub fn send_waiting(&mut self) -> io::Result<()> {
        let mut stream = (self.connect)()?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        let mut answers = BufReader::new(stream.try_clone()?).lines();
        while let Some(text) = self.waiting.front() {
            let number = self.sent + 1;
            stream.write_all(format!("{number} {text}\n").as_bytes())?;
            if answers.next().transpose()? != Some(number.to_string()) {
                return Err(ErrorKind::InvalidData.into());
            }
            self.waiting.pop_front();
            self.sent = number;
        }
        Ok(())
    }

    /// How many messages wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// The other side: delivers what comes in, and ends with the listener.
pub fn receive(listener: &TcpListener, deliver: &Queue<String>) -> io::Result<()> {
    let last = Arc::new(Mutex::new(0));
    for stream in listener.incoming() {
        let (stream, last, deliver) = (stream?, Arc::clone(&last), deliver.clone());
        // A connection that hangs shall not keep others waiting.
        thread::spawn(move || converse(&stream, &last, &deliver));
    }
    Ok(())
}

fn converse(mut stream: &TcpStream, last: &Mutex<u64>, deliver: &Queue<String>) -> io::Result<()> {
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let (number, text) = line.split_once(' ').ok_or(ErrorKind::InvalidData)?;
        let number = number.parse().map_err(|_| ErrorKind::InvalidData)?;
        let mut last = last.lock().map_err(|_| ErrorKind::Other)?;
        if number > *last && deliver.send(text.to_owned()).is_ok() {
            *last = number;
        }
        drop(last);
        stream.write_all(format!("{number}\n").as_bytes())?;
    }
    Ok(())
}
