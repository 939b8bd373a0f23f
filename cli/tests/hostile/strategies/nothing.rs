//! What the figures are without an attack.

use std::{hint::black_box, thread};

use futures::{FutureExt, future::LocalBoxFuture};

use crate::stage::Target;

/// Nobody attacks.
pub(super) fn nothing(target: Target) -> LocalBoxFuture<'static, String> {
    async move {
        target.over().await;
        "nobody attacks".to_owned()
    }
    .boxed_local()
}

/// Two threads that only use the two cores: an attacker on another machine would not.
pub(super) fn cores_shared(target: Target) -> LocalBoxFuture<'static, String> {
    async move {
        let spin = |target: Target| {
            thread::spawn(move || {
                // The priority of an attack is one of its thread.
                let _ = rustix::process::nice(5);
                let mut count = 0_u64;
                while !target.is_over() {
                    count = black_box(count.wrapping_add(1));
                }
            })
        };
        let threads = [spin(target.clone()), spin(target.clone())];
        target.over().await;
        for thread in threads {
            thread.join().expect("it does not panic");
        }
        "two threads use both cores and no node".to_owned()
    }
    .boxed_local()
}
