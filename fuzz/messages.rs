//! What the targets for one kind of message do with bytes. `tests/formats/fuzzed.rs` does the same
//! with damaged samples, on every run of the tests.

use antiphon::{
    engine::{Asker, Config, Engine, Input, Now, Output, QuestionId, Recovered},
    model::{
        Incarnation, Network, NodeKey,
        roster::{Kept, Roster, Statement, Ticket},
    },
    wire::{Contact, Hello, NodeRequest, Page, Request, Response},
};
use bytes::Bytes;

/// Statements, each signed by its maker: requests 37 and 38, and answer 37.
pub(crate) fn statements(input: &[u8]) {
    let request = requested(input).filter(|request| {
        matches!(request, Request::Node(NodeRequest::Statements(_) | NodeRequest::Announce(_)))
    });
    let response = answered(input).filter(|response| matches!(response, Response::Statements(_)));
    give(request, response.as_ref());
}

/// Proofs of possession: request 39, and answer 38.
pub(crate) fn proofs(input: &[u8]) {
    let request =
        requested(input).filter(|request| matches!(request, Request::Node(NodeRequest::Prove(..))));
    let response = answered(input).filter(|response| matches!(response, Response::Proven(..)));
    give(request, response.as_ref());
}

/// Statements of a closed network, each with the number of its kind before it, and tickets.
pub(crate) fn roster(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    if let Ok(statement) = Statement::verify(*kind, Bytes::copy_from_slice(bytes)) {
        let again = Statement::verify(*kind, statement.bytes().clone());
        assert_eq!(again.as_ref(), Ok(&statement));
        if let Statement::Charter(charter) = statement {
            Roster::new(charter).insert(again.expect("verified")).expect("its own network");
        }
    }
    let ticket = std::str::from_utf8(input).ok().and_then(|text| text.parse::<Ticket>().ok());
    if let Some(ticket) = ticket {
        assert_eq!(ticket.to_string().parse(), Ok(ticket));
    }
}

/// The first message of a connection in a closed network.
pub(crate) fn hello(input: &[u8]) {
    if let Ok(hello) = Hello::decode(&Bytes::copy_from_slice(input)) {
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }
}

/// The file `network`. Its check is put right, so that what it says is looked at.
pub(crate) fn kept(input: &[u8]) {
    let bytes = input.get(..input.len().saturating_sub(4)).unwrap_or_default();
    let hash: [u8; 32] = blake3::hash(bytes).into();
    for whole in [input.to_vec(), [bytes, &hash[..4]].concat()] {
        if let Ok(kept) = Kept::decode(&whole.into()) {
            assert_eq!(Kept::decode(&kept.encode().into()), Ok(kept));
        }
    }
}

/// What is understood is understood in the same way once more.
fn requested(input: &[u8]) -> Option<Request> {
    let request = Request::decode(&Bytes::copy_from_slice(input)).ok()?;
    assert_eq!(Request::decode(&request.encode()).as_ref(), Ok(&request));
    Some(request)
}

fn answered(input: &[u8]) -> Option<Response> {
    let response = Response::decode(&Bytes::copy_from_slice(input)).ok()?;
    assert_eq!(Response::decode(&response.encode()).as_ref(), Ok(&response));
    Some(response)
}

/// Gives what another node said to an engine, which has it carried out.
fn give(request: Option<Request>, response: Option<&Response>) {
    if request.is_none() && response.is_none() {
        return;
    }
    let key = NodeKey::from_secret(&[1; 32]);
    let other = NodeKey::from_secret(&[2; 32]).node();
    let config = Config::new(key, Network::default(), Incarnation(1), 0);
    let mut engine = Engine::new(config, Recovered::default());
    let mut inputs = vec![Input::Timeout, Input::Connected(Contact::new(other, Vec::new()))];
    let question = QuestionId(0);
    let asked =
        request.map(|request| Input::Asked { question, asker: Asker::Node(other), request });
    inputs.extend(asked);
    let mut inputs = std::collections::VecDeque::from(inputs);
    // No question costs more steps than this, whatever it says.
    for _ in 0..1_000 {
        let Some(input) = inputs.pop_front() else { return };
        engine.handle(Now::default(), input);
        while let Some(output) = engine.poll_output() {
            match output {
                Output::Ask { ask, .. } => {
                    let told = |told: &Response| Input::Told { ask, result: Ok(told.clone()) };
                    inputs.extend(response.map(told));
                }
                Output::Read { ticket, .. } => {
                    inputs.push_back(Input::ReadDone(ticket, Some(Page::default())));
                }
                Output::Write(number, _) => inputs.push_back(Input::Durable(number)),
                _ => {}
            }
        }
    }
    panic!("it never ends");
}
