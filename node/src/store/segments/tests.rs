//! What only a disk can do wrong.
