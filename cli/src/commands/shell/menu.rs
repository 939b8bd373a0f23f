//! The numbered menu.

/// What is shown at the start and for `help`.
pub(super) const TEXT: &str = "  1  create topic       4  subscribe     7  peers
  2  publish            5  topics        8  help
  3  fetch messages     6  info          9  exit

A number asks for what it needs. Commands work as on the command line:
`fetch quakes --from -10`, `help fetch`. Tab completes, Ctrl-C returns to the
prompt, Ctrl-D leaves.";

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// The line is empty.
    Nothing,
    /// To leave.
    Leave,
    /// To see the menu.
    Menu,
    /// An action of the menu, whose fields are to be asked for.
    Ask(&'static Action),
    /// A command as on the command line.
    Words(Vec<String>),
    /// A quote is not closed.
    Unfinished,
}

/// An action of the menu.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Action {
    /// The command that it stands for.
    pub(super) command: &'static str,
    /// What it needs to know.
    pub(super) fields: &'static [Field],
}

/// Something that an action needs to know.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// How it is asked for.
    pub(super) question: &'static str,
    /// The option that it is the value of; none for an argument, which may not be left out.
    pub(super) option: Option<&'static str>,
}

const TOPIC: Field = Field { question: "topic", option: None };
const FROM: Field =
    Field { question: "from (start, end, -N, @-1h, @TIME) [start]", option: Some("--from") };

static ACTIONS: [(&str, Action); 7] = [
    (
        "1",
        Action {
            command: "create",
            fields: &[TOPIC, Field { question: "replicas [3]", option: Some("--replicas") }],
        },
    ),
    (
        "2",
        Action {
            command: "publish",
            fields: &[TOPIC, Field { question: "message", option: None }],
        },
    ),
    ("3", Action { command: "fetch", fields: &[TOPIC, FROM] }),
    (
        "4",
        Action {
            command: "subscribe",
            fields: &[
                TOPIC,
                Field { question: "keep the position as [nobody]", option: Some("--as") },
                FROM,
            ],
        },
    ),
    ("5", Action { command: "topics", fields: &[] }),
    ("6", Action { command: "info", fields: &[TOPIC] }),
    ("7", Action { command: "peers", fields: &[] }),
];

/// What a line asks for.
pub(super) fn choose(line: &str) -> Choice {
    let line = line.trim();
    if let Some((_, action)) = ACTIONS.iter().find(|(number, _)| *number == line) {
        return Choice::Ask(action);
    }
    match line {
        "" => Choice::Nothing,
        "8" | "help" | "?" | "menu" => Choice::Menu,
        "9" | "exit" | "quit" => Choice::Leave,
        _ if line.starts_with('#') => Choice::Nothing,
        _ => shlex::split(line).map_or(Choice::Unfinished, Choice::Words),
    }
}

impl Action {
    /// The command line for the answers, one for each field.
    pub(super) fn words(&self, answers: &[String]) -> Vec<String> {
        let mut words = vec![self.command.to_owned()];
        let mut arguments = Vec::new();
        for (field, answer) in self.fields.iter().zip(answers) {
            match field.option {
                Some(_) if answer.is_empty() => {}
                Some(option) => words.push(format!("{option}={answer}")),
                None => arguments.push(answer.clone()),
            }
        }
        // After this an argument may start with a hyphen.
        if !arguments.is_empty() {
            words.push("--".to_owned());
        }
        words.extend(arguments);
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_words_and_nothing() {
        assert!(matches!(choose(" 3 "), Choice::Ask(action) if action.command == "fetch"));
        assert_eq!(choose(""), Choice::Nothing);
        assert_eq!((choose("8"), choose("exit")), (Choice::Menu, Choice::Leave));
        let words = ["publish", "my topic", "a b"].map(str::to_owned).to_vec();
        assert_eq!(choose("publish 'my topic' \"a b\""), Choice::Words(words));
        assert_eq!(choose("publish 't"), Choice::Unfinished);
    }

    #[test]
    fn answers_become_a_command_line() {
        let Choice::Ask(subscribe) = choose("4") else { panic!("not the subscription") };
        let answers = ["my topic", "alice", ""].map(str::to_owned);
        assert_eq!(subscribe.words(&answers), ["subscribe", "--as=alice", "--", "my topic"]);
        let Choice::Ask(publish) = choose("2") else { panic!("not the publish") };
        let answers = ["t", "-5 degrees"].map(str::to_owned);
        assert_eq!(publish.words(&answers), ["publish", "--", "t", "-5 degrees"]);
    }
}
