//! The library as programs use it: nodes in the process, and the examples.

mod examples;
mod guide;
mod library;
