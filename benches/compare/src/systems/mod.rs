//! The systems that are compared, each with the best settings that its documentation offers.

pub(crate) mod antiphon;
pub(crate) mod nats;
pub(crate) mod redis;
