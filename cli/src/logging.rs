//! What the libraries have to say, on standard error.

use std::fmt;

use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::{
    arguments::{Command, GlobalOptions},
    printer,
};

/// Starts logging at the level that `-q` and `-v` ask for, or as `RUST_LOG` says. A node says what
/// happens to it, other commands say nothing but warnings. The libraries below Antiphon are heard
/// from `-vvv` on.
pub(crate) fn start(options: &GlobalOptions, command: &Command) {
    let is_node = matches!(command, Command::Node(_));
    let level = match (options.quiet, options.verbose + u8::from(is_node)) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    let others = if options.verbose > 2 { "info" } else { "off" };
    let ours = format!("{others},antiphon={level},antiphon_node={level}");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(ours));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Starting twice is impossible but for the embedding tests, where the first one holds.
    let _ = if options.json {
        subscriber.event_format(Objects).try_init()
    } else {
        let subscriber = subscriber.with_ansi(printer::has_colours());
        let subscriber = subscriber.with_target(options.verbose > 1);
        if options.verbose == 0 {
            subscriber.without_time().try_init()
        } else {
            subscriber.try_init()
        }
    };
}

/// One JSON object a line, like the other lines on standard error with `--json`: what happens under
/// `note`, what is wrong under `warning` or `error`, and what belongs to it under names of its own.
struct Objects;

impl<S, N> FormatEvent<S, N> for Objects
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writeln!(writer, "{}", object(event))
    }
}

fn object(event: &Event<'_>) -> Value {
    let name = match *event.metadata().level() {
        tracing::Level::ERROR => "error",
        tracing::Level::WARN => "warning",
        tracing::Level::INFO => "note",
        tracing::Level::DEBUG => "debug",
        tracing::Level::TRACE => "trace",
    };
    let mut fields = Fields { message: name, values: Map::new() };
    // The message comes first, wherever the event has it.
    fields.values.insert(name.to_owned(), Value::Null);
    event.record(&mut fields);
    Value::Object(fields.values)
}

struct Fields {
    message: &'static str,
    values: Map<String, Value>,
}

impl Fields {
    fn insert(&mut self, field: &Field, value: Value) {
        let name = if field.name() == "message" { self.message } else { field.name() };
        self.values.insert(name.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;
    use tracing_subscriber::{Layer, layer::SubscriberExt};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Value>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _context: tracing_subscriber::layer::Context<'_, S>) {
            self.0.lock().unwrap().push(object(event));
        }
    }

    #[test]
    fn events_are_objects_like_notes_and_warnings() {
        let kept = Kept::default();
        let subscriber = tracing_subscriber::registry().with(kept.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("joined: {} other nodes", 2);
            tracing::warn!(topic = %"t", count = 3, is_full = true, "a \"name\"");
        });
        let expected = vec![
            json!({ "note": "joined: 2 other nodes" }),
            json!({ "warning": "a \"name\"", "topic": "t", "count": 3, "is_full": true }),
        ];
        assert_eq!(*kept.0.lock().unwrap(), expected);
    }
}
