//! A client that reads all that a topic has now, and no more, at one node.

use std::time::Duration;

use antiphon::{
    model::Cursor,
    wire::{ClientRequest, Read, Request, Response},
};

use crate::world::{World, clients::Next};

/// Reads a topic to the end that it has when it is asked.
#[derive(Debug)]
pub(crate) struct Fetcher {
    pub(crate) topic: usize,
    pub(crate) node: usize,
    at: Cursor,
    until: Option<Cursor>,
    pub(crate) is_done: bool,
}

impl Fetcher {
    pub(crate) fn new(topic: usize, node: usize, start: Cursor) -> Self {
        Self { topic, node, at: start, until: None, is_done: false }
    }

    pub(crate) fn go_on(&mut self, world: &World, response: Option<Response>, asked: bool) -> Next {
        if asked && !self.told(response) {
            return Next::Pause(Duration::from_millis(200));
        }
        let name = world.options.topics[self.topic].name.parse().unwrap();
        let request = match &self.until {
            None => ClientRequest::Survey(name),
            Some(until) if self.at.reaches(until) => {
                self.is_done = true;
                return Next::Stop;
            }
            Some(until) => ClientRequest::Read(Read {
                topic: name,
                after: self.at.clone(),
                until: Some(until.clone()),
                bytes_max: 1 << 20,
                wait_ms: 0,
            }),
        };
        if self.is_done {
            return Next::Stop;
        }
        // As long as a read waits for what may be lost.
        Next::Ask(self.node, Request::Client(request), Duration::from_secs(20))
    }

    /// Takes an answer; whether it brings the read on.
    fn told(&mut self, response: Option<Response>) -> bool {
        match response {
            Some(Response::Surveyed(surveyed)) => self.until = Some(surveyed.end),
            Some(Response::Page(page)) => {
                // What followed a fork is in branches now.
                self.is_done = page.batches.is_empty() && page.finished;
                page.batches.iter().for_each(|batch| self.at.advance(batch));
            }
            _ => return false,
        }
        true
    }
}
