//! What is said of wrong command lines, word by word.

use super::*;
use crate::arguments::Arguments;

/// The error and the hint that a command line gets.
fn said(line: &str) -> (String, String) {
    let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
    let error = match Arguments::read(&words) {
        Ok(arguments) => panic!("`{line}` was understood: {arguments:?}"),
        Err(error) => error,
    };
    let failure = explain(&error, &words);
    assert_eq!(failure.status(), Status::Usage, "{line}");
    (failure.to_string(), failure.hint().expect("there is always a next step").to_owned())
}

const PLACES: &str = "a place is `start`, `end`, `-10` (the last ten), `@-1h`, `@2026-11-22T10:00`, \
    `@2026-11-22T10:00:00Z` or a cursor from `antiphon info -v`";
const DURATIONS: &str = "a duration reads like `500ms`, `10s`, `5m` or `7d`";
const AGES: &str = "an age reads like `12h` or `7d`; `none` takes the limit away";
const SIZES: &str = "a size reads like `50MB` or `1GiB`; `none` takes the limit away";
const THREE: &str = "`--replicas 3` keeps each record on three nodes";
const PEERS: &str = "`antiphon peers` lists the nodes; a peer id or its last characters name one";

/// Command lines, and what is said of them.
const WRONG: [(&str, &str, &str); 52] = [
    // Commands
    (
        "",
        "no command is given",
        "`antiphon --help` lists the commands; `antiphon demo` shows what it does",
    ),
    ("nosuch", "there is no command `nosuch`", "`antiphon --help` lists the commands"),
    ("--json nosuch", "there is no command `nosuch`", "`antiphon --help` lists the commands"),
    ("version", "there is no command `version`", "`antiphon --version` prints the version"),
    (
        "creat t",
        "there is no command `creat`",
        "did you mean `create`? `antiphon --help` lists all commands",
    ),
    (
        "pub t x",
        "there is no command `pub`",
        "did you mean `publish`? `antiphon --help` lists all commands",
    ),
    (
        "ls",
        "there is no command `ls`",
        "did you mean `topics`? `antiphon --help` lists all commands",
    ),
    (
        "subscription",
        "`antiphon subscription` needs `list`, `reset` or `delete`",
        "`antiphon subscription --help` says what there is",
    ),
    (
        "subscription rest",
        "there is no command `rest`",
        "did you mean `reset`? `antiphon subscription --help` lists all commands",
    ),
    // Options and arguments
    (
        "create",
        "`antiphon create` needs <TOPIC>",
        "`antiphon create <TOPIC>`; `antiphon create --help` says more",
    ),
    (
        "create --topic x",
        "`antiphon create` has no option `--topic`",
        "TOPIC is a plain argument: `antiphon create x`",
    ),
    (
        "fetch t --form end",
        "`antiphon fetch` has no option `--form`",
        "did you mean `--format`? `antiphon fetch --help` lists all",
    ),
    (
        "topics --size",
        "`antiphon topics` has no option `--size`",
        "`antiphon topics --help` lists the options",
    ),
    (
        "topics a b",
        "`antiphon topics` takes no argument `b`",
        "`antiphon topics --help` says what there is",
    ),
    (
        "publish t -x",
        "`antiphon publish` has no option `-x`",
        "a record that begins with a hyphen stands behind `--`: `antiphon publish TOPIC -- -x`",
    ),
    (
        "publish t a --file b",
        "`MESSAGE` and `--file` cannot be used together",
        "`antiphon publish --help` says what there is",
    ),
    (
        "fetch t --json --raw",
        "`--json` and `--raw` cannot be used together",
        "`antiphon fetch --help` says what there is",
    ),
    (
        "topics --json --json",
        "`--json` is given twice",
        "`antiphon topics --help` says what there is",
    ),
    ("publish t m --acks", "`--acks` needs a value", "there are: 1, quorum, all"),
    ("publish t m --acks 2", "--acks: there is no `2`", "there are: 1, quorum, all"),
    (
        "publish t m --acks qourum",
        "--acks: there is no `qourum`",
        "did you mean `quorum`? There are: 1, quorum, all",
    ),
    // Numbers
    ("create t --replicas -1", "--replicas: `-1` is not a number from 1 to 32", THREE),
    ("create t --replicas 0", "--replicas: `0` is not a number from 1 to 32", THREE),
    ("alter t --replicas many", "--replicas: `many` is not a number from 1 to 32", THREE),
    (
        "create t --min-copies 0",
        "--min-copies: `0` is not a number from 1 to 32",
        "`--min-copies 2` acknowledges a record when two nodes have flushed it; `auto` does so in a \
         network of three or more nodes",
    ),
    (
        "create t --retain-records -5",
        "--retain-records: `-5` is not a number",
        "a number reads like `10000`; `none` takes the limit away",
    ),
    (
        "fetch t -n -1",
        "-n: `-1` is not a number of 0 or more",
        "`antiphon fetch --help` says what there is",
    ),
    (
        "demo --nodes 0",
        "--nodes: `0` is not a number from 4 to 64",
        "`antiphon demo --help` says what there is",
    ),
    (
        "bench --messages 0",
        "--messages: `0` is not a number of 1 or more",
        "`antiphon bench --help` says what there is",
    ),
    (
        "bench --rate 2000000",
        "--rate: `2000000` is not a number from 1 to 1,000,000",
        "`antiphon bench --help` says what there is",
    ),
    // Durations and sizes
    ("topics --timeout 10", "--timeout: `10` has no unit: `10s`, `10m`, `10h` or `10d`", DURATIONS),
    ("topics --timeout 0s", "--timeout: the duration is zero", DURATIONS),
    (
        "topics --timeout 3parsecs",
        "--timeout: `3parsecs` is no duration: `parsecs` is no unit of time",
        DURATIONS,
    ),
    ("create t --retain-age -7d", "--retain-age: `-7d` is no duration", AGES),
    ("create t --retain-age 7", "--retain-age: `7` has no unit: `7s`, `7m`, `7h` or `7d`", AGES),
    ("create t --retain-age 0s", "--retain-age: a topic that keeps nothing is of no use", AGES),
    (
        "create t --retain-age 99999999999999999999d",
        "--retain-age: `99999999999999999999d` is longer than can be counted",
        AGES,
    ),
    ("create t --retain-bytes 1XB", "--retain-bytes: `1XB` is no size", SIZES),
    ("create t --retain-bytes -5MB", "--retain-bytes: `-5MB` is no size", SIZES),
    (
        "create t --retain-bytes 1",
        "--retain-bytes: `1` is too little: a topic keeps at least 1 MB",
        SIZES,
    ),
    (
        "create t --retain-bytes 99999999999999GB",
        "--retain-bytes: `99999999999999GB` is more than any disk holds",
        SIZES,
    ),
    (
        "node --max-disk 1MB",
        "--max-disk: `1MB` is too little for a node",
        "a size reads like `10GB`, and is at least `128MiB`",
    ),
    // Places and times
    ("fetch t --from yesterday", "--from: `yesterday` is no place", PLACES),
    ("fetch t --from @yesterday", "--from: `yesterday` is no time", PLACES),
    ("fetch t --from @-7", "--from: `7` has no unit: `7s`, `7m`, `7h` or `7d`", PLACES),
    // Addresses, peers and names
    (
        "topics --node 127.0.0.1:4001",
        "--node: `127.0.0.1:4001` is no address",
        "it is written `/ip4/127.0.0.1/tcp/4001/p2p/PEER`; `antiphon node` prints those of its node",
    ),
    (
        "node --listen 0.0.0.0:4001",
        "--listen: `0.0.0.0:4001` is no address",
        "it is written `/ip4/0.0.0.0/tcp/4001`",
    ),
    ("forget abc", "`abc` is no peer id", PEERS),
    (
        "create a..b",
        "`a..b` has an empty part",
        "dots divide a name into parts, as in `sensors.north.temp`",
    ),
    (
        "create -- -x",
        "`-x` begins or ends with a space, or begins with a hyphen",
        "a name begins with a letter, a digit or another sign that is no hyphen",
    ),
    (
        "publish t m --header a",
        "--header: `a` has no `=`",
        "a header reads like `--header source=usgs`",
    ),
    (
        "topics --network ../x",
        "--network: a network's name has 1 to 64 letters, digits, `-`, `_` or `.` and starts with \
         none of the latter three",
        "a network's name reads like `lab-2`",
    ),
];

#[test]
fn each_wrong_command_line_gets_its_error_and_its_hint() {
    for (line, error, hint) in WRONG {
        let line = if line.is_empty() { "antiphon".to_owned() } else { format!("antiphon {line}") };
        assert_eq!(said(&line), (error.to_owned(), hint.to_owned()), "{line}");
    }
}

#[test]
fn the_command_is_found_behind_options() {
    let called = |line: &str| called(&line.split(' ').map(Into::into).collect::<Vec<_>>());
    assert_eq!(called("antiphon --network lab --timeout=2s fetch t"), "antiphon fetch");
    assert_eq!(
        called("antiphon --network fetch -v subscription reset t a"),
        "antiphon subscription reset"
    );
    assert_eq!(called("antiphon -- fetch"), "antiphon");
    assert_eq!(called("antiphon"), "antiphon");
}

#[test]
fn no_text_names_a_command_that_is_none() {
    let program = definition();
    for (_, _, hint) in WRONG {
        for (start, _) in hint.match_indices("`antiphon ") {
            let word = hint[start + 10..].split([' ', '`']).next().unwrap();
            let is_known = word.starts_with("--") || program.find_subcommand(word).is_some();
            assert!(is_known, "{word} in `{hint}`");
        }
    }
}
