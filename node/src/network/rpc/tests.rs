use std::{collections::BTreeSet, time::Duration};

use antiphon::{
    limits::MESSAGE_BYTES_MAX,
    model::{Blob, NodeId, ProducerId},
    wire::{
        Acks, ClientRequest, MemberState, NodeRequest, Peer, Publish, Refusal, Request, Response,
    },
};
use futures::{FutureExt, StreamExt};
use libp2p::{
    Swarm,
    identity::Keypair,
    swarm::{
        SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};

use super::{
    AskError, Behaviour, Event, Received, ReplyTo, RequestId, SILENT_BEATS,
    answering::QUESTIONS_PER_STREAM_MAX,
};
use crate::network::{budget::Budget, transport};

const PROTOCOL: libp2p::StreamProtocol = libp2p::StreamProtocol::new("/test");

/// Far longer than any of this takes.
const LONG: Duration = Duration::from_secs(20);

fn swarm(behaviour: Behaviour) -> Swarm<Behaviour> {
    transport::swarm(&Keypair::generate_ed25519(), behaviour, None).unwrap()
}

/// One that asks, connected to one that answers.
struct Pair {
    asker: Swarm<Behaviour>,
    answerer: Swarm<Behaviour>,
}

impl Pair {
    async fn connected() -> Self {
        Self::of(Behaviour::new(PROTOCOL, true)).await
    }

    async fn of(answerer: Behaviour) -> Self {
        let mut asker = swarm(Behaviour::new(PROTOCOL, false));
        let mut answerer = swarm(answerer);
        answerer.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = answerer.select_next_some().await {
                break address;
            }
        };
        asker.dial(address.with_p2p(*answerer.local_peer_id()).unwrap()).unwrap();
        let mut pair = Self { asker, answerer };
        while !(pair.asker.is_connected(pair.answerer.local_peer_id())
            && pair.answerer.is_connected(pair.asker.local_peer_id()))
        {
            pair.step().await;
        }
        pair
    }

    /// What either side is told next, if that is anything.
    async fn step(&mut self) -> Option<Event> {
        let event = async {
            tokio::select! {
                event = self.asker.select_next_some() => event,
                event = self.answerer.select_next_some() => event,
            }
        };
        match tokio::time::timeout(LONG, event).await.expect("something happens") {
            SwarmEvent::Behaviour(event) => Some(event),
            _ => None,
        }
    }

    /// What either side is told next.
    async fn event(&mut self) -> Event {
        loop {
            if let Some(event) = self.step().await {
                return event;
            }
        }
    }

    /// Lets both sides do all that they can do without waiting for each other any longer.
    async fn settle(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut quiet = 0;
        while quiet < 50 {
            if let Some(event) = self.step().now_or_never() {
                events.extend(event);
                quiet = 0;
            } else {
                quiet += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        events
    }

    fn ask(&mut self, request: Request) -> RequestId {
        let peer = *self.answerer.local_peer_id();
        self.asker.behaviour_mut().ask(peer, request)
    }

    async fn asked(&mut self) -> (ReplyTo, Received) {
        match self.event().await {
            Event::Asked(reply_to, request) => (reply_to, request),
            other => panic!("{other:?}"),
        }
    }
}

fn publish(first: u64, size: usize) -> Request {
    Request::Client(ClientRequest::Publish(Publish {
        topic: "t".parse().unwrap(),
        producer: ProducerId([1; 16]),
        first,
        records: Blob(vec![0; size].into()),
        acks: Acks::One,
        timeout_ms: 0,
        retried: false,
    }))
}

fn number(request: &Received) -> u64 {
    match request {
        Ok(Request::Client(ClientRequest::Publish(publish))) => publish.first,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn requests_arrive_in_order_and_are_answered_in_any() {
    let mut pair = Pair::connected().await;
    let asked: Vec<_> = (0..20).map(|first| pair.ask(publish(first, 1))).collect();
    let mut questions = Vec::new();
    for first in 0..20 {
        let (reply_to, request) = pair.asked().await;
        assert_eq!(number(&request), first);
        questions.push(reply_to);
    }
    for (at, reply_to) in questions.into_iter().enumerate().rev() {
        let response = Response::Committed(u16::try_from(at).unwrap(), None);
        pair.answerer.behaviour_mut().answer(reply_to, response);
    }
    for at in (0..20).rev() {
        match pair.event().await {
            Event::Answered(_, id, response) => {
                assert_eq!(id, asked[at]);
                assert_eq!(response, Response::Committed(u16::try_from(at).unwrap(), None));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn who_answers_slowly_is_not_sent_more_than_it_takes() {
    let mut pair = Pair::connected().await;
    let more = 10;
    for first in 0..QUESTIONS_PER_STREAM_MAX + more {
        pair.ask(publish(first as u64, 1));
    }
    let mut questions: Vec<_> = pair
        .settle()
        .await
        .into_iter()
        .map(|event| match event {
            Event::Asked(reply_to, _) => reply_to,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(questions.len(), QUESTIONS_PER_STREAM_MAX, "the others are not read");
    for _ in 0..more {
        let reply_to = questions.pop().unwrap();
        pair.answerer.behaviour_mut().answer(reply_to, Response::Committed(1, None));
    }
    let events = pair.settle().await;
    let asked = events.iter().filter(|event| matches!(event, Event::Asked(..))).count();
    assert_eq!((events.len(), asked), (2 * more, more));
}

#[tokio::test]
async fn a_page_does_not_stand_in_the_way_of_a_receipt() {
    let mut pair = Pair::connected().await;
    let topic = antiphon::model::TopicId::from_bytes([1; 32]);
    let fetch = pair.ask(Request::Node(NodeRequest::Fetch(topic, Vec::new(), 1)));
    pair.ask(publish(0, 1));
    let first = pair.asked().await;
    let second = pair.asked().await;
    let (fetched, published) = match first.1 {
        Ok(Request::Node(NodeRequest::Fetch(..))) => (first.0, second.0),
        _ => (second.0, first.0),
    };
    assert_ne!(fetched.stream, published.stream);
    pair.answerer.behaviour_mut().answer(published, Response::Committed(1, None));
    match pair.event().await {
        Event::Answered(_, id, _) => assert_ne!(id, fetch),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_too_large_is_told_and_the_stream_goes_on() {
    let mut pair = Pair::connected().await;
    let large = pair.ask(publish(0, MESSAGE_BYTES_MAX));
    match pair.event().await {
        Event::Failed(_, id, AskError::TooLarge(_)) => assert_eq!(id, large),
        other => panic!("{other:?}"),
    }
    pair.ask(publish(1, 1));
    let (reply_to, request) = pair.asked().await;
    assert_eq!(number(&request), 1, "nothing was sent of the first");
    let address = "a".repeat(MESSAGE_BYTES_MAX);
    let peer = Peer::new(NodeId::from_bytes([1; 32]), MemberState::Alive, vec![address]);
    pair.answerer.behaviour_mut().answer(reply_to, Response::Peers(vec![peer]));
    match pair.event().await {
        Event::Answered(_, _, Response::Refused(Refusal::Invalid(_))) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_connection_that_closes_ends_what_is_under_way() {
    let mut pair = Pair::connected().await;
    let id = pair.ask(publish(0, 1));
    let (reply_to, _) = pair.asked().await;
    let peer = *pair.answerer.local_peer_id();
    pair.asker.disconnect_peer_id(peer).unwrap();
    let (mut failed, mut abandoned) = (false, false);
    while !(failed && abandoned) {
        match pair.event().await {
            Event::Failed(_, of, AskError::Closed) => failed = of == id,
            Event::Abandoned(of) => abandoned = of == reply_to,
            other => panic!("{other:?}"),
        }
    }
    let id = pair.ask(publish(1, 1));
    match pair.event().await {
        Event::Failed(_, of, AskError::Closed) => assert_eq!(of, id),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_given_up_frees_both_sides() {
    let mut pair = Pair::connected().await;
    let given_up = pair.ask(publish(0, 1));
    let other = pair.ask(publish(1, 1));
    let (first, _) = pair.asked().await;
    let (second, _) = pair.asked().await;
    pair.asker.behaviour_mut().give_up(given_up);
    let (mut failed, mut abandoned) = (Vec::new(), BTreeSet::new());
    while failed.is_empty() || abandoned.len() < 2 {
        match pair.event().await {
            Event::Failed(_, id, AskError::Broken(_)) => failed.push(id),
            Event::Abandoned(reply_to) => assert!(abandoned.insert(reply_to)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(failed, [other], "what was under way on the same stream");
    assert_eq!(abandoned, BTreeSet::from([first, second]));
    // The next one takes a new stream, and an answer to the old ones goes nowhere.
    pair.answerer.behaviour_mut().answer(first, Response::Committed(1, None));
    let id = pair.ask(publish(2, 1));
    let (reply_to, _) = pair.asked().await;
    pair.answerer.behaviour_mut().answer(reply_to, Response::Committed(2, None));
    match pair.event().await {
        Event::Answered(_, of, response) => {
            assert_eq!((of, response), (id, Response::Committed(2, None)));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stream_that_is_full_of_questions_still_sees_its_end() {
    let mut pair = Pair::connected().await;
    let asked: Vec<_> =
        (0..QUESTIONS_PER_STREAM_MAX as u64).map(|first| pair.ask(publish(first, 1))).collect();
    for _ in &asked {
        let _ = pair.asked().await;
    }
    pair.asker.behaviour_mut().give_up(asked[0]);
    let events = pair.settle().await;
    let abandoned = events.iter().filter(|event| matches!(event, Event::Abandoned(_))).count();
    assert_eq!(abandoned, QUESTIONS_PER_STREAM_MAX);
}

#[tokio::test]
async fn a_connection_that_still_closes_is_not_used_for_what_is_asked_after_it() {
    let mut pair = Pair::connected().await;
    let peer = *pair.answerer.local_peer_id();
    let lost = pair.ask(publish(0, 1));
    let _ = pair.asked().await;
    // As if its end were not reported for minutes.
    pair.asker.behaviour_mut().part_with(peer);
    match pair.event().await {
        Event::Failed(_, of, AskError::Closed) => assert_eq!(of, lost),
        other => panic!("{other:?}"),
    }
    let address = pair.answerer.listeners().next().unwrap().clone();
    let dial = DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(vec![address]);
    pair.asker.dial(dial.build()).unwrap();
    while pair.asker.network_info().connection_counters().num_established() < 2 {
        assert!(pair.step().await.is_none());
    }
    let id = pair.ask(publish(1, 1));
    let (reply_to, request) = pair.asked().await;
    assert_eq!(number(&request), 1);
    pair.answerer.behaviour_mut().answer(reply_to, Response::Committed(2, None));
    match pair.event().await {
        Event::Answered(_, of, _) => assert_eq!(of, id),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_connection_that_is_silent_while_another_is_not_is_not_used() {
    let mut pair = Pair::connected().await;
    let peer = *pair.answerer.local_peer_id();
    let address = pair.answerer.listeners().next().unwrap().clone();
    let dial = DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(vec![address]);
    pair.asker.dial(dial.build()).unwrap();
    while pair.asker.network_info().connection_counters().num_established() < 2 {
        assert!(pair.step().await.is_none());
    }
    let behaviour = pair.asker.behaviour_mut();
    let [old, new] = *behaviour.connections[&peer].as_slice() else { panic!("two connections") };
    behaviour.heard(&peer, new.id, SILENT_BEATS);
    assert_eq!(behaviour.connection_to(&peer), Some(old.id), "it may answer yet");
    behaviour.heard(&peer, new.id, SILENT_BEATS + 1);
    assert_eq!(behaviour.connection_to(&peer), Some(new.id));
    behaviour.heard(&peer, old.id, SILENT_BEATS + 1);
    assert_eq!(behaviour.connection_to(&peer), Some(old.id));
}

#[tokio::test]
async fn who_does_not_speak_the_protocol_is_told_from_a_broken_stream() {
    let other = libp2p::StreamProtocol::new("/other");
    let mut pair = Pair::of(Behaviour::new(other, true)).await;
    let id = pair.ask(publish(0, 1));
    match pair.event().await {
        Event::Failed(_, of, AskError::Unsupported) => assert_eq!(of, id),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_has_not_read_its_answers_is_refused_more() {
    let mut answerer = Behaviour::new(PROTOCOL, true);
    answerer.rooms.answers = Budget::new(200_000, 100_000);
    let mut pair = Pair::of(answerer).await;
    let peer = Peer::new(NodeId::from_bytes([1; 32]), MemberState::Alive, vec!["a".repeat(60_000)]);
    let asked: Vec<_> = (0..3).map(|first| pair.ask(publish(first, 1))).collect();
    let mut questions = Vec::new();
    for _ in &asked {
        questions.push(pair.asked().await.0);
    }
    // All are answered before any of it can be sent.
    for question in questions {
        pair.answerer.behaviour_mut().answer(question, Response::Peers(vec![peer.clone()]));
    }
    let mut refused = BTreeSet::new();
    for _ in &asked {
        match pair.event().await {
            Event::Answered(_, id, Response::Refused(Refusal::OverBudget { .. })) => {
                refused.insert(id);
            }
            // It may be that no node has an address of this length.
            Event::Answered(..) | Event::Failed(_, _, AskError::Malformed(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(!refused.is_empty() && !refused.contains(&asked[0]), "{refused:?}");
    let asker = *pair.asker.local_peer_id();
    while pair.answerer.behaviour().rooms.answers.share_of(&asker) > 0 {
        pair.step().await;
    }
}
