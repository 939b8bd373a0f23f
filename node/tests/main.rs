//! The library as programs use it: nodes in the process, and the examples.

mod compaction;
mod examples;
mod groups;
mod guide;
mod library;
mod newer;
mod older;
mod operator;
