//! What tests ask of nodes, and what a world takes from it: topics with their terms, and what was
//! published.

use antiphon::{
    engine,
    engine::{Input, QuestionId},
    model::{Batch, NodeId, Realm, RecordId, TopicId, TopicName, validate_records},
    wire::{ClientRequest, NodeRequest, Publish, Request, Response, TopicSummary},
};

use crate::world::{World, node::Asker, options::TopicOptions, oracle};

impl World {
    /// Asks a node, for a test that takes the answer from `answers`.
    pub(crate) fn ask_for_test(
        &mut self,
        index: usize,
        from: Option<NodeId>,
        request: Request,
    ) -> QuestionId {
        let question = self.question(index, Asker::World);
        match &request {
            Request::Client(ClientRequest::Publish(publish)) => {
                self.note_publish(index, question, publish);
            }
            Request::Client(ClientRequest::Delete(name)) => {
                let topic = self.topic_of(name);
                self.deleted.extend(topic);
            }
            Request::Node(NodeRequest::Replicate(replicate)) => {
                replicate.batches.iter().for_each(|batch| self.injected(batch));
            }
            Request::Client(ClientRequest::Import(import)) => {
                import.replicate.batches.iter().for_each(|batch| self.injected(batch));
            }
            Request::Client(ClientRequest::Read(read)) => self.note_read(0, index, read),
            _ => {}
        }
        let way = self.options.latency;
        let asker = from.map_or(engine::Asker::Program, engine::Asker::Node);
        self.input(index, way, Input::Asked { question, asker, request });
        question
    }

    /// The records of a publish are a publisher's from now on.
    fn note_publish(&mut self, index: usize, question: QuestionId, publish: &Publish) {
        let Some(topic) = self.topic_of(&publish.topic) else { return };
        let count = u64::from(validate_records(&publish.records.0).unwrap_or_default());
        let name = |number| RecordId { producer: publish.producer, number };
        for number in publish.first..publish.first + count {
            let published =
                || oracle::Published { topic, payload: Vec::new(), batches: Vec::new() };
            self.oracle.published.entry(name(number)).or_insert_with(published);
        }
        self.nodes[index].publishes.insert(question, (topic, name(publish.first)));
    }

    /// Somebody hands in a batch that no node of this world has signed, or signs twice.
    fn injected(&mut self, batch: &Batch) {
        if !self.oracle.batches.contains_key(&batch.hash()) {
            self.oracle.twins.insert(batch.hash());
            self.appeared(batch);
        }
    }

    /// What an answer says of the terms of a topic.
    pub(crate) fn note_terms(&mut self, response: &Response) {
        let (Response::Created(summary, _) | Response::Altered(summary)) = response else {
            return;
        };
        let TopicSummary { name, replicas, min_copies, floor_follows, retention, .. } = summary;
        let Some(id) = self.id_of(name) else { return };
        let terms = TopicOptions {
            id,
            name: name.to_string(),
            replicas: *replicas,
            min_copies: if *floor_follows { 1 } else { *min_copies },
            floor_follows: *floor_follows,
            retention: *retention,
            closed: false,
        };
        let is_new = matches!(response, Response::Created(..));
        let others = self.options.topics.iter_mut().filter(|it| it.name == terms.name);
        // A name is of one topic at a time.
        others.for_each(|it| it.name.clear());
        match self.topic_number(&id) {
            Some(number) => {
                self.options.topics[number] = terms;
                if is_new {
                    self.deleted.remove(&number);
                }
            }
            None => self.options.topics.push(terms),
        }
    }

    /// The number of the topic that has a name now.
    fn topic_of(&self, name: &TopicName) -> Option<usize> {
        self.options.topics.iter().position(|topic| topic.name == name.as_str())
    }

    /// The id of the latest topic of a name.
    fn id_of(&self, name: &TopicName) -> Option<TopicId> {
        let all = self.oracle.descriptors.values().flatten();
        let of_name = all.filter(|terms| terms.name == *name);
        let newest = of_name.reduce(|one, other| if other.supersedes(one) { other } else { one });
        newest.map(|terms| terms.id(&Realm::default()))
    }
}
