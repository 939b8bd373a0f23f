//! Clusters of engines in one process: the code of production, with a network, disks and a
//! clock that the test holds.

mod world;

mod failure;
mod growth;
mod publish;
mod read;
